//! Whether a request was here before: by its id, which names it for ever.

use crate::day_two::Operation;
use crate::definition::Definition;
use crate::operation::Phase;
use crate::problem::{Code, Problem};
use crate::request::{Accepted, Request};

const ID: &str = "/metadata/requestId";

/// What Git knows of a request.
pub(super) enum Known {
    /// Nothing: it is new.
    New,
    /// It was begun or done, and stands.
    Stands,
    /// Why it may not be carried out.
    Refused(Problem),
}

/// By the request's id, and what was done under it since.
pub(super) fn check(request: &Accepted, definition: &Definition) -> Known {
    match request {
        Accepted::Provision(request) => provision(request, definition),
        Accepted::DayTwo(request) => day_two(request, definition),
    }
}

fn provision(request: &Request, definition: &Definition) -> Known {
    let id = &request.metadata.request_id;
    if definition.all_records().any(|record| record.request_id() == id) {
        return Known::Refused(conflict("an operation on the machine"));
    }
    if let Some(own) = definition.request.as_ref().filter(|own| own.metadata.request_id == *id) {
        let same = own.digest() == request.digest();
        return if same { Known::Stands } else { Known::Refused(conflict("the machine's own request")) };
    }
    let Some(life) = definition.archived.get(id) else { return Known::New };
    if life.request.as_ref().is_some_and(|own| own.digest() != request.digest()) {
        return Known::Refused(conflict("the request of a removed machine"));
    }
    let by = life
        .tombstone
        .as_ref()
        .map_or_else(String::new, |tombstone| format!(", by request `{}`", tombstone.metadata.request_id));
    let problem = superseded(format!("the machine that this request made was removed{by}"));
    Known::Refused(problem.hint("`undelete` brings it back; a new machine needs a new id"))
}

fn day_two(request: &crate::day_two::Request, definition: &Definition) -> Known {
    let (id, digest) = (&request.metadata.request_id, request.digest());
    let own = definition.request.as_ref().is_some_and(|own| own.metadata.request_id == *id);
    if own || definition.archived.contains_key(id) && !buried_as(id, definition) {
        return Known::Refused(conflict("the request that a machine of this name was provisioned by"));
    }
    let mut of_id = definition.all_records().filter(|record| record.request_id() == id).peekable();
    let tombstone = definition
        .archived
        .values()
        .filter_map(|life| life.tombstone.as_ref())
        .find(|tombstone| tombstone.metadata.request_id == *id);
    if of_id.peek().is_none() && tombstone.is_none() {
        return Known::New;
    }
    let other = of_id.any(|record| record.request.digest() != digest)
        || tombstone.is_some_and(|tombstone| tombstone.digest != digest);
    if other {
        return Known::Refused(conflict("an operation on a machine of this name"));
    }
    let removes = matches!(request.spec.operation, Operation::Deprovision(_));
    let live = definition.records.iter().any(|record| record.request_id() == id);
    let undone = match (live, removes) {
        // it came back from the archive with its records
        (true, true) => definition
            .records
            .iter()
            .any(|record| record.request_id() == id && record.phase == Phase::Remove)
            .then_some("the machine that this request removed was brought back"),
        (true, false) => None,
        (false, true) => definition.exists().then_some("the machine that this request removed was made anew"),
        (false, false) => Some("the machine that this request was about was removed"),
    };
    undone.map_or(Known::Stands, |why| {
        Known::Refused(superseded(why.to_owned()).hint("to have it done again, give it a new id"))
    })
}

/// A machine that others wrote is archived under the id of the request that removed it.
fn buried_as(id: &crate::name::RequestId, definition: &Definition) -> bool {
    let life = definition.archived.get(id);
    life.and_then(|life| life.tombstone.as_ref())
        .is_some_and(|tombstone| tombstone.metadata.request_id == *id)
}

fn conflict(whose: &str) -> Problem {
    Problem::new(ID, Code::Conflict, format!("{whose} has this id, with other content"))
        .hint("give this request an id of its own")
}

fn superseded(why: String) -> Problem {
    Problem::new(ID, Code::Superseded, why)
}
