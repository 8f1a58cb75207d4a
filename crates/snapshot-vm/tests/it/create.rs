//! Taking a snapshot.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bed::world::{CONTENTS, SNAPSHOTS, VM, VOLUME_SNAPSHOTS, World, until};
use crate::begin;

const GONE: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_off_is_snapshotted_whole() {
    let world = World::new().await;
    let ended = begin(&world, &["--snapshot-name=s1"]).end().await;
    ended.is(0, "done: virtual machine snapshot `team-a/s1` is ready and holds `root`, `data`");
    let results =
        ["outcome", "changed", "snapshot-name", "indications", "included-volumes"].map(|r| ended.result(r));
    assert_eq!(results, ["ok", "true", "s1", "", "root,data"]);
    let snapshot = world.get(&format!("{SNAPSHOTS}/s1")).unwrap();
    let uid = snapshot["metadata"]["uid"].as_str().unwrap();
    assert_eq!(ended.result("snapshot-uid"), uid);
    assert_eq!(
        ended.result("sources"),
        format!("root=vmsnapshot-{uid}-volume-root:1Gi,data=vmsnapshot-{uid}-volume-data:1Gi")
    );
    assert_eq!(snapshot["metadata"]["labels"], json!({"vmlifecycle.dev/vm": "web01"}));
    assert_eq!(
        snapshot["spec"],
        json!({"source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01"}, "failureDeadline": "300s"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_a_snapshot_that_lacks_a_volume_is_none() {
    let world = World::new().await;
    world.way(|ways| ways.snapshots = vec!["root"]);
    let ended = begin(&world, &["--snapshot-name=s1"]).end().await;
    ended.is(40, "error: virtual machine snapshot `team-a/s1` does not hold `data`; it holds `root`");
    assert_eq!(world.names(SNAPSHOTS), GONE, "it would count as one");
    let ended = begin(&world, &["--snapshot-name=s1", "--require-volumes=root"]).end().await;
    ended.is(0, "done: virtual machine snapshot `team-a/s1` is ready and holds `root`");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_a_snapshot_of_no_volume_is_refused() {
    let world = World::new().await;
    let images = json!([{"name": "root", "containerDisk": {"image": "registry.local/blank-disk:1"}}]);
    world.way(|ways| ways.git = images.clone());
    world.edit(VM, |vm| vm["spec"]["template"]["spec"]["volumes"] = images.clone());
    let ended = begin(&world, &["--snapshot-name=s1"]).end().await;
    ended.is(31, "error: virtual machine `team-a/web01` has no disk that a snapshot could hold");
    assert_eq!(world.asked("POST"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_what_cannot_be_snapshotted_is_refused_in_the_clusters_words() {
    let world = World::new().await;
    let why =
        "No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [slow] [data]";
    world.edit(VM, |vm| {
        vm["status"]["volumeSnapshotStatuses"][1] = json!({"name": "data", "enabled": false, "reason": why});
    });
    let ended = begin(&world, &["--snapshot-name=s1"]).end().await;
    let words = format!("error: virtual machine `team-a/web01` cannot be snapshotted: volume `data`: {why}");
    ended.is(31, &words);
    begin(&world, &["--action=check", "--snapshot-name=s1"]).end().await.is(31, &words);
    assert_eq!(world.asked("POST"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_whether_it_can_be_taken_is_said_of_a_machine_that_runs() {
    let world = World::new().await;
    world.edit(VM, |vm| vm["status"]["created"] = json!(true));
    let check = ["--action=check", "--snapshot-name=s1"];
    let ended = begin(&world, &check).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` can be snapshotted: `data`, `root`");
    assert_eq!((ended.result("snapshot-name").as_str(), ended.result("changed").as_str()), ("s1", "false"));
    assert_eq!((world.asked("POST"), world.names(SNAPSHOTS)), (0, vec![]));
    // what was taken is there, whatever can be taken today
    begin(&world, &["--snapshot-name=s1"]).end().await;
    world.edit(VM, |vm| {
        vm["status"]["volumeSnapshotStatuses"][0] = json!({"name": "root", "enabled": false, "reason": "x"});
    });
    let ended = begin(&world, &check).end().await;
    ended.is(0, "done: virtual machine snapshot `team-a/s1` is there already: it is gone on with");
    let other = begin(&world, &["--action=check", "--snapshot-name=s2"]).end().await;
    other.is(31, "error: virtual machine `team-a/web01` cannot be snapshotted: volume `root`: x");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_what_is_not_said_of_a_new_machine_is_waited_for() {
    let world = World::new().await;
    let said = world.get(VM).unwrap()["status"].clone();
    world.edit(VM, |vm| vm["status"] = json!({}));
    let run = begin(&world, &["--snapshot-name=s1"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.asked("POST"), 0);
    world.edit(VM, |vm| vm["status"] = said);
    assert_eq!(run.end().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_a_snapshot_that_is_not_ready_in_time_is_removed() {
    let world = World::new().await;
    world.way(|ways| ways.snapshot_stays = Some("ready"));
    let ended = begin(&world, &["--snapshot-name=s1", "--deadline=1s"]).end().await;
    ended.is(
        40,
        "error: virtual machine snapshot `team-a/s1` is not ready after 1s: waited for virtual machine snapshot \
         `team-a/s1`, which is taken and not ready to use: Source not locked",
    );
    assert_eq!((world.names(SNAPSHOTS), world.names(CONTENTS)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_one_that_failed_is_removed_and_told_in_its_words() {
    let world = World::new().await;
    world.way(|ways| ways.snapshot_fails = Some("VolumeSnapshot vs-1 error: no space left"));
    let ended = begin(&world, &["--snapshot-name=s1"]).end().await;
    ended.is(
        40,
        "error: virtual machine snapshot `team-a/s1` failed: snapshot deadline exceeded: VolumeSnapshot vs-1 error: no space left",
    );
    assert_eq!(world.names(SNAPSHOTS), GONE);
    assert_eq!(world.get(VM).unwrap()["status"]["snapshotInProgress"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_what_the_watch_shows_is_read_once_more() {
    let world = World::new().await;
    world.snapshot("s1").await;
    world.edit(&format!("{SNAPSHOTS}/s1"), |s| {
        s["metadata"]["annotations"] = json!({"vmlifecycle.dev/request-id": ""});
        s["status"]["readyToUse"] = json!(false);
    });
    world.way(|ways| ways.snapshot_stays = Some("ready"));
    let path = format!("{SNAPSHOTS}/s1");
    let run = begin(&world, &["--snapshot-name=s1", "--deadline=2s"]);
    // its own read, and that of the watch
    until("it watches", || world.server.with(|store| store.reads.get(&path).copied()) >= Some(2)).await;
    // ready for a moment: who watches hears of it, and it is so no longer
    world.server.with(|store| {
        let mut ready = store.get(&path).unwrap().clone();
        ready["status"]["readyToUse"] = json!(true);
        store.version += 1;
        store.history.push((store.version, "MODIFIED", path.clone(), ready));
    });
    let ended = run.end().await;
    assert_eq!(ended.code, Some(40), "{:#?}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_a_guest_that_cannot_be_quiesced_is_not_snapshotted_if_that_is_required() {
    let world = World::new().await;
    world.edit(VM, |vm| vm["status"]["created"] = json!(true));
    let ended = begin(&world, &["--snapshot-name=s1", "--require-quiesced"]).end().await;
    ended.is(31, "error: virtual machine `team-a/web01` runs and has no guest agent that could quiesce it");
    assert_eq!(world.asked("POST"), 0);
    // the agent goes away while it is taken; a word that is not known yet is no better
    world.edit(VM, |vm| vm["status"]["conditions"] = json!([{"type": "AgentConnected", "status": "True"}]));
    for word in ["NoGuestAgent", "PartialSnapshot"] {
        world.way(|ways| ways.indications = vec!["Online", word]);
        let ended = begin(&world, &["--snapshot-name=s1", "--require-quiesced"]).end().await;
        let line = format!(
            "error: virtual machine snapshot `team-a/s1` was taken of a guest that was not quiesced: Online, {word}"
        );
        ended.is(40, &line);
        assert_eq!(world.names(SNAPSHOTS), GONE);
    }
    world.way(|ways| ways.indications = vec!["Online", "GuestAgent"]);
    let ended = begin(&world, &["--snapshot-name=s1", "--require-quiesced"]).end().await;
    ended.is(
        0,
        "done: virtual machine snapshot `team-a/s1` is ready and holds `root`, `data` (Online, GuestAgent)",
    );
    assert_eq!(ended.result("indications"), "Online,GuestAgent");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_06_a_machine_made_anew_meanwhile_is_another_machine() {
    let world = World::new().await;
    world.snapshot("s1").await;
    world.edit(&format!("{SNAPSHOTS}/s1"), |s| {
        s["metadata"]["annotations"] = json!({"vmlifecycle.dev/request-id": ""});
    });
    world.edit(VM, |vm| vm["metadata"]["uid"] = json!("another"));
    let ended = begin(&world, &["--snapshot-name=s1"]).end().await;
    ended.is(20, "error: virtual machine snapshot `team-a/s1` is of an earlier machine of this name");
    assert_eq!(world.names(SNAPSHOTS), ["s1"], "it is the last of that machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_it_waits_while_another_operation_holds_the_machine() {
    let world = World::new().await;
    world.edit(VM, |vm| vm["status"]["restoreInProgress"] = json!("r1"));
    let ended = begin(&world, &["--snapshot-name=s1", "--timeout=1s"]).end().await;
    ended.is(
        20,
        "error: stopped while waiting for virtual machine `team-a/web01`, which is held by restore `r1`",
    );
    assert_eq!(world.asked("POST"), 0);
    let run = begin(&world, &["--snapshot-name=s1"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.asked("POST"), 0);
    world.edit(VM, |vm| {
        vm["status"].as_object_mut().unwrap().remove("restoreInProgress");
    });
    assert_eq!(run.end().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_who_has_not_the_lease_does_nothing() {
    let world = World::new().await;
    let renewed = jiff::Timestamp::now().to_string();
    world.put(
        "/apis/coordination.k8s.io/v1/namespaces/flows/leases/c.team-a.web01",
        json!({"spec": {"holderIdentity": "other", "leaseDurationSeconds": 300, "acquireTime": renewed, "renewTime": renewed, "leaseTransitions": 1}}),
    );
    let ended =
        begin(&world, &["--snapshot-name=s1", "--lease=flows/c.team-a.web01", "--holder=mine"]).end().await;
    assert_eq!(ended.code, Some(20), "{:#?}", ended.log);
    assert_eq!(world.asked("POST"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_the_same_request_finds_its_own_snapshot_and_another_does_not() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |id: &str| {
        let request = json!({
            "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
            "metadata": {"requestId": id, "requestedBy": "jane@example.com"},
            "spec": {"operation": "snapshot", "target": {"cluster": "in-cluster", "namespace": "team-a", "name": "web01"},
                "operationSpec": {"deadlineSeconds": 60}}
        });
        let path = folder.path().join(id);
        std::fs::write(&path, request.to_string()).unwrap();
        format!("--request-file={}", path.display())
    };
    let ended = begin(&world, &[&file("req-1")]).end().await;
    assert_eq!((ended.code, ended.result("changed").as_str()), (Some(0), "true"), "{:#?}", ended.log);
    let (name, uid) = (ended.result("snapshot-name"), ended.result("snapshot-uid"));
    let snapshot = world.get(&format!("{SNAPSHOTS}/{name}")).unwrap();
    assert_eq!(snapshot["metadata"]["labels"]["vmlifecycle.dev/request-id"], "req-1");
    assert_eq!(snapshot["spec"]["failureDeadline"], "60s");
    let again = begin(&world, &[&file("req-1")]).end().await;
    assert_eq!(
        (again.code, again.result("changed").as_str(), again.result("snapshot-uid")),
        (Some(0), "false", uid)
    );
    assert_eq!(world.asked("POST"), 1);
    let other = begin(&world, &[&file("req-2"), &format!("--snapshot-name={name}")]).end().await;
    let line =
        format!("error: virtual machine snapshot `team-a/{name}` is there already, and is another request's");
    other.is(20, &line);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_request_takes_its_snapshot_once_also_when_it_was_removed_since() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let request = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
        "metadata": {"requestId": "req-1", "requestedBy": "jane@example.com"},
        "spec": {"operation": "patch", "target": {"cluster": "in-cluster", "namespace": "team-a", "name": "web01"},
            "operationSpec": {"profile": "security"}}
    });
    let path = folder.path().join("request.json");
    std::fs::write(&path, request.to_string()).unwrap();
    let path = format!("--request-file={}", path.display());
    let flags = [path.as_str(), "--snapshot-name=s1", "--lease=flows/c.team-a.web01", "--holder=req-1"];
    // one that failed was never ready: the next run takes it anew
    world.way(|ways| ways.snapshot_fails = Some("no space left"));
    assert_eq!(begin(&world, &flags).end().await.code, Some(40));
    world.way(|ways| ways.snapshot_fails = None);
    let ended = begin(&world, &flags).end().await;
    ended.is(0, "done: virtual machine snapshot `team-a/s1` is ready and holds `root`, `data`");
    let labels = world.get(&format!("{SNAPSHOTS}/s1")).unwrap()["metadata"]["labels"].clone();
    let wanted = json!({"vmlifecycle.dev/vm": "web01", "vmlifecycle.dev/operation": "patch", "vmlifecycle.dev/request-id": "req-1"});
    assert_eq!(labels, wanted);
    begin(&world, &flags).end().await.is(0, ended.last());
    // it is no longer whole: it stays, and no other is taken
    let included = format!("{SNAPSHOTS}/s1");
    world.edit(&included, |s| s["status"]["snapshotVolumes"]["includedVolumes"] = json!(["root"]));
    let again = begin(&world, &flags).end().await;
    again.is(
        20,
        "error: virtual machine snapshot `team-a/s1` was taken by this request already, and does not hold `data`; it holds `root`",
    );
    world.edit(&included, |s| {
        s["status"]["snapshotVolumes"]["includedVolumes"] = json!(["root", "data"]);
        s["status"]["readyToUse"] = json!(false);
    });
    world.way(|ways| ways.snapshot_stays = Some("ready"));
    let flags_ = [&flags[..], &["--deadline=1s"]].concat();
    assert_eq!(begin(&world, &flags_).end().await.code, Some(40));
    assert_eq!(world.names(SNAPSHOTS), ["s1"], "it may be the last of what the disks held");
    world.way(|ways| ways.snapshot_stays = None);

    let removed = begin(&world, &["--action=delete", "--snapshot-name=s1"]).end().await;
    removed.is(0, "done: virtual machine snapshot `team-a/s1` is removed");
    let asked = world.asked("POST");
    let again = begin(&world, &flags).end().await;
    again.is(
        20,
        "error: virtual machine snapshot `team-a/s1` was taken by this request already, and is gone since",
    );
    assert_eq!(again.log.last().unwrap(), "hint: to have another one taken, send a new request");
    assert_eq!((world.asked("POST"), world.names(SNAPSHOTS)), (asked, vec![]));
}

/// A run that is killed at any moment and begun again ends with one snapshot, whole.
#[tokio::test(flavor = "multi_thread")]
async fn point_25_killed_at_any_moment_and_run_again_there_is_one_snapshot() {
    let world = World::new().await;
    let start = std::time::Instant::now();
    assert_eq!(begin(&world, &["--snapshot-name=whole"]).end().await.code, Some(0));
    let took = start.elapsed();
    let mut killed = 0;
    for moment in 0..20_u32 {
        let name = format!("--snapshot-name=k{moment}");
        let mut run = begin(&world, &[&name]);
        tokio::time::sleep(took.mul_f64(f64::from(moment) / 20.0)).await;
        run.kill();
        killed += usize::from(run.end().await.code.is_none());
        begin(&world, &[&name]).end().await.is(
            0,
            &format!("done: virtual machine snapshot `team-a/k{moment}` is ready and holds `root`, `data`"),
        );
        assert_eq!(world.names(SNAPSHOTS).len(), usize::try_from(moment).unwrap() + 2);
    }
    // otherwise the moments missed the runs
    assert!(killed > 0);
    assert_eq!((world.asked("POST"), world.names(VOLUME_SNAPSHOTS).len()), (21, 42));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_leaves_the_snapshot_to_go_on() {
    let world = World::new().await;
    world.way(|ways| ways.snapshot_stays = Some("lock"));
    let run = begin(&world, &["--snapshot-name=s1"]);
    until("it is made", || !world.names(SNAPSHOTS).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    run.terminate();
    let ended = run.end().await;
    assert_eq!(ended.code, Some(143), "{:#?}", ended.log);
    world.way(|ways| ways.snapshot_stays = None);
    let again = begin(&world, &["--snapshot-name=s1"]).end().await;
    assert_eq!((again.code, world.asked("POST")), (Some(0), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_gate_that_is_off_is_named() {
    let world = World::new().await;
    world.server.with(|store| {
        store.deny.insert(SNAPSHOTS.to_owned(), "snapshot feature gate not enabled".to_owned())
    });
    let ended = begin(&world, &["--snapshot-name=s1"]).end().await;
    ended.is(
        31,
        "error: cannot create virtual machine snapshot `team-a/s1`: admission webhook \"validator.kubevirt.io\" denied the \
         request: snapshot feature gate not enabled",
    );
    assert_eq!(
        ended.log.last().unwrap(),
        "hint: an administrator lists `Snapshot` among the feature gates of KubeVirt"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_the_deadline_is_told() {
    let world = World::new().await;
    world.server.with(|store| store.forbidden = Some(VM.to_owned()));
    let ended = begin(&world, &["--snapshot-name=s1", "--timeout=2s"]).end().await;
    ended.is(30, "error: cannot read virtual machine `team-a/web01`: no rule allows it");
}
