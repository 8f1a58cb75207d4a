//! What a machine refers to in its namespace: a ConfigMap or a Secret, where the policy lets it.

use crate::name::Serial;
use crate::policy::Policy;
use crate::problem::{Code, Problem, echo};

use super::Facts;
use super::access::{PASSWORD_SECRET, SSH_KEY_SECRETS};
use super::names::characters;

/// The answer files of Windows setup.
pub(super) const SYSPREP: &str = "/spec/customization/sysprep";
/// Disks with what a ConfigMap or a Secret holds.
pub(super) const CONFIG_DISKS: &str = "/spec/configDisks";
/// A `NetBIOS` name has 16 bytes, the last of which says what it is the name of (RFC 1001, 14): Windows names no computer longer.
const COMPUTER_NAME: usize = 15;
/// Fields that make a cloud-config, which Windows setup does not read: the machine would have two volumes of first words.
const CLOUD_INIT: [&str; 6] = [
    "/spec/access/user",
    "/spec/access/sshKeys",
    "/spec/customization/timezone",
    "/spec/customization/packages",
    "/spec/customization/userData",
    "/spec/customization/userDataSecret",
];

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    disks(facts, found);
    if facts.has(SYSPREP) {
        sysprep(facts, found);
    }
}

/// Disks that say what they show, and that the guest can tell from each other.
fn disks(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    let mut seen = Vec::new();
    for (disk, _) in facts.items(CONFIG_DISKS) {
        found.extend(one_of_two(facts, &format!("{disk}/source")));
        let (name, serial) = (format!("{disk}/name"), format!("{disk}/serial"));
        let pointer = if facts.has(&serial) { serial } else { name };
        let Some(text) = facts.text(&pointer) else { continue };
        if text.parse::<Serial>().is_err() {
            let message = "longer than 20 characters, and so no serial, by which the guest finds the disk";
            let problem = Problem::new(pointer, Code::NameTooLong, message);
            found.push(problem.hint("shorten it, or give a `serial`"));
        } else if pointer.ends_with("/serial") && seen.contains(&text) {
            let message = format!("a second disk with the serial {}", echo(text));
            found.push(Problem::new(pointer, Code::DuplicateName, message).hint("give it another"));
        }
        seen.push(text);
    }
}

fn sysprep(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    found.extend(one_of_two(facts, SYSPREP));
    let empty = |pointer: &str| {
        facts.request.pointer(pointer).and_then(serde_json::Value::as_array).is_some_and(Vec::is_empty)
    };
    for pointer in CLOUD_INIT.into_iter().filter(|pointer| facts.has(pointer) && !empty(pointer)) {
        let problem = Problem::new(pointer, Code::Exclusive, "cloud-init does not go with `sysprep`");
        found.push(problem.hint("put it into the answer file, or leave `sysprep` out"));
    }
    found.extend(computer_name(facts));
    let (compute, pointer) = ("/spec/compute", "/spec/compute/preference");
    if facts.get(compute).is_some() && !facts.has(pointer) && !facts.has_unknown(compute) {
        let message = "missing: what brings Windows its Hyper-V features, clock, TPM and firmware";
        found.push(Problem::new(pointer, Code::Required, message).hint("such as `windows.2k22`"));
    }
}

/// The name that the guest is known by is one that Windows can have.
fn computer_name(facts: &Facts<'_>) -> Option<Problem> {
    let pointers = ["/spec/customization/hostname", "/spec/target/name"];
    let pointer = pointers.into_iter().find(|pointer| facts.has(pointer))?;
    let over = facts.text(pointer)?.len().checked_sub(COMPUTER_NAME).filter(|over| *over > 0)?;
    let message = format!(
        "as the name of a Windows computer (NetBIOS) {} too long for {COMPUTER_NAME}",
        characters(over)
    );
    let hint = format!("give `customization.hostname` of at most {COMPUTER_NAME} characters");
    Some(Problem::new(pointer, Code::NameTooLong, message).hint(hint))
}

/// A reference names one thing.
fn one_of_two(facts: &Facts<'_>, pointer: &str) -> Option<Problem> {
    facts.get(pointer)?;
    let has = |field: &str| facts.has(&format!("{pointer}/{field}"));
    match (has("configMap"), has("secret")) {
        (true, true) => {
            let problem =
                Problem::new(format!("{pointer}/secret"), Code::Exclusive, "`configMap` is there already");
            Some(problem.hint("keep one of the two"))
        }
        // an unknown field is most likely the one that is missing, misspelt
        (false, false) if !facts.has_unknown(pointer) => {
            let problem = Problem::new(pointer, Code::Required, "missing: what it refers to");
            Some(problem.hint("give `configMap` or `secret`"))
        }
        _ => None,
    }
}

/// What the policy says of references.
pub(super) fn site(facts: &Facts<'_>, policy: &Policy, found: &mut Vec<Problem>) {
    for (pointer, allowed) in [
        (SYSPREP, policy.allow.sysprep),
        (SSH_KEY_SECRETS, policy.allow.access_credentials),
        (PASSWORD_SECRET, policy.allow.access_credentials),
        (CONFIG_DISKS, policy.allow.config_disks),
    ] {
        if !allowed && facts.get(pointer).is_some() {
            let field = pointer.rsplit('/').next().unwrap_or_default();
            let message = format!("the policy does not allow `{field}`");
            found.push(Problem::new(pointer, Code::PolicyReference, message).hint("leave it out"));
        }
    }
}
