//! What a restore leaves behind.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bed::world::{
    APPLICATION, CLAIMS, DATA_VOLUMES, RESTORES, SNAPSHOTS, VM, World, described, until,
};
use crate::{DONE, begin, clear, hold, world};

#[tokio::test(flavor = "multi_thread")]
async fn point_03_the_disks_are_the_snapshots_under_their_own_names_and_stay_so() {
    let world = world().await;
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    ended.is(0, DONE);
    assert_eq!(ended.output, "");
    let results =
        ["outcome", "changed", "snapshot-name", "restored-volumes", "reason"].map(|r| ended.result(r));
    assert_eq!(results, ["ok", "true", "s1", "root,data", ""]);
    hold(&world, "old");
    clear(&world);
    assert_eq!(world.get(VM).unwrap()["spec"]["runStrategy"], "Halted");
    for disk in ["root", "data"] {
        let owners =
            world.get(&format!("{CLAIMS}/web01-{disk}-1")).unwrap()["metadata"]["ownerReferences"].clone();
        assert_eq!(owners[0]["kind"], "DataVolume");
    }
}

/// Where the claims' own files are in Git, an Argo CD that is not paused puts an empty claim where one is missing.
#[tokio::test(flavor = "multi_thread")]
async fn point_03_argo_cd_is_paused_while_the_claims_are_gone() {
    let world = plain().await;
    let watched = world.server.clone();
    let paused = tokio::spawn(async move {
        loop {
            let pair = watched.with(|store| {
                let missing = store.get(&format!("{CLAIMS}/web01-data-1")).is_none();
                let skips = store.get(APPLICATION).unwrap()["metadata"]["annotations"]["argocd.argoproj.io/skip-reconcile"].clone();
                (missing, skips)
            });
            if pair.0 {
                return pair.1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    assert_eq!(paused.await.unwrap(), "true");
    hold(&world, "old");
    clear(&world);
}

/// A machine whose claims nothing makes but Git.
async fn plain() -> World {
    let world = world().await;
    world.way(|ways| ways.plain_claims = true);
    world.server.with(|store| {
        for disk in ["root", "data"] {
            store.delete(&format!("{DATA_VOLUMES}/web01-{disk}-1"));
            store.edit(&format!("{CLAIMS}/web01-{disk}-1"), |c| c["metadata"]["ownerReferences"] = json!([]));
        }
    });
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn point_23_where_ownership_cannot_be_told_it_is_taken_away_afterwards() {
    let world = plain().await;
    let fields = described(&["volumeRestorePolicy", "targetReadinessPolicy"]);
    world.server.with(|store| {
        store.described.insert("/openapi/v3/apis/snapshot.kubevirt.io/v1beta1".to_owned(), fields)
    });
    let owner =
        json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "web01", "uid": "1"});
    let keeper = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "keeper", "uid": "2"});
    // an earlier restore has left this, on a disk that a data volume makes
    world.put(
        &format!("{DATA_VOLUMES}/web01-data-1"),
        json!({"metadata": {"ownerReferences": [keeper, owner]}}),
    );
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    let owners = |path: String| world.get(&path).unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(owners(format!("{CLAIMS}/web01-root-1")), Value::Null);
    assert_eq!(owners(format!("{DATA_VOLUMES}/web01-data-1")), json!([keeper]));
    hold(&world, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_03_disks_that_the_machine_makes_from_its_templates_stay_its_own() {
    let world = world().await;
    let owner =
        json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "web01", "uid": "1"}]);
    world.edit(VM, |vm| vm["spec"]["dataVolumeTemplates"] = json!([{"metadata": {"name": "web01-root-1"}}]));
    world.edit(&format!("{DATA_VOLUMES}/web01-root-1"), |dv| {
        dv["metadata"]["ownerReferences"] = owner.clone();
    });
    world.snapshot("s2").await;
    let ended = crate::bed::Run::begin(
        env!("CARGO_BIN_EXE_restore-vm"),
        &world,
        &["--vm=team-a/web01", "--snapshot=s2", "--restore-name=r1"],
    );
    assert_eq!(ended.end().await.code, Some(0));
    assert_eq!(
        world.get(&format!("{DATA_VOLUMES}/web01-root-1")).unwrap()["metadata"]["ownerReferences"],
        owner
    );
}

/// A snapshot of a machine that runs writes the revision of its instance type into `spec`: Git could not change the type again.
#[tokio::test(flavor = "multi_thread")]
async fn point_20_the_instance_type_follows_git_again() {
    let world = World::new().await;
    world.way(|ways| ways.revision = true);
    world.snapshot("s1").await;
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    assert_eq!(world.get(VM).unwrap()["spec"]["instancetype"], json!({"name": "small"}));
    // where Git itself holds a revision, it is not ours to take away
    world.edit(VM, |vm| vm["spec"]["instancetype"]["revisionName"] = json!("web01-small-0"));
    begin(&world, &["--restore-name=r2"]).end().await.is(0, DONE);
    assert_eq!(world.get(VM).unwrap()["spec"]["instancetype"]["revisionName"], "web01-small-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_waits_for_its_first_consumer_is_restored_too() {
    let world = world().await;
    world.way(|ways| ways.pending = true);
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    hold(&world, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_03_what_git_does_to_the_disks_afterwards_is_told() {
    for heard_late in [false, true] {
        another_disk_in_git(heard_late).await;
    }
}

/// The word of Argo CD and the machine come by two watches, in any order.
async fn another_disk_in_git(heard_late: bool) {
    let world = world().await;
    world.way(|ways| {
        ways.git[1]["persistentVolumeClaim"]["claimName"] = json!("web01-data-2");
        ways.machine_heard_late = heard_late;
    });
    world.edit(APPLICATION, |a| {
        a["metadata"]["annotations"]["argocd.argoproj.io/skip-reconcile"] = json!("true");
    });
    world.edit(APPLICATION, |a| a["metadata"]["annotations"]["vmlifecycle.dev/paused-by"] = json!("r1"));
    world.edit(VM, |vm| {
        vm["spec"]["template"]["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"] =
            json!("web01-data-1");
    });
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    ended.is(
        40,
        "error: virtual machine `team-a/web01` has `root`, `data` as in virtual machine snapshot `team-a/s1`, but volume `data` \
         of virtual machine `team-a/web01` is no longer persistent volume claim `team-a/web01-data-1`",
    );
    assert_eq!(ended.result("reason"), "NotCompared");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_26_a_complete_restore_is_removed_and_remembered() {
    let world = world().await;
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    crate::write(&world, "newer");
    let again = begin(&world, &["--restore-name=r1"]).end().await;
    assert_eq!((again.code, again.result("changed").as_str()), (Some(0), "false"), "{:#?}", again.log);
    hold(&world, "newer");
    // the flow has started it since, and a run of it all is begun again
    world.edit(VM, |vm| vm["spec"]["runStrategy"] = json!("Always"));
    assert_eq!(begin(&world, &["--restore-name=r1"]).end().await.code, Some(0));
    world.edit(VM, |vm| vm["spec"]["runStrategy"] = json!("Halted"));
    begin(&world, &["--restore-name=r2"]).end().await.is(0, DONE);
    let late = begin(&world, &["--restore-name=r1"]).end().await;
    late.is(
        21,
        "error: virtual machine restore `team-a/r1` is complete, and virtual machine `team-a/web01` was restored again since",
    );
    assert_eq!(world.asked("POST"), 2);
}

/// A run that is killed at any moment and begun again ends with the same disks, one restore, and Argo CD at work.
#[tokio::test(flavor = "multi_thread")]
async fn point_25_killed_at_any_moment_and_run_again_there_is_one_restore() {
    let world = world().await;
    crate::write(&world, "new");
    let start = std::time::Instant::now();
    assert_eq!(begin(&world, &["--restore-name=whole"]).end().await.code, Some(0));
    let took = start.elapsed();
    clear(&world);
    let mut killed = 0;
    for moment in 0..24_u32 {
        crate::write(&world, "new");
        let name = format!("--restore-name=k{moment}");
        let mut run = begin(&world, &[&name]);
        tokio::time::sleep(took.mul_f64(f64::from(moment) / 24.0)).await;
        run.kill();
        killed += usize::from(run.end().await.code.is_none());
        let again = begin(&world, &[&name]).end().await;
        assert_eq!(again.code, Some(0), "moment {moment}: {:#?}", again.log);
        hold(&world, "old");
        clear(&world);
        assert_eq!(world.asked("POST"), usize::try_from(moment).unwrap() + 2, "one restore each");
    }
    // otherwise the moments missed the runs
    assert!(killed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_signal_leaves_a_restore_that_has_begun_to_go_on() {
    let world = world().await;
    world.way(|ways| ways.restore_stays = Some("claims"));
    let run = begin(&world, &["--restore-name=r1"]);
    until("a claim is gone", || world.get(&format!("{CLAIMS}/web01-data-1")).is_none()).await;
    run.terminate();
    let ended = run.end().await;
    assert_eq!(ended.code, Some(143), "{:#?}", ended.log);
    assert!(
        ended.last().ends_with("; it is left to go on; the machine stays stopped, Argo CD stays paused"),
        "{}",
        ended.last()
    );
    assert_eq!((ended.result("reason").as_str(), world.names(RESTORES).len()), ("InFlight", 1));
    world.way(|ways| ways.restore_stays = None);
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    hold(&world, "old");
    clear(&world);
    let marks = world.get(&format!("{SNAPSHOTS}/s1")).unwrap()["metadata"]["annotations"].clone();
    assert!(marks["restore.vmlifecycle.dev/r1"].is_string(), "{marks}");
}
