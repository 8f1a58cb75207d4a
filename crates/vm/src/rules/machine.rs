//! Size, disks, times: what one field says against what another does.

use crate::problem::{Code, Problem};
use crate::quantity::Quantity;

use super::Facts;

/// Where requests size machines: a new one, and one that is there.
pub(super) const COMPUTE: [&str; 2] = ["/spec/compute", "/spec/operationSpec/compute"];
/// Where requests size disks, likewise.
pub(super) const DISKS: [&str; 2] = ["/spec/disks", "/spec/operationSpec/disks"];

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    compute(facts, found);
    instance_type_alone(facts, COMPUTE[1], found);
    found.extend(root_disk(facts));
    source_of_root(facts, found);
    found.extend(time(facts));
    let sizes = DISKS.iter().flat_map(|disks| facts.items(disks)).map(|(disk, _)| format!("{disk}/size"));
    let memory = COMPUTE.iter().map(|compute| format!("{compute}/memory"));
    for pointer in memory.chain(sizes) {
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
        instance_type_alone(facts, COMPUTE[0], found);
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

fn instance_type_alone(facts: &Facts<'_>, compute: &str, found: &mut Vec<Problem>) {
    let has = |name: &&str| facts.has(&format!("{compute}/{name}"));
    if facts.get(compute).is_none() || !has(&"instanceType") {
        return;
    }
    for other in ["cpu", "memory"].into_iter().filter(has) {
        let problem =
            Problem::new(format!("{compute}/{other}"), Code::Exclusive, "an instance type has its own");
        found.push(problem.hint("give `instanceType`, or `cpu` and `memory`"));
    }
}

fn root_disk(facts: &Facts<'_>) -> Option<Problem> {
    let source = facts.text("/spec/image/source")?;
    let needed = matches!(source, "data-source" | "registry" | "http" | "snapshot");
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

/// The boot disk is made from `image`, and from nothing else.
fn source_of_root(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    for (disk, _) in facts.items("/spec/disks") {
        let source = format!("{disk}/source");
        if facts.has(&source) && facts.text(&format!("{disk}/role")) == Some("root") {
            let message = "the boot disk is made from `image`";
            let problem = Problem::new(source, Code::Exclusive, message);
            found.push(problem.hint("name the snapshot there: `image: {source: snapshot, name: …}`"));
        }
    }
}

fn time(facts: &Facts<'_>) -> Option<Problem> {
    let pointer = "/metadata/requestedAt";
    facts.text(pointer)?;
    let refused = facts.parsed::<jiff::Timestamp>(pointer).is_none();
    refused.then(|| Problem::new(pointer, Code::Timestamp, "there is no such day or time"))
}
