//! The disks in the values of a machine's chart.

use serde_json::Value;
use step::{Failure, Kind};
use vm::chart::DATA_VOLUMES;
use vm::definition::Machine;
use vm::edit::{Document, Step, path};

use crate::edits::Edits;
use crate::yaml;

/// Put a rendered `DataVolume` to the others.
pub(super) fn add(
    edits: &mut Edits<'_>,
    machine: &Machine,
    name: &str,
    manifest: &str,
) -> Result<(), Failure> {
    let volume: Value =
        yaml::parse(manifest).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    edits.edit(&machine.path, |text| {
        Document::only(text)?.insert_key(&path(DATA_VOLUMES), name, &volume).map(Some)
    })
}

/// Take one away, if it is there.
pub(super) fn remove(edits: &mut Edits<'_>, machine: &Machine, name: &str) -> Result<(), Failure> {
    let at = [DATA_VOLUMES.into(), Step::from(name)];
    edits.edit(&machine.path, |text| {
        let document = Document::only(text)?;
        if document.get(&at).is_none() { Ok(None) } else { document.remove_key(&at).map(Some) }
    })
}
