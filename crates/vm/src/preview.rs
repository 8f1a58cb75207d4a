//! What a change in Git does to a machine, in words for a person: what is created, changed, removed and kept, and what is at
//! risk in each.
//!
//! It is read from the two definitions, before and after, so it also tells of a change that this project did not think of. What
//! an operation does beside Git (a restart, the disks of a snapshot) is told from the request.

mod disks;
mod machine;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::day_two::{Operation, PatchMethod};
use crate::definition::Definition;
use crate::operation::Phase;
use crate::request::Accepted;

/// One thing, what becomes of it, and at which risk. Shown on one line, in printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What becomes of it.
    pub effect: Effect,
    /// Which thing, in words.
    pub what: String,
    /// What is at risk.
    pub risk: Risk,
}

/// What becomes of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It comes to be.
    Create,
    /// It becomes another.
    Change,
    /// It goes.
    Remove,
    /// It stays as it is.
    Keep,
}

/// What is at risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// Nothing.
    Nothing,
    /// The machine starts.
    Starts,
    /// The machine stops.
    Stops,
    /// The machine restarts.
    Restarts,
    /// The machine takes it up at its next start alone.
    Restart(Restart),
    /// The cluster may bring it about while the machine runs (`KubeVirt`'s rollout strategy `LiveUpdate`, sockets and memory up to
    /// what the machine was started with room for), else the machine takes it up at its next start.
    Live(Restart),
    /// The machine boots from another disk than the guest wrote to.
    DiskReplaced,
    /// What is in the disk becomes another, older content.
    Overwritten,
    /// It may go wrong, and is taken back if it does.
    Undone,
    /// What is in it is lost.
    DataLost,
    /// What the guest wrote to it is lost, as at each stop.
    Forgotten,
    /// It cannot be taken back.
    OneWay,
}

/// When a machine that needs a restart gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The flow sees to it.
    ByFlow,
    /// Whenever somebody restarts it.
    Later,
}

impl Entry {
    fn new(effect: Effect, what: impl Into<String>, risk: Risk) -> Self {
        Self { effect, what: what.into(), risk }
    }
}

/// What the change from one definition to the other does; `phase` is the one that made it, none for a new machine. Nothing where
/// the two are the same.
pub fn preview(
    before: &Definition,
    after: &Definition,
    request: &Accepted,
    phase: Option<Phase>,
) -> Vec<Entry> {
    if before == after {
        return Vec::new();
    }
    let mut entries = match (&before.machine, &after.machine) {
        (None, Some(new)) => machine::made(before, after, new),
        (Some(old), None) => machine::removed(before, old),
        (Some(old), Some(new)) => machine::changed(before, after, (old, new), restart(request)),
        (None, None) => Vec::new(),
    };
    let application = format!("Argo CD Application `{}`", after.target.application());
    match (&before.application, &after.application) {
        (None, Some(_)) => entries.push(Entry::new(Effect::Create, application, Risk::Nothing)),
        (Some(_), None) => entries.push(Entry::new(Effect::Remove, application, Risk::Nothing)),
        (Some(old), Some(new)) if old != new => {
            entries.push(Entry::new(Effect::Change, application, Risk::Nothing));
        }
        _ => {}
    }
    let operation = request.day_two().map(|request| &request.spec.operation);
    if let Some(entry) = operation.and_then(|operation| beside_git(operation, phase)) {
        // what becomes another is not kept, although Git has it as it was
        entries.retain(|kept| kept.effect != Effect::Keep || entry.risk != Risk::Overwritten);
        entries.push(entry);
    }
    if let Some(lost) = before.machine.as_ref().and_then(|machine| machine::forgets(machine, &entries)) {
        entries.push(lost);
    }
    // in the order of the words: what is new, what changes, what goes, what stays
    entries.sort_by_key(|entry| entry.effect as u8);
    entries
}

/// Who restarts the machine, where it needs that.
fn restart(request: &Accepted) -> Restart {
    match request.day_two().map(|request| &request.spec.operation) {
        Some(Operation::Resize(spec)) if !spec.allow_restart => Restart::Later,
        _ => Restart::ByFlow,
    }
}

/// What the flow does around the commit of a phase, where Git shows nothing of it.
fn beside_git(operation: &Operation, phase: Option<Phase>) -> Option<Entry> {
    match (operation, phase?) {
        (Operation::Restart(_), Phase::Power) => {
            Some(Entry::new(Effect::Change, "machine: shut down once, and started", Risk::Restarts))
        }
        (Operation::Restore(spec), Phase::Start) => Some(Entry::new(
            Effect::Change,
            format!("disks: before the machine starts, as snapshot `{}` holds them", spec.snapshot),
            Risk::Overwritten,
        )),
        (Operation::Patch(spec), Phase::Start) if spec.method == PatchMethod::Offline => Some(Entry::new(
            Effect::Change,
            format!(
                "what is in the boot disk: before the machine starts, by the commands of `{}`",
                spec.profile
            ),
            Risk::Undone,
        )),
        _ => None,
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format!("{:<7} {}; risk: {}", self.effect.word(), self.what, self.risk);
        // a file that anybody wrote must not speak to a terminal
        for c in line.chars() {
            if matches!(c, ' '..='~') { write!(f, "{c}")? } else { write!(f, "{}", c.escape_unicode())? }
        }
        Ok(())
    }
}

impl Effect {
    /// The word in front of the line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::Keep => "keep",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Starts => f.write_str("the machine starts"),
            Self::Stops => f.write_str("the machine stops"),
            Self::Restarts => f.write_str("the machine restarts"),
            Self::Restart(restart) => write!(f, "restart needed, {restart}"),
            Self::Live(restart) => {
                write!(f, "restart needed unless the cluster can do it live, {restart}")
            }
            Self::DiskReplaced => f.write_str(
                "disk replaced, what the guest wrote to the old one is not on it; a machine that runs restarts",
            ),
            Self::Overwritten => f.write_str("what was written since is lost"),
            Self::Undone => f.write_str("if it fails, a snapshot taken before is restored"),
            Self::Forgotten => f.write_str("what the guest wrote to it is lost"),
            Self::DataLost => f.write_str("what is in it is lost"),
            Self::OneWay => f.write_str("a disk never becomes smaller again"),
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByFlow => "and made by the flow",
            Self::Later => "which the request does not allow: it waits for the next one",
        })
    }
}
