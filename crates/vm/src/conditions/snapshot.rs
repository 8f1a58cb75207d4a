//! What a `VirtualMachineSnapshot` says, and what a machine says of its being snapshotted.
//!
//! Sources: kubevirt 1.8 `pkg/storage/snapshot/snapshot.go`, `source.go`; what a cluster was seen to do. A snapshot that could
//! not hold a volume succeeds all the same, and one that succeeded may lose a volume later: both are told here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::view::View;
use super::{State, with_words};

/// What a snapshot has to be.
#[derive(Debug, Clone, Copy)]
pub struct WantedSnapshot<'a> {
    /// The uid of the machine: one that was made anew under the same name is another machine.
    pub machine_uid: &'a str,
    /// The names of the machine's volumes that it has to hold.
    pub volumes: &'a BTreeSet<String>,
    /// Whether the guest's file systems have to have been frozen, or the machine off.
    pub quiesced: bool,
}

/// How far a snapshot is from what is wanted. Pending is never impatient: the deadline is the snapshot's own.
pub fn snapshot_state(snapshot: &Value, wanted: &WantedSnapshot<'_>) -> State {
    let view = View(snapshot);
    if view.deleting() {
        return State::failed("Deleting", format!("is being deleted, kept by {}", kept_by(view)));
    }
    let source = view.text("/status/sourceUID");
    if !source.is_empty() && source != wanted.machine_uid {
        return State::failed("OtherMachine", "is of an earlier machine of this name");
    }
    match view.text("/status/phase") {
        "Failed" => State::failed("SnapshotFailed", with_words("failed", &words(view))),
        "Deleting" => State::failed("Deleting", "is being deleted"),
        "Succeeded" => succeeded(view, wanted),
        _ => State::pending("InProgress", with_words("is in progress", &words(view))),
    }
}

fn succeeded(view: View<'_>, wanted: &WantedSnapshot<'_>) -> State {
    let included = included_volumes(view.0);
    let missing: Vec<&str> =
        wanted.volumes.iter().map(String::as_str).filter(|v| !included.contains(v)).collect();
    if !missing.is_empty() {
        return State::failed(
            "VolumesMissing",
            format!("does not hold {}; it holds {}", listed(&missing), listed(&included)),
        );
    }
    if wanted.quiesced && !quiesced(view.0) {
        let said = indications(view.0);
        let said: Vec<String> = said.iter().map(|(word, words)| with_words(word, words)).collect();
        return State::failed(
            "NotQuiesced",
            format!("was taken of a guest that was not quiesced: {}", said.join(", ")),
        );
    }
    if !view.flag("/status/readyToUse") {
        return State::pending("NotReady", with_words("is taken and not ready to use", &words(view)));
    }
    if view.text("/status/sourceUID").is_empty() {
        return State::pending("NotReady", "does not say which machine it is of");
    }
    State::Ready
}

/// The controller's words: its error, the reason why it failed, or what it is at. Its conditions carry their text in `reason`.
fn words(view: View<'_>) -> String {
    let error = view.text("/status/error/message");
    let failure = view.holds("Failure").map_or("", |c| c.text("/reason"));
    let progress = view.condition("Progressing").map_or("", |c| c.text("/reason"));
    let said = [failure, error];
    let said: Vec<&str> = said.into_iter().filter(|w| !w.is_empty()).collect();
    if said.is_empty() { progress.to_owned() } else { said.join(": ") }
}

fn kept_by(view: View<'_>) -> String {
    let finalizers = view.finalizers();
    if finalizers.is_empty() { "no finalizer".to_owned() } else { finalizers }
}

/// `` `a`, `b` ``, or `no volume`.
pub fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "no volume".to_owned();
    }
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// The names of the volumes that a snapshot holds.
pub fn included_volumes(snapshot: &Value) -> Vec<&str> {
    View(snapshot).list("/status/snapshotVolumes/includedVolumes").filter_map(|v| v.0.as_str()).collect()
}

/// How it was taken, in the controller's words and its explanation of each, which older releases do not give.
pub fn indications(snapshot: &Value) -> Vec<(String, String)> {
    let view = View(snapshot);
    let told: Vec<_> = view
        .list("/status/sourceIndications")
        .map(|i| (i.text("/indication").to_owned(), i.text("/message").to_owned()))
        .collect();
    if told.is_empty() {
        let words = view.list("/status/indications").filter_map(|i| i.0.as_str());
        words.map(|word| (word.to_owned(), String::new())).collect()
    } else {
        told
    }
}

/// Whether what it holds is as the guest's programs meant it: the machine was off (no indication), or its file systems were
/// frozen. A word that is not known counts as a fault.
pub fn quiesced(snapshot: &Value) -> bool {
    let said = indications(snapshot);
    let said: BTreeSet<&str> = said.iter().map(|(word, _)| word.as_str()).collect();
    said.is_empty() || said == BTreeSet::from(["GuestAgent", "Online"])
}

/// The volumes of a machine that are disks of their own, with the claim of each: what a snapshot has to hold. A data volume's
/// claim has its name.
pub fn disk_volumes(vm: &Value) -> BTreeMap<&str, &str> {
    View(vm)
        .list("/spec/template/spec/volumes")
        .filter_map(|volume| {
            let claim = [volume.text("/persistentVolumeClaim/claimName"), volume.text("/dataVolume/name")]
                .into_iter()
                .find(|c| !c.is_empty())?;
            Some((volume.text("/name"), claim))
        })
        .collect()
}

/// Why these volumes of a machine cannot be snapshotted, in the cluster's words. `Err` names one that nothing is said about
/// yet: the machine is new.
pub fn refused_volumes(vm: &Value, volumes: &BTreeSet<String>) -> Result<Vec<String>, String> {
    let view = View(vm);
    let mut refused = Vec::new();
    for volume in volumes {
        let status = view.list("/status/volumeSnapshotStatuses").find(|s| s.text("/name") == volume);
        let Some(status) = status else { return Err(volume.clone()) };
        if !status.flag("/enabled") {
            refused.push(with_words(&format!("volume `{volume}`"), status.text("/reason")));
        }
    }
    Ok(refused)
}

/// What holds a machine, by its name: KubeVirt changes no volume and no power state meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A `VirtualMachineSnapshot`.
    Snapshot(&'a str),
    /// A `VirtualMachineRestore`.
    Restore(&'a str),
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(name) => write!(f, "snapshot `{name}`"),
            Self::Restore(name) => write!(f, "restore `{name}`"),
        }
    }
}

/// What holds a machine, if it is not `ours`. A request's snapshot and its restore may have one name.
pub fn held_by<'a>(vm: &'a Value, ours: Holder<'_>) -> Option<Holder<'a>> {
    let (snapshot, restore) =
        (View(vm).text("/status/snapshotInProgress"), View(vm).text("/status/restoreInProgress"));
    let snapshot = (!snapshot.is_empty()).then_some(Holder::Snapshot(snapshot));
    let restore = (!restore.is_empty()).then_some(Holder::Restore(restore));
    snapshot.into_iter().chain(restore).find(|holder| *holder != ours)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Holder, held_by, quiesced};

    #[test]
    fn point_16_a_request_does_not_take_its_snapshot_for_its_restore() {
        let vm = json!({"status": {"snapshotInProgress": "web01-1a"}});
        assert_eq!(held_by(&vm, Holder::Snapshot("web01-1a")), None);
        assert_eq!(held_by(&vm, Holder::Restore("web01-1a")), Some(Holder::Snapshot("web01-1a")));
        let both = json!({"status": {"snapshotInProgress": "web01-1a", "restoreInProgress": "r"}});
        assert_eq!(held_by(&both, Holder::Snapshot("web01-1a")).unwrap().to_string(), "restore `r`");
        assert_eq!(held_by(&json!({"status": {}}), Holder::Restore("r")), None);
    }

    #[test]
    fn point_06_only_a_machine_that_was_off_or_frozen_is_quiesced() {
        for (words, is) in [
            (json!([]), true),
            (json!(["Online", "GuestAgent"]), true),
            (json!(["GuestAgent"]), false),
            (json!(["Online"]), false),
            (json!(["Online", "NoGuestAgent"]), false),
            (json!(["Online", "GuestAgent", "QuiesceTimeout"]), false),
            (json!(["Online", "GuestAgent", "SomethingNew"]), false),
        ] {
            assert_eq!(quiesced(&json!({"status": {"indications": words}})), is, "{words}");
            let newer: Vec<_> =
                words.as_array().unwrap().iter().map(|w| json!({"indication": w, "message": "…"})).collect();
            assert_eq!(quiesced(&json!({"status": {"sourceIndications": newer}})), is, "{words}");
        }
    }
}
