//! Whether a machine runs: the one value in its file.

use step::Failure;
use vm::day_two::{Operation, Request};
use vm::definition::{Definition, Machine};
use vm::edit::Fault;
use vm::edit::power::{self, HALTED};
use vm::operation::{Before, Phase};

use crate::edits::Edits;

use super::{earlier, machine};

/// start, stop; restart changes nothing in Git but its record.
pub(super) fn power(edits: &mut Edits<'_>, operation: &Operation) -> Result<Before, Failure> {
    match operation {
        Operation::Stop(_) => off(edits),
        Operation::Start(_) => {
            let before = strategy_before_off(edits.definition).map(str::to_owned);
            on(edits, before.as_deref())
        }
        _ => machine(edits.definition).map(before),
    }
}

/// Halt the machine, if it is not.
pub(super) fn off(edits: &mut Edits<'_>) -> Result<Before, Failure> {
    let (machine, name) = (machine(edits.definition)?, name(edits.definition));
    edits.edit(&machine.power_path, |text| value(text, machine, name)?.off())?;
    Ok(before(machine))
}

/// Let the machine run as it did before its `stop`, which may be not at all.
pub(super) fn back_on(edits: &mut Edits<'_>, request: &Request) -> Result<Before, Failure> {
    let stop = earlier(edits.definition, &request.metadata.request_id, Phase::Stop)?;
    match stop.before.run_strategy.as_deref() {
        Some(HALTED) => machine(edits.definition).map(before),
        strategy => on(edits, strategy),
    }
}

/// Let the machine run, if it does not.
fn on(edits: &mut Edits<'_>, strategy: Option<&str>) -> Result<Before, Failure> {
    let (machine, name) = (machine(edits.definition)?, name(edits.definition));
    edits.edit(&machine.power_path, |text| value(text, machine, name)?.on(strategy))?;
    Ok(before(machine))
}

/// How the machine ran before it was switched off last, by whatever operation.
fn strategy_before_off(definition: &Definition) -> Option<&str> {
    let switched_off = definition.records.iter().rev().filter(|record| match record.phase {
        Phase::Power => matches!(record.request.spec.operation, Operation::Stop(_)),
        phase => phase == Phase::Stop,
    });
    switched_off.filter_map(|record| record.before.run_strategy.as_deref()).find(|before| *before != HALTED)
}

fn before(machine: &Machine) -> Before {
    Before { run_strategy: Some(machine.run_strategy.clone()), ..Before::default() }
}

fn value(text: &str, machine: &Machine, name: power::Machine<'_>) -> Result<power::Power, Fault> {
    if machine.is_in_values() { power::in_values(text) } else { power::in_base(text, name) }
}

fn name(definition: &Definition) -> power::Machine<'_> {
    power::Machine { namespace: definition.target.namespace.as_str(), name: definition.target.name.as_str() }
}
