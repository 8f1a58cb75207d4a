//! What is refused before anything is touched.

use std::time::Duration;

use serde_json::json;

use crate::bed::world::{APPLICATION, RESTORES, SNAPSHOTS, VM, VMI, VOLUME_SNAPSHOTS, World, described};
use crate::bed::{Ended, Run};
use crate::{DONE, begin, clear, hold, world};

const PODS: &str = "/api/v1/namespaces/team-a/pods";

/// Refused with this code, line and reason, and nothing was touched.
#[track_caller]
fn refused(world: &World, ended: &Ended, code: i32, line: &str, reason: &str) {
    ended.is(code, line);
    assert_eq!((ended.result("reason").as_str(), ended.result("changed").as_str()), (reason, "false"));
    assert_eq!(world.asked("POST"), 0);
    hold(world, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_23_without_in_place_it_is_refused_with_the_way_out() {
    let world = world().await;
    let fields = described(&["targetReadinessPolicy"]);
    world.server.with(|store| {
        store.described.insert("/openapi/v3/apis/snapshot.kubevirt.io/v1beta1".to_owned(), fields)
    });
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    refused(
        &world,
        &ended,
        31,
        "error: this cluster's KubeVirt cannot restore in place: its VirtualMachineRestore has no `volumeRestorePolicy`",
        "InPlaceMissing",
    );
    assert_eq!(
        ended.log.last().unwrap(),
        "hint: upgrade KubeVirt to 1.6 or later, or provision a machine from what `snapshot-vm --action sources` prints"
    );
    clear(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_machine_that_is_not_surely_off_is_refused() {
    let world = world().await;
    let halted = world.get(VM).unwrap();
    let mut always = halted.clone();
    always["spec"]["runStrategy"] = json!("Always");
    let mut created = halted.clone();
    created["status"]["created"] = json!(true);
    let mut wish = halted.clone();
    wish["status"]["stateChangeRequests"] = json!([{"action": "Start"}]);
    for (vm, vmi, why) in [
        (always, false, "is declared `Always`, not `Halted`"),
        (created, false, "still counts as created"),
        (wish, false, "has a request to start before it"),
        (halted, true, "still has an instance: Running"),
    ] {
        world.put(VM, vm);
        if vmi {
            world.put(VMI, json!({"status": {"phase": "Running"}}));
        }
        let ended = begin(&world, &["--restore-name=r1"]).end().await;
        refused(&world, &ended, 20, &format!("error: virtual machine `team-a/web01` {why}"), "NotStopped");
        clear(&world);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_the_snapshot_is_looked_at_once_more() {
    let world = world().await;
    let uid = world.get(&format!("{SNAPSHOTS}/s1")).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let other = Run::begin(
        env!("CARGO_BIN_EXE_restore-vm"),
        &world,
        &["--vm=team-a/web01", "--snapshot=nothing", "--restore-name=r1"],
    );
    let ended = other.end().await;
    refused(
        &world,
        &ended,
        40,
        "error: virtual machine snapshot `team-a/nothing` does not exist",
        "SnapshotUnusable",
    );
    // a volume of it is lost
    let lost = format!("vmsnapshot-{uid}-volume-data");
    world.server.with(|store| store.delete(&format!("{VOLUME_SNAPSHOTS}/{lost}")));
    crate::bed::world::until("it is said", || {
        world.get(&format!("{SNAPSHOTS}/s1")).unwrap()["status"]["readyToUse"] == false
    })
    .await;
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    let line = format!(
        "error: virtual machine snapshot `team-a/s1` is taken and not ready to use: VolumeSnapshots ({lost}) missing"
    );
    refused(&world, &ended, 40, &line, "SnapshotUnusable");
    // or is lost, and the snapshot does not say so yet
    world.server.with(|store| {
        store.frozen = true;
        store.edit(&format!("{SNAPSHOTS}/s1"), |s| s["status"]["readyToUse"] = json!(true));
    });
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    let line =
        format!("error: virtual machine snapshot `team-a/s1` has lost volume snapshot `team-a/{lost}`");
    refused(&world, &ended, 40, &line, "SnapshotUnusable");
    // or is there and cannot be used
    world.put(&format!("{VOLUME_SNAPSHOTS}/{lost}"), json!({"status": {"readyToUse": false}}));
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    let line = format!(
        "error: virtual machine snapshot `team-a/s1` needs volume snapshot `team-a/{lost}`, which is not ready to use"
    );
    refused(&world, &ended, 40, &line, "SnapshotUnusable");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_a_snapshot_that_left_a_volume_out_is_not_restored() {
    let world = World::new().await;
    world.way(|ways| ways.snapshots = vec!["root"]);
    world.snapshot("s1").await;
    crate::write(&world, "new");
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    refused(
        &world,
        &ended,
        40,
        "error: virtual machine snapshot `team-a/s1` does not hold `data`, which the machine had then",
        "SnapshotUnusable",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_05_a_snapshot_of_an_earlier_machine_is_refused() {
    let world = world().await;
    world.edit(VM, |vm| vm["metadata"]["uid"] = json!("made-anew"));
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    refused(
        &world,
        &ended,
        40,
        "error: virtual machine snapshot `team-a/s1` is of an earlier machine of this name",
        "SnapshotUnusable",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_05_a_snapshot_of_other_disks_is_refused() {
    let world = world().await;
    world.way(|ways| ways.git[0]["persistentVolumeClaim"]["claimName"] = json!("web01-root-2"));
    crate::bed::world::until("it is repaved", || {
        world.get(VM).unwrap()["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
            == "web01-root-2"
    })
    .await;
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    ended.is(
        20,
        "error: virtual machine snapshot `team-a/s1` holds volume `root` as claim `web01-root-1`, and the machine has claim \
         `web01-root-2` there now",
    );
    assert_eq!((ended.result("reason").as_str(), world.asked("POST")), ("OtherDisks", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_another_restore_is_waited_for_or_named() {
    let world = world().await;
    world.server.with(|store| store.frozen = true);
    let target = json!({"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01"});
    world.put(&format!("{RESTORES}/stuck"), json!({
        "spec": {"target": target, "virtualMachineSnapshotName": "s1"},
        "status": {"complete": false, "conditions": [{"type": "Failure", "status": "True", "reason": "no room"}]}
    }));
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    refused(
        &world,
        &ended,
        20,
        "error: virtual machine `team-a/web01` is held by restore `stuck`, which failed: no room",
        "Busy",
    );
    world.server.with(|store| store.delete(&format!("{RESTORES}/stuck")));
    world.edit(VM, |vm| vm["status"]["snapshotInProgress"] = json!("s2"));
    let ended = begin(&world, &["--restore-name=r1", "--timeout=1s"]).end().await;
    ended.is(
        20,
        "error: stopped while waiting for virtual machine `team-a/web01`, which is held by snapshot `s2`",
    );
    assert_eq!(world.asked("POST"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_an_operation_of_argo_cd_is_waited_out() {
    let world = world().await;
    world.edit(APPLICATION, |a| {
        a["status"]["operationState"] = json!({"phase": "Running", "message": "waiting"});
    });
    let run = begin(&world, &["--restore-name=r1"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((world.asked("POST"), world.asked("PATCH")), (0, 0), "not paused in the middle of it");
    world.edit(APPLICATION, |a| a["status"]["operationState"] = json!({"phase": "Succeeded"}));
    run.end().await.is(0, DONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_what_is_paused_already() {
    let world = world().await;
    let skip = "argocd.argoproj.io/skip-reconcile";
    world.edit(APPLICATION, |a| {
        a["metadata"]["annotations"] = json!({skip: "true", "vmlifecycle.dev/paused-by": "other"});
    });
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    ended.is(20, "error: application `argocd/in-cluster.team-a.web01` is paused by request `other`");
    assert_eq!((ended.result("reason").as_str(), world.asked("POST")), ("Busy", 0));
    // with the machine's Lease in hand, whoever paused it is not at work
    let ended =
        begin(&world, &["--restore-name=r1", "--lease=flows/c.team-a.web01", "--holder=r1"]).end().await;
    ended.is(0, DONE);
    clear(&world);
    // what people have paused stays paused
    world.edit(APPLICATION, |a| a["metadata"]["annotations"] = json!({skip: "true"}));
    let ended = begin(&world, &["--restore-name=r2"]).end().await;
    ended.is(
        0,
        "done: virtual machine `team-a/web01` has `root`, `data` as in virtual machine snapshot `team-a/s1`, and is stopped; \
         application `argocd/in-cluster.team-a.web01` is paused by somebody else and stays so",
    );
    assert_eq!(world.get(APPLICATION).unwrap()["metadata"]["annotations"][skip], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_pod_that_has_a_claim_is_waited_for() {
    let world = world().await;
    let pod = json!({"spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "web01-data-1"}}]}, "status": {"phase": "Running"}});
    world.put(&format!("{PODS}/virt-launcher-web01"), pod.clone());
    let run = begin(&world, &["--restore-name=r1"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.asked("POST"), 0);
    // one that has ended keeps it as well
    world.server.with(|store| {
        store.edit(&format!("{PODS}/virt-launcher-web01"), |p| p["status"]["phase"] = json!("Succeeded"));
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.asked("POST"), 0);
    world.server.with(|store| store.delete(&format!("{PODS}/virt-launcher-web01")));
    run.end().await.is(0, DONE);
}

/// The pod of a patch is there after its end, for as long as Tekton keeps its `TaskRun`.
#[tokio::test(flavor = "multi_thread")]
async fn point_16_the_spent_pod_of_a_patch_is_deleted_and_nobody_elses() {
    let world = world().await;
    let pod = |name: &str, of: &str, claim: &str| {
        let volumes = json!([{"persistentVolumeClaim": {"claimName": claim}}]);
        let pod = json!({
            "metadata": {"labels": {"app.kubernetes.io/part-of": of}},
            "spec": {"volumes": volumes}, "status": {"phase": "Failed"},
        });
        world.put(&format!("{PODS}/{name}"), pod);
    };
    pod("patch", "vm-lifecycle-tasks", "web01-data-1");
    pod("other-claim", "vm-lifecycle-tasks", "web02-data-1");
    pod("other-app", "another", "web02-data-1");
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    assert_eq!(world.names(PODS), ["other-app", "other-claim"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_name_that_another_request_has_is_a_conflict() {
    let world = world().await;
    world.server.with(|store| store.frozen = true);
    world.put(
        &format!("{RESTORES}/r1"),
        json!({"spec": {"target": {"name": "web01"}, "virtualMachineSnapshotName": "s1"}}),
    );
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    ended.is(20, "error: virtual machine restore `team-a/r1` is there already, and is another request's");
}
