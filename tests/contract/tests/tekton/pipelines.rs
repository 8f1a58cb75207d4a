//! Pipelines against the Tasks that they put together, and the sample run against its Pipeline.

use std::collections::BTreeSet;

use testbed::pipeline::expressions;
use testbed::pipeline::model::{OnError, Pipeline, PipelineTask};

use crate::check;
use crate::world::World;

/// What has no default where it is not `request` and `git-url`.
const REQUIRED: &[(&str, &[&str])] = &[
    // nothing changes in Git
    ("snapshot-vm", &["request"]),
    // nobody's image is ours to choose
    ("patch-vm", &["request", "git-url", "image"]),
    // nothing changes in Git, and images differ in who their user is
    ("patch-guest-vm", &["request", "user"]),
];

/// What `finally` may ask of a task besides its results.
const STATES: [&str; 2] = ["status", "reason"];

/// Why this task may not refer to `expression`, if it may not.
fn fault(
    world: &World,
    pipeline: &Pipeline,
    before: &[&PipelineTask],
    last: bool,
    expression: &str,
) -> Option<String> {
    let parts: Vec<&str> = expression.split('.').collect();
    match parts[..] {
        ["params", name] => (!pipeline.params.iter().any(|p| p.name == name))
            .then(|| "the Pipeline has no such param".to_owned()),
        ["context", "pipelineRun", "name" | "namespace"] => None,
        ["tasks", task, state] if STATES.contains(&state) => {
            let known = last && pipeline.tasks.iter().any(|t| t.name == task);
            (!known).then(|| "only `finally` may ask this, and only of a task above".to_owned())
        }
        ["tasks", task, "results", result] => result_fault(world, before, task, result),
        _ => Some("not one of the expressions that this repository uses".to_owned()),
    }
}

fn result_fault(world: &World, before: &[&PipelineTask], task: &str, result: &str) -> Option<String> {
    let Some(producer) = before.iter().find(|t| t.name == task) else {
        return Some(format!("no task `{task}` runs before this one"));
    };
    let declared = world.tasks.get(&producer.task_ref.name).map(|t| &t.spec.results)?;
    let names: Vec<&str> = declared.iter().map(|r| r.name.as_str()).collect();
    (!names.contains(&result))
        .then(|| format!("`{}` has the results {}", producer.task_ref.name, names.join(", ")))
}

#[test]
fn every_reference_is_to_something_that_is_there() {
    check("references", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            let spec = &pipeline.spec;
            let before: Vec<&PipelineTask> = spec.tasks.iter().collect();
            let dag = spec.tasks.iter().enumerate().map(|(at, task)| (task, &before[..at], false));
            for (task, before, last) in dag.chain(spec.finally.iter().map(|task| (task, &before[..], true))) {
                let place = format!("pipelines/{name}.yaml: task `{}`", task.name);
                let whens = task.when.iter().flat_map(|w| std::iter::once(&w.input).chain(&w.values));
                for text in task.params.iter().map(|p| &p.value).chain(whens).chain([&task.display_name]) {
                    for expression in expressions(text) {
                        if let Some(fault) = fault(world, spec, before, last, expression) {
                            problems.push(format!("{place}: `$({expression})`: {fault}"));
                        }
                    }
                }
                for after in &task.run_after {
                    if last || !before.iter().any(|t| t.name == *after) {
                        problems.push(format!("{place}: `runAfter: [{after}]`: no such task before it"));
                    }
                }
            }
        }
    });
}

#[test]
fn tasks_get_what_they_need_and_nothing_else() {
    check("params and workspaces", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            let spec = &pipeline.spec;
            for task in spec.tasks.iter().chain(&spec.finally) {
                let place = format!("pipelines/{name}.yaml: task `{}`", task.name);
                let Some(referred) = world.tasks.get(&task.task_ref.name) else {
                    problems
                        .push(format!("{place}: there is no Task `{}` in tekton/tasks", task.task_ref.name));
                    continue;
                };
                let declared = &referred.spec.params;
                let given: Vec<&str> = task.params.iter().map(|p| p.name.as_str()).collect();
                for param in
                    declared.iter().filter(|p| p.default.is_none() && !given.contains(&p.name.as_str()))
                {
                    problems.push(format!(
                        "{place}: paste below `params:`\n- name: {0}\n  value: $(params.{0})",
                        param.name
                    ));
                }
                for given in given.iter().filter(|g| !declared.iter().any(|p| p.name == **g)) {
                    problems.push(format!("{place}: Task `{}` has no param `{given}`", task.task_ref.name));
                }
                for given in &task.workspaces {
                    let ours = spec.workspaces.iter().find(|w| w.name == given.workspace);
                    let theirs = referred.spec.workspaces.iter().find(|w| w.name == given.name);
                    let fits = matches!((ours, theirs), (Some(ours), Some(theirs)) if theirs.optional || !ours.optional);
                    if !fits {
                        problems.push(format!("{place}: workspace `{}` for `{}`: not declared on one side, or optional on ours only", given.workspace, given.name));
                    }
                }
                for needed in referred.spec.workspaces.iter().filter(|w| !w.optional) {
                    if !task.workspaces.iter().any(|w| w.name == needed.name) {
                        problems.push(format!("{place}: workspace `{}` is not given", needed.name));
                    }
                }
            }
        }
    });
}

#[test]
fn what_a_pipeline_declares_it_uses() {
    check("declarations", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            let spec = &pipeline.spec;
            let all = || spec.tasks.iter().chain(&spec.finally);
            for param in &spec.params {
                let whole = format!("params.{}", param.name);
                if !all().flat_map(|t| &t.params).any(|p| expressions(&p.value).contains(&whole.as_str())) {
                    problems.push(format!("pipelines/{name}.yaml: nobody takes the param `{}`", param.name));
                }
            }
            for workspace in &spec.workspaces {
                if !all().flat_map(|t| &t.workspaces).any(|w| w.workspace == workspace.name) {
                    problems.push(format!(
                        "pipelines/{name}.yaml: nobody takes the workspace `{}`",
                        workspace.name
                    ));
                }
            }
            let required: Vec<&str> =
                spec.params.iter().filter(|p| p.default.is_none()).map(|p| p.name.as_str()).collect();
            let wanted =
                REQUIRED.iter().find(|(n, _)| n == name).map_or(&["request", "git-url"][..], |(_, r)| r);
            if required != wanted {
                problems.push(format!(
                    "pipelines/{name}.yaml: only {wanted:?} have no default, not {required:?}"
                ));
            }
        }
    });
}

/// A param that goes straight to a Task is the Task's: same default, same description.
#[test]
fn pipeline_params_say_what_the_tasks_say() {
    check("params handed on", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            let spec = &pipeline.spec;
            for task in spec.tasks.iter().chain(&spec.finally) {
                let Some(referred) = world.tasks.get(&task.task_ref.name) else { continue };
                for given in &task.params {
                    let Some(ours) = given.value.strip_prefix("$(params.").and_then(|v| v.strip_suffix(')'))
                    else {
                        continue;
                    };
                    let ours = spec.params.iter().find(|p| p.name == ours);
                    let theirs = referred.spec.params.iter().find(|p| p.name == given.name);
                    let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
                    let same_default = ours.default == theirs.default
                        || ours.default.is_none()
                        || theirs.default.as_deref().unwrap_or_default().is_empty();
                    if ours.name == theirs.name && (ours.description != theirs.description || !same_default) {
                        problems.push(format!(
                            "pipelines/{name}.yaml: param `{}`: Task `{}` says it otherwise; paste\n  description: {}\n  default: {:?}",
                            ours.name, task.task_ref.name, serde_json::json!(theirs.description), theirs.default
                        ));
                    }
                }
            }
        }
    });
}

/// The machine's folder is put together in YAML, as the binaries know it by themselves.
#[test]
fn the_machines_folder_is_that_of_the_layout() {
    check("the param `path`", |world, problems| {
        let target: vm::request::Target =
            serde_json::from_value(serde_json::json!({"cluster": "c", "namespace": "n", "name": "m"}))
                .unwrap();
        for (name, pipeline) in &world.pipelines {
            for task in &pipeline.spec.tasks {
                let value =
                    |param: &str| task.params.iter().find(|p| p.name == param).map(|p| p.value.clone());
                let Some(given) = value("path") else { continue };
                // of the commit that is waited for
                let commit = value("commit").unwrap_or_default();
                let producer = commit.trim_start_matches("$(tasks.").split('.').next().unwrap().to_owned();
                let path = ["cluster", "namespace", "vm-name"].iter().zip(["c", "n", "m"]).fold(
                    given,
                    |path, (result, value)| {
                        path.replace(&format!("$(tasks.{producer}.results.{result})"), value)
                    },
                );
                if path != target.path() {
                    problems.push(format!(
                        "pipelines/{name}.yaml: task `{}`: `path` is `{path}` where the layout says `{}`",
                        task.name,
                        target.path()
                    ));
                }
            }
        }
    });
}

/// Tekton ends a run at once, without its `finally`, when a task misses a result of one that failed and was let go on
/// (`InvalidTaskResultReference`): so whatever takes its results is let go on as well.
#[test]
fn what_follows_a_task_that_may_fail_may_fail() {
    check("onError", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            for task in &pipeline.spec.tasks {
                let whens = task.when.iter().flat_map(|w| std::iter::once(&w.input).chain(&w.values));
                let texts = task.params.iter().map(|p| &p.value).chain(whens);
                let producers = texts
                    .flat_map(|t| expressions(t))
                    .filter_map(|e| e.strip_prefix("tasks.")?.split('.').next());
                for producer in producers.collect::<BTreeSet<_>>() {
                    let lax = pipeline
                        .spec
                        .tasks
                        .iter()
                        .any(|t| t.name == producer && t.on_error == OnError::Continue);
                    if lax && task.on_error == OnError::StopAndFail {
                        problems.push(format!("pipelines/{name}.yaml: task `{}` takes results of `{producer}`; paste\nonError: continue", task.name));
                    }
                }
            }
        }
    });
}

/// Every flow ends with the report, and its outcome and message are those of the report.
#[test]
fn every_flow_ends_with_its_report() {
    check("finally", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            let last: Vec<(&str, &str)> =
                pipeline.spec.finally.iter().map(|t| (t.name.as_str(), t.task_ref.name.as_str())).collect();
            if last != [("report-outcome", "report-outcome")] {
                problems.push(format!("pipelines/{name}.yaml: `finally` is {last:?}"));
            }
            for (result, of) in [("outcome", "flow-outcome"), ("message", "flow-message")] {
                let value = format!("$(finally.report-outcome.results.{of})");
                if !pipeline.spec.results.iter().any(|r| r.name == result && r.value == value) {
                    problems.push(format!(
                        "pipelines/{name}.yaml: paste below `results:`\n- name: {result}\n  value: {value}"
                    ));
                }
            }
        }
    });
}

/// Tekton ends a task at its `timeout`, results and all; the steps have to have given up by then.
#[test]
fn a_task_has_the_time_that_its_steps_take() {
    check("timeouts of tasks", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            for task in pipeline.spec.tasks.iter().chain(&pipeline.spec.finally) {
                let Some(timeout) = &task.timeout else { continue };
                let timeout = timeout.parse::<step::Timeout>().unwrap().get().as_secs();
                let steps = &world.tasks[&task.task_ref.name].spec.steps;
                let steps = steps.iter().filter_map(|s| world.binary(s.command.first()?));
                let needed = steps.map(|b| b.timeout.get().as_secs() + 30).sum::<u64>();
                if timeout < needed {
                    let place = format!("pipelines/{name}.yaml: task `{}`", task.name);
                    problems
                        .push(format!("{place}: its steps may take {needed} s; paste\ntimeout: {needed}s"));
                }
            }
        }
    });
}

/// A result comes from one task; from several only where at most one of them is run, all in `finally`: Tekton leaves out those
/// of tasks that it skipped.
#[test]
fn pipeline_results_come_from_tasks() {
    check("results of pipelines", |world, problems| {
        for (name, pipeline) in &world.pipelines {
            let spec = &pipeline.spec;
            let mut seen = BTreeSet::new();
            for result in &spec.results {
                let place = format!("pipelines/{name}.yaml: result `{}`", result.name);
                let all = expressions(&result.value);
                let [one] = all[..] else {
                    problems.push(format!("{place}: expected one expression, found {}", all.len()));
                    continue;
                };
                let tasks: Vec<&PipelineTask> = match one.split('.').next() {
                    Some("tasks") => spec.tasks.iter().collect(),
                    _ => spec.finally.iter().collect(),
                };
                let parts: Vec<&str> = one.split('.').collect();
                let fault = match parts[..] {
                    ["tasks" | "finally", task, "results", result] => {
                        result_fault(world, &tasks, task, result)
                    }
                    _ => Some("not the result of a task".to_owned()),
                };
                problems.extend(fault.map(|fault| format!("{place}: `$({one})`: {fault}")));
                if !seen.insert(&result.name) && !one.starts_with("finally.") {
                    problems.push(format!("{place}: declared twice"));
                }
            }
        }
    });
}
