//! What of an object is compared.
//!
//! Messages, times, addresses and names are not: they differ between clusters, or the tests of the stand-ins look at them.

use serde_json::Value;

use crate::standin::{condition, items, text};

/// What there is of an object: its values by facet. `-` is a field that is not there.
pub fn of(kind: &str, object: &Value) -> Vec<(&'static str, String)> {
    let mut facets = vec![("exists", exists(object).to_owned())];
    let at = |pointer: &str| or_none(text(object, pointer));
    let holds = |kind: &str| said(object, kind, Said::Status);
    let why = |kind: &str| said(object, kind, Said::StatusAndReason);
    match kind {
        "VirtualMachine" => facets.extend([
            ("printableStatus", at("/status/printableStatus")),
            ("created", flag(object, "/status/created")),
            ("ready", flag(object, "/status/ready")),
            ("Ready", why("Ready")),
            ("Failure", why("Failure")),
            ("Paused", holds("Paused")),
            ("RestartRequired", holds("RestartRequired")),
            ("startFailure", crashes(object)),
            ("runStrategy", at("/status/runStrategy")),
        ]),
        "VirtualMachineInstance" => facets.extend([
            ("phase", at("/status/phase")),
            ("Ready", why("Ready")),
            ("PodScheduled", why("PodScheduled")),
            ("Synchronized", why("Synchronized")),
            ("DataVolumesReady", why("DataVolumesReady")),
        ]),
        "DataVolume" => facets.extend([
            ("phase", at("/status/phase")),
            ("Bound", why("Bound")),
            ("Ready", holds("Ready")),
            ("Running", why("Running")),
        ]),
        "PersistentVolumeClaim" => facets.push(("phase", at("/status/phase"))),
        "Application" => facets.extend([
            ("sync", at("/status/sync/status")),
            ("health", at("/status/health/status")),
            ("revision", revision(text(object, "/status/sync/revision")).to_owned()),
            ("operation", at("/status/operationState/phase")),
            ("conditions", conditions(object)),
            ("health of resources", health_of_resources(object).to_owned()),
        ]),
        _ => {}
    }
    facets
}

/// Of an object that is gone.
pub fn gone() -> Vec<(&'static str, String)> {
    vec![("exists", "no".to_owned())]
}

fn exists(object: &Value) -> &'static str {
    if object["metadata"].get("deletionTimestamp").is_some() { "is being deleted" } else { "yes" }
}

#[derive(Clone, Copy)]
enum Said {
    Status,
    StatusAndReason,
}

fn said(object: &Value, kind: &str, what: Said) -> String {
    let Some(found) = condition(object, kind) else { return or_none("") };
    let (status, reason) = (text(found, "/status"), text(found, "/reason"));
    match what {
        // of what holds, the reason is written by some releases and not by others
        Said::StatusAndReason if status != "True" && !reason.is_empty() => format!("{status} {reason}"),
        _ => or_none(status),
    }
}

fn flag(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).map_or_else(|| or_none(""), Value::to_string)
}

/// Whether starts have failed; how often depends on how long one looks.
fn crashes(object: &Value) -> String {
    let failed = object.pointer("/status/startFailure/consecutiveFailCount").is_some();
    or_none(if failed { "yes" } else { "" })
}

/// Argo CD puts the branch's name there where it has no manifests (measured.md).
fn revision(revision: &str) -> &'static str {
    let hex = |byte: u8| byte.is_ascii_hexdigit();
    match revision {
        "" => "-",
        commit if commit.len() == 40 && commit.bytes().all(hex) => "a commit",
        _ => "a name",
    }
}

fn conditions(application: &Value) -> String {
    let mut kinds: Vec<_> =
        items(application, "/status/conditions").iter().map(|one| text(one, "/type")).collect();
    kinds.sort_unstable();
    kinds.dedup();
    or_none(&kinds.join(" "))
}

/// Where Argo CD keeps it (measured.md: not in the Application).
fn health_of_resources(application: &Value) -> &'static str {
    let resources = items(application, "/status/resources");
    match resources.iter().any(|one| one.get("health").is_some()) {
        _ if resources.is_empty() => "-",
        true => "in the Application",
        false => "elsewhere",
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
