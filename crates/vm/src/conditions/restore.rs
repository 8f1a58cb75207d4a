//! What a `VirtualMachineRestore` says, what it leaves behind, and what has to hold before there may be one.
//!
//! Sources: kubevirt 1.8 `pkg/storage/snapshot/restore.go`, `pkg/storage/admitters/vmrestore.go`; what a cluster was seen to do.
//! Only the condition `Failure` is final. Every other error is written to `Progressing` and tried again for ever.

use std::collections::BTreeSet;

use serde_json::Value;

use super::view::View;
use super::{State, with_words};

/// On the machine and on each claim: `<name>-<uid>` of the restore that made it what it is.
pub const LAST_RESTORE: &str = "restore.kubevirt.io/lastRestoreUID";
/// The characters of a uid.
const UID: usize = 36;

/// How far a restore is.
pub fn restore_state(restore: &Value) -> State {
    let view = View(restore);
    if view.flag("/status/complete") {
        return State::Ready;
    }
    if let Some(failure) = view.holds("Failure") {
        return State::failed("RestoreFailed", with_words("failed", failure.text("/reason")));
    }
    if view.deleting() {
        return State::failed("Deleting", "is being deleted");
    }
    let progress = view.condition("Progressing").map_or("", |c| c.text("/reason"));
    State::pending("Restoring", with_words("is in progress", progress))
}

/// Whether it has begun with the claims: from here on they are the snapshot's or gone, and only its end makes them whole.
pub fn touched(restore: &Value) -> bool {
    View(restore).list("/status/restores").next().is_some()
}

/// Whether the last restore of this machine or claim had this name.
pub fn restored_by(object: &Value, restore: &str) -> bool {
    let last = last_restore(object);
    last.strip_prefix(restore).and_then(|rest| rest.strip_prefix('-')).is_some_and(|uid| uid.len() == UID)
}

/// `<name>-<uid>` of the last restore of this machine or claim; empty if there was none.
pub fn last_restore(object: &Value) -> &str {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|a| a.get(LAST_RESTORE)).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an object would be deleted together with a machine.
pub fn owned_by_a_machine(object: &Value) -> bool {
    View(object).list("/metadata/ownerReferences").any(is_machine)
}

/// The owners of an object but for machines.
pub fn other_owners(object: &Value) -> Vec<Value> {
    let owners = View(object).list("/metadata/ownerReferences");
    owners.filter(|owner| !is_machine(*owner)).map(|owner| owner.0.clone()).collect()
}

fn is_machine(owner: View<'_>) -> bool {
    owner.text("/kind") == "VirtualMachine" && owner.text("/apiVersion").starts_with("kubevirt.io/")
}

/// The data volumes that the machine itself makes from its templates: they are its own by design.
pub fn templates(vm: &Value) -> BTreeSet<&str> {
    View(vm).list("/spec/dataVolumeTemplates").map(|t| t.text("/metadata/name")).collect()
}

/// Why a machine is not surely off, as a predicate; none if it is: declared so, without an instance, and with nothing under
/// way that would make one.
pub fn not_off(vm: &Value, vmi: Option<&Value>) -> Option<String> {
    let view = View(vm);
    let strategy = view.text("/spec/runStrategy");
    let declared = strategy == "Halted" || view.0.pointer("/spec/running") == Some(&Value::Bool(false));
    if !declared {
        let word = if strategy.is_empty() { "running" } else { strategy };
        return Some(format!("is declared `{word}`, not `Halted`"));
    }
    if let Some(vmi) = vmi {
        let phase = View(vmi).text("/status/phase");
        return Some(with_words("still has an instance", phase));
    }
    if view.flag("/status/created") {
        return Some("still counts as created".to_owned());
    }
    let wish = view.list("/status/stateChangeRequests").next();
    wish.map(|wish| format!("has a request to {} before it", wish.text("/action").to_lowercase()))
}

/// One disk that a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup<'a> {
    /// The name of the volume in the machine.
    pub volume: &'a str,
    /// The claim that it was.
    pub claim: &'a str,
    /// The storage's snapshot of it.
    pub volume_snapshot: &'a str,
    /// The claim's `spec` as it was.
    pub spec: &'a Value,
}

/// The disks that a `VirtualMachineSnapshotContent` holds, in its own order.
pub fn backups(content: &Value) -> Vec<Backup<'_>> {
    View(content)
        .list("/spec/volumeBackups")
        .map(|backup| Backup {
            volume: backup.text("/volumeName"),
            claim: backup.text("/persistentVolumeClaim/metadata/name"),
            volume_snapshot: backup.text("/volumeSnapshotName"),
            spec: backup.0.pointer("/persistentVolumeClaim/spec").unwrap_or(&Value::Null),
        })
        .collect()
}

/// Why these disks of a snapshot are not those of the machine, as a predicate; none if each is. Disks that the machine has
/// besides are not touched by a restore.
pub fn other_disks(vm: &Value, backups: &[Backup<'_>]) -> Option<String> {
    let disks = super::snapshot::disk_volumes(vm);
    backups.iter().find_map(|backup| match disks.get(backup.volume) {
        Some(claim) if *claim == backup.claim => None,
        Some(claim) => Some(format!(
            "holds volume `{}` as claim `{}`, and the machine has claim `{claim}` there now",
            backup.volume, backup.claim
        )),
        None => Some(format!("holds volume `{}`, which the machine does not have", backup.volume)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{not_off, owned_by_a_machine, restored_by};

    #[test]
    fn point_25_a_restore_is_known_by_its_whole_name() {
        let uid = "0fa5b115-deea-41b2-b9ba-d3a9c58926ba";
        let by = |stamp: String| json!({"metadata": {"annotations": {"restore.kubevirt.io/lastRestoreUID": stamp}}});
        assert!(restored_by(&by(format!("r1-{uid}")), "r1"));
        for other in [format!("r1-2-{uid}"), format!("r-{uid}"), "r1-".to_owned(), format!("r1{uid}")] {
            assert!(!restored_by(&by(other.clone()), "r1"), "{other}");
        }
        assert!(!restored_by(&json!({}), "r1"));
    }

    #[test]
    fn point_17_off_is_declared_and_seen() {
        let vm = |spec: Value, status: Value| json!({"spec": spec, "status": status});
        let halted = json!({"runStrategy": "Halted"});
        assert_eq!(not_off(&vm(halted.clone(), json!({"printableStatus": "Stopped"})), None), None);
        assert_eq!(not_off(&vm(json!({"running": false}), json!({})), None), None);
        let stopped = json!({"printableStatus": "Stopped"});
        for (spec, status, vmi, why) in [
            (json!({"runStrategy": "Manual"}), stopped.clone(), None, "is declared `Manual`, not `Halted`"),
            (json!({"running": true}), stopped.clone(), None, "is declared `running`, not `Halted`"),
            (halted.clone(), stopped, Some(json!({})), "still has an instance"),
            (halted.clone(), json!({"created": true}), None, "still counts as created"),
        ] {
            assert_eq!(not_off(&vm(spec, status), vmi.as_ref()).as_deref(), Some(why));
        }
    }

    #[test]
    fn point_01_only_a_machine_takes_its_disks_with_it() {
        let owned = |kind: &str, version: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "apiVersion": version}]}});
        assert!(owned_by_a_machine(&owned("VirtualMachine", "kubevirt.io/v1")));
        assert!(owned_by_a_machine(&owned("VirtualMachine", "kubevirt.io/v1alpha3")));
        assert!(!owned_by_a_machine(&owned("DataVolume", "cdi.kubevirt.io/v1beta1")));
        assert!(!owned_by_a_machine(&owned("VirtualMachine", "compute.example/v1")));
        assert!(!owned_by_a_machine(&json!({"metadata": {}})));
    }
}
