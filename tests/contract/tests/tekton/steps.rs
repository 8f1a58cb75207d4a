//! The command line of every step, in Tasks and StepActions, against the binary's own clap command.

mod exceptions;

use testbed::pipeline::model::Named;

use crate::binaries::Flag;
use crate::check;
use crate::uses::{Use, Value, uses, value};
use exceptions::{ALTERNATIVES, DEFAULTS, INSISTED, LEFT, NEEDED, OMITTED, ONE_OF, RENAMED, UNEXPOSED, left};

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
                let other = ALTERNATIVES.iter().find(|(b, _, tasks)| {
                    *b == used.binary.name && (*tasks || used.step_action) && !used.composed
                });
                let other = other.map_or(&[][..], |(_, flags, _)| *flags);
                let kept = used.args.iter().filter(|(flag, _)| !all || !other.contains(flag));
                let filled = kept.map(|(flag, text)| {
                    let known = used.binary.flag(flag);
                    let filled = match value(text, used.step_action) {
                        Value::Param(name) => {
                            let default =
                                used.params.iter().find(|p| p.name == name).and_then(|p| p.default.clone());
                            let sample = || known.as_ref().map(sample).unwrap_or_default();
                            let given =
                                all || used.step_action && ONE_OF.contains(&(used.binary.name, *flag));
                            if given { sample() } else { default.unwrap_or_else(sample) }
                        }
                        Value::Workspace(_, rest) => format!("/workspace/x{rest}"),
                        Value::Outcome => "/tekton/results/outcome".to_owned(),
                        Value::Variable => "run-pod".to_owned(),
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
        "FORGE" => "github".to_owned(),
        "STATE" | "LAYOUT" | "ACTION" | "VIA" | "HOW" | "GUEST-DIR" | "MODE" => {
            flag.default.clone().unwrap_or_default()
        }
        "POWER" => "off".to_owned(),
        "PHASE" => "stop".to_owned(),
        "KIND" => "pvc".to_owned(),
        "AMOUNT" => "8Gi".to_owned(),
        "NUMBER" => "2".to_owned(),
        "CLAIM=SIZE,…" => "web-data=1Gi".to_owned(),
        "PATH:PORT" => "/healthz:8080".to_owned(),
        _ => "some-name".to_owned(),
    }
}

#[test]
fn every_flag_is_a_param_and_every_param_a_flag() {
    check("flags and params", |world, problems| {
        let mut unused: Vec<String> = RENAMED.iter().map(|r| format!("{r:?}")).collect();
        let every =
            LEFT.iter().flat_map(|(owners, b, flags, _)| owners.iter().map(move |o| (*o, *b, *flags)));
        unused.extend(every.flat_map(|(o, b, flags)| flags.iter().map(move |f| format!("{o}, {b}: {f}"))));
        let all = uses(world, problems);
        for used in &all {
            let Use { file, owner, binary, .. } = used;
            for flag in binary.flags() {
                // a Task may run a binary in several roles, each with flags of its own
                let roles = all.iter().filter(|u| {
                    u.owner == *owner && u.binary.name == binary.name && u.step_action == used.step_action
                });
                let given = roles.flat_map(|u| &u.args).any(|(name, _)| *name == flag.name);
                let hidden =
                    UNEXPOSED.iter().any(|(b, f, _)| (*b == binary.name || *b == "*") && *f == flag.name);
                let left = !used.step_action && !given && left(owner, binary.name, &flag.name);
                if left {
                    let names = [binary.name, "*"].map(|b| format!("{owner}, {b}: {}", flag.name));
                    unused.retain(|l| !names.contains(l));
                }
                if !given && !hidden && !left {
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
                let needed = NEEDED.contains(&(binary.name, *flag))
                    || !used.step_action && INSISTED.contains(&(*owner, *flag));
                let own = DEFAULTS.iter().find(|(o, p, ..)| o == owner && *p == param);
                let default =
                    own.map_or_else(|| known.default.clone(), |o| Some(o.2.to_owned())).filter(|_| !needed);
                // steps of one Task may share a param: one of them gives it its description, and one may insist on it
                let sharing = all.iter().filter(|u| {
                    u.owner == *owner
                        && u.step_action == used.step_action
                        && u.args
                            .iter()
                            .any(|(f, text)| f == flag && value(text, u.step_action).is_param(param))
                });
                let said: Vec<Flag> = sharing.filter_map(|u| u.binary.flag(flag)).collect();
                let insisted = declared.default.is_none() && said.iter().any(|f| f.default.is_none());
                let described = said.iter().any(|f| f.description == declared.description);
                if (declared.default != default && !insisted) || !described {
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
                let image = |u: &Use<'_>| u.step.is_some_and(|s| s.image == whole);
                if !all.iter().filter(mine).any(|u| image(u) || u.args.iter().any(|(_, text)| *text == whole))
                {
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
            let omitted = OMITTED.iter().find(|(task, _)| *task == used.owner && !used.step_action);
            for result in &used.binary.results {
                let omitted = omitted.is_some_and(|(_, results)| results.contains(result));
                if !wanted[at].1.contains(result) && !omitted {
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
                    // what comes on top of `--timeout` is at most what a request may ask for
                    let proves = used.args.iter().any(|(flag, _)| *flag == "prove-for");
                    let own = used.binary.timeout.get().as_secs() + if proves { longest_proof() } else { 0 };
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

/// The longest `rollbackForSeconds`.
fn longest_proof() -> u64 {
    let field = "/$defs/repaveSpec/properties/rollbackForSeconds/maximum";
    vm::schema::request().pointer(field).and_then(serde_json::Value::as_u64).unwrap()
}

#[test]
fn composed_tasks_name_their_steps_by_their_binaries() {
    check("step names", |world, problems| {
        for used in uses(world, problems) {
            let Some(step) = used.step else { continue };
            // their steps are their roles
            if ["patch-disk", "patch-guest"].contains(&used.binary.name) {
                continue;
            }
            // begins with a request, as a flow does: what is done once is named by it
            let composed = used.composed || used.owner == "patch-guest";
            if step.name != used.binary.name || !composed && used.owner != step.name {
                problems.push(format!(
                    "{}: step `{}` runs `{}`: one word for both",
                    used.file, step.name, used.binary.name
                ));
            }
        }
    });
}
