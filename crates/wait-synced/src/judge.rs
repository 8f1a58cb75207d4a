//! What all objects together say: the one thing that is waited for, or that it is over.

use cluster::{Seen, Sight};
use serde_json::Value;
use vm::conditions::{
    Failed, Machine, Pending, Relation, State, WantedApplication, WantedMachine, application_gone,
    application_state, compared_revisions, digest_of, machine_state, parent_state, vm_status,
};

use crate::sights::Snapshot;
use crate::{Args, Until};

/// What was learned before.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) args: &'a Args,
    /// `status.reconciledAt` of the Application when it was first seen.
    pub(crate) reconciled_before: &'a str,
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
}

impl Who {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Server => "the api server",
            Self::ArgoCd => "argo cd",
            Self::KubeVirt => "kubevirt",
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
            commit: self.args.commit.as_deref(),
            path: self.args.path.as_deref(),
            machine: (self.args.vm.namespace(), self.args.vm.name()),
            stopped: self.args.until == Until::Stopped,
            reconciled_before: self.reconciled_before,
            relation: self.relation,
        }
    }

    fn machine(&self) -> WantedMachine<'_> {
        WantedMachine {
            until: self.args.until.into(),
            digest: self.args.digest.as_deref(),
            guest_agent: self.args.require_guest_agent,
            ip: self.args.require_ip || self.args.require_tcp_port.is_some(),
            crashed_before: self.crashed_before,
        }
    }
}

fn named(what: &str, name: Option<&cluster::Name>) -> String {
    name.map_or_else(|| what.to_owned(), |name| format!("{what} `{name}`"))
}

/// Judge what is seen.
pub(crate) fn judge(seen: &Snapshot, known: &Known<'_>) -> Verdict {
    let verdict =
        if known.args.until == Until::Absent { Some(absent(seen, known)) } else { applied(seen, known) };
    verdict.unwrap_or_else(|| {
        let revision = seen.application.as_ref().and_then(Sight::object).and_then(|a| shown(a, known));
        Verdict { live: true, revision, ..machine(seen, known) }
    })
}

/// Why our change is not live yet; none if it is.
fn applied(seen: &Snapshot, known: &Known<'_>) -> Option<Verdict> {
    let digest = known.args.digest.as_deref();
    let carries_ours = digest.is_some() && seen.vm.object().and_then(digest_of) == digest;
    let Some(sight) = &seen.application else {
        return if carries_ours { None } else { Some(not_carried(seen, known)) };
    };
    let object = named("application", known.args.application.as_ref());
    if let Some(unknown) = unknown(sight, &object) {
        return Some(unknown);
    }
    let state = application_state(sight.object(), &known.application());
    let pending = matches!(state, State::Pending(_));
    // a machine may get our digest before its disks are applied: not before the sync is over
    let witnessed = carries_ours && sight.object().is_some_and(|a| !syncing(a));
    if state == State::Ready || (pending && witnessed) {
        return None;
    }
    if let (Seen::Absent, Some(parent), Some(leaf)) = (&sight.seen, &seen.parent, &known.args.application) {
        let object = named("parent application", known.args.parent_application.as_ref());
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
    let object = named("virtual machine", Some(&known.args.vm));
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
    let object = named("virtual machine", Some(&known.args.vm));
    let mut machine = Machine::default();
    for sight in [&seen.vm, &seen.vmi] {
        if let Some(unknown) = unknown(sight, &object) {
            return unknown;
        }
    }
    (machine.vm, machine.vmi) = (seen.vm.object(), seen.vmi.object());
    for (name, sight) in &seen.disks {
        if sight.seen == Seen::NotYet {
            return unread(format!("data volume `{}/{name}`", known.args.vm.namespace()));
        }
        // a cluster without CDI has claims, and nobody who fills them
        machine.disks.insert(name, sight.object());
    }
    not_live(Who::KubeVirt, object, machine_state(&machine, &known.machine()))
}

fn absent(seen: &Snapshot, known: &Known<'_>) -> Verdict {
    if let Some(sight) = &seen.application {
        let object = named("application", known.args.application.as_ref());
        if let Some(unknown) = unknown(sight, &object) {
            return unknown;
        }
        let state = application_gone(sight.object());
        if state != State::Ready {
            return not_live(Who::ArgoCd, object, state);
        }
    }
    machine(seen, known)
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
        known.args.commit.as_deref() == Some(*r) || (wanted.relation)(r) == Some(Relation::Contains)
    };
    compared_revisions(application, wanted.path).into_iter().find(holds).map(str::to_owned)
}

/// KubeVirt's word for the machine, if it exists.
pub(crate) fn status(seen: &Snapshot) -> &str {
    seen.vm.object().map_or("", vm_status)
}
