//! What Git holds for one machine, as far as operations on it need to know.
//!
//! The files may be hand-written: the machine is whichever document in its folder says that it is one, and nothing is asked
//! of the files but that. Records and archives are this project's own, and read strictly.

mod machine;
mod overlay;
#[cfg(test)]
mod tests;
mod values;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

pub use machine::{Cpu, Disk, Machine, Source, Volume};

use crate::day_two::Operation;
use crate::layout::{ARCHIVED_APPLICATION_FILE, OPERATIONS, REQUEST_FILE, TOMBSTONE_FILE};
use crate::name::{Label, RequestId};
use crate::operation::{Phase, Record, Tombstone};
use crate::problem::{Code, Problem};
use crate::quantity::Quantity;
use crate::request::{Accepted, Request, Target};

/// What Git holds for one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Which machine.
    pub target: Target,
    /// Everything in the machine's folder, by path in the repository.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The file of its Argo CD Application.
    pub application: Option<Vec<u8>>,
    /// The request that it was provisioned by; none for a machine that others wrote.
    pub request: Option<Request>,
    /// The machine; none if it does not exist.
    pub machine: Option<Machine>,
    /// The records of its operations, by their sequence.
    pub records: Vec<Record>,
    /// The removed machines of this name, by the ids of the requests that they were provisioned by.
    pub archived: BTreeMap<RequestId, Life>,
}

/// A removed machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    /// Everything in its folder of the archive, by path in the repository.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The request that it was provisioned by.
    pub request: Option<Request>,
    /// By whom it was removed, when and why.
    pub tombstone: Option<Tombstone>,
    /// The records of its operations, by their sequence.
    pub records: Vec<Record>,
}

/// A file of a machine that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {why}")]
pub struct Unreadable {
    /// Which, by path in the repository.
    pub path: String,
    /// What is wrong with it, on one line.
    pub why: String,
}

impl Unreadable {
    /// As a problem of a request about the machine.
    pub fn problem(&self, target: &Target) -> Problem {
        let below = |folder: String| self.path.strip_prefix(&format!("{folder}/")).map(str::to_owned);
        let path = below(target.path()).or_else(|| below(target.archives_path()));
        let message = format!("`{}`: {}", path.as_ref().unwrap_or(&self.path), self.why);
        Problem::new("/spec/target", Code::Definition, message).hint("mend it in Git")
    }
}

impl Definition {
    /// Make out of files, by path in the repository, what they say of a machine. Files that are not the machine's are not
    /// looked at.
    pub fn read(files: &BTreeMap<String, Vec<u8>>, target: &Target) -> Result<Self, Unreadable> {
        let own = below(files, &target.path());
        let mut archived = BTreeMap::new();
        let archive = format!("{}/", target.archives_path());
        for path in files.keys().filter_map(|path| path.strip_prefix(&archive)) {
            let id = path.split('/').next().unwrap_or_default();
            let Ok(id) = id.parse::<RequestId>() else { continue };
            if let Entry::Vacant(life) = archived.entry(id) {
                let folder = target.archive_path(life.key());
                life.insert(Life::read(below(files, &folder), &folder)?);
            }
        }
        Ok(Self {
            target: target.clone(),
            application: files.get(&target.application_path()).cloned(),
            request: request(&own, &target.path())?,
            machine: Machine::find(&own, target)?
                .map(|machine| {
                    if machine.is_in_values() {
                        values::valued(machine, files, target)
                    } else {
                        overlay::laid_over(machine, files, target)
                    }
                })
                .transpose()?,
            records: records(&own, &target.path())?,
            files: own,
            archived,
        })
    }

    /// Whether the machine exists.
    pub const fn exists(&self) -> bool {
        self.machine.is_some()
    }

    /// Whether a request to remove the machine has to name it once more: by its labels, or the request it was provisioned by.
    pub fn protected(&self) -> bool {
        self.machine.as_ref().is_some_and(Machine::labelled_protected)
            || self.request.as_ref().is_some_and(|request| request.spec.lifecycle.protected)
    }

    /// The environments that the machine is of, by its label and by the request it was provisioned by: the same one, unless a
    /// person has changed it.
    pub fn environments(&self) -> BTreeSet<&str> {
        let labelled = self.machine.as_ref().and_then(Machine::labelled_environment);
        labelled.into_iter().chain(self.request.as_ref().and_then(environment)).collect()
    }

    /// The record of a phase, also if the machine was removed since.
    pub fn record(&self, request: &RequestId, phase: Phase) -> Option<&Record> {
        self.all_records().find(|record| record.request_id() == request && record.phase == phase)
    }

    /// The records of this machine, then those of the removed ones of its name.
    pub fn all_records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().chain(self.archived.values().flat_map(|life| &life.records))
    }

    /// The sequence of the next record.
    pub fn next_sequence(&self) -> u32 {
        self.records.last().map_or(0, |record| record.sequence).saturating_add(1)
    }

    /// The size that a disk was last let grow to. A `DataVolume` cannot change, so its file keeps the size that it had, and
    /// the records alone say how large the disk is meant to be.
    pub fn grown(&self, disk: &Disk) -> Option<Quantity> {
        let machine = self.machine.as_ref()?;
        let resized = self.records.iter().rev().filter_map(|record| match &record.request.spec.operation {
            Operation::Resize(resize) => Some(&resize.disks),
            _ => None,
        });
        resized
            .flatten()
            .find(|new| machine.disk(new.name.as_str()).is_some_and(|named| named.claim == disk.claim))
            .map(|new| new.size)
    }

    /// Under which id the machine is archived when `deprovision` removes it: that of the request that it was provisioned by; for
    /// a machine that others wrote, that of the request itself.
    pub fn life_id<'a>(&'a self, deprovision: &'a RequestId) -> &'a RequestId {
        self.request.as_ref().map_or(deprovision, |request| &request.metadata.request_id)
    }

    /// The removed machine that a request to bring one back means: the one it names, or the only one.
    pub fn life(&self, id: Option<&RequestId>) -> Option<(&RequestId, &Life)> {
        match id {
            Some(id) => self.archived.get_key_value(id),
            None if self.archived.len() == 1 => self.archived.first_key_value(),
            None => None,
        }
    }
}

impl Life {
    /// The environment that the machine was of, by the request it was provisioned by.
    pub fn environment(&self) -> Option<&str> {
        self.request.as_ref().and_then(environment)
    }

    fn read(files: BTreeMap<String, Vec<u8>>, folder: &str) -> Result<Self, Unreadable> {
        let path = format!("{folder}/{TOMBSTONE_FILE}");
        let tombstone = files.get(&path).map(|bytes| Tombstone::parse(bytes)).transpose();
        Ok(Self {
            request: request(&files, folder)?,
            tombstone: tombstone.map_err(|problem| Unreadable { path, why: problem.to_string() })?,
            records: records(&files, folder)?,
            files,
        })
    }

    /// What was the file of its Argo CD Application, in this folder of the archive.
    pub fn application(&self, folder: &str) -> Option<&[u8]> {
        self.files.get(&format!("{folder}/{ARCHIVED_APPLICATION_FILE}")).map(Vec::as_slice)
    }
}

fn environment(request: &Request) -> Option<&str> {
    request.spec.lifecycle.environment.as_ref().map(Label::as_str)
}

fn below(files: &BTreeMap<String, Vec<u8>>, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let inside = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    files.iter().filter(|(path, _)| inside(path)).map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
}

fn request(files: &BTreeMap<String, Vec<u8>>, folder: &str) -> Result<Option<Request>, Unreadable> {
    let path = format!("{folder}/{REQUEST_FILE}");
    let Some(bytes) = files.get(&path) else { return Ok(None) };
    match str::from_utf8(bytes)
        .map_err(|_| "not UTF-8".to_owned())
        .and_then(|text| Accepted::parse(text).map_err(|problem| problem.to_string()))
    {
        Ok(Accepted::Provision(request)) => Ok(Some(request)),
        Ok(Accepted::DayTwo(_)) => {
            Err(Unreadable { path, why: "not the request that the machine was provisioned by".to_owned() })
        }
        Err(why) => Err(Unreadable { path, why }),
    }
}

fn records(files: &BTreeMap<String, Vec<u8>>, folder: &str) -> Result<Vec<Record>, Unreadable> {
    let folder = format!("{folder}/{OPERATIONS}/");
    let mut records = Vec::new();
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with(&folder)) {
        let unreadable = |why: String| Unreadable { path: path.clone(), why };
        let record = Record::parse(bytes).map_err(|problem| unreadable(problem.to_string()))?;
        let name = format!("{folder}{}/{}.yaml", record.request_id(), record.phase);
        if *path != name {
            let why = format!("its content is phase `{}` of `{}`", record.phase, record.request_id());
            return Err(unreadable(why));
        }
        records.push(record);
    }
    records.sort_by_key(|record| record.sequence);
    Ok(records)
}
