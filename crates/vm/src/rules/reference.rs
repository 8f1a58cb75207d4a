//! What a machine refers to in its namespace: a ConfigMap or a Secret, where the policy lets it.

use crate::policy::Policy;
use crate::problem::{Code, Problem};

use super::Facts;
use super::names::characters;

/// The answer files of Windows setup.
pub(super) const SYSPREP: &str = "/spec/customization/sysprep";
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
    if !facts.has(SYSPREP) {
        return;
    }
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
    for (pointer, allowed) in [(SYSPREP, policy.allow.sysprep)] {
        if !allowed && facts.get(pointer).is_some() {
            let field = pointer.rsplit('/').next().unwrap_or_default();
            let message = format!("the policy does not allow `{field}`");
            found.push(Problem::new(pointer, Code::PolicyReference, message).hint("leave it out"));
        }
    }
}
