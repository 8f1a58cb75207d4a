//! Operations that change disks, and stopped half way.
//!
//! `patch` and `restore` write on the disks between two of their phases. Where the first is in Git and the last is not, nobody can
//! vouch for the disks, so nothing is begun on them: only the request itself goes on, `restore` puts whole disks in their place,
//! `deprovision` gives them up, and a person may say that they are good.

use crate::day_two::{Operation, Start};
use crate::definition::Definition;
use crate::name::RequestId;
use crate::operation::{Phase, Record};
use crate::problem::{Code, Problem};
use crate::request::Accepted;

const NAME: &str = "/spec/target/name";
const ID: &str = "/metadata/requestId";
const DESPITE: &str = "/spec/operationSpec/despite";

/// Why the request has to leave the machine alone: another one is not finished, or this one was given up in favour of another.
pub(super) fn check(request: &Accepted, definition: &Definition) -> Option<Problem> {
    let id = request.request_id();
    if let Some(problem) = given_up(id, definition) {
        return Some(problem);
    }
    let open =
        definition.records.iter().rev().find(|record| {
            record.request_id() != id && begins(record) && closing(record, definition).is_none()
        });
    let despite = match request.day_two().map(|request| &request.spec.operation) {
        Some(Operation::Restore(_) | Operation::Deprovision(_)) => return None,
        Some(Operation::Start(Start { despite })) => despite.as_ref(),
        _ => None,
    };
    match (open, despite) {
        (None, None) => None,
        (Some(open), Some(despite)) if open.request_id() == despite => None,
        // it was meant for what it closed
        (None, Some(_)) if definition.record(id, Phase::Power).is_some() => None,
        (None, Some(despite)) => {
            let message = format!("the machine has no unfinished request `{despite}`");
            Some(Problem::new(DESPITE, Code::Conflict, message).hint("leave it out"))
        }
        (Some(open), _) => {
            let (id, word) = (open.request_id(), open.request.spec.operation.word());
            // with an id of 36 characters all of it fits on one line
            let message = format!("request `{id}` (`{word}`) is unfinished: disks may be half changed");
            let hint = "run it again, `restore`, or `start` with `despite` if they are good";
            Some(Problem::new(NAME, Code::Conflict, message).hint(hint))
        }
    }
}

/// Of a request that did not finish itself: who closed it.
fn given_up(id: &RequestId, definition: &Definition) -> Option<Problem> {
    let begun = definition.records.iter().find(|record| record.request_id() == id && begins(record))?;
    let by = closing(begun, definition).filter(|by| by.request_id() != id)?;
    let how = match by.phase {
        Phase::Start => "the disks were restored since",
        Phase::Power => "the machine was started since with the disks as they were",
        _ => "the machine was removed since",
    };
    let message = format!("this request was given up: {how}, by request `{}`", by.request_id());
    Some(Problem::new(ID, Code::Superseded, message).hint("to have it done again, give it a new id"))
}

/// Whether from this phase on the disks may be half changed.
fn begins(record: &Record) -> bool {
    record.phase == Phase::Stop
        && matches!(record.request.spec.operation, Operation::Patch(_) | Operation::Restore(_))
}

/// The first record after which the disks are whole again: the request's own last phase, a later restore, a removal and what came
/// after it, or somebody's word.
fn closing<'a>(begun: &Record, definition: &'a Definition) -> Option<&'a Record> {
    definition.records.iter().filter(|record| record.sequence > begun.sequence).find(|record| {
        let own = record.request_id() == begun.request_id();
        match (record.phase, &record.request.spec.operation) {
            (Phase::Start | Phase::Rollback, _) if own => true,
            (Phase::Start, Operation::Restore(_)) | (Phase::Remove | Phase::Undelete, _) => true,
            // it could only name the newest of them
            (Phase::Power, Operation::Start(Start { despite })) => despite.is_some(),
            _ => false,
        }
    })
}
