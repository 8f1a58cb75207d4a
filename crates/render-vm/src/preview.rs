//! What would be done, in words for a person; nothing is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use step::{Failure, Kind};
use vm::day_two;
use vm::definition::Definition;
use vm::operation::Phase;
use vm::preview::{Entry, preview};
use vm::request::{Accepted, Request};

use crate::day_two::{Rendered, phase, render};
use crate::edits::Change;
use crate::site::Site;
use crate::template::Templates;

/// What a new machine comes to; `files` is what it is rendered to.
pub(crate) fn provision(
    request: &Request,
    held: Option<&Definition>,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<String, Failure> {
    let target = &request.spec.target;
    let nothing = Definition::read(&BTreeMap::new(), target)
        .map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    let before = held.unwrap_or(&nothing);
    // once the request is in Git it is done, whatever later operations made of the machine
    let entries = if before.request.as_ref() == Some(request) {
        Vec::new()
    } else {
        let change = Change { files: files.clone(), ..Change::default() };
        preview(before, &change.applied(before)?, &Accepted::Provision(request.clone()), None)
    };
    Ok(part(&Accepted::Provision(request.clone()), None, &entries))
}

/// What one phase of an operation comes to; without one all of them, each on what the one before it leaves. That of a rollback is
/// told only where it is asked for.
pub(crate) fn operation(
    templates: &Templates,
    request: &day_two::Request,
    definition: &Definition,
    only: Option<Phase>,
    site: &Site,
) -> Result<String, Failure> {
    let operation = &request.spec.operation;
    let first = phase(operation, only)?;
    let all = Phase::of(operation.word()).iter().copied().filter(|phase| *phase != Phase::Rollback);
    let phases: Vec<Phase> = if only.is_some() { vec![first] } else { all.collect() };
    let accepted = Accepted::DayTwo(request.clone());
    let (mut text, mut before) = (String::new(), definition.clone());
    for phase in phases {
        let entries = match render(templates, &before, request, phase, site)? {
            Rendered::Already(_) => Vec::new(),
            Rendered::Change(change) => {
                let after = change.applied(&before)?;
                let entries = preview(&before, &after, &accepted, Some(phase));
                before = after;
                entries
            }
        };
        text += &part(&accepted, Some(phase), &entries);
    }
    Ok(text)
}

fn part(request: &Accepted, phase: Option<Phase>, entries: &[Entry]) -> String {
    let (target, word) = (request.target(), request.operation_word());
    let mut text = format!("{word} `{}/{}` on `{}`", target.namespace, target.name, target.cluster);
    if let Some(phase) = phase.filter(|_| Phase::of(word).len() > 1) {
        // writing to a String cannot fail
        let _ = write!(text, ", phase `{phase}`");
    }
    text.push_str(":\n");
    if entries.is_empty() {
        text.push_str("  nothing changes\n");
    }
    for entry in entries {
        let _ = writeln!(text, "  {entry}");
    }
    text
}
