//! Security, resources, volumes and the size of results.

use serde_json::json;
use step::{EVERY_STEP, LIMIT};

use crate::check;

/// Pod Security `restricted`, a root file system that nobody writes to, and any user id but root's: no `runAsUser`, so that
/// OpenShift may choose one; the image's own is 65532.
fn security() -> serde_json::Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

#[test]
fn every_step_is_restricted() {
    check("security contexts", |world, problems| {
        let tasks = world
            .tasks
            .iter()
            .map(|(n, t)| (format!("tekton/tasks/{n}.yaml"), t.spec.step_template.security_context.clone()));
        let actions = world
            .actions
            .iter()
            .map(|(n, a)| (format!("tekton/stepactions/{n}.yaml"), Some(a.spec.security_context.clone())));
        for (file, context) in tasks.chain(actions) {
            if context != Some(security()) {
                problems.push(format!("{file}: paste\nsecurityContext: {}", security()));
            }
        }
    });
}

#[test]
fn every_task_asks_for_little() {
    check("resources", |world, problems| {
        for (name, task) in &world.tasks {
            let wanted = json!({"requests": {"cpu": "20m", "memory": "32Mi"}});
            if task.spec.step_template.compute_resources.as_ref() != Some(&wanted) {
                problems.push(format!(
                    "tekton/tasks/{name}.yaml: paste below `stepTemplate:`\ncomputeResources: {wanted}"
                ));
            }
            for volume in &task.spec.volumes {
                let used =
                    task.spec.steps.iter().any(|s| s.volume_mounts.iter().any(|m| m.name == volume.name));
                let memory = volume.name == "tmp";
                if !used
                    || (volume.empty_dir.medium.as_deref() == Some("Memory")) != memory
                    || volume.empty_dir.size_limit.is_empty()
                {
                    problems.push(format!("tekton/tasks/{name}.yaml: volume `{}`: mounted nowhere, without a limit, or in the wrong place (`tmp` is memory)", volume.name));
                }
            }
        }
    });
}

/// Credentials reach the step that needs them and no other: a workspace that a step names is Tekton's isolated workspace.
#[test]
fn credentials_are_mounted_into_one_step() {
    check("credentials", |world, problems| {
        for (name, task) in &world.tasks {
            for workspace in &task.spec.workspaces {
                let secret = matches!(
                    workspace.name.as_str(),
                    "basic-auth" | "ssh-directory" | "ssl-ca-directory" | "kubeconfig" | "machine-kubeconfig"
                );
                let path = format!("$(workspaces.{}.path)", workspace.name);
                for step in &task.spec.steps {
                    let uses = step.args.iter().any(|a| a.contains(&path));
                    let named = step.workspaces.iter().any(|w| w.name == workspace.name);
                    if secret && uses != named {
                        problems.push(format!("tekton/tasks/{name}.yaml: step `{}`: `workspaces: [{{name: {}}}]` where it is used, and only there", step.name, workspace.name));
                    }
                }
                if secret && !workspace.read_only {
                    problems.push(format!(
                        "tekton/tasks/{name}.yaml: workspace `{}`: paste\nreadOnly: true",
                        workspace.name
                    ));
                }
            }
        }
    });
}

/// The kubelet keeps 12 KiB of termination messages for a pod, shared evenly by its containers, Tekton's one init container
/// among them, and at most 4 KiB for each (kubernetes `pkg/kubelet/status`, `MaxPodTerminationMessageLogLength`). Each step
/// writes the Task's results as they are when it ends, those of the steps before it as well.
#[test]
fn results_fit_into_the_termination_message() {
    /// `{"key":"","value":"","type":1},`, and the start time that Tekton adds.
    const JSON: usize = 31;
    const START: usize = 80;
    /// What `step` reckons for the same; it keeps names, values and this below [`LIMIT`].
    const RECKONED: usize = 24;
    check("size of results", |world, problems| {
        for (name, task) in &world.tasks {
            let steps = task.spec.steps.len();
            let shared: usize = EVERY_STEP.iter().map(|n| n.len() + JSON).sum();
            let written = task.spec.steps.iter().filter_map(|s| world.binary(s.command.first()?));
            let all: usize = written.map(|b| LIMIT + b.results.len() * (JSON - RECKONED)).sum();
            let bytes = all + START - (steps - 1) * shared;
            let room = (12 * 1024 / (steps + 1)).min(4096);
            if bytes > room {
                problems.push(format!(
                    "tekton/tasks/{name}.yaml: results may take {bytes} bytes, there is room for {room}"
                ));
            }
        }
    });
}
