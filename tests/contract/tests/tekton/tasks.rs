//! Security, resources, volumes and the size of results.

use serde_json::{Value, json};
use step::TASK_LIMIT;
use testbed::pipeline::model::{Mount, Step};

use crate::check;

/// Where client libraries look for the account of a pod.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Steps that ask Git whether a later commit holds ours: with credentials that may only read, where they are bound at all.
const READERS: [&str; 2] = ["stop-start-vm", "wait-synced"];

/// Pod Security `restricted`, a root file system that nobody writes to, and any user id but root's: no `runAsUser`, so that
/// OpenShift may choose one; the image's own is 65532.
fn security() -> Value {
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
        // a step may say otherwise whose it is, and nothing else: KubeVirt's disks belong to its user 107
        for (name, task) in &world.tasks {
            for step in &task.spec.steps {
                let Some(mut context) = step.security_context.clone() else { continue };
                let ids = ["runAsUser", "runAsGroup"].map(|id| context.as_object_mut().unwrap().remove(id));
                if context != security() || ids != [Some(json!(107)), Some(json!(107))] {
                    problems.push(format!("tekton/tasks/{name}.yaml: step `{}`: {context}", step.name));
                }
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
                let mount = |s: &Step| {
                    s.volume_mounts.iter().any(|m| m.name == volume.name)
                        || s.volume_devices.iter().any(|d| d.name == volume.name)
                };
                let used = task.spec.steps.iter().any(mount);
                let memory = volume.name == "tmp";
                let right = match (&volume.empty_dir, &volume.projected, &volume.persistent_volume_claim) {
                    (Some(empty), None, None) => {
                        (empty.medium.as_deref() == Some("Memory")) == memory && !empty.size_limit.is_empty()
                    }
                    (None, Some(_), None) => volume.name == "token",
                    (None, None, Some(claim)) => {
                        volume.name == "disk" && claim.claim_name == "$(params.claim)"
                    }
                    _ => false,
                };
                if !used || !right {
                    problems.push(format!("tekton/tasks/{name}.yaml: volume `{}`: mounted nowhere, without a limit, or in the wrong place (`tmp` is memory)", volume.name));
                }
            }
        }
    });
}

/// A token is mounted into each step that speaks to the cluster and into no other, never beside Git credentials that may
/// write: no account is mounted by itself (roles.rs), so this is the only way to one.
#[test]
fn a_token_and_git_credentials_never_meet() {
    let token = json!([
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]);
    check("tokens", |world, problems| {
        for (name, task) in &world.tasks {
            for volume in task.spec.volumes.iter().filter(|v| v.name == "token") {
                let sources = volume.projected.as_ref().map(|p| Value::Array(p.sources.clone()));
                if sources.as_ref() != Some(&token) {
                    problems.push(format!("tekton/tasks/{name}.yaml: volume `token` is not {token}"));
                }
            }
            for step in &task.spec.steps {
                let place = format!("tekton/tasks/{name}.yaml: step `{}`", step.name);
                let speaks = step.args.iter().any(|a| a.starts_with("--kubeconfig="));
                let mounts: Vec<&Mount> = step
                    .volume_mounts
                    .iter()
                    .filter(|m| m.name == "token" || m.mount_path.starts_with("/var/run/secrets"))
                    .collect();
                let right = match mounts[..] {
                    [one] => speaks && one.name == "token" && one.mount_path == ACCOUNT && one.read_only,
                    [] => !speaks,
                    _ => false,
                };
                if !right {
                    problems.push(format!("{place}: paste below `volumeMounts:`, where it speaks to a cluster\n- name: token\n  mountPath: {ACCOUNT}\n  readOnly: true"));
                }
                let git = step.workspaces.iter().any(|w| w.name == "basic-auth" || w.name == "ssh-directory");
                if speaks && git && !READERS.contains(&step.name.as_str()) {
                    problems.push(format!("{place}: holds a token and Git credentials"));
                }
                let disk =
                    step.volume_mounts.iter().any(|m| m.name == "disk") || !step.volume_devices.is_empty();
                if speaks && disk {
                    problems.push(format!("{place}: holds a token and a disk"));
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
                    "basic-auth"
                        | "ssh-directory"
                        | "ssl-ca-directory"
                        | "sign-key"
                        | "github-app-key"
                        | "kubeconfig"
                        | "machine-kubeconfig"
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
/// writes the Task's results as they are when it ends, those of the steps before it as well; `step` cuts messages so that
/// all of them stay below [`TASK_LIMIT`].
#[test]
fn results_fit_into_the_termination_message() {
    /// What Tekton adds of its own: the start time.
    const START: usize = 80;
    check("size of results", |world, problems| {
        for (name, task) in &world.tasks {
            let steps = task.spec.steps.len();
            let room = (12 * 1024 / (steps + 1)).min(4096);
            if TASK_LIMIT + START > room {
                problems.push(format!(
                    "tekton/tasks/{name}.yaml: {steps} steps leave room for {room} bytes of results"
                ));
            }
        }
    });
}

/// What results are at their longest, but for the message: identifiers are never cut, so they have to leave it room.
#[test]
fn identifiers_leave_room_for_a_message() {
    /// `{"key":"","value":"","type":1},`
    const JSON: usize = 31;
    /// A failure's *what*, at the least.
    const MESSAGE: usize = 200;
    // names as people give them, of 20 characters each; three of them make the name of an Application and of a Lease
    let longest = |result: &str| match result {
        "message" => MESSAGE,
        "outcome" => 10,
        "changed" | "restarted" | "allow-restart" | "require-guest-agent" | "require-ip" => 5,
        "digest" => 71,
        "commit" | "revision" => 40,
        "lease" | "application" => 20 + 1 + 62,
        "vm" | "image-source" | "data-source" => 41,
        "checks" | "power" | "until" | "force-after" | "prove-for" | "require-tcp-port" | "image-kind"
        | "image-size" => 11,
        "boot-claim" | "snapshot-name" | "node" | "ip" | "snapshot-uid" => 36,
        _ => 20,
    };
    check("room for a message", |world, problems| {
        for (name, task) in &world.tasks {
            let bytes: usize = task.spec.results.iter().map(|r| r.name.len() + longest(&r.name) + JSON).sum();
            if bytes > TASK_LIMIT {
                problems.push(format!(
                    "tekton/tasks/{name}.yaml: its results take {bytes} of {TASK_LIMIT} bytes"
                ));
            }
        }
    });
}
