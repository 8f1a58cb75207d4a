//! The steps of a push as log records, one each, for who follows a push: `RUST_LOG=gitops::protocol=debug`.
//!
//! They hold ids of commits and words of this file, never what a server or a file says. `tests/protocol` reads them, and
//! holds them against the model of the push.

use git2::Oid;
use tracing::debug;

use crate::exchange::Sent;
use crate::push::{Judged, Pushed};
use crate::trouble::{Class, Trouble};

const TARGET: &str = "gitops::protocol";

/// The tip was read, or not.
pub(crate) fn fetched(result: Result<Option<Oid>, Trouble>) -> Result<Option<Oid>, Trouble> {
    match &result {
        Ok(tip) => debug!(target: TARGET, verdict = "read", tip = hex(*tip), "fetched"),
        Err(trouble) => debug!(target: TARGET, verdict = word(trouble), "fetched"),
    }
    result
}

/// The offer was looked for.
pub(crate) fn settled(result: Result<Option<Pushed>, Trouble>) -> Result<Option<Pushed>, Trouble> {
    match &result {
        Ok(Some(pushed)) => debug!(target: TARGET, verdict = "landed", commit = pushed.commit, "settled"),
        Ok(None) => debug!(target: TARGET, verdict = "absent", "settled"),
        Err(trouble) => debug!(target: TARGET, verdict = word(trouble), "settled"),
    }
    result
}

/// The change was held against the tip.
pub(crate) fn judged(result: Result<Judged, Trouble>) -> Result<Judged, Trouble> {
    match &result {
        Ok(Judged::Done(commit)) => {
            debug!(target: TARGET, verdict = "done", commit = hex(Some(*commit)), "judged");
        }
        Ok(Judged::Write(_)) => debug!(target: TARGET, verdict = "write", "judged"),
        Ok(Judged::Failure(failure)) => debug!(target: TARGET, verdict = failure.kind().word(), "judged"),
        Err(trouble) => debug!(target: TARGET, verdict = word(trouble), "judged"),
    }
    result
}

/// A commit goes to the server, for a branch that is at its parent.
pub(crate) fn offers(commit: Oid, parent: Option<Oid>) {
    let commit = hex(Some(commit));
    debug!(target: TARGET, verdict = "sent", commit, parent = hex(parent), "offers");
}

/// The server answered, or not.
pub(crate) fn answered(sent: Sent) -> Sent {
    match &sent {
        Sent::Acknowledged => debug!(target: TARGET, verdict = "acknowledged", "answered"),
        Sent::Not { trouble, offered } => {
            debug!(target: TARGET, verdict = word(trouble), offered, "answered");
        }
    }
    sent
}

/// The time is up, or somebody asks us to stop.
pub(crate) fn gives_up() {
    debug!(target: TARGET, verdict = "late", "gives up");
}

fn hex(commit: Option<Oid>) -> String {
    commit.map_or_else(|| "none".to_owned(), |commit| commit.to_string())
}

const fn word(trouble: &Trouble) -> &'static str {
    match trouble.class {
        Class::Contention => "contention",
        Class::Passing => "passing",
        Class::Busy => "busy",
        Class::Lasting(_) => "lasting",
    }
}
