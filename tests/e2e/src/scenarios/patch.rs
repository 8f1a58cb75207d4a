//! Disks that are patched by a program that stands in for virt-customize; the pod around it is real.

use anyhow::{Result, ensure};
use serde_json::json;

use super::power::{instance_uid, running};
use super::{day_two, ensure_holds, expect};
use crate::setup::World;

/// Stopped, kept as a snapshot, patched once, and up again.
pub(super) fn patched(world: &World) -> Result<()> {
    let (root, data) = (world.claim("clone", "root")?, world.claim("clone", "data")?);
    world.set_mark(&root, "root-before")?;
    world.set_mark(&data, "data-kept")?;
    let (instance, uid) = (instance_uid(world, "clone")?, world.claim_uid(&root)?);
    let patch = day_two(world, "patch-clone", "patch", "clone", json!({"profile": "good"}));
    let ended = world.patch("patch-clone", &patch)?;
    expect(&ended, "ok")?;
    let task = ended.task("patch-disk")?;
    say!("  {} disk: {}", task.result("volume-mode"), task.result("message"));
    running(world, "clone")?;
    ensure!(world.mark(&root)? == "patched", "the boot disk holds `{}`", world.mark(&root)?);
    ensure!(world.mark(&data)? == "data-kept", "the data disk holds `{}`", world.mark(&data)?);
    ensure!(world.claim_uid(&root)? == uid, "the boot disk is another one");
    let after = instance_uid(world, "clone")?;
    ensure!(after != instance, "the same instance runs");

    world.set_mark(&root, "once")?;
    expect(&world.patch("patch-clone-again", &patch)?, "ok")?;
    ensure!(world.mark(&root)? == "once", "the same request patched it a second time");
    ensure!(instance_uid(world, "clone")? == after, "the same request restarted it a second time");
    Ok(())
}

/// A profile that fails leaves half a patch: the disk is the snapshot's again, and the machine runs.
pub(super) fn taken_back(world: &World) -> Result<()> {
    let root = world.claim("clone", "root")?;
    world.set_mark(&root, "whole")?;
    let patch = day_two(world, "patch-bad", "patch", "clone", json!({"profile": "bad"}));
    let ended = world.patch("patch-bad", &patch)?;
    let message = expect(&ended, "failed")?;
    ensure_holds(&message, &["rolled back"])?;
    running(world, "clone")?;
    let mark = world.mark(&world.claim("clone", "root")?)?;
    ensure!(mark == "whole", "the boot disk holds `{mark}`");
    // their pods name the boot disk: after a repave it would not go until they do (docs/install.md)
    world.kubectl.run(&["delete", "pipelinerun", "--all", "-n", &world.machines]).map(drop)
}
