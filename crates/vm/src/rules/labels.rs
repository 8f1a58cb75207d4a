//! Labels and annotations: none of the platform's, and of the others those that the policy lists.

use serde_json::Value;

use crate::name::LabelKey;
use crate::policy::Policy;
use crate::problem::{Code, Problem, echo, member};

use super::Facts;
use super::site::allowed;

const LABELS: &str = "/spec/labels";
const ANNOTATIONS: &str = "/spec/annotations";

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    for map in [LABELS, ANNOTATIONS] {
        for (pointer, key) in keys(facts, map) {
            if let Some(domain) = key.platform() {
                let message = format!("keys of `{domain}` belong to the platform");
                found.push(Problem::new(pointer, Code::ReservedName, message).hint("a key of your own"));
            }
        }
    }
}

/// What the policy says of them.
pub(super) fn site(facts: &Facts<'_>, policy: &Policy, found: &mut Vec<Problem>) {
    for (map, list) in [(LABELS, &policy.labels), (ANNOTATIONS, &policy.annotations)] {
        for (pointer, key) in keys(facts, map) {
            // what belongs to the platform is told so, whatever the policy lists
            if key.platform().is_some() || list.iter().any(|item| item.matches(key.as_str())) {
                continue;
            }
            let message = format!("the policy does not allow {}", echo(key.as_str()));
            let hint = if list.is_empty() { "it allows none".to_owned() } else { allowed(list) };
            found.push(Problem::new(pointer, Code::PolicyLabel, message).hint(hint));
        }
    }
}

/// The keys of a mapping that are right, each with its pointer.
pub(super) fn keys(facts: &Facts<'_>, map: &str) -> Vec<(String, LabelKey)> {
    let fields = facts.get(map).and_then(Value::as_object);
    let right = |key: &String| Some((member(map, key), key.parse().ok()?));
    fields.into_iter().flatten().filter_map(|(key, _)| right(key)).collect()
}
