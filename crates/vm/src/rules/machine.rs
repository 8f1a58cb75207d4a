//! Size, disks, networks, times: what one field says against what another does.

use crate::problem::{Code, Problem};
use crate::quantity::Quantity;

use super::Facts;

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    compute(facts, found);
    found.extend(root_disk(facts));
    found.extend(pod_network(facts));
    found.extend(time(facts));
    let sizes = facts.items("/spec/disks").into_iter().map(|(pointer, _)| format!("{pointer}/size"));
    for pointer in std::iter::once("/spec/compute/memory".to_owned()).chain(sizes) {
        if facts.text(&pointer).is_some() && facts.parsed::<Quantity>(&pointer).is_none() {
            found.push(Problem::new(pointer, Code::Range, "more than 1024Ti"));
        }
    }
}

fn compute(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    let field = |name: &str| format!("/spec/compute/{name}");
    let has = |name: &str| facts.has(&field(name));
    // an unknown field is most likely the one that is missing, misspelt
    if facts.get("/spec/compute").is_none() || facts.has_unknown("/spec/compute") {
        return;
    }
    if has("instanceType") {
        for other in ["cpu", "memory"].into_iter().filter(|name| has(name)) {
            found.push(
                Problem::new(field(other), Code::Exclusive, "an instance type has its own")
                    .hint("give `instanceType`, or `cpu` and `memory`"),
            );
        }
        return;
    }
    match (has("cpu"), has("memory")) {
        (false, false) => found.push(
            Problem::new("/spec/compute", Code::Compute, "no size")
                .hint("give `instanceType`, or `cpu` and `memory`"),
        ),
        (true, false) => found
            .push(Problem::new(field("memory"), Code::Compute, "missing beside `cpu`").hint("such as `4Gi`")),
        (false, true) => found
            .push(Problem::new(field("cpu"), Code::Compute, "missing beside `memory`").hint("such as `2`")),
        (true, true) => {}
    }
}

fn root_disk(facts: &Facts<'_>) -> Option<Problem> {
    let source = facts.text("/spec/image/source")?;
    let needed = matches!(source, "data-source" | "registry" | "http");
    let disks = facts.items("/spec/disks");
    if facts.has("/spec/disks") && facts.get("/spec/disks").is_none() {
        return None;
    }
    let roles: Vec<String> = disks.iter().map(|(pointer, _)| format!("{pointer}/role")).collect();
    if roles.iter().any(|role| facts.has(role) && facts.get(role).is_none()) {
        return None;
    }
    let mut roots = roles.iter().filter(|role| facts.text(role) == Some("root"));
    let (first, second) = (roots.next(), roots.next());
    match (needed, first, second) {
        (true, None, _) => {
            // `name: root` without a role is told at the name
            let named =
                disks.iter().any(|(pointer, _)| facts.text(&format!("{pointer}/name")) == Some("root"));
            let message = format!("image source `{source}` is copied to a boot disk, and there is none");
            let hint = "add `{name: root, role: root, size: 20Gi}`";
            (!named).then(|| Problem::new("/spec/disks", Code::RootDisk, message).hint(hint))
        }
        (true, _, Some(role)) => {
            Some(Problem::new(role, Code::RootDisk, "a second boot disk").hint("make it `role: data`"))
        }
        (false, Some(role), _) => {
            let message = format!("image source `{source}` is the boot disk itself");
            Some(
                Problem::new(role, Code::RootDisk, message).hint("remove this disk, or make it `role: data`"),
            )
        }
        _ => None,
    }
}

fn pod_network(facts: &Facts<'_>) -> Option<Problem> {
    if !facts.has("/spec/networks") || !facts.whole("/spec/networks") {
        return None;
    }
    let networks = facts.items("/spec/networks");
    let mut pods =
        networks.iter().filter(|(_, network)| network.get("type").is_none_or(|kind| kind == "pod"));
    match (pods.next(), pods.next()) {
        (None, _) => Some(
            Problem::new("/spec/networks", Code::Network, "no interface on the pod network")
                .hint("leave `networks` out, or add `{name: default}`"),
        ),
        (_, Some((pointer, _))) => {
            let message = "a second interface on the pod network";
            Some(Problem::new(pointer, Code::Network, message).hint("remove it"))
        }
        _ => None,
    }
}

fn time(facts: &Facts<'_>) -> Option<Problem> {
    let pointer = "/metadata/requestedAt";
    facts.text(pointer)?;
    let refused = facts.parsed::<jiff::Timestamp>(pointer).is_none();
    refused.then(|| Problem::new(pointer, Code::Timestamp, "there is no such day or time"))
}
