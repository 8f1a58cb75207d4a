//! Names that mean something else, and names that leave no room for those made from them.
//!
//! Not here: the name of the Argo CD Application, `<cluster>.<namespace>.<vm>`, has at most 3 × 63 + 2 = 191 of the 253
//! characters that it may have.

use serde_json::Value;

use crate::layout::{RESERVED, ROOT, VOLUME_SUFFIX};
use crate::policy::Policy;
use crate::problem::{Code, Problem, echo};

use super::Facts;
use super::node::{GPUS, HOST_DEVICES};
use super::reference::{CONFIG_DISKS, SYSPREP};

/// A label of Kubernetes: volumes, claims, host names.
const LABEL: usize = 63;
/// What is appended to a machine's name for its boot disk.
const ROOT_SUFFIX: usize = "-".len() + ROOT.len() + VOLUME_SUFFIX;
pub(super) const TARGET: &str = "/spec/target/name";
const NEW_DISKS: &str = "/spec/operationSpec/disks";
/// What render-vm calls the volume of the cloud-config.
const CLOUD_INIT: &str = "cloud-init";

/// Give the machine of a request for a new one the name that the site makes, where the request gives none. Done before the schema
/// looks at it, so that such a name is held to every rule.
pub fn name(request: &mut Value, policy: &Policy) {
    let Some(name) = made(request, policy) else { return };
    if let Some(target) = request.pointer_mut("/spec/target").and_then(Value::as_object_mut) {
        target.insert("name".to_owned(), name.into());
    }
}

/// Whether the name will be made as soon as what it is made of is right, which is told already.
pub(super) fn will_be_made(request: &Value, policy: &Policy) -> bool {
    is_made(request, policy) && made(request, policy).is_none()
}

fn is_made(request: &Value, policy: &Policy) -> bool {
    policy.name_template.is_some()
        && request.pointer("/spec/operation").is_some_and(|word| word == "provision")
        && request.pointer("/spec/target").is_some_and(|target| target.get("name").is_none())
}

fn made(request: &Value, policy: &Policy) -> Option<String> {
    let template = policy.name_template.as_ref().filter(|_| is_made(request, policy))?;
    let text = |pointer: &str| request.pointer(pointer).and_then(Value::as_str);
    let cluster = match request.pointer("/spec/target/cluster") {
        Some(_) => text("/spec/target/cluster")?.parse().ok()?,
        None => policy.defaults.cluster.clone(),
    };
    let (namespace, id) = (text("/spec/target/namespace")?, text("/metadata/requestId")?);
    Some(template.name(&namespace.parse().ok()?, &cluster, &id.parse().ok()?))
}

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    let name = match facts.operation() {
        // the machine is there; only a new boot disk is named after it
        Some("repave") => facts.text(TARGET).and_then(|name| fits(TARGET, name, found)),
        Some("provision") | None => machine(facts, TARGET, found),
        Some(_) => None,
    };
    if let Some(hostname) = facts.text("/spec/customization/hostname") {
        found.extend(digits("/spec/customization/hostname", hostname));
    }
    for (list, kind) in [
        ("/spec/disks", "disk"),
        (CONFIG_DISKS, "disk"),
        ("/spec/networks", "network"),
        (GPUS, "GPU"),
        (HOST_DEVICES, "host device"),
        (NEW_DISKS, "disk"),
    ] {
        let mut seen = Vec::new();
        if list == CONFIG_DISKS {
            let disks = facts.items("/spec/disks");
            seen.extend(disks.iter().filter_map(|(disk, _)| facts.text(&format!("{disk}/name"))));
        }
        for (pointer, _) in facts.items(list) {
            let pointer = format!("{pointer}/name");
            let Some(item) = facts.text(&pointer) else { continue };
            if seen.contains(&item) {
                let message = format!("a second {kind} with the name {}", echo(item));
                let hint = if list == NEW_DISKS { "keep one" } else { "give it another name" };
                found.push(Problem::new(&pointer, Code::DuplicateName, message).hint(hint));
            } else if list == CONFIG_DISKS && [ROOT, CLOUD_INIT, "sysprep"].contains(&item) {
                let message = format!("{} is made for the machine itself", echo(item));
                let problem = Problem::new(pointer, Code::ReservedName, message);
                found.push(problem.hint("give it another name"));
            } else if list == "/spec/disks" {
                found.extend(disk(facts, &pointer, name, item));
            }
            seen.push(item);
        }
    }
}

/// The machine's name, if disks can be named after it.
fn machine<'a>(facts: &Facts<'a>, pointer: &str, found: &mut Vec<Problem>) -> Option<&'a str> {
    let name = facts.text(pointer)?;
    if RESERVED.contains(&name) {
        let message = format!("{} would be read as a file with a meaning of its own", echo(name));
        found.push(Problem::new(pointer, Code::ReservedName, message).hint(format!("such as `{name}-1`")));
    }
    found.extend(digits(pointer, name));
    fits(pointer, name, found)
}

/// The machine's name, if its boot disk can be named after it.
fn fits<'a>(pointer: &str, name: &'a str, found: &mut Vec<Problem>) -> Option<&'a str> {
    let over = (name.len() + ROOT_SUFFIX).checked_sub(LABEL).filter(|over| *over > 0);
    match over {
        Some(over) => {
            let message = format!(
                "`<name>-{ROOT}-<6 digits>`, its boot disk, is {} too long for {LABEL}",
                characters(over)
            );
            let hint = format!("at most {} characters", LABEL - ROOT_SUFFIX);
            found.push(Problem::new(pointer, Code::NameTooLong, message).hint(hint));
            None
        }
        None => Some(name),
    }
}

/// Guests and YAML readers take such a name for a number.
fn digits(pointer: &str, name: &str) -> Option<Problem> {
    let alone = name.bytes().all(|b| b.is_ascii_digit());
    alone.then(|| Problem::new(pointer, Code::ReservedName, "a number is no name").hint("add a letter"))
}

fn disk(facts: &Facts<'_>, pointer: &str, machine: Option<&str>, name: &str) -> Option<Problem> {
    let role = pointer.replace("/name", "/role");
    let is_root = match facts.text(&role) {
        Some(role) => role == ROOT,
        None if facts.has(&role) => return None,
        None => false,
    };
    let problem =
        |message: String, hint: &str| Some(Problem::new(pointer, Code::ReservedName, message).hint(hint));
    if is_root {
        let roots = facts.items("/spec/disks").iter().filter(|(_, disk)| disk["role"] == ROOT).count();
        // of several boot disks all but one have to go, whatever they are called
        return if name == ROOT || roots > 1 {
            None
        } else {
            problem(format!("the boot disk is called `{ROOT}`"), "name it so")
        };
    }
    if name == ROOT {
        return problem(format!("`{ROOT}` is the boot disk"), "give it `role: root`, or another name");
    }
    let made = name == CLOUD_INIT || name == "sysprep" && facts.has(SYSPREP);
    if name.starts_with("root-") || made {
        return problem(format!("{} is made for the machine itself", echo(name)), "give it another name");
    }
    let over =
        (machine?.len() + 1 + name.len() + VOLUME_SUFFIX).checked_sub(LABEL).filter(|over| *over > 0)?;
    let message = format!(
        "`<machine>-{}-<6 digits>`, its volume, is {} too long for {LABEL}",
        short(name),
        characters(over)
    );
    Some(Problem::new(pointer, Code::NameTooLong, message).hint("shorten the machine's name or the disk's"))
}

fn short(name: &str) -> String {
    if name.len() > 20 { "<disk>".to_owned() } else { name.to_owned() }
}

pub(super) fn characters(number: usize) -> String {
    if number == 1 { "1 character".to_owned() } else { format!("{number} characters") }
}
