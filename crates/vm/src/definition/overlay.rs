//! The overlay of Kustomize that a machine is applied by, where `render-vm --layout kustomize` gave it one.
//!
//! Only what that writes is known: `power.yaml` and `memory.yaml`, a value each. Which overlay counts is for the Argo CD
//! Application to say. What else people patch in an overlay is not read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Machine, Unreadable};
use crate::layout::{KUSTOMIZATION_FILE, MEMORY_FILE, OVERLAYS, POWER_FILE};
use crate::request::Target;
use crate::yaml;

const STRATEGY: &str = "/spec/runStrategy";
const MEMORY: &str = "/spec/template/spec/domain/memory/guest";

/// Whether a file, by its path in the machine's folder, is such a value: it looks like a machine and is none.
pub(super) fn is_patch(within: &str) -> bool {
    matches!(within.split('/').collect::<Vec<_>>()[..], [OVERLAYS, _, POWER_FILE | MEMORY_FILE])
}

/// Whether a file, by its path in the machine's folder, is one of an overlay.
pub(super) fn is_in_one(within: &str) -> bool {
    within.strip_prefix(OVERLAYS).is_some_and(|rest| rest.starts_with('/'))
}

/// The machine as the overlay makes it, and where the values of the overlay are.
pub(super) fn laid_over(
    mut machine: Machine,
    files: &BTreeMap<String, Vec<u8>>,
    target: &Target,
) -> Result<Machine, Unreadable> {
    let Some(folder) = applied(files, target)? else { return Ok(machine) };
    named_as_its_folder(files, format!("{folder}/{KUSTOMIZATION_FILE}"))?;
    if let Some((path, value)) = value(files, format!("{folder}/{POWER_FILE}"), STRATEGY)? {
        set(&mut machine.document, &path, STRATEGY, &value)?;
        machine.run_strategy = value;
        machine.power_path = path;
    }
    if let Some((path, value)) = value(files, format!("{folder}/{MEMORY_FILE}"), MEMORY)? {
        set(&mut machine.document, &path, MEMORY, &value)?;
        machine.memory_path = path;
    }
    Ok(machine)
}

/// The overlay's folder, if the Application names one of the machine's.
fn applied(files: &BTreeMap<String, Vec<u8>>, target: &Target) -> Result<Option<String>, Unreadable> {
    let path = target.application_path();
    let Some(bytes) = files.get(&path) else { return Ok(None) };
    let documents = yaml::documents(bytes).map_err(|why| Unreadable { path, why })?;
    let sources = documents.iter().filter_map(|document| document.pointer("/spec/source/path")?.as_str());
    let overlays = format!("{}/{OVERLAYS}/", target.path());
    let named =
        sources.map(|source| source.trim_end_matches('/')).find(|source| source.starts_with(&overlays));
    Ok(named.map(str::to_owned))
}

/// Requests name a machine by its folder, and every step behind them looks for it by that name.
fn named_as_its_folder(files: &BTreeMap<String, Vec<u8>>, path: String) -> Result<(), Unreadable> {
    let Some(bytes) = files.get(&path) else { return Ok(()) };
    let documents = yaml::documents(bytes).map_err(|why| Unreadable { path: path.clone(), why })?;
    let renames = |key: &&str| documents.iter().any(|list| list.get(*key).is_some_and(|name| *name != ""));
    match ["namePrefix", "nameSuffix"].into_iter().find(renames) {
        None => Ok(()),
        Some(key) => {
            let why = format!("its `{key}` gives the machine another name than that of its folder");
            Err(Unreadable { path, why })
        }
    }
}

/// The one value of a file of the overlay, if the file is there.
fn value(
    files: &BTreeMap<String, Vec<u8>>,
    path: String,
    pointer: &str,
) -> Result<Option<(String, String)>, Unreadable> {
    let Some(bytes) = files.get(&path) else { return Ok(None) };
    let documents = yaml::documents(bytes).map_err(|why| Unreadable { path: path.clone(), why })?;
    match documents.iter().find_map(|document| document.pointer(pointer)?.as_str()) {
        Some(value) => Ok(Some((path, value.to_owned()))),
        None => Err(Unreadable { path, why: format!("it has no text at `{pointer}`") }),
    }
}

fn set(document: &mut Value, path: &str, pointer: &str, value: &str) -> Result<(), Unreadable> {
    match document.pointer_mut(pointer) {
        Some(place) => {
            *place = Value::from(value);
            Ok(())
        }
        None => Err(Unreadable {
            path: path.to_owned(),
            why: format!("it sets `{pointer}`, and the machine in the base has none"),
        }),
    }
}
