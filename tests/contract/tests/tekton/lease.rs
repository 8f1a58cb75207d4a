//! The machine's Lease lasts as long as the flow: each step that may renews it, and what cannot is covered by the step before.

use testbed::pipeline::model::{Object, Step, Task};

use crate::check;
use crate::world::World;

/// What a Lease lasts after a step that does not say.
const LASTS: u64 = 300;
/// What is left for the next pod to be scheduled, pull this project's image and take the Lease.
const NEXT_POD: u64 = 300;
/// What is left for a pod with an image that is not this project's, of some hundred megabytes: Tekton begins with the first step
/// when the images of all of them are there.
const LARGE_IMAGE: u64 = 1800;

fn seconds(text: &str) -> u64 {
    text.parse::<step::Timeout>().unwrap_or_else(|e| panic!("{text}: {e}")).get().as_secs()
}

fn given<'a>(step: &'a Step, flag: &str) -> Option<&'a str> {
    step.args.iter().find_map(|arg| arg.strip_prefix("--")?.strip_prefix(flag)?.strip_prefix('='))
}

/// The constant behind a flag, or the default of the param that is.
fn value(task: &Task, step: &Step, flag: &str) -> Option<String> {
    let text = given(step, flag)?;
    match text.strip_prefix("$(params.").and_then(|t| t.strip_suffix(')')) {
        Some(name) => task.params.iter().find(|p| p.name == name)?.default.clone(),
        None => Some(text.to_owned()),
    }
}

fn takes(step: &Step) -> bool {
    let release = given(step, "action") == Some("release");
    step.command == ["lease-vm"] && !release
        || ["lease", "lease-file"].iter().any(|f| given(step, f).is_some())
}

/// How long the Lease lasts after this step.
fn lasts(task: &Task, step: &Step) -> u64 {
    value(task, step, "lease-for").map_or(LASTS, |text| seconds(&text))
}

/// How long a step takes at most: what Tekton allows it, or its own deadline and a little.
fn at_most(task: &Task, step: &Step) -> u64 {
    match (&step.timeout, value(task, step, "timeout")) {
        (Some(timeout), _) => seconds(timeout),
        (None, Some(timeout)) => seconds(&timeout) + 30,
        (None, None) => panic!("step `{}` may take for ever", step.name),
    }
}

fn composed(world: &World) -> impl Iterator<Item = (&String, &Object<Task>)> {
    world.tasks.iter().filter(|(name, _)| world.binary(name).is_none() || name.starts_with("patch-"))
}

/// A step that speaks to the cluster in a pod that has a Lease takes it and renews it.
#[test]
fn point_16_every_step_that_may_renews_the_lease() {
    check("leases", |world, problems| {
        for (name, task) in composed(world) {
            if !task.spec.steps.iter().any(takes) {
                continue;
            }
            for step in &task.spec.steps {
                let may = step
                    .command
                    .first()
                    .and_then(|c| world.binary(c))
                    .is_some_and(|b| b.flag("lease").is_some());
                if may && given(step, "kubeconfig").is_some() && !takes(step) {
                    problems.push(format!(
                        "tekton/tasks/{name}.yaml: step `{}`: paste, where a param or lease-vm says which\n\
                         - --lease=$(params.lease)\n- --holder=$(params.holder)\n- --lease-file=/work/lease.json",
                        step.name
                    ));
                }
            }
        }
    });
}

/// Steps without a token, such as those with Git credentials, cannot renew it: the one before them says how long it has to last.
#[test]
fn point_16_the_lease_outlasts_the_steps_that_cannot_renew_it() {
    check("lengths of leases", |world, problems| {
        let mut held = 0;
        for (name, task) in composed(world) {
            let steps = &task.spec.steps;
            for (at, step) in steps.iter().enumerate().filter(|(_, s)| takes(s)) {
                held += 1;
                let behind = &steps[at + 1..];
                let until = behind.iter().position(takes);
                let between = &behind[..until.unwrap_or(behind.len())];
                let gap = between.iter().map(|s| at_most(&task.spec, s)).sum::<u64>()
                    + if until.is_none() { NEXT_POD } else { 0 };
                if lasts(&task.spec, step) < gap {
                    problems.push(format!(
                        "tekton/tasks/{name}.yaml: step `{}`: what comes behind it may take {gap} s; paste\n- --lease-for={}m",
                        step.name,
                        gap.div_ceil(60)
                    ));
                }
            }
        }
        assert!(held > 10, "only {held} steps take a Lease");
    });
}

/// While a large image is pulled nothing of its pod runs: the last step of the task before it says how long it has to last.
#[test]
fn point_16_the_lease_outlasts_the_pull_of_a_large_image() {
    check("leases before large images", |world, problems| {
        let ours = |step: &Step| step.image.contains("/vm-lifecycle-tasks:");
        let mut found = 0;
        for (name, pipeline) in &world.pipelines {
            for task in &pipeline.spec.tasks {
                if world.tasks[&task.task_ref.name].spec.steps.iter().all(ours) {
                    continue;
                }
                found += 1;
                assert!(!task.run_after.is_empty(), "{name}: `{}` comes after nothing", task.name);
                for before in pipeline.spec.tasks.iter().filter(|t| task.run_after.contains(&t.name)) {
                    let before = &world.tasks[&before.task_ref.name];
                    let last = before.spec.steps.iter().rfind(|s| takes(s)).unwrap();
                    if lasts(&before.spec, last) < LARGE_IMAGE {
                        problems.push(format!(
                            "tekton/tasks/{}.yaml: step `{}`, before `{}` of pipelines/{name}.yaml: paste\n- --lease-for={}m",
                            before.metadata.name,
                            last.name,
                            task.name,
                            LARGE_IMAGE / 60
                        ));
                    }
                }
            }
        }
        assert!(found > 0, "no task has an image of its own");
    });
}
