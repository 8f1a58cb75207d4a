//! What all objects together say: the one thing that is waited for, or that it is over.

mod absent;

use cluster::{Seen, Sight};
use serde_json::Value;
use vm::conditions::{
    Failed, Machine, Pending, Relation, State, Until, WantedApplication, WantedMachine, application_state,
    compared_revisions, digest_of, machine_state, parent_state, paused_by, vm_status,
};

use crate::Wanted;
use crate::sights::Snapshot;

/// What was learned before.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) wanted: &'a Wanted,
    /// `status.reconciledAt` of the Application when it was first seen.
    pub(crate) reconciled_before: &'a str,
    /// Whose Lease of the machine we hold.
    pub(crate) holder: Option<&'a str>,
    /// The last instance that had crashed before our change was live.
    pub(crate) crashed_before: &'a str,
    pub(crate) relation: &'a dyn Fn(&str) -> Option<Relation>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Server,
    ArgoCd,
    KubeVirt,
    Storage,
}

impl Who {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Server => "the api server",
            Self::ArgoCd => "argo cd",
            Self::KubeVirt => "kubevirt",
            Self::Storage => "storage",
        }
    }
}

/// The one thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) who: Who,
    /// The object, for people.
    pub(crate) object: String,
    pub(crate) state: State,
    /// Our change is live.
    pub(crate) live: bool,
    /// The commit that shows it, where Argo CD says one.
    pub(crate) revision: Option<String>,
}

impl Known<'_> {
    fn application(&self) -> WantedApplication<'_> {
        WantedApplication {
            commit: self.wanted.commit.as_deref(),
            path: self.wanted.path.as_deref(),
            machine: (self.wanted.vm.namespace(), self.wanted.vm.name()),
            stopped: self.wanted.until == Until::Stopped,
            reconciled_before: self.reconciled_before,
            relation: self.relation,
        }
    }

    fn machine(&self) -> WantedMachine<'_> {
        WantedMachine {
            until: self.wanted.until,
            digest: self.wanted.digest.as_deref(),
            guest_agent: self.wanted.require_guest_agent,
            ip: self.wanted.require_ip || self.wanted.require_tcp_port.is_some(),
            crashed_before: self.crashed_before,
        }
    }
}

fn named(what: &str, name: Option<&cluster::Name>) -> String {
    name.map_or_else(|| what.to_owned(), |name| format!("{what} `{name}`"))
}

/// Judge what is seen.
pub(crate) fn judge(seen: &Snapshot, known: &Known<'_>) -> Verdict {
    let verdict = if known.wanted.until == Until::Absent {
        Some(absent::absent(seen, known))
    } else {
        applied(seen, known)
    };
    verdict.unwrap_or_else(|| {
        let revision = seen.application.as_ref().and_then(Sight::object).and_then(|a| shown(a, known));
        Verdict { live: true, revision, ..machine(seen, known) }
    })
}

/// Why our change is not live yet; none if it is.
fn applied(seen: &Snapshot, known: &Known<'_>) -> Option<Verdict> {
    let digest = known.wanted.digest.as_deref();
    let carries_ours = digest.is_some() && seen.vm.object().and_then(digest_of) == digest;
    let Some(sight) = &seen.application else {
        return if carries_ours || digest.is_none() { None } else { Some(not_carried(seen, known)) };
    };
    let object = named("application", known.wanted.application.as_ref());
    if let Some(unknown) = unknown(sight, &object) {
        return Some(unknown);
    }
    // an earlier run of this request has seen that the stop was live before it paused the Application; what Argo CD says
    // of it has not changed since
    let paused = sight.object().and_then(paused_by);
    if known.wanted.until == Until::Stopped && paused.is_some() && paused == known.holder {
        return None;
    }
    let state = application_state(sight.object(), &known.application());
    let pending = matches!(state, State::Pending(_));
    // a machine may get our digest before its disks are applied: not before the sync is over
    let witnessed = carries_ours && sight.object().is_some_and(|a| !syncing(a));
    if state == State::Ready || (pending && witnessed) {
        return None;
    }
    if let (Seen::Absent, Some(parent), Some(leaf)) = (&sight.seen, &seen.parent, &known.wanted.application) {
        let object = named("parent application", known.wanted.parent_application.as_ref());
        if let Some(unknown) = unknown(parent, &object) {
            return Some(unknown);
        }
        let state = parent_state(parent.object(), (leaf.namespace(), leaf.name()), &known.application());
        return Some(not_live(Who::ArgoCd, object, state));
    }
    Some(not_live(Who::ArgoCd, object, state))
}

/// Without an Application the machine itself is the only witness, and whoever applies it takes what time it takes.
fn not_carried(seen: &Snapshot, known: &Known<'_>) -> Verdict {
    let object = named("virtual machine", Some(&known.wanted.vm));
    if let Some(unknown) = unknown(&seen.vm, &object) {
        return unknown;
    }
    let (reason, message) = match seen.vm.object() {
        None => ("Missing", "does not exist".to_owned()),
        Some(_) => ("OtherDigest", "does not carry the digest of this request yet".to_owned()),
    };
    not_live(
        Who::Server,
        object,
        State::Pending(Pending { reason: reason.to_owned(), message, patience: None }),
    )
}

fn machine(seen: &Snapshot, known: &Known<'_>) -> Verdict {
    let object = named("virtual machine", Some(&known.wanted.vm));
    let mut machine = Machine::default();
    for sight in [&seen.vm, &seen.vmi] {
        if let Some(unknown) = unknown(sight, &object) {
            return unknown;
        }
    }
    (machine.vm, machine.vmi) = (seen.vm.object(), seen.vmi.object());
    for (name, sight) in &seen.disks {
        if sight.seen == Seen::NotYet {
            return unread(format!("data volume `{}/{name}`", known.wanted.vm.namespace()));
        }
        // a cluster without CDI has claims, and nobody who fills them
        machine.disks.insert(name, sight.object());
    }
    let state =
        old_instance(&machine, known.wanted).unwrap_or_else(|| machine_state(&machine, &known.machine()));
    not_live(Who::KubeVirt, object, state)
}

/// The instance that is to be replaced is still there: what it says of itself does not count.
fn old_instance(machine: &Machine<'_>, wanted: &Wanted) -> Option<State> {
    let old = wanted.not_instance.as_deref().filter(|_| wanted.until == Until::Ready)?;
    let instance =
        machine.vmi.filter(|vmi| vmi.pointer("/metadata/uid").and_then(Value::as_str) == Some(old))?;
    let stopping = instance.pointer("/metadata/deletionTimestamp").is_some();
    let (reason, message) = if stopping {
        ("Stopping", "has an instance that is being deleted")
    } else {
        ("OldInstance", "still runs as the instance that is to be replaced")
    };
    let (reason, message) = (reason.to_owned(), message.to_owned());
    Some(State::Pending(Pending { reason, message, patience: None }))
}

/// A verdict if it is not known whether the object is there.
fn unknown(sight: &Sight, object: &str) -> Option<Verdict> {
    match sight.seen {
        Seen::Absent | Seen::Present(_) => None,
        Seen::NotYet => Some(unread(object.to_owned())),
        Seen::NotServed => {
            let (reason, message) =
                ("NotServed".to_owned(), "is of a kind that this cluster does not have".to_owned());
            Some(not_live(Who::Server, object.to_owned(), State::Failed(Failed { reason, message })))
        }
    }
}

fn unread(object: String) -> Verdict {
    let (reason, message) = ("Unread".to_owned(), "was not read yet".to_owned());
    not_live(Who::Server, object, State::Pending(Pending { reason, message, patience: None }))
}

const fn not_live(who: Who, object: String, state: State) -> Verdict {
    Verdict { who, object, state, live: false, revision: None }
}

/// An operation is asked for or under way.
fn syncing(application: &Value) -> bool {
    let phase = application.pointer("/status/operationState/phase").and_then(Value::as_str);
    application.get("operation").is_some_and(|o| !o.is_null())
        || matches!(phase, Some("Running" | "Terminating"))
}

/// The first compared revision that holds our commit.
fn shown(application: &Value, known: &Known<'_>) -> Option<String> {
    let wanted = known.application();
    let holds = |r: &&str| {
        known.wanted.commit.as_deref() == Some(*r) || (wanted.relation)(r) == Some(Relation::Contains)
    };
    compared_revisions(application, wanted.path).into_iter().find(holds).map(str::to_owned)
}

/// KubeVirt's word for the machine, if it exists.
pub(crate) fn status(seen: &Snapshot) -> &str {
    seen.vm.object().map_or("", vm_status)
}

/// The request whose pause of the Application is left over and can be taken back: we hold the machine, so nobody else works
/// on it, and no restore is under way. Our own stays while the machine is to be off: we are about to go on with it.
pub(crate) fn stale_pause<'a>(seen: &'a Snapshot, wanted: &Wanted, holder: &str) -> Option<&'a str> {
    let by = paused_by(seen.application.as_ref()?.object()?).filter(|by| !by.is_empty())?;
    let ours_to_keep = by == holder && wanted.until == Until::Stopped;
    let restoring = seen.vm.object().is_some_and(|vm| {
        vm.pointer("/status/restoreInProgress").and_then(Value::as_str).is_some_and(|r| !r.is_empty())
    });
    (seen.vm.known() && !restoring && !ours_to_keep).then_some(by)
}
