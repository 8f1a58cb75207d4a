//! What goes wrong on demand.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::Virt;
use crate::standin::{self, key, now, set_condition};

/// What keeps a machine from running as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The scheduler finds no node, in these words.
    Unschedulable(String),
    /// A container disk's image cannot be pulled: `ErrImagePull`, then `ImagePullBackOff`, in these words.
    ImagePull(String),
    /// The guest ends as soon as it starts, again and again: `CrashLoopBackOff`.
    Crash,
    /// The instance stays Scheduled while its guest runs: virt-handler cannot write its status (measured: a container disk's
    /// checksum above 2³¹ on KubeVirt 1.8).
    Wedged,
    /// The instance cannot be made: condition Failure with this reason and these words (`FailedCreate` of
    /// pkg/virt-controller/watch/vm/vm.go, a quota for example).
    NotMade(&'static str, String),
    /// Somebody pauses the guest as soon as it runs: condition Paused.
    Paused,
    /// The guest is on its way to another node as soon as it runs.
    Migrating,
    /// The guest ignores the power button, as a blank disk does: it is ended when its grace is over.
    Deaf,
    /// Condition `RestartRequired` in these words, rightly or not (kubevirt#17610).
    RestartRequired(String),
}

impl Virt {
    /// What is wrong with a machine or with an instance, by its name.
    pub(super) fn wrong(&self, object: &Value) -> Option<Fault> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.get(&key(object)).cloned()
    }

    /// The conditions that a fault adds to a machine.
    pub(super) fn complain(&self, machine: &Value, instance: Option<&Value>, conditions: &mut Vec<Value>) {
        let complaint = match (self.wrong(machine), instance) {
            (Some(Fault::NotMade(reason, words)), None) => ("Failure", reason, words),
            (Some(Fault::RestartRequired(words)), Some(_)) => ("RestartRequired", "", words),
            _ => return super::status::forgive(conditions),
        };
        let (kind, reason, words) = complaint;
        let mut condition = json!({
            "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now(), "message": words,
        });
        if !reason.is_empty() {
            condition["reason"] = json!(reason);
        }
        // it was taken away before, and is as old as it was
        let before = standin::condition(machine, kind).map(|before| before["lastTransitionTime"].clone());
        if let Some(before) = before {
            condition["lastTransitionTime"] = before;
        }
        set_condition(conditions, condition);
    }
}
