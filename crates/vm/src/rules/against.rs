//! An accepted request against what Git holds for its machine.
//!
//! What a request did already is no reason to refuse it: run again it changes nothing, and what it asked for is waited for.

mod disks;
mod known;
#[cfg(test)]
mod tests;
mod unfinished;

use known::Known;

use super::environment;
use crate::day_two::{Deprovision, NewCompute, Operation, Repave, Resize, Undelete};
use crate::definition::{Definition, Machine};
use crate::name::RequestId;
use crate::policy::Policy;
use crate::problem::{Code, Problem};
use crate::request::Accepted;

const NAME: &str = "/spec/target/name";
const SPEC: &str = "/spec/operationSpec";

/// Every reason why the request cannot be carried out on this machine; empty if it can, or if it was already. Of the policy only
/// what needs to know the machine is looked at: what holds for its environment.
///
/// Pure, and the same in every step: `validate-request` asks early, whoever writes to Git asks again.
pub fn against(request: &Accepted, definition: &Definition, policy: &Policy) -> Vec<Problem> {
    match known::check(request, definition) {
        Known::New => {}
        Known::Stands => return unfinished::check(request, definition).into_iter().collect(),
        Known::Refused(problem) => return vec![problem],
    }
    if let Some(problem) = unfinished::check(request, definition) {
        return vec![problem];
    }
    match request {
        Accepted::Provision(_) => {
            absent(definition, "give the new one another name, or `deprovision` the old one")
                .into_iter()
                .collect()
        }
        Accepted::DayTwo(request) => {
            let mut found = environment::against(request, definition, policy);
            match (&request.spec.operation, &definition.machine) {
                (Operation::Undelete(undelete), _) => {
                    let exists = absent(definition, "`deprovision` it first");
                    found.extend(exists.or_else(|| archived(undelete, definition)));
                }
                (operation, Some(machine)) => found.extend(on(operation, machine, definition, policy)),
                (_, None) => found.push(missing(definition)),
            }
            found
        }
    }
}

/// The machine must not be there.
fn absent(definition: &Definition, hint: &str) -> Option<Problem> {
    definition.machine.as_ref()?;
    let by = definition.request.as_ref().map_or_else(String::new, |request| {
        format!(", provisioned by request `{}`", request.metadata.request_id)
    });
    Some(Problem::new(NAME, Code::Exists, format!("the machine is there already{by}")).hint(hint))
}

fn missing(definition: &Definition) -> Problem {
    let folder = definition.target.path();
    let problem = Problem::new(NAME, Code::NoMachine, format!("Git has no machine in `{folder}`"));
    if definition.archived.is_empty() {
        problem.hint("see name, namespace and cluster")
    } else {
        problem.hint("it was removed; `undelete` brings it back")
    }
}

fn archived(undelete: &Undelete, definition: &Definition) -> Option<Problem> {
    if definition.life(undelete.request_id.as_ref()).is_some() {
        return None;
    }
    let ids: Vec<&str> = definition.archived.keys().map(RequestId::as_str).collect();
    let pointer = format!("{SPEC}/requestId");
    let listed = || {
        let shown: Vec<String> = ids.iter().take(3).map(|id| format!("`{id}`")).collect();
        let more = if ids.len() > 3 { format!(" and {} more", ids.len() - 3) } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    Some(match &undelete.request_id {
        _ if ids.is_empty() => {
            let folder = definition.target.archives_path();
            Problem::new(NAME, Code::NoArchive, format!("Git has no removed machine in `{folder}`"))
                .hint("see name, namespace and cluster")
        }
        Some(id) => {
            let message = format!("no removed machine of this name was provisioned by `{id}`");
            Problem::new(pointer, Code::NoArchive, message).hint(format!("known: {}", listed()))
        }
        None => {
            let message = format!("{} removed machines have this name", ids.len());
            Problem::new(pointer, Code::NoArchive, message).hint(format!("give one of {}", listed()))
        }
    })
}

/// An operation on a machine that is there.
fn on(operation: &Operation, machine: &Machine, definition: &Definition, policy: &Policy) -> Vec<Problem> {
    match operation {
        Operation::Start(_) | Operation::Stop(_) | Operation::Undelete(_) => Vec::new(),
        Operation::Restart(_) => restart(machine).into_iter().collect(),
        Operation::Snapshot(_) => {
            disks::any(machine, "nothing that a snapshot could keep").into_iter().collect()
        }
        Operation::Restore(_) => restore(machine),
        Operation::Patch(_) => disks::boot(machine).into_iter().collect(),
        Operation::Repave(repave) => self::repave(repave, machine, definition),
        Operation::Resize(resize) => self::resize(resize, machine, definition),
        Operation::Deprovision(deprovision) => {
            let protected = definition.protected() || environment::protects(definition, policy);
            self::deprovision(deprovision, machine, definition, protected)
        }
    }
}

fn restart(machine: &Machine) -> Option<Problem> {
    if machine.is_on() {
        return None;
    }
    let message = "the machine is off: there is nothing to restart";
    Some(Problem::new("/spec/operation", Code::Off, message).hint("`start` it"))
}

fn restore(machine: &Machine) -> Vec<Problem> {
    if let Some(none) = disks::any(machine, "nothing that a snapshot could bring back") {
        return vec![none];
    }
    disks::by_claim(machine)
}

fn repave(repave: &Repave, machine: &Machine, definition: &Definition) -> Vec<Problem> {
    let mut found: Vec<Problem> = disks::own_boot(machine).into_iter().collect();
    found.extend(disks::safe(machine));
    let image = definition.request.as_ref().map(|request| &request.spec.image);
    if repave.image.is_none() && found.is_empty() && !image.is_some_and(crate::request::Image::has_root_disk)
    {
        let message = "Git does not say which image the boot disk was made from";
        found.push(Problem::new(format!("{SPEC}/image"), Code::Required, message).hint("give `image`"));
    }
    found
}

fn resize(resize: &Resize, machine: &Machine, definition: &Definition) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(compute) = &resize.compute {
        self::compute(compute, machine, &mut found);
    }
    for (at, wanted) in resize.disks.iter().enumerate() {
        found.extend(disks::grow(&format!("{SPEC}/disks/{at}"), wanted, machine, definition));
    }
    found
}

fn compute(wanted: &NewCompute, machine: &Machine, found: &mut Vec<Problem>) {
    let mut refuse = |field: &str, message: String, hint: &str| {
        let problem = Problem::new(format!("{SPEC}/compute/{field}"), Code::Compute, message);
        found.push(problem.hint(hint));
    };
    if let Some(name) = machine.instance_type() {
        for (field, given) in [("cpu", wanted.cpu.is_some()), ("memory", wanted.memory.is_some())] {
            if given {
                let message = format!("the machine has the instance type `{name}`, which brings its own");
                refuse(field, message, "give `instanceType`");
            }
        }
        return;
    }
    if wanted.instance_type.is_some() {
        let message = "the machine is sized by CPUs and memory, and has no instance type".to_owned();
        refuse("instanceType", message, "give `cpu`, `memory`, or both");
    }
    if let Some(cpu) = wanted.cpu {
        match machine.cpu() {
            None => {
                let message = format!("`{}` has no `cpu` that could be changed", machine.file());
                refuse("cpu", message, "write it there once, by hand");
            }
            Some(has) => {
                let each = has.cores.saturating_mul(has.threads);
                if each == 0 || !u32::from(cpu).is_multiple_of(each) {
                    let message = format!("each socket of the machine has {each} CPUs");
                    refuse("cpu", message, "give a multiple of that");
                }
            }
        }
    }
    if wanted.memory.is_some() && machine.memory().is_none() {
        let message = format!("`{}` has no `memory.guest` that could be changed", machine.file());
        refuse("memory", message, "write it there once, by hand");
    }
}

fn deprovision(
    wanted: &Deprovision,
    machine: &Machine,
    definition: &Definition,
    protected: bool,
) -> Vec<Problem> {
    let mut found = Vec::new();
    // a name that is not the machine's was refused with the document
    if protected && wanted.confirm_name.is_none() {
        let hint = format!("give `confirmName: {}` if it is meant", definition.target.name);
        let problem = Problem::new(format!("{SPEC}/confirmName"), Code::Confirm, "the machine is protected");
        found.push(problem.hint(hint));
    }
    found.extend(disks::leaving(wanted.disks, machine));
    found
}
