//! The end of a machine, and what is left of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::disks::{unowned, with_disks};
use super::power::running;
use super::{day_two, ensure_holds, expect};
use crate::setup::World;
use crate::until;

pub(super) fn gone(world: &World, name: &str) -> Result<()> {
    ensure!(world.machine(name)?.is_none(), "the VirtualMachine is left");
    ensure!(world.application(name)?.is_none(), "the Application is left");
    let files = world.git().files("main")?;
    let folder = format!("vms/in-cluster/{}/{name}/", world.machines);
    ensure!(!files.iter().any(|f| f.starts_with(&folder)), "{folder} is left in Git");
    Ok(())
}

/// A protected machine goes only when its name is said.
pub(super) fn protected(world: &World) -> Result<()> {
    let mut request = with_disks(world, "guarded", "guarded");
    request["spec"]["lifecycle"]["protected"] = true.into();
    expect(&world.provision("guarded", &request)?, "ok")?;
    let folder = format!("vms/in-cluster/{}/guarded", world.machines);
    let before = world.git().log_of(&folder)?;
    let remove = day_two(world, "remove-guarded", "deprovision", "guarded", json!({}));
    let message = expect(&world.flow("deprovision-vm", "remove-guarded", &remove)?, "invalid")?;
    ensure_holds(&message, &["protected", "confirmName"])?;
    ensure!(world.git().log_of(&folder)? == before, "its folder changed");
    running(world, "guarded")
}

/// A pod of our Tasks that has ended and names a claim, as Tekton leaves one behind a patch: Kubernetes keeps the claim for it.
fn spent_pod(world: &World, claim: &str) -> Result<()> {
    let task = world.kubectl.get(&["task", "await-vm", "-n", &world.namespace])?;
    let image = &task["spec"]["steps"][0]["image"];
    world.kubectl.apply(&[json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "spent", "namespace": world.machines, "labels": {"app.kubernetes.io/part-of": "vm-lifecycle-tasks"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsUser": 107, "runAsNonRoot": true},
            "containers": [{
                "name": "spent", "image": image, "command": ["wait-synced", "--version"],
                "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
            }],
            "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": claim}}],
        },
    })])?;
    until("the pod to end", Duration::from_mins(2), || {
        let pod = world.kubectl.get(&["pod", "spent", "-n", &world.machines])?;
        let phase = pod["status"]["phase"].as_str().unwrap_or_default().to_owned();
        Ok(if phase == "Succeeded" { Ok(()) } else { Err(phase) })
    })
}

/// Machine and boot disk go, the data stays; undelete brings the machine back to it.
pub(super) fn retain_and_undelete(world: &World) -> Result<()> {
    let (root, data) = (world.claim("clone", "root")?, world.claim("clone", "data")?);
    world.set_mark(&data, "data-retained")?;
    spent_pod(world, &root)?;
    let remove = day_two(world, "remove-clone", "deprovision", "clone", json!({"confirmName": "clone"}));
    expect(&world.flow("deprovision-vm", "remove-clone", &remove)?, "ok")?;
    gone(world, "clone")?;
    for kind in ["pvc", "datavolume"] {
        ensure!(
            world.kubectl.find(&[kind, &root, "-n", &world.machines])?.is_none(),
            "{kind} {root} is left"
        );
    }
    ensure!(world.kubectl.find(&["pod", "spent", "-n", &world.machines])?.is_none(), "the spent pod is left");
    ensure!(world.mark(&data)? == "data-retained", "the data disk lost its mark");
    unowned(world, &data)?;
    let again = world.flow("deprovision-vm", "remove-clone-again", &remove)?;
    expect(&again, "ok")?;

    // the request that made it does not make it again
    let replay = world.provision("clone-replayed", &with_clone(world))?;
    let message = expect(&replay, "superseded")?;
    ensure_holds(&message, &["clone"])?;
    ensure!(world.machine("clone")?.is_none(), "it was made again");

    let back = day_two(world, "undelete-clone", "undelete", "clone", json!({}));
    let ended = world.flow("undelete-vm", "undelete-clone", &back)?;
    expect(&ended, "ok")?;
    let machine = world.machine("clone")?.context("no VirtualMachine clone")?;
    say!("  undeleted: {} {}", machine["spec"]["runStrategy"], machine["status"]["printableStatus"]);
    ensure!(world.claim("clone", "data")? == data, "it names another data disk");
    ensure!(world.mark(&data)? == "data-retained", "the data disk lost its mark");
    Ok(())
}

/// The request that made `clone`, as the scenario `data-source-clone-with-data-disk` sent it.
fn with_clone(world: &World) -> serde_json::Value {
    with_disks(world, "clone", "clone")
}

/// Where it is asked for, the data goes as well; the name has to be said, since the machine is protected.
pub(super) fn delete_all(world: &World) -> Result<()> {
    let (root, data) = (world.claim("guarded", "root")?, world.claim("guarded", "data")?);
    let spec = json!({"disks": "delete", "confirmName": "guarded"});
    let remove = day_two(world, "delete-guarded", "deprovision", "guarded", spec);
    expect(&world.flow("deprovision-vm", "delete-guarded", &remove)?, "ok")?;
    gone(world, "guarded")?;
    for claim in [&root, &data] {
        for kind in ["pvc", "datavolume"] {
            let found = world.kubectl.find(&[kind, claim, "-n", &world.machines])?;
            ensure!(found.is_none(), "{kind} {claim} is left");
        }
    }
    Ok(())
}
