//! `--check`: what is known before the machine is stopped.

use serde_json::json;

use crate::bed::Ended;
use crate::bed::world::{RESTORES, SNAPSHOTS, VM, VMI, World, described};
use crate::{begin, hold, world};

/// What is passed: the same machine, and whatever the words say of it.
const POSSIBLE: &str = "done: virtual machine `team-a/web01` can be restored from virtual machine snapshot `team-a/s1`: `root`, `data`";

/// The machine runs, and nothing answers what is asked of the cluster.
async fn running() -> World {
    let world = world().await;
    world.server.with(|store| store.frozen = true);
    world.edit(VM, |vm| {
        vm["spec"]["runStrategy"] = json!("Always");
        vm["status"]["created"] = json!(true);
    });
    world.put(VMI, json!({"status": {"phase": "Running"}}));
    world
}

/// Let the snapshot be gone.
fn lose(world: &World) {
    world.edit(&format!("{SNAPSHOTS}/s1"), |s| s["metadata"]["finalizers"] = json!([]));
    world.server.with(|store| store.delete(&format!("{SNAPSHOTS}/s1")));
}

/// Ended so, and nothing at all was changed.
#[track_caller]
fn said(world: &World, ended: &Ended, code: i32, line: &str, reason: &str) {
    ended.is(code, line);
    assert_eq!((ended.result("reason").as_str(), ended.result("changed").as_str()), (reason, "false"));
    assert_eq!(["POST", "PATCH", "PUT", "DELETE"].map(|verb| world.asked(verb)), [0; 4]);
    hold(world, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_03_a_running_machine_is_told_whether_it_can_be_restored() {
    let world = running().await;
    let check = async || begin(&world, &["--check", "--restore-name=r1"]).end().await;
    let ended = check().await;
    said(&world, &ended, 0, POSSIBLE, "");
    assert_eq!(["snapshot-name", "restored-volumes"].map(|r| ended.result(r)), ["s1", ""]);
    // without it, the machine has to be off
    let ended = begin(&world, &["--check=false", "--restore-name=r1"]).end().await;
    let line = "error: virtual machine `team-a/web01` is declared `Always`, not `Halted`";
    said(&world, &ended, 20, line, "NotStopped");

    world.edit(&format!("{SNAPSHOTS}/s1"), |s| s["status"]["readyToUse"] = json!(false));
    let line = "error: virtual machine snapshot `team-a/s1` is taken and not ready to use: Source not locked";
    said(&world, &check().await, 40, line, "SnapshotUnusable");
    lose(&world);
    let line = "error: virtual machine snapshot `team-a/s1` does not exist";
    said(&world, &check().await, 40, line, "SnapshotUnusable");

    // one that nobody removes would hold the stopped machine for ever
    let target = json!({"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01"});
    world.put(&format!("{RESTORES}/stuck"), json!({
        "spec": {"target": target, "virtualMachineSnapshotName": "s1"},
        "status": {"complete": false, "conditions": [{"type": "Failure", "status": "True", "reason": "no room"}]}
    }));
    let line = "error: virtual machine `team-a/web01` is held by restore `stuck`, which failed: no room";
    said(&world, &check().await, 20, line, "Busy");

    let fields = described(&["targetReadinessPolicy"]);
    world.server.with(|store| {
        store.described.insert("/openapi/v3/apis/snapshot.kubevirt.io/v1beta1".to_owned(), fields)
    });
    let line = "error: this cluster's KubeVirt cannot restore in place: its VirtualMachineRestore has no `volumeRestorePolicy`";
    said(&world, &check().await, 31, line, "InPlaceMissing");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_05_a_running_machine_is_not_the_snapshots() {
    let world = running().await;
    world.edit(VM, |vm| vm["metadata"]["uid"] = json!("made-anew"));
    let ended = begin(&world, &["--check", "--restore-name=r1"]).end().await;
    let line = "error: virtual machine snapshot `team-a/s1` is of an earlier machine of this name";
    said(&world, &ended, 40, line, "SnapshotUnusable");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_the_requests_own_restore_is_gone_on_with() {
    let world = running().await;
    // its snapshot is gone, and that is no longer asked
    let snapshot = world.get(&format!("{SNAPSHOTS}/s1")).unwrap();
    lose(&world);
    let own = json!({
        "metadata": {"annotations": {"vmlifecycle.dev/request-id": "r1"}},
        "spec": {"target": {"name": "web01"}, "virtualMachineSnapshotName": "s1"},
    });
    world.put(&format!("{RESTORES}/r1"), own.clone());
    let check = async || begin(&world, &["--check", "--restore-name=r1"]).end().await;
    let line = "done: virtual machine restore `team-a/r1` is there already: it is gone on with";
    said(&world, &check().await, 0, line, "");

    // one that has failed is made anew, which needs the snapshot; this is not yet the time to remove it
    let mut failed = own;
    failed["status"] = json!({"complete": false, "conditions": [{"type": "Failure", "status": "True", "reason": "no room"}]});
    world.put(&format!("{RESTORES}/r1"), failed);
    let line = "error: virtual machine snapshot `team-a/s1` does not exist";
    said(&world, &check().await, 40, line, "SnapshotUnusable");
    world.put(&format!("{SNAPSHOTS}/s1"), snapshot);
    said(&world, &check().await, 0, POSSIBLE, "");
    assert_eq!(world.names(RESTORES), ["r1"]);

    // it was complete, also after another one
    world.server.with(|store| store.delete(&format!("{RESTORES}/r1")));
    world.edit(&format!("{SNAPSHOTS}/s1"), |s| {
        s["status"]["readyToUse"] = json!(false);
        s["metadata"]["annotations"] = json!({"restore.vmlifecycle.dev/r1": "1"});
    });
    let line = "done: virtual machine restore `team-a/r1` was complete already";
    said(&world, &check().await, 0, line, "");
}
