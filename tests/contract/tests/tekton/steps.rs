//! The command line of every step, in Tasks and StepActions, against the binary's own clap command.

use testbed::pipeline::model::Named;

use crate::binaries::Flag;
use crate::check;
use crate::uses::{Use, Value, uses, value};

/// Flags that no param sets, with the reason.
const UNEXPOSED: &[(&str, &str, &str)] = &[
    (
        "*",
        "log-format",
        "a task's log is read by people; who collects logs sets the format in the cluster's own copy",
    ),
    ("*", "outcome-path", "Tekton's own path: results have no other place"),
    ("validate-request", "schema", "prints instead of checking; for people at a terminal"),
    (
        "validate-request",
        "report",
        "a Task has its results and its log, and no place for a third form of them",
    ),
    ("validate-request", "request-file", "a Task gets the request as a param"),
    ("render-vm", "diff", "prints a difference; for people at a terminal"),
    ("render-vm", "layout", "has one value so far"),
    ("git-push", "dry-run", "prints a difference; for people at a terminal"),
];
/// Flags that a composed Task leaves at their default, with the reason: task, binary, flag.
const LEFT: &[(&str, &str, &str, &str)] = &[
    ("publish-vm", "validate-request", "timeout", "takes milliseconds"),
    ("publish-vm", "render-vm", "timeout", "takes milliseconds"),
    ("publish-vm", "git-push", "base", "a provision makes files that were not there"),
    ("publish-vm", "git-push", "request", "what render-vm makes has one `request.yaml`"),
    ("publish-vm", "git-push", "keep", "its default is where render-vm puts what machines share"),
    ("publish-vm", "git-push", "message", "made from the request"),
];
/// Params whose name is not the flag's: task, flag, param, reason.
const RENAMED: &[(&str, &str, &str, &str)] =
    &[("publish-vm", "repo-url", "url", "Argo CD reads the repository that is pushed to")];

/// Flags that clap lets be absent only beside one that no param sets: binary, flag.
const NEEDED: &[(&str, &str)] =
    &[("git-push", "url"), ("render-vm", "output"), ("validate-request", "request")];

#[test]
fn arguments_are_whole_values_of_declared_things() {
    check("arguments", |world, problems| {
        for used in uses(world, problems) {
            for (flag, text) in &used.args {
                let fault = match value(text, used.step_action) {
                    Value::Param(name) if !used.params.iter().any(|p| p.name == name) => {
                        "no such param is declared"
                    }
                    Value::Workspace(name, rest) => match used.workspaces.iter().find(|w| w.0 == name) {
                        None => "no such workspace is declared",
                        Some((_, true)) if !rest.is_empty() => {
                            "unbound, this is a path of its own; use the workspace's path alone"
                        }
                        Some(_) if !rest.is_empty() && !rest.starts_with('/') => {
                            "a path below the workspace begins with `/`"
                        }
                        Some(_) => continue,
                    },
                    Value::Unknown => {
                        "only one whole `$(params.…)`, `$(workspaces.….path)`, `$(results.outcome.path)` or a constant"
                    }
                    _ => continue,
                };
                problems.push(format!("{}: `--{flag}={text}`: {fault}", used.file));
            }
        }
    });
}

#[test]
fn the_binary_accepts_its_arguments() {
    check("command lines", |world, problems| {
        for used in uses(world, problems) {
            for (which, all) in [("params at their defaults", false), ("every param given", true)] {
                let filled = used.args.iter().map(|(flag, text)| {
                    let known = used.binary.flag(flag);
                    let filled = match value(text, used.step_action) {
                        Value::Param(name) => {
                            let default =
                                used.params.iter().find(|p| p.name == name).and_then(|p| p.default.clone());
                            let sample = || known.as_ref().map(sample).unwrap_or_default();
                            if all { sample() } else { default.unwrap_or_else(sample) }
                        }
                        Value::Workspace(_, rest) => format!("/workspace/x{rest}"),
                        Value::Outcome => "/tekton/results/outcome".to_owned(),
                        Value::Constant | Value::Unknown => (*text).to_owned(),
                    };
                    format!("--{flag}={filled}")
                });
                if let Err(error) = used.binary.parse(&filled.collect::<Vec<_>>()) {
                    problems.push(format!("{}: `{}` with {which}: {error}", used.file, used.binary.name));
                }
            }
        }
    });
}

/// A value that the flag takes, by what `--help` calls it.
fn sample(flag: &Flag) -> String {
    match flag.value_name.as_str() {
        "NAMESPACE/NAME" => "argocd/web".to_owned(),
        "COMMIT" => "a".repeat(40),
        "DIGEST" => format!("sha256:{}", "a".repeat(64)),
        "FOLDER" | "DIR" | "FILE" | "PATH" | "PREFIX" => "some/path".to_owned(),
        "URL" => "https://git.example/vms.git".to_owned(),
        "DURATION" => "10m".to_owned(),
        "PORT" => "22".to_owned(),
        "BOOL" => "true".to_owned(),
        "JSON" | "TEXT" => "{\"a\": \"b c\"}".to_owned(),
        "STATE" | "LAYOUT" => flag.default.clone().unwrap_or_default(),
        _ => "some-name".to_owned(),
    }
}

#[test]
fn every_flag_is_a_param_and_every_param_a_flag() {
    check("flags and params", |world, problems| {
        let mut unused: Vec<String> = LEFT.iter().map(|l| format!("{l:?}")).collect();
        unused.extend(RENAMED.iter().map(|r| format!("{r:?}")));
        let all = uses(world, problems);
        for used in &all {
            let Use { file, owner, binary, .. } = used;
            for flag in binary.flags() {
                let given = used.args.iter().any(|(name, _)| *name == flag.name);
                let hidden =
                    UNEXPOSED.iter().any(|(b, f, _)| (*b == binary.name || *b == "*") && *f == flag.name);
                let left =
                    LEFT.iter().find(|(o, b, f, _)| o == owner && *b == binary.name && *f == flag.name);
                if let Some(left) = left {
                    unused.retain(|l| *l != format!("{left:?}"));
                }
                if !given && !hidden && left.is_none() {
                    let line = format!("--{0}=$(params.{0})", flag.name);
                    problems.push(format!(
                        "{file}: `{}` has the flag; paste\n- {line}\n{}",
                        binary.name,
                        pasted(&flag)
                    ));
                }
            }
            for (flag, text) in &used.args {
                let Some(known) = binary.flag(flag) else {
                    problems.push(format!("{file}: `{}` has no `--{flag}`; take the line out", binary.name));
                    continue;
                };
                let Value::Param(param) = value(text, used.step_action) else { continue };
                let renamed = RENAMED.iter().find(|(o, f, p, _)| o == owner && f == flag && *p == param);
                if let Some(renamed) = renamed {
                    unused.retain(|r| *r != format!("{renamed:?}"));
                    continue;
                }
                if param != known.name {
                    problems.push(format!("{file}: `--{flag}={text}`: flag and param are one word"));
                    continue;
                }
                let Some(declared) = used.params.iter().find(|p| p.name == param) else { continue };
                let needed = NEEDED.iter().any(|(b, f)| *b == binary.name && f == flag);
                let default = known.default.clone().filter(|_| !needed);
                // steps of one Task may share a param, and only one of them can give it its description
                let sharing = all.iter().filter(|u| u.owner == *owner && u.step_action == used.step_action);
                let mut said = sharing.filter_map(|u| u.binary.flag(flag));
                if declared.default != default || !said.any(|f| f.description == declared.description) {
                    let wanted = Flag { default, ..known };
                    problems.push(format!(
                        "{file}: `{}` says it otherwise; paste\n{}",
                        binary.name,
                        pasted(&wanted)
                    ));
                }
            }
        }
        for (binary, flag, _) in UNEXPOSED {
            if !world.binaries.iter().any(|b| (*binary == "*" || *binary == b.name) && b.flag(flag).is_some())
            {
                problems.push(format!("`{binary}` has no flag `--{flag}`; take it out of the exceptions"));
            }
        }
        problems.extend(unused.into_iter().map(|entry| format!("nobody needs the exception {entry}")));
    });
}

/// The param for a flag, to paste below `params:`.
fn pasted(flag: &Flag) -> String {
    let default =
        flag.default.as_ref().map_or_else(String::new, |d| format!("\n  default: {}", serde_json::json!(d)));
    format!("- name: {}\n  description: {}{default}", flag.name, serde_json::json!(flag.description))
}

#[test]
fn every_param_reaches_a_step() {
    check("params", |world, problems| {
        let all = uses(world, problems);
        let owners = world.tasks.iter().map(|(n, t)| (n, false, &t.spec.params));
        for (name, step_action, params) in
            owners.chain(world.actions.iter().map(|(n, a)| (n, true, &a.spec.params)))
        {
            for param in params {
                let whole = format!("$(params.{})", param.name);
                let mine = |u: &&Use<'_>| u.owner == name && u.step_action == step_action;
                if !all.iter().filter(mine).any(|u| u.args.iter().any(|(_, text)| *text == whole)) {
                    problems.push(format!("`{name}`: no step takes the param `{}`", param.name));
                }
            }
        }
    });
}

#[test]
fn results_are_those_that_the_binary_writes() {
    check("results", |world, problems| {
        let mut wanted: Vec<(String, Vec<&str>, &[Named])> = Vec::new();
        let mut described = std::collections::BTreeMap::new();
        for used in uses(world, problems) {
            let at = wanted.iter().position(|(file, ..)| *file == used.file).unwrap_or_else(|| {
                wanted.push((used.file.clone(), Vec::new(), used.results));
                wanted.len() - 1
            });
            for result in &used.binary.results {
                if !wanted[at].1.contains(result) {
                    wanted[at].1.push(result);
                }
            }
        }
        for (file, wanted, declared) in wanted {
            let names: Vec<&str> = declared.iter().map(|r| r.name.as_str()).collect();
            if names != wanted {
                problems.push(format!(
                    "{file}: the steps write these results, in this order; paste\n- name: {}",
                    wanted.join("\n- name: ")
                ));
            }
            for result in declared {
                let first =
                    described.entry(result.name.clone()).or_insert_with(|| result.description.clone());
                if *first != result.description {
                    problems
                        .push(format!("{file}: result `{}` is described elsewhere as\n{first}", result.name));
                }
            }
        }
    });
}

#[test]
fn tekton_waits_longer_than_the_binary() {
    check("timeouts", |world, problems| {
        for used in uses(world, problems) {
            let Some(step) = used.step else { continue };
            let given = used.args.iter().find(|(flag, _)| *flag == "timeout");
            match (&step.timeout, given) {
                (None, Some(_)) => {}
                (Some(_), Some(_)) => problems.push(format!(
                    "{}: step `{}`: its `timeout` is a constant and would cut a longer `--timeout`; take it out",
                    used.file, step.name
                )),
                (tekton, None) => {
                    let own = used.binary.timeout.get().as_secs();
                    let tekton = tekton.as_ref().map(|t| t.parse::<step::Timeout>().unwrap().get().as_secs());
                    if tekton.is_none_or(|tekton| tekton < own + 30) {
                        problems.push(format!(
                            "{}: step `{}`: Tekton ends it without a signal, so at least 30 s after its own `--timeout`; paste\ntimeout: {}s",
                            used.file, step.name, own + 30
                        ));
                    }
                }
            }
        }
    });
}

#[test]
fn composed_tasks_name_their_steps_by_their_binaries() {
    check("step names", |world, problems| {
        for used in uses(world, problems) {
            let Some(step) = used.step else { continue };
            if step.name != used.binary.name || !used.composed && used.owner != step.name {
                problems.push(format!(
                    "{}: step `{}` runs `{}`: one word for both",
                    used.file, step.name, used.binary.name
                ));
            }
        }
    });
}
