//! What every part of the work on a cluster needs.

use cluster::{Cluster, Hold, Object, VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE};
use serde_json::Value;
use step::{Context, Failure, Kind};
use vm::conditions::Until;
use wait::{Connections, Wait, Wanted};

use crate::Args;

/// One machine, and how it is reached.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) args: Args,
    cluster: Cluster,
    /// The machine's own cluster.
    pub(crate) machine: Cluster,
    pub(crate) hold: Option<Hold>,
    pub(crate) context: Context,
}

impl Task {
    pub(crate) const fn new(
        args: Args,
        cluster: Cluster,
        machine: Cluster,
        hold: Option<Hold>,
        context: Context,
    ) -> Self {
        Self { args, cluster, machine, hold, context }
    }

    pub(crate) fn vm(&self) -> Object {
        Object { kind: VIRTUAL_MACHINE, name: self.args.change.vm.clone() }
    }

    pub(crate) fn vmi(&self) -> Object {
        Object { kind: VIRTUAL_MACHINE_INSTANCE, name: self.args.change.vm.clone() }
    }

    /// Whether the flags name what shows that a change in Git is live.
    pub(crate) fn follows_git(&self) -> bool {
        let change = &self.args.change;
        change.digest.is_some() || (change.application.is_some() && change.commit.is_some())
    }

    pub(crate) fn wanted(&self, until: Until) -> Wanted {
        Wanted::new(self.args.change.clone(), until, &self.args.require)
    }

    /// A wait for the machine and, where the flags name it, for its change to be live.
    pub(crate) fn wait(&self, wanted: Wanted) -> Result<Wait, Failure> {
        let connections = Connections {
            cluster: self.cluster.clone(),
            machine: self.machine.clone(),
            git: Some(self.args.git.clone()),
            hold: self.hold.clone(),
        };
        Wait::begin(wanted, connections, self.context.clone())
    }

    /// The Lease is still ours, if there is one.
    pub(crate) fn held(&self) -> Result<(), Failure> {
        self.hold.as_ref().map_or(Ok(()), Hold::check)
    }

    pub(crate) fn refused(&self, what: &str) -> Failure {
        Failure::new(Kind::Refused, format!("{} {what}", self.vm()))
    }
}

/// The strategy that a machine declares, `Always` or `Halted` where it has `running`.
pub(crate) fn strategy(vm: &Value) -> &str {
    match vm.pointer("/spec/running").and_then(Value::as_bool) {
        Some(true) => "Always",
        Some(false) => "Halted",
        None => text(vm, "/spec/runStrategy"),
    }
}

pub(crate) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// An instance whose guest has ended.
pub(crate) fn is_over(vmi: &Value) -> bool {
    matches!(text(vmi, "/status/phase"), "Succeeded" | "Failed")
}

/// The wishes to start or stop that virt-controller has not carried out yet.
pub(crate) fn wishes(vm: &Value) -> &[Value] {
    vm.pointer("/status/stateChangeRequests").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
