//! What a network interface may be on its network, and beside the others. KubeVirt refuses the same
//! (`pkg/network/admitter`), but only when the machine is applied.

use serde_json::Value;

use crate::name::{MacAddress, NetworkName};
use crate::policy::Policy;
use crate::problem::{Code, Problem, echo};

use super::Facts;
use super::site::{allowed, owner};

const NETWORKS: &str = "/spec/networks";

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    if facts.get(NETWORKS).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        let problem = Problem::new(NETWORKS, Code::Network, "no interface");
        found.push(problem.hint("leave `networks` out, or add `{name: default}`"));
    }
    let mut addresses = Vec::new();
    for (interface, _) in facts.items(NETWORKS) {
        match kind(facts, &interface) {
            Some("pod") => on_the_pod_network(facts, &interface, found),
            Some(_) => on_a_network_of_its_own(facts, &interface, found),
            None => {}
        }
        found.extend(model(facts, &interface));
        found.extend(address(facts, &interface, &mut addresses));
    }
    found.extend(first(facts));
}

/// The interface's `type`, also where it is left out; none where it is wrong.
fn kind<'a>(facts: &Facts<'a>, interface: &str) -> Option<&'a str> {
    let pointer = format!("{interface}/type");
    if facts.has(&pointer) { facts.text(&pointer) } else { Some("pod") }
}

fn on_the_pod_network(facts: &Facts<'_>, interface: &str, found: &mut Vec<Problem>) {
    let pointer = format!("{interface}/networkName");
    if facts.has(&pointer) {
        let problem = Problem::new(pointer, Code::Exclusive, "the pod network is not defined by one");
        found.push(problem.hint("add `type: multus`, or remove it"));
    }
    let pointer = format!("{interface}/binding");
    if let Some(binding) = facts.text(&pointer).filter(|binding| *binding != "masquerade") {
        let message = format!("`{binding}` is not for the pod network");
        found.push(Problem::new(pointer, Code::Network, message).hint("leave it out, or add `type: multus`"));
    }
    let pointer = format!("{interface}/primary");
    if facts.get(&pointer) == Some(&Value::Bool(true)) {
        let problem = Problem::new(pointer, Code::Exclusive, "the pod network comes first by itself");
        found.push(problem.hint("remove it"));
    }
}

fn on_a_network_of_its_own(facts: &Facts<'_>, interface: &str, found: &mut Vec<Problem>) {
    let pointer = format!("{interface}/networkName");
    // an unknown field is most likely the one that is missing, misspelt
    if !facts.has(&pointer) && !facts.has_unknown(interface) {
        let problem = Problem::new(pointer, Code::Required, "missing: the network of `type: multus`");
        found.push(problem.hint("the name of a `NetworkAttachmentDefinition`, such as `vlan-120`"));
    }
    let pointer = format!("{interface}/binding");
    if facts.text(&pointer) == Some("masquerade") {
        let problem = Problem::new(pointer, Code::Network, "`masquerade` is for the pod network alone");
        found.push(problem.hint("`bridge` or `sriov`"));
    }
}

fn model(facts: &Facts<'_>, interface: &str) -> Option<Problem> {
    let pointer = format!("{interface}/model");
    let sriov = facts.text(&format!("{interface}/binding")) == Some("sriov");
    (sriov && facts.has(&pointer)).then(|| {
        let message = "with `sriov` the guest sees the device itself";
        Problem::new(pointer, Code::Exclusive, message).hint("remove it")
    })
}

fn address<'a>(facts: &Facts<'a>, interface: &str, seen: &mut Vec<&'a str>) -> Option<Problem> {
    let pointer = format!("{interface}/macAddress");
    let address = facts.text(&pointer)?;
    if MacAddress::RESERVED.contains(&address) {
        let message = format!("`{address}` is no address that a machine may have");
        return Some(Problem::new(pointer, Code::Network, message).hint("leave it out, or give another"));
    }
    if seen.contains(&address) {
        let message = format!("a second interface with the address `{address}`");
        return Some(Problem::new(pointer, Code::Network, message).hint("leave it out, or give another"));
    }
    seen.push(address);
    None
}

/// At most one interface is where the machine's pod has its own address.
fn first(facts: &Facts<'_>) -> Option<Problem> {
    if !facts.whole(NETWORKS) {
        return None;
    }
    let primary = |interface: &str| facts.get(&format!("{interface}/primary")) == Some(&Value::Bool(true));
    let interfaces = facts.items(NETWORKS);
    let mut firsts = interfaces.iter().filter(|(at, _)| kind(facts, at) == Some("pod") || primary(at));
    let (_, (second, _)) = (firsts.next()?, firsts.next()?);
    Some(if primary(second) && kind(facts, second) != Some("pod") {
        let problem = Problem::new(format!("{second}/primary"), Code::Network, "a second primary network");
        problem.hint("leave it out: the pod network, or one other, is the primary")
    } else {
        let pods = interfaces.iter().filter(|(at, _)| kind(facts, at) == Some("pod")).count();
        let message = if pods > 1 {
            "a second interface on the pod network"
        } else {
            "the pod network beside another primary network"
        };
        Problem::new(second, Code::Network, message).hint("remove it")
    })
}

/// What the policy says of networks.
pub(super) fn site(facts: &Facts<'_>, policy: &Policy, found: &mut Vec<Problem>) {
    for (interface, _) in facts.items(NETWORKS) {
        let pointer = format!("{interface}/networkName");
        let refused =
            facts.parsed(&pointer).filter(|name: &NetworkName| !policy.allows_network(name, owner(facts)));
        if let Some(name) = refused {
            let message = format!("the policy does not allow {}", echo(name.as_str()));
            let problem = Problem::new(pointer, Code::PolicyNetwork, message);
            found.push(if policy.networks.is_empty() {
                problem.hint("it allows the pod network alone")
            } else {
                problem.hint(allowed(&policy.networks))
            });
        }
        let pointer = format!("{interface}/macAddress");
        if !policy.allow.mac_address && facts.get(&pointer).is_some() {
            let message = "the policy does not let requests choose addresses";
            let problem = Problem::new(pointer, Code::PolicyNetwork, message);
            found.push(problem.hint("leave it out, one is made from the machine's name"));
        }
    }
}
