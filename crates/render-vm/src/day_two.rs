//! What a phase of an operation makes of a machine's files.
//!
//! Files are edited, never rendered anew: whatever people wrote into them stays, to the byte. Every phase leaves its record
//! in the same commit; a phase whose record is there is done, and nothing is made of the files any more.

mod archive;
mod kustomization;
mod power;
mod repave;
mod resize;
mod values;

use step::{Failure, Kind, one_line, refuse};
use vm::day_two::{Operation, PatchMethod, Request};
use vm::definition::{Definition, Machine};
use vm::layout::OPERATIONS;
use vm::name::RequestId;
use vm::operation::{Phase, Record};
use vm::request::Accepted;

use crate::edits::{Change, Edits};
use crate::site::Site;
use crate::template::Templates;

pub(crate) use resize::growth;

/// What a phase comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// This is to be committed.
    Change(Change),
    /// Its record is in Git: the file that says so, and nothing else.
    Already(Change),
}

/// The phase that a request means by this word; without a word its first.
///
/// # Errors
///
/// `usage` for a word that the operation has no phase of, and for operations that leave nothing in Git; `invalid` for a patch that is
/// made in the guest.
pub fn phase(operation: &Operation, word: Option<Phase>) -> Result<Phase, Failure> {
    let phases = Phase::of(operation.word());
    let usage = |why: String| Failure::new(Kind::Usage, format!("nothing to render: {why}"));
    if matches!(operation, Operation::Patch(patch) if patch.method == PatchMethod::InGuest) {
        let why = "nothing to render: the request asks for method `in-guest`, which leaves nothing in Git";
        return Err(Failure::new(Kind::Invalid, why)
            .hint("start the Pipeline `patch-guest-vm` with it, or ask for method `offline`"));
    }
    let Some(first) = phases.first() else {
        return Err(usage(format!("operation `{}` leaves nothing in Git", operation.word())));
    };
    match word {
        None => Ok(*first),
        Some(phase) if phases.contains(&phase) => Ok(phase),
        Some(phase) => {
            let words = phases.iter().map(|phase| phase.word()).collect::<Vec<_>>().join("`, `");
            Err(usage(format!("operation `{}` has no phase `{phase}`", operation.word()))
                .hint(format!("`--phase` takes `{words}`")))
        }
    }
}

/// Make a phase's change of the files that Git holds.
///
/// # Errors
///
/// What [`vm::rules::against`] says of the request; `superseded` for a phase that was undone since; `conflict` for files
/// that cannot be edited, and for phases out of their order.
pub fn render(
    templates: &Templates,
    definition: &Definition,
    request: &Request,
    phase: Phase,
    site: &Site,
) -> Result<Rendered, Failure> {
    refuse(&vm::rules::against(&Accepted::DayTwo(request.clone()), definition, &site.policy))?;
    if let Some(done) = done(definition, request, phase)? {
        return Ok(Rendered::Already(done));
    }
    let mut edits = Edits::new(definition);
    let before = match (phase, &request.spec.operation) {
        (Phase::Power, operation) => power::power(&mut edits, operation)?,
        (Phase::Stop, Operation::Deprovision(spec)) => archive::stop(&mut edits, spec)?,
        (Phase::Stop, _) => power::off(&mut edits)?,
        (Phase::Start, _) | (Phase::Rollback, Operation::Patch(_)) => power::back_on(&mut edits, request)?,
        (Phase::Repave, Operation::Repave(spec)) => {
            repave::repave(&mut edits, request, spec, templates, site)?
        }
        (Phase::Rollback, _) => repave::rollback(&mut edits, request)?,
        (Phase::Cleanup, Operation::Repave(spec)) => repave::cleanup(&mut edits, request, spec)?,
        (Phase::Resize, Operation::Resize(spec)) => resize::resize(&mut edits, spec)?,
        (Phase::Remove, _) => return archive::remove(edits, request).map(Rendered::Change),
        (Phase::Undelete, Operation::Undelete(spec)) => {
            return archive::undelete(edits, request, spec).map(Rendered::Change);
        }
        (phase, operation) => {
            let what = format!("operation `{}` has no phase `{phase}`", operation.word());
            return Err(Failure::new(Kind::Usage, what));
        }
    };
    let record = Record::new(phase, definition.next_sequence(), before, request.clone());
    let path = record.path();
    edits.write(path.clone(), record.to_yaml());
    Ok(Rendered::Change(edits.done(path)))
}

/// The file that says that the phase is done, if it is. That the request is the same, and that what it did was not undone by
/// a removal or its contrary, `against` has seen to.
fn done(definition: &Definition, request: &Request, phase: Phase) -> Result<Option<Change>, Failure> {
    let id = &request.metadata.request_id;
    let Some(record) = definition.record(id, phase) else { return Ok(None) };
    if phase != Phase::Rollback && definition.record(id, Phase::Rollback).is_some() {
        let what = format!("request `{id}` was rolled back: the machine has its boot disk of before");
        return Err(Failure::new(Kind::Superseded, what).hint("to have it done again, give it a new id"));
    }
    let is_on = definition.machine.as_ref().is_some_and(Machine::is_on);
    if phase == Phase::Stop && is_on && definition.record(id, Phase::Start).is_none() {
        let what =
            format!("phase `{phase}` of request `{id}` is done, but the machine was switched on since");
        return Err(Failure::new(Kind::Superseded, what).hint("to have it done again, give it a new id"));
    }
    // what the steps behind this one look at is the state after the last phase that is done
    let phases = Phase::of(request.spec.operation.word()).iter().skip_while(|other| **other != phase);
    let record = phases.filter_map(|other| definition.record(id, *other)).last().unwrap_or(record);
    let target = &definition.target;
    let archived = definition.archived.iter().find(|(_, life)| life.records.contains(record));
    let (folder, files) = match archived {
        Some((provision, life)) => (target.archive_path(provision), &life.files),
        None => (target.path(), &definition.files),
    };
    let path = format!("{folder}/{}", within(record));
    let bytes = files.get(&path).cloned().unwrap_or_else(|| record.to_yaml().into_bytes());
    Ok(Some(Change { files: [(path.clone(), bytes)].into(), remove: Vec::new(), marker: path }))
}

/// A record's path in its machine's folder, wherever that is.
fn within(record: &Record) -> String {
    format!("{OPERATIONS}/{}/{}.yaml", record.request_id(), record.phase)
}

/// The record of an earlier phase of the same request.
fn earlier<'a>(definition: &'a Definition, id: &RequestId, phase: Phase) -> Result<&'a Record, Failure> {
    definition.records.iter().find(|record| record.request_id() == id && record.phase == phase).ok_or_else(
        || {
            let what = format!("phase `{phase}` of request `{id}` is not in Git, it comes first");
            Failure::new(Kind::Conflict, what)
        },
    )
}

/// What `against` has to see to; said here too, so that nothing is made of half a machine.
fn no(what: &str) -> Failure {
    Failure::new(Kind::Conflict, one_line(what, 300))
}

fn machine(definition: &Definition) -> Result<&Machine, Failure> {
    definition.machine.as_ref().ok_or_else(|| {
        no(&format!(
            "there is no machine `{}/{}` in Git",
            definition.target.namespace, definition.target.name
        ))
    })
}
