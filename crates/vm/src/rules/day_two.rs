//! What one field of an `operationSpec` says against what another does, or the target.

use crate::problem::{Code, Problem, echo};

use super::Facts;

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    match facts.operation() {
        Some("repave") => found.extend(image(facts)),
        Some("resize") => nothing(facts, found),
        Some("deprovision") => found.extend(confirm(facts)),
        _ => {}
    }
}

fn image(facts: &Facts<'_>) -> Option<Problem> {
    let pointer = "/spec/operationSpec/image/source";
    let source = facts.text(pointer).filter(|source| matches!(*source, "container-disk" | "pvc"))?;
    let message = format!("a boot disk cannot be made from image source `{source}`");
    Some(
        Problem::new(pointer, Code::RootDisk, message)
            .hint("`data-source`, `registry`, `http` or `snapshot`"),
    )
}

fn nothing(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    let (spec, compute, disks) =
        ("/spec/operationSpec", "/spec/operationSpec/compute", "/spec/operationSpec/disks");
    let empty = |pointer: &str| {
        // an unknown field is most likely the one that is missing, misspelt
        facts.get(pointer).is_some_and(|value| value.as_object().is_some_and(serde_json::Map::is_empty))
    };
    if empty(compute) {
        found.push(
            Problem::new(compute, Code::Nothing, "no new size")
                .hint("give `instanceType`, `cpu` or `memory`, or leave it out"),
        );
    }
    let no_disks = facts.get(disks).is_some_and(|list| list.as_array().is_some_and(Vec::is_empty));
    let any = facts.has(compute) || (facts.has(disks) && !no_disks);
    let right = !facts.has(spec) || facts.get(spec).is_some() && !facts.has_unknown(spec);
    if !any && right {
        let problem = Problem::new(spec, Code::Nothing, "nothing to resize");
        found.push(problem.hint("give `compute`, `disks`, or both"));
    }
}

fn confirm(facts: &Facts<'_>) -> Option<Problem> {
    let pointer = "/spec/operationSpec/confirmName";
    let name = facts.text("/spec/target/name")?;
    let given = facts.text(pointer).filter(|given| *given != name)?;
    let message = format!("{} is not the name of the machine", echo(given));
    Some(Problem::new(pointer, Code::Confirm, message).hint(format!("it is `{name}`")))
}
