//! Listing, removing, pruning.

use serde_json::json;

use crate::bed::world::{CONTENTS, RESTORES, SNAPSHOTS, VOLUME_SNAPSHOTS, World};
use crate::begin;

/// Snapshots that this program took, one a day, the last one today.
async fn daily(world: &World, names: &[&str]) {
    for (index, name) in names.iter().enumerate() {
        world.snapshot(name).await;
        let days = i64::try_from(names.len() - index - 1).unwrap();
        let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        world.edit(&format!("{SNAPSHOTS}/{name}"), |s| {
            s["metadata"]["labels"] = json!({"vmlifecycle.dev/vm": "web01"});
            s["status"]["creationTime"] = json!(time.to_string());
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_26_pruning_removes_what_is_too_much_and_nothing_else() {
    let world = World::new().await;
    daily(&world, &["a", "b", "c", "d", "e"]).await;
    world.snapshot("hand-made").await;
    world.edit(&format!("{SNAPSHOTS}/a"), |s| {
        s["metadata"]["labels"]["vmlifecycle.dev/protected"] = json!("true");
    });
    world.put(
        &format!("{RESTORES}/r"),
        json!({
            "metadata": {"finalizers": ["x"]},
            "spec": {"target": {"name": "web02"}, "virtualMachineSnapshotName": "b"},
            "status": {"complete": false, "conditions": [{"type": "Failure", "status": "True"}]}
        }),
    );
    let ended = begin(&world, &["--action=prune", "--keep-count=1"]).end().await;
    ended.is(0, "done: 2 of 5 pruned");
    assert_eq!(world.names(SNAPSHOTS), ["a", "b", "e", "hand-made"]);
    assert_eq!((world.names(CONTENTS).len(), world.names(VOLUME_SNAPSHOTS).len()), (4, 8));
    assert_eq!((ended.result("changed").as_str(), ended.result("snapshot-name").as_str()), ("true", "e"));
    let again = begin(&world, &["--action=prune", "--keep-count=1"]).end().await;
    again.is(0, "done: 0 of 3 pruned");
    assert_eq!(again.result("changed"), "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_26_a_new_snapshot_prunes_the_older_ones() {
    let world = World::new().await;
    daily(&world, &["a", "b", "c"]).await;
    let ended = begin(&world, &["--snapshot-name=new", "--keep-days=1"]).end().await;
    ended.is(
        0,
        "done: virtual machine snapshot `team-a/new` is ready and holds `root`, `data`; 2 of 4 pruned",
    );
    assert_eq!(world.names(SNAPSHOTS), ["c", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_26_a_removal_waits_until_it_is_gone_and_names_what_keeps_it() {
    let world = World::new().await;
    world.snapshot("s1").await;
    let ended = begin(&world, &["--action=delete", "--snapshot-name=s1"]).end().await;
    ended.is(0, "done: virtual machine snapshot `team-a/s1` is removed");
    assert_eq!((world.names(SNAPSHOTS), world.names(VOLUME_SNAPSHOTS)), (vec![], vec![]));
    let again = begin(&world, &["--action=delete", "--snapshot-name=s1"]).end().await;
    again.is(0, "done: virtual machine snapshot `team-a/s1` is not there");
    world.put(&format!("{SNAPSHOTS}/s2"), json!({"metadata": {"finalizers": ["backup.example/keep"]}, "spec": {"source": {"name": "web01"}}, "status": {"phase": "Unknown"}}));
    world.server.with(|store| store.frozen = true);
    let ended = begin(&world, &["--action=delete", "--snapshot-name=s2", "--timeout=2s"]).end().await;
    ended.is(
        60,
        "error: stopped while waiting for virtual machine snapshot `team-a/s2` to go, which is kept by backup.example/keep",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_what_a_restore_uses_is_not_removed() {
    let world = World::new().await;
    world.snapshot("s1").await;
    world.put(&format!("{RESTORES}/r"), json!({"metadata": {"finalizers": ["x"]}, "spec": {"target": {"name": "web01"}, "virtualMachineSnapshotName": "s1"},
        "status": {"complete": false, "conditions": [{"type": "Failure", "status": "True"}]}}));
    let ended = begin(&world, &["--action=delete", "--snapshot-name=s1"]).end().await;
    ended.is(20, "error: virtual machine snapshot `team-a/s1` is used by a restore that is not complete");
    let other = begin(&world, &["--action=delete", "--snapshot-name=s1", "--vm=team-a/web02"]).end().await;
    assert_eq!(other.code, Some(2), "a flag given twice: {:#?}", other.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_is_printed() {
    let world = World::new().await;
    world.way(|ways| ways.indications = vec!["NoGuestAgent", "Online"]);
    world.snapshot("s1").await;
    let ended = begin(&world, &["--action=list"]).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` has 1 snapshots");
    let rows: Vec<Vec<&str>> = ended.output.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATUS", "READY", "AGE", "VOLUMES", "INDICATIONS"]);
    assert_eq!(
        [rows[1][0], rows[1][1], rows[1][2], rows[1][4], rows[1][5]],
        ["s1", "Succeeded", "true", "root,data", "NoGuestAgent,Online"]
    );
    let ended = begin(&world, &["--action=sources", "--snapshot-name=s1"]).end().await;
    let sources: serde_json::Value = serde_json::from_str(&ended.output).unwrap();
    let uid = ended.result("snapshot-uid");
    assert_eq!(
        sources["volumes"][1],
        json!({"volume": "data", "claim": "web01-data-1", "volumeSnapshot": format!("vmsnapshot-{uid}-volume-data"),
            "namespace": "team-a", "size": "1Gi", "storageClass": "fast", "accessModes": null, "volumeMode": ""})
    );
    assert_eq!(
        ended.result("sources"),
        format!("root=vmsnapshot-{uid}-volume-root:1Gi,data=vmsnapshot-{uid}-volume-data:1Gi")
    );
}
