//! A machine leaves for the archive, and comes back.

use serde_json::Value;
use step::Failure;
use vm::day_two::{DataDisks, Deprovision, Request, Undelete};
use vm::definition::{Definition, Disk, Machine};
use vm::edit::{Document, Fault, Object, Step, path};
use vm::layout::{APPLICATIONS_FILE, ARCHIVED_APPLICATION_FILE, DELETE_PROTECTION_LABEL, TOMBSTONE_FILE};
use vm::operation::{Before, BuriedDisk, Phase, Record, Tombstone};

use crate::edits::{Change, Edits};

use super::{earlier, machine, no, power, within};

/// Where Argo CD reads how to treat an object, and the options that keep it when its file or the Application goes.
const SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";
const KEEP: [&str; 2] = ["Prune=false", "Delete=false"];
/// The delete protection of a machine that is being removed on purpose: no value that OpenShift's policy knows.
const LIFTED: &str = "lifted";
/// Its value of a machine that is protected.
const PROTECTED: &str = "True";

/// Halt the machine; lift its delete protection; let Argo CD delete the data disks, if they are to go.
pub(super) fn stop(edits: &mut Edits<'_>, spec: &Deprovision) -> Result<Before, Failure> {
    let before = power::off(edits)?;
    let machine = machine(edits.definition)?;
    if let Some("true" | "True") = protection(machine) {
        set_protection(edits, machine, LIFTED)?;
    }
    if spec.disks == DataDisks::Delete {
        for disk in machine.data_disks().filter(|disk| disk.kept) {
            sync_options(edits, disk, |options| {
                options.retain(|option| !KEEP.contains(&option.as_str()));
            })?;
        }
    }
    Ok(before)
}

/// Move everything of the machine to the archive.
pub(super) fn remove(mut edits: Edits<'_>, request: &Request) -> Result<Change, Failure> {
    let definition = edits.definition;
    let (target, machine) = (&definition.target, machine(definition)?);
    earlier(definition, &request.metadata.request_id, Phase::Stop)?;
    if machine.is_on() {
        return Err(no("the machine was switched on since it was stopped to be removed"));
    }
    let provision =
        definition.request.as_ref().map_or(&request.metadata.request_id, |r| &r.metadata.request_id);
    let archive = target.archive_path(provision);
    if definition.archived.contains_key(provision) {
        return Err(no(&format!("`{archive}` is there already")));
    }
    let folder = format!("{}/", target.path());
    for (place, bytes) in &definition.files {
        let name = place.strip_prefix(&folder).unwrap_or(place);
        if name == TOMBSTONE_FILE || name == ARCHIVED_APPLICATION_FILE {
            return Err(no(&format!("`{place}` has a name that the archive has a meaning for"))
                .hint("give the file another name"));
        }
        edits.write(format!("{archive}/{name}"), bytes.clone());
        edits.remove(place);
    }
    if let Some(application) = &definition.application {
        edits.write(format!("{archive}/{ARCHIVED_APPLICATION_FILE}"), application.clone());
        edits.remove(&target.application_path());
        edits.write(APPLICATIONS_FILE.to_owned(), "One Argo CD Application for each machine.\n");
    }
    let tombstone = Tombstone::new(request, machine.disks.iter().map(buried).collect());
    edits.write(format!("{archive}/{TOMBSTONE_FILE}"), tombstone.to_yaml());
    let before = Before { run_strategy: Some(machine.run_strategy.clone()), ..Before::default() };
    let record = Record::new(Phase::Remove, definition.next_sequence(), before, request.clone());
    let marker = format!("{archive}/{}", within(&record));
    edits.write(marker.clone(), record.to_yaml());
    Ok(edits.done(marker))
}

/// Move everything back. The machine comes back stopped, as it left; disks that went come back empty, and protected.
pub(super) fn undelete(mut edits: Edits<'_>, request: &Request, spec: &Undelete) -> Result<Change, Failure> {
    let definition = edits.definition;
    let target = &definition.target;
    if definition.exists() || !definition.files.is_empty() {
        return Err(no(&format!("`{}` is there already", target.path())));
    }
    let (provision, life) = definition
        .life(spec.request_id.as_ref())
        .ok_or_else(|| no("the archive does not tell which machine is to come back"))?;
    let archive = format!("{}/", target.archive_path(provision));
    let (mut back, mut application) = (std::collections::BTreeMap::new(), None);
    for (place, bytes) in &life.files {
        match place.strip_prefix(&archive).unwrap_or(place) {
            TOMBSTONE_FILE => {}
            ARCHIVED_APPLICATION_FILE => {
                edits.write(target.application_path(), bytes.clone());
                application = Some((target.application_path(), bytes.clone()));
            }
            name => {
                back.insert(format!("{}/{name}", target.path()), bytes.clone());
            }
        }
        edits.remove(place);
    }
    // it says by which overlay the machine is applied
    let with_application = back.clone().into_iter().chain(application).collect();
    let moved =
        Definition::read(&with_application, target).map_err(|unreadable| no(&unreadable.to_string()))?;
    let mut changed = Edits::new(&moved);
    if let Some(machine) = &moved.machine {
        put_back(&mut changed, &moved, machine, request, life.tombstone.as_ref())?;
    }
    back.extend(changed.done(String::new()).files);
    for (place, bytes) in back {
        edits.write(place, bytes);
    }
    let record = Record::new(Phase::Undelete, moved.next_sequence(), Before::default(), request.clone());
    let marker = record.path();
    edits.write(marker.clone(), record.to_yaml());
    Ok(edits.done(marker))
}

/// What was taken away so that the machine could be removed.
fn put_back(
    edits: &mut Edits<'_>,
    definition: &Definition,
    machine: &Machine,
    _request: &Request,
    tombstone: Option<&Tombstone>,
) -> Result<(), Failure> {
    if protection(machine) == Some(LIFTED) {
        set_protection(edits, machine, PROTECTED)?;
    }
    // by the record of the removal: a disk that was never kept stays so
    let removal = definition.records.iter().rev().find(|record| record.phase == Phase::Remove);
    let deleted = removal.is_some_and(|record| match &record.request.spec.operation {
        vm::day_two::Operation::Deprovision(spec) => spec.disks == DataDisks::Delete,
        _ => false,
    });
    let went = |disk: &Disk| {
        tombstone.is_some_and(|t| t.disks.iter().any(|buried| buried.claim == disk.claim && !buried.kept))
    };
    for disk in machine.data_disks().filter(|disk| deleted && disk.file.is_some() && went(disk)) {
        sync_options(edits, disk, |options| {
            let missing = KEEP.iter().filter(|keep| !options.iter().any(|option| option == **keep));
            let missing: Vec<String> = missing.map(|keep| (*keep).to_owned()).collect();
            options.extend(missing);
        })?;
    }
    Ok(())
}

fn buried(disk: &Disk) -> BuriedDisk {
    // what neither a file of the machine nor the machine itself makes does not go with them
    let kept = disk.kept || (disk.file.is_none() && !disk.template);
    BuriedDisk { name: disk.name.clone(), claim: disk.claim.clone(), kept }
}

fn protection(machine: &Machine) -> Option<&str> {
    machine.document.pointer("/metadata/labels")?.get(DELETE_PROTECTION_LABEL)?.as_str()
}

fn set_protection(edits: &mut Edits<'_>, machine: &Machine, value: &str) -> Result<(), Failure> {
    let mut at = path("metadata.labels");
    at.push(Step::Key(DELETE_PROTECTION_LABEL.to_owned()));
    edits.machine(machine, |document| document.set(&at, &value.into()).map(Some))
}

/// Change the options by which Argo CD treats a disk.
fn sync_options(
    edits: &mut Edits<'_>,
    disk: &Disk,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<(), Failure> {
    let Some(file) = &disk.file else { return Ok(()) };
    let namespace = edits.definition.target.namespace.as_str();
    edits.edit(file, |text| {
        let document = maker(text, namespace, &disk.claim)?;
        let annotations = path("metadata.annotations");
        let at = [annotations.clone(), vec![Step::Key(SYNC_OPTIONS.to_owned())]].concat();
        let options = document.get(&at).and_then(Value::as_str);
        let mut new: Vec<String> = options
            .into_iter()
            .flat_map(|options| options.split(','))
            .map(|option| option.trim().to_owned())
            .filter(|option| !option.is_empty())
            .collect();
        change(&mut new);
        let value = Value::from(new.join(","));
        let others = document.get(&annotations).and_then(Value::as_object).map_or(0, serde_json::Map::len);
        let edited = match (options, new.is_empty()) {
            (None, true) => return Ok(None),
            // the only annotation: its mapping would have to go too
            (Some(_), true) if others > 1 => document.remove_key(&at),
            (Some(_), _) => document.set(&at, &value),
            (None, false) if others > 0 => document.insert_key(&annotations, SYNC_OPTIONS, &value),
            (None, false) => {
                let annotations = serde_json::json!({ SYNC_OPTIONS: value });
                document.insert_key(&path("metadata"), "annotations", &annotations)
            }
        };
        edited.map(Some)
    })
}

/// The document that makes a claim.
fn maker<'t>(text: &'t str, namespace: &str, claim: &str) -> Result<Document<'t>, Fault> {
    let object = |group, kind| Object { group, kind, namespace: Some(namespace), name: claim };
    Document::object(text, &object("cdi.kubevirt.io", "DataVolume"))
        .or_else(|_| Document::object(text, &object("", "PersistentVolumeClaim")))
}
