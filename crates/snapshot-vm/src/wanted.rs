//! What is wanted, from the flags and from the request.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::{Name, Object, VIRTUAL_MACHINE_SNAPSHOT};
use serde_json::{Value, json};
use snapshots::{machine, text};
use step::{Failure, Kind, refuse};
use vm::day_two::{Operation, Snapshot};
use vm::layout::{ENVIRONMENT_LABEL, PROTECTED_LABEL, REQUEST_ID_ANNOTATION, snapshot_name};
use vm::name::Label;
use vm::policy::Policy;
use vm::request::Accepted;

use crate::{Action, Args};

/// The label with the name of the machine: what was taken by this program, and of which machine.
pub(crate) const VM_LABEL: &str = "vmlifecycle.dev/vm";
/// The label with the operation that it was taken for, such as `snapshot` or `patch`.
pub(crate) const OPERATION_LABEL: &str = "vmlifecycle.dev/operation";

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) vm: Name,
    /// The snapshot; none where the action is about all of them.
    pub(crate) snapshot: Option<Object>,
    /// Whose snapshot it is; without a request, whoever gave its name.
    pub(crate) request_id: String,
    /// Its operation's word; empty without a request.
    pub(crate) operation: &'static str,
    pub(crate) quiesced: bool,
    /// The volumes that were named; empty means every disk.
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) deadline: Duration,
    pub(crate) keep: Keep,
    pub(crate) protected: bool,
    /// What is asked for, if a request says so.
    request: Option<Accepted>,
    policy: Policy,
    /// Tell from which volume snapshots a new machine's disks can be made: nobody asks for that of a snapshot that another
    /// operation takes before it changes something, and its account cannot read them.
    pub(crate) tell_sources: bool,
}

/// What pruning leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    /// At most this many, the newest.
    pub(crate) count: Option<u16>,
    /// None older than this many days.
    pub(crate) days: Option<u16>,
}

impl Keep {
    /// Whether there is nothing to prune by.
    pub(crate) const fn all(self) -> bool {
        self.count.is_none() && self.days.is_none()
    }
}

impl Wanted {
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        let usage = |what: &str| Failure::new(Kind::Usage, what);
        let request = args.request_file.as_deref().map(read).transpose()?;
        let vm = machine(args.vm.as_ref(), request.as_ref())?;
        let operation = request.as_ref().and_then(Accepted::day_two).map(|r| &r.spec.operation);
        let tell_sources = matches!(operation, None | Some(Operation::Snapshot(_)));
        let spec = match operation {
            Some(Operation::Snapshot(spec)) => spec.clone(),
            // a snapshot that another operation takes before it changes something
            _ => Snapshot::default(),
        };
        let keep =
            Keep { count: args.keep_count.or(spec.keep_count), days: args.keep_days.or(spec.keep_days) };
        let name = args.snapshot_name.clone().or_else(|| request.as_ref().map(snapshot_name));
        let one = matches!(args.action, Action::Create | Action::Check | Action::Delete | Action::Sources);
        let snapshot = match name.filter(|_| one) {
            Some(name) => {
                // its volume snapshots are called after its uid, but its name is a label of theirs in other tools
                let label: Label = name.parse().map_err(|why| {
                    usage(&format!("`--snapshot-name` is not a name for a snapshot: {why}"))
                })?;
                let name = vm.sibling(label.as_str()).map_err(|why| usage(&why))?;
                Some(Object { kind: VIRTUAL_MACHINE_SNAPSHOT, name })
            }
            None if one => {
                return Err(usage("neither `--snapshot-name` nor `--request-file` says which snapshot"));
            }
            None => None,
        };
        if args.action == Action::Prune && keep.all() {
            return Err(usage("neither `--keep-count` nor `--keep-days` says what to keep"));
        }
        Ok(Self {
            request_id: request.as_ref().map_or_else(String::new, |r| r.request_id().to_string()),
            operation: request.as_ref().map_or("", Accepted::operation_word),
            quiesced: args.require_quiesced || spec.require_quiesced,
            volumes: args.require_volumes.iter().filter(|v| !v.is_empty()).cloned().collect(),
            deadline: args
                .deadline
                .map_or_else(|| Duration::from_secs(spec.deadline_seconds.into()), step::Timeout::get),
            protected: args.protected,
            tell_sources,
            keep,
            snapshot,
            vm,
            request,
            policy: args.policy.read()?,
        })
    }

    /// Whether the policy allows what the request asks for in the machine's environment. The flows of `snapshot` and of a patch in
    /// the guest read nothing from Git: here its label tells.
    pub(crate) fn permitted(&self, vm: &Value) -> Result<(), Failure> {
        let Some(request) = &self.request else { return Ok(()) };
        refuse(&vm::rules::on_machine(request, label(vm, ENVIRONMENT_LABEL), &self.policy))
    }

    /// The snapshot, of an action that is about one.
    pub(crate) fn one(&self) -> Result<&Object, Failure> {
        let missing = || Failure::new(Kind::Internal, "this action is about one snapshot, and none is named");
        self.snapshot.as_ref().ok_or_else(missing)
    }

    /// The object to create.
    pub(crate) fn body(&self) -> Value {
        let mut labels = json!({VM_LABEL: label_of(self.vm.name())});
        if self.protected {
            labels[PROTECTED_LABEL] = json!("true");
        }
        if !self.operation.is_empty() {
            labels[OPERATION_LABEL] = json!(self.operation);
        }
        if self.request_id.parse::<Label>().is_ok() {
            labels[REQUEST_ID_ANNOTATION] = json!(self.request_id);
        }
        json!({
            // an id may be longer than a label's value, and end in what no label's value ends in
            "metadata": {"labels": labels, "annotations": {REQUEST_ID_ANNOTATION: self.request_id}},
            "spec": {
                "source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": self.vm.name()},
                "failureDeadline": format!("{}s", self.deadline.as_secs()),
            }
        })
    }

    /// Whether a snapshot is this request's.
    pub(crate) fn owns(&self, snapshot: &Value) -> bool {
        annotation(snapshot, REQUEST_ID_ANNOTATION) == Some(self.request_id.as_str())
            && is_of(snapshot, self.vm.name())
    }
}

/// Whether a snapshot is of the machine of this name, or of an earlier one.
pub(crate) fn is_of(snapshot: &Value, vm: &str) -> bool {
    text(snapshot, "/spec/source/name") == vm
}

/// The value of an annotation.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// The value of a label.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(key)?.as_str()
}

/// The longest value of a label.
const LABEL: usize = 63;

/// A machine's name as the value of a label, where 63 characters are the most; the machine itself is told by `spec.source`.
pub(crate) fn label_of(vm: &str) -> &str {
    vm.get(..LABEL).unwrap_or(vm).trim_end_matches(['-', '.'])
}

fn read(path: &std::path::Path) -> Result<Accepted, Failure> {
    let what = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("cannot read request `{}`: {why}", path.display()))
            .hint("give the file that validate-request has written")
    };
    let text = std::fs::read_to_string(path).map_err(|e| what(&e))?;
    Accepted::parse(&text).map_err(|problem| what(&problem))
}
