//! What is wanted, from the flags and from the request.

use std::time::Duration;

use cluster::{
    APPLICATION, Object, VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE, VIRTUAL_MACHINE_RESTORE,
    VIRTUAL_MACHINE_SNAPSHOT,
};
use serde_json::{Value, json};
use snapshots::{machine, text};
use step::{Failure, Kind};
use vm::day_two::Operation;
use vm::layout::{REQUEST_ID_ANNOTATION, snapshot_name};
use vm::name::Label;
use vm::request::Accepted;

use crate::Args;

/// On a restore: what of the machine's `spec` it is about to change without being asked to.
const BEFORE: &str = "vmlifecycle.dev/before";
/// On a snapshot, with the restore's name behind it: that restore is complete.
const RESTORED: &str = "restore.vmlifecycle.dev";

/// A failure with its one word.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) reason: &'static str,
    pub(crate) failure: Failure,
}

impl Stop {
    pub(crate) const fn new(reason: &'static str, failure: Failure) -> Self {
        Self { reason, failure }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::new("Error", failure)
    }
}

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) vm: Object,
    pub(crate) vmi: Object,
    pub(crate) snapshot: Object,
    pub(crate) restore: Object,
    pub(crate) application: Option<Object>,
    /// Whose restore it is, and who pauses Argo CD; without a request, whoever gave the restore's name.
    pub(crate) id: String,
    pub(crate) deadline: Duration,
}

impl Wanted {
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        let usage = |what: &str| Failure::new(Kind::Usage, what);
        let request = args.request_file.as_deref().map(read).transpose()?;
        let vm = machine(args.vm.as_ref(), request.as_ref())?;
        let of_request = match request.as_ref().and_then(Accepted::day_two).map(|r| &r.spec.operation) {
            Some(Operation::Restore(spec)) => Some(spec.snapshot.to_string()),
            _ => None,
        };
        let snapshot = args.snapshot.clone().or(of_request).ok_or_else(|| {
            usage("neither `--snapshot` nor a restore's `--request-file` says which snapshot")
        })?;
        let restore =
            args.restore_name.clone().or_else(|| request.as_ref().map(snapshot_name)).ok_or_else(|| {
                usage("neither `--restore-name` nor `--request-file` says which restore this is")
            })?;
        let restore: Label = restore
            .parse()
            .map_err(|why| usage(&format!("`--restore-name` is not a name for a restore: {why}")))?;
        let named = |kind, name: &str| {
            vm.sibling(name)
                .map(|name| Object { kind, name })
                .map_err(|why| usage(&format!("`{name}`: {why}")))
        };
        Ok(Self {
            snapshot: named(VIRTUAL_MACHINE_SNAPSHOT, &snapshot)?,
            restore: named(VIRTUAL_MACHINE_RESTORE, restore.as_str())?,
            application: args.application.clone().map(|name| Object { kind: APPLICATION, name }),
            id: request.as_ref().map_or_else(|| restore.to_string(), |r| r.request_id().to_string()),
            deadline: args.deadline.get(),
            vmi: Object { kind: VIRTUAL_MACHINE_INSTANCE, name: vm.clone() },
            vm: Object { kind: VIRTUAL_MACHINE, name: vm },
        })
    }

    /// The object to create. `Vm` owns what it restores unless told otherwise, where it can be told.
    pub(crate) fn body(&self, ownership: bool, vm: &Value) -> Value {
        let mut spec = json!({
            "target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": self.vm.name.name()},
            "virtualMachineSnapshotName": self.snapshot.name.name(),
            "volumeRestorePolicy": "InPlace",
            // the machine is off: should it not be, nothing is to be touched
            "targetReadinessPolicy": "FailImmediate",
        });
        if ownership {
            spec["volumeOwnershipPolicy"] = json!("None");
        }
        let before = Value::Object(
            ["instancetype", "preference"]
                .map(|m| (m.to_owned(), json!(pinned(vm, m))))
                .into_iter()
                .collect(),
        );
        json!({
            "metadata": {"annotations": {REQUEST_ID_ANNOTATION: self.id, BEFORE: before.to_string()}},
            "spec": spec
        })
    }

    /// Whether a restore is this request's, of this machine, from this snapshot.
    pub(crate) fn owns(&self, restore: &Value) -> bool {
        annotation(restore, REQUEST_ID_ANNOTATION) == self.id
            && text(restore, "/spec/target/name") == self.vm.name.name()
            && text(restore, "/spec/virtualMachineSnapshotName") == self.snapshot.name.name()
    }

    /// The annotation on the snapshot that says that this restore is complete. A restore's name is a label, so this is a key.
    pub(crate) fn mark(&self) -> String {
        format!("{RESTORED}/{}", self.restore.name.name())
    }

    /// The same, as a note in the Lease: the snapshot may be gone one day.
    pub(crate) fn note(&self) -> String {
        format!("restored/{}", self.restore.name.name())
    }
}

/// The revision that the machine's instance type or preference is held at; empty if it follows its name.
pub(crate) fn pinned<'a>(vm: &'a Value, matcher: &str) -> &'a str {
    text(vm, &format!("/spec/{matcher}/revisionName"))
}

/// The matchers (`instancetype`, `preference`) that followed their name before this restore.
pub(crate) fn followed_before(restore: &Value) -> Vec<String> {
    let before: Value = serde_json::from_str(annotation(restore, BEFORE)).unwrap_or_default();
    let matchers = before.as_object().into_iter().flatten();
    matchers.filter(|(_, revision)| *revision == "").map(|(matcher, _)| matcher.clone()).collect()
}

/// The value of an annotation, or the empty text.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|a| a.get(key)).and_then(Value::as_str).unwrap_or_default()
}

fn read(path: &std::path::Path) -> Result<Accepted, Failure> {
    let what = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("cannot read request `{}`: {why}", path.display()))
            .hint("give the file that validate-request has written")
    };
    let text = std::fs::read_to_string(path).map_err(|e| what(&e))?;
    Accepted::parse(&text).map_err(|problem| what(&problem))
}
