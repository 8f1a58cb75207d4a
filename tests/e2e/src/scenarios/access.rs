//! Other ways to the Git server than a password in a workspace.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::sshd::Sshd;

use super::{expect, request};
use crate::setup::{ARGOCD, World, secret};

/// A machine that is off from its birth, provisioned by a run that is changed before it starts.
fn provision(world: &World, name: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut off = request(world, name, name);
    off["spec"]["power"] = "off".into();
    let mut run = world.run_of("provision-vm", name, &off, &[])?;
    change(&mut run["spec"]);
    world.create(&run)?;
    let ended = world.ended(name)?;
    expect(&ended, "ok")?;
    let commit = ended.task("publish-vm")?.result("commit");
    let commits = world.git().log_of(&format!("vms/in-cluster/{}/{name}", world.machines))?;
    ensure!(commits == [commit.as_str()], "the commits of {name} are {commits:?}, told was {commit}");
    ensure!(world.machine(name)?.is_some(), "no VirtualMachine {name}");
    Ok(())
}

fn without(spec: &mut Value, workspaces: &[&str]) {
    if let Some(all) = spec["workspaces"].as_array_mut() {
        all.retain(|workspace| workspaces.iter().all(|name| workspace["name"] != *name));
    }
}

/// By SSH: we with the key and the host's key of the workspaces `ssh-directory` and `ssh-directory-read`, Argo CD with the key of its
/// own Secret.
pub(super) fn over_ssh(world: &World) -> Result<()> {
    let address = world.sshd.address();
    let url = format!("ssh://{}@{address}{}", Sshd::user()?, world.git().path().display());
    world.sshd.knows(&[&format!("[{}]:{}", address.ip(), address.port())], "host")?;
    let read = |file: &str| fs::read_to_string(world.sshd.folder().join("ssh").join(file));
    let (key, known) = (read("id_ed25519")?, read("known_hosts")?);
    world.kubectl.apply(&[
        secret("git-ssh", &world.namespace, &json!({}), &json!({"id_ed25519": key, "known_hosts": known})),
        // Argo CD's own known hosts are one ConfigMap for all; our binaries do check the host's key
        secret(
            &world.ssh_repository(),
            ARGOCD,
            &json!({"argocd.argoproj.io/secret-type": "repository"}),
            &json!({"type": "git", "url": url, "sshPrivateKey": key, "insecure": "true"}),
        ),
    ])?;
    provision(world, "over-ssh", |spec| {
        without(spec, &["basic-auth", "basic-auth-read", "ssl-ca-directory"]);
        if let Some(workspaces) = spec["workspaces"].as_array_mut() {
            let workspace = |name: &str| json!({"name": name, "secret": {"secretName": "git-ssh"}});
            workspaces.extend(["ssh-directory", "ssh-directory-read"].map(workspace));
        }
        for param in spec["params"].as_array_mut().into_iter().flatten() {
            if param["name"] == "git-url" {
                param["value"] = url.as_str().into();
            }
        }
    })
}

/// By what Tekton makes of an annotated Secret of a ServiceAccount, in `/tekton/creds`; no workspace has a credential.
pub(super) fn of_the_service_account(world: &World) -> Result<()> {
    let (user, password) = world.credentials();
    let server = world.git_server();
    world.kubectl.apply(&[json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": "git-of-account", "namespace": world.namespace, "annotations": {"tekton.dev/git-0": server}},
        "stringData": {"username": user, "password": password},
    })])?;
    let secrets = json!({"secrets": [{"name": "git-of-account"}]}).to_string();
    for account in ["publish-vm", "await-vm"] {
        let patch =
            ["patch", "serviceaccount", account, "-n", &world.namespace, "--type=merge", "-p", &secrets];
        world.kubectl.run(&patch)?;
    }
    provision(world, "by-account", |spec| without(spec, &["basic-auth", "basic-auth-read"]))
        .context("by the Secret of the ServiceAccount")
}
