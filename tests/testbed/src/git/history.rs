//! Who was told what, and whether the repository agrees.
//!
//! Every run of a pusher is recorded with what it wanted, when it ran and what it was told. Afterwards the branch has to hold
//! each acknowledged request exactly once, with its bytes and nothing else, in an order that nobody who was told can
//! contradict. A request is known by the trailer `Request-Id` of its commit.

mod log;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Result;

use super::{Repository, lock};
use log::{Commit, Log, blob};

/// What a run wants of the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The value of its commit's trailer.
    pub id: String,
    /// The commit that its files were made against; without one all of them are new.
    pub base: Option<String>,
    /// What it writes, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What it adds where nothing is.
    pub kept: BTreeMap<String, Vec<u8>>,
}

/// What a run was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The change is on the branch, made by this commit.
    Made(String),
    /// It was made, and a later one has replaced it.
    Replaced,
    /// It was not made.
    Not,
    /// Nothing: it was killed, or could not find out.
    Unknown,
}

impl Told {
    /// What an exit code of this project's binaries says (docs/reference/steps.md); `None` is a killed process.
    pub fn new(code: Option<i32>, commit: &str) -> Self {
        match code {
            Some(0) => Self::Made(commit.to_owned()),
            Some(21) => Self::Replaced,
            Some(2 | 10 | 11 | 20 | 30 | 31 | 50) => Self::Not,
            _ => Self::Unknown,
        }
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it wanted. Runs with the same id are the same request again, or another that has no right to that id.
    pub request: Request,
    /// What it was told.
    pub told: Told,
    /// Before it was started.
    pub began: Instant,
    /// After it had ended.
    pub ended: Instant,
}

/// What must not be. Requests are named by their ids, commits by theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// Somebody was told that the change is or was on the branch, and it is not, or not by that commit.
    Lost {
        /// What was asked for.
        request: String,
        /// What was told; none for [`Told::Replaced`].
        commit: Option<String>,
    },
    /// A request is there more than once.
    Twice {
        /// What was asked for.
        request: String,
        /// All that carry it out, oldest first.
        commits: Vec<String>,
    },
    /// A request is there, and everybody was told that it is not.
    Denied {
        /// What was asked for.
        request: String,
        /// What carries it out.
        commit: String,
    },
    /// A commit leaves other bytes at a path than its request wanted.
    Bytes {
        /// The commit.
        commit: String,
        /// The path.
        path: String,
    },
    /// A commit replaces what its request had not seen.
    Overwritten {
        /// The commit.
        commit: String,
        /// The path.
        path: String,
    },
    /// A commit changes a path that is none of its request's.
    Strayed {
        /// The commit.
        commit: String,
        /// The path.
        path: String,
    },
    /// A commit that nobody has asked for.
    Foreign(String),
    /// A commit that was there is not on the branch any more.
    Gone(String),
    /// A commit with more than one parent.
    Merge(String),
    /// One request was acknowledged before another was begun, and comes after it.
    Order {
        /// The one that was acknowledged.
        first: String,
        /// The one that was begun then.
        second: String,
    },
    /// What `git fsck` says.
    Unsound(String),
}

/// The runs on the branch `main` of one repository.
#[derive(Debug)]
pub struct History {
    repository: Repository,
    /// Commits that are there without a request.
    others: Mutex<BTreeSet<String>>,
    runs: Mutex<Vec<Run>>,
}

impl History {
    /// From now on; what is on the branch already is nobody's request.
    pub fn begin(repository: &Repository) -> Result<Self> {
        let others = repository.log()?.into_iter().collect();
        Ok(Self { repository: repository.clone(), others: Mutex::new(others), runs: Mutex::default() })
    }

    /// A run has ended.
    pub fn ran(&self, run: Run) {
        lock(&self.runs).push(run);
    }

    /// The test itself has made this commit.
    pub fn made(&self, commit: &str) {
        lock(&self.others).insert(commit.to_owned());
    }

    /// Read the repository, and hold it against what was told: what must not be, empty if all is well.
    pub fn check(&self) -> Result<Vec<Anomaly>> {
        let log = Log::read(&self.repository)?;
        let (runs, others) = (lock(&self.runs).clone(), lock(&self.others).clone());
        let mut requests: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in &runs {
            requests.entry(&run.request.id).or_default().push(run);
        }
        let mut found = Vec::new();
        found.extend(self.repository.fsck().err().map(|error| Anomaly::Unsound(error.to_string())));
        found.extend(others.iter().filter(|o| !log.has(o)).map(|commit| Anomaly::Gone(commit.clone())));
        let mut commits: BTreeMap<&str, Vec<&Commit>> = BTreeMap::new();
        for commit in &log.commits {
            if commit.parents > 1 {
                found.push(Anomaly::Merge(commit.id.clone()));
            }
            match commit.request.as_str() {
                _ if others.contains(&commit.id) => {}
                id if requests.contains_key(id) => commits.entry(id).or_default().push(commit),
                _ => found.push(Anomaly::Foreign(commit.id.clone())),
            }
        }
        for (id, runs) in &requests {
            let commits = commits.get(id).map_or(&[][..], Vec::as_slice);
            found.extend(told(id, runs, commits));
            found.extend(commits.iter().flat_map(|commit| content(commit, runs, &log)));
        }
        found.extend(order(&requests, &commits));
        Ok(found)
    }
}

/// What was told of one request, against its commits.
fn told(id: &str, runs: &[&Run], commits: &[&Commit]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for run in runs {
        let commit = match &run.told {
            Told::Made(made) if commits.iter().all(|c| c.id != *made) => Some(made.clone()),
            Told::Replaced if commits.is_empty() => None,
            _ => continue,
        };
        found.push(Anomaly::Lost { request: id.to_owned(), commit });
    }
    if commits.len() > 1 {
        let commits = commits.iter().map(|c| c.id.clone()).collect();
        found.push(Anomaly::Twice { request: id.to_owned(), commits });
    }
    if let Some(commit) = commits.first()
        && runs.iter().all(|run| run.told == Told::Not)
    {
        found.push(Anomaly::Denied { request: id.to_owned(), commit: commit.id.clone() });
    }
    found
}

/// What a commit did, against what some run of its request wanted.
fn content(commit: &Commit, runs: &[&Run], log: &Log) -> Vec<Anomaly> {
    let mut wanted = runs.iter().map(|run| differs(commit, &run.request, log));
    let first = wanted.next().unwrap_or_default();
    if first.is_empty() || wanted.any(|differences| differences.is_empty()) { Vec::new() } else { first }
}

fn differs(commit: &Commit, request: &Request, log: &Log) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let bytes = |path: &str| Anomaly::Bytes { commit: commit.id.clone(), path: path.to_owned() };
    for change in &commit.changes {
        let path = change.path.as_str();
        let (wanted, seen) = if let Some(bytes) = request.files.get(path) {
            (bytes, request.base.as_deref().and_then(|base| log.at(base, path)))
        } else if let Some(bytes) = request.kept.get(path) {
            (bytes, None)
        } else {
            found.push(Anomaly::Strayed { commit: commit.id.clone(), path: path.to_owned() });
            continue;
        };
        if change.before.as_deref() != seen {
            found.push(Anomaly::Overwritten { commit: commit.id.clone(), path: path.to_owned() });
        }
        if change.after.as_ref() != Some(&blob(wanted)) {
            found.push(bytes(path));
        }
    }
    let untouched = |path: &str| commit.changes.iter().all(|change| change.path != path);
    for (path, wanted) in request.files.iter().filter(|(path, _)| untouched(path)) {
        if log.at(&commit.id, path) != Some(blob(wanted).as_str()) {
            found.push(bytes(path));
        }
    }
    for path in request.kept.keys().filter(|path| untouched(path)) {
        if log.at(&commit.id, path).is_none() {
            found.push(bytes(path));
        }
    }
    found
}

/// Whoever was told of one request before another was begun finds them in that order.
fn order(requests: &BTreeMap<&str, Vec<&Run>>, commits: &BTreeMap<&str, Vec<&Commit>>) -> Vec<Anomaly> {
    // each with its place, when the first of its runs was begun, and when the first of them was told
    let mut all = Vec::new();
    for (id, commits) in commits {
        let runs = &requests[id];
        let Some(began) = runs.iter().map(|run| run.began).min() else { continue };
        let told = runs.iter().filter(|run| matches!(run.told, Told::Made(_))).map(|run| run.ended).min();
        all.extend(commits.first().map(|commit| (commit.place, *id, began, told)));
    }
    all.sort_unstable_by_key(|(place, ..)| std::cmp::Reverse(*place));
    let (mut found, mut earliest) = (Vec::new(), None::<(Instant, &str)>);
    for (_, id, began, told) in all {
        if let Some((first_told, first)) = earliest
            && first_told < began
        {
            found.push(Anomaly::Order { first: first.to_owned(), second: id.to_owned() });
        }
        earliest = earliest.into_iter().chain(told.map(|told| (told, id))).min();
    }
    found
}
