//! What is said of environments that holds already, never holds, or does not hold for all machines.

use super::finding::{Finding, Rule};
use super::keys::namespaces;
use crate::policy::{Policy, RequiredField};

pub(super) fn check(policy: &Policy, found: &mut Vec<Finding>) {
    for (name, environment) in &policy.environments {
        let pointer = format!("/spec/environments/{name}");
        for (at, word) in environment.operations.iter().enumerate() {
            if !policy.allows_operation(word.as_str()) {
                let message = format!("`operations` of the policy does not allow `{word}`");
                let finding = Finding::new(format!("{pointer}/operations/{at}"), Rule::Unreachable, message);
                found.push(finding.hint("add it there, or remove it here"));
            }
        }
        let provision = policy.allows_operation("provision") && environment.allows_operation("provision");
        for (at, field) in environment.required.iter().enumerate() {
            let at = format!("{pointer}/required/{at}");
            if policy.required.contains(field) {
                let message = "`required` of the policy says it already";
                found.push(Finding::new(at, Rule::Redundant, message).hint("remove it"));
            } else if field.is_of_a_machine() && !provision {
                let message = format!("`{}` is for `provision` alone, which is not allowed", field.word());
                let finding = Finding::new(at, Rule::Unreachable, message);
                found.push(finding.hint("remove it, or allow the operation"));
            }
        }
        namespaces(&format!("{pointer}/namespaces"), &environment.namespaces, policy, found);
    }
    if !policy.environments.is_empty()
        && policy.allows_operation("provision")
        && !policy.required.contains(&RequiredField::Environment)
    {
        let message = "a machine without `environment` is not held to any of them";
        let finding = Finding::new("/spec/environments", Rule::Open, message);
        found.push(finding.hint("add `environment` to `required`"));
    }
}

/// Whether no new machine is without this field: all need it, or have an environment that does.
pub(super) fn all_require(policy: &Policy, field: RequiredField) -> bool {
    policy.required.contains(&field)
        || policy.required.contains(&RequiredField::Environment)
            && !policy.environments.is_empty()
            && policy.environments.values().all(|environment| environment.required.contains(&field))
}
