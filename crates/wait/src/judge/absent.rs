//! What is left of a machine that is to be gone.

use cluster::{Object, PERSISTENT_VOLUME_CLAIM, Seen, Sight};
use vm::conditions::{
    Claim, Failed, Pending, State, application_gone, kept, orphaned, parent_removal, removed,
};

use super::{Known, Verdict, Who, machine, named, not_live, unknown, unread};
use crate::sights::Snapshot;

/// The first thing that is not as wanted. That data are lost comes before everything else.
pub(super) fn absent(seen: &Snapshot, known: &Known<'_>) -> Verdict {
    let kept: Vec<Verdict> =
        known.wanted.keep_claims.iter().filter_map(|name| keep(name, seen, known)).collect();
    if let Some(lost) = kept.iter().find(|verdict| matches!(verdict.state, State::Failed(_))) {
        return lost.clone();
    }
    let machine = rest_of_machine(seen, known);
    if let Some(verdict) = application(seen, known) {
        return with_what_holds_it(verdict, &machine);
    }
    if machine.state != State::Ready {
        return machine;
    }
    let gone = known.wanted.gone_claims.iter().filter_map(|name| go(name, seen, known));
    kept.into_iter().chain(gone).next().unwrap_or(machine)
}

/// Why the Application is still there; none if it is not.
fn application(seen: &Snapshot, known: &Known<'_>) -> Option<Verdict> {
    let (sight, name) = (seen.application.as_ref()?, known.wanted.application.as_ref()?);
    let object = named("application", Some(name));
    if let Some(unknown) = unknown(sight, &object) {
        return Some(unknown);
    }
    let state = match application_gone(sight.object()) {
        State::Ready => return None,
        state => state,
    };
    // while it is not being deleted, its parent knows more
    let deleting = sight.object().is_some_and(|a| a.pointer("/metadata/deletionTimestamp").is_some());
    let Some(parent) = seen.parent.as_ref().filter(|_| !deleting && !is(&state, "Paused")) else {
        return Some(not_live(Who::ArgoCd, object, state));
    };
    let parent_object = named("parent application", known.wanted.parent_application.as_ref());
    if let Some(unknown) = unknown(parent, &parent_object) {
        return Some(unknown);
    }
    let of_parent = parent_removal(parent.object(), (name.namespace(), name.name()), &known.application());
    Some(if is(&of_parent, "StillThere") && !is(&state, "StillThere") {
        not_live(Who::ArgoCd, object, state)
    } else {
        not_live(Who::ArgoCd, parent_object, of_parent)
    })
}

fn is(state: &State, word: &str) -> bool {
    matches!(state, State::Pending(Pending { reason, .. }) | State::Failed(Failed { reason, .. }) if reason == word)
}

/// An Application waits for what it deletes: that has the finalizers which are stuck.
fn with_what_holds_it(mut verdict: Verdict, machine: &Verdict) -> Verdict {
    if let (State::Pending(application), State::Pending(held)) = (&mut verdict.state, &machine.state)
        && application.reason == "Deleting"
        && held.reason == "Terminating"
    {
        application.message = format!("{}; {} {}", application.message, machine.object, held.message);
    }
    verdict
}

/// The machine, which has nobody to remove it once the Application is gone.
fn rest_of_machine(seen: &Snapshot, known: &Known<'_>) -> Verdict {
    let verdict = machine(seen, known);
    let alone = seen.application.as_ref().is_some_and(|a| a.seen == Seen::Absent);
    let orphaned = seen.vm.object().filter(|_| alone && is(&verdict.state, "StillThere")).and_then(orphaned);
    match orphaned {
        Some(state) => Verdict { state, ..verdict },
        None => verdict,
    }
}

/// What is wrong with a claim that is to stay.
fn keep(name: &str, seen: &Snapshot, known: &Known<'_>) -> Option<Verdict> {
    claim(name, seen, known, kept)
}

/// What is left of a claim that is to go.
fn go(name: &str, seen: &Snapshot, known: &Known<'_>) -> Option<Verdict> {
    claim(name, seen, known, |claim| removed(claim, true))
}

fn claim(
    name: &str,
    seen: &Snapshot,
    known: &Known<'_>,
    judge: impl FnOnce(&Claim<'_>) -> State,
) -> Option<Verdict> {
    let namespace = known.wanted.vm.namespace();
    let object = match known.wanted.vm.sibling(name) {
        Ok(name) => Object { kind: PERSISTENT_VOLUME_CLAIM, name }.to_string(),
        Err(_) => format!("persistent volume claim `{namespace}/{name}`"),
    };
    let Some([claim, data_volume]) = seen.claims.get(name) else { return Some(unread(object)) };
    if let Some(unknown) = unknown(claim, &object) {
        return Some(unknown);
    }
    // a cluster without CDI has claims alone
    if data_volume.seen == Seen::NotYet {
        return Some(unread(format!("data volume `{namespace}/{name}`")));
    }
    let both = Claim { claim: claim.object(), data_volume: Sight::object(data_volume) };
    match judge(&both) {
        State::Ready => None,
        state => Some(not_live(Who::Storage, object, state)),
    }
}
