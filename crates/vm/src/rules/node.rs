//! Where a machine runs and what it has of its node to itself: what the policy lists, for machines of this namespace.

use crate::name::{DeviceName, LabelValue};
use crate::policy::{NodeLabel, Policy};
use crate::problem::{Code, Problem, echo};

use super::Facts;
use super::labels::keys;
use super::site::several;

const NODE_SELECTOR: &str = "/spec/nodeSelector";
/// Graphics cards.
pub(super) const GPUS: &str = "/spec/devices/gpus";
/// Other devices.
pub(super) const HOST_DEVICES: &str = "/spec/devices/hostDevices";

/// What the policy says of them.
pub(super) fn site(facts: &Facts<'_>, policy: &Policy, found: &mut Vec<Problem>) {
    let own = facts.text("/spec/target/namespace");
    let labels: Vec<&NodeLabel> = policy.node_selector.iter().filter(|label| label.is_for(own)).collect();
    for (pointer, key) in keys(facts, NODE_SELECTOR) {
        let value = facts.parsed::<LabelValue>(&pointer);
        let of_key: Vec<&NodeLabel> = labels.iter().copied().filter(|label| label.key == key).collect();
        if of_key.is_empty() {
            let names: Vec<&str> = labels.iter().map(|label| label.key.as_str()).collect();
            found.push(refused(pointer, Code::PolicyNodeSelector, key.as_str(), &names));
        } else if let Some(value) = value.filter(|value| !of_key.iter().any(|l| l.takes(value.as_str()))) {
            let values = of_key.iter().flat_map(|label| &label.values);
            let values: Vec<&str> = values.map(crate::policy::Wildcard::as_str).collect();
            found.push(refused(pointer, Code::PolicyNodeSelector, value.as_str(), &values));
        }
    }
    let devices = || policy.devices.iter().filter(|device| device.is_for(own)).map(|d| &d.device_name);
    for (list, what, most) in
        [(GPUS, "GPUs", policy.limits.gpus), (HOST_DEVICES, "host devices", policy.limits.host_devices)]
    {
        let asked = facts.items(list);
        if let Some(most) = most.map(usize::from).filter(|most| asked.len() > *most) {
            let message = format!("{} {what}, the policy allows {most}", asked.len());
            found.push(Problem::new(list, Code::PolicyDevice, message));
        }
        for (device, _) in asked {
            let pointer = format!("{device}/deviceName");
            let Some(name) = facts.parsed::<DeviceName>(&pointer) else { continue };
            if !devices().any(|listed| listed.matches(name.as_str())) {
                let names: Vec<&str> = devices().map(crate::policy::Wildcard::as_str).collect();
                found.push(refused(pointer, Code::PolicyDevice, name.as_str(), &names));
            }
        }
    }
}

fn refused(pointer: String, code: Code, asked: &str, allowed: &[&str]) -> Problem {
    let problem = Problem::new(pointer, code, format!("the policy does not allow {}", echo(asked)));
    if allowed.is_empty() {
        problem.hint("it allows none to machines of this namespace")
    } else {
        problem.hint(format!("allowed: {}", several(allowed)))
    }
}
