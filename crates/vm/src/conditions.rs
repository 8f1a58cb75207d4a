//! What the objects of a cluster say about one machine, judged without a clock and without a cluster.
//!
//! The functions here take objects as the API server returns them and say [`State`]: ready, on its way, failed, or
//! replaced by a later change. They know nothing of time: where a state is bad only if it lasts, they say for how long
//! it may ([`Pending::patience`]), and whoever waits keeps the clock.
//!
//! Messages are predicates: the caller puts the object's name before them (`application x` + `does not exist`). Words of
//! a controller are passed on as they are; the edge makes them printable.

mod application;
mod disk;
mod locks;
mod machine;
pub mod pod;
mod removal;
pub mod restore;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

pub use application::{
    Relation, WantedApplication, application_state, compared_revisions, is_commit, parent_state,
    reconciled_at, short,
};
pub use disk::Claims;
pub use locks::{PAUSED_BY, SKIP_RECONCILE, busy, paused_by, runs_what_is_declared, usable};
pub use machine::{
    Machine, Until, WantedMachine, claims, digest_of, ip_of, is_halted, last_crash, machine_state, node_of,
    restart_required, vm_status,
};
pub use removal::{Claim, application_gone, kept, orphaned, owned_by_machine, parent_removal, removed};

/// The annotation of a `VirtualMachine` that holds the digest of the request it was rendered from.
pub const DIGEST_ANNOTATION: &str = "vmlifecycle.dev/request-digest";

/// How far an object is from what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As wanted.
    Ready,
    /// Not yet.
    Pending(Pending),
    /// Bad, and waiting does not mend it.
    Failed(Failed),
    /// A later commit holds something else in place of ours; the text says which.
    Superseded(String),
}

/// Not yet as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// One word for it: the controller's own where it has one, such as `ErrorUnschedulable`.
    pub reason: String,
    /// What is seen, as a predicate.
    pub message: String,
    /// How long the same reason may last before it counts as failed; none means to the deadline.
    pub patience: Option<Duration>,
}

/// Bad, and waiting does not mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// One word for it: the controller's own where it has one, such as `ImagePullBackOff`.
    pub reason: String,
    /// What is wrong, as a predicate, with the controller's words.
    pub message: String,
}

impl State {
    /// Pending to the deadline.
    fn pending(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Pending(Pending { reason: reason.into(), message: message.into(), patience: None })
    }

    /// Pending, and failed if it lasts longer than this.
    fn patient(reason: impl Into<String>, message: impl Into<String>, patience: Duration) -> Self {
        Self::Pending(Pending { reason: reason.into(), message: message.into(), patience: Some(patience) })
    }

    fn failed(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Failed(Failed { reason: reason.into(), message: message.into() })
    }
}

/// `what: words`, or `what` alone where the controller said nothing.
fn with_words(what: &str, words: &str) -> String {
    let words = words.trim();
    if words.is_empty() { what.to_owned() } else { format!("{what}: {words}") }
}

/// The first of two words that is not empty.
fn or_word<'a>(word: &'a str, other: &'a str) -> &'a str {
    if word.is_empty() { other } else { word }
}
