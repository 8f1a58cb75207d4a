//! What is made of a machine between two steps of virt-controller, which is held while a test looks.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::cluster::{COMMIT, FOLLOWS, HELD, application, begin, run};
use crate::kubevirt::{DISK, KubeVirt, VM, VMI};

const READY: &str = "done: virtual machine `team-a/web01` is ready on node `node1`";
const LIVE: &str = "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`";

/// A machine that runs, declared so, and whose controller is held.
async fn held(strategy: &str) -> KubeVirt {
    let kubevirt = KubeVirt::with(json!({"runStrategy": strategy})).await;
    if strategy != "Always" {
        run(&kubevirt, &["--power=on", "--via=api"]).await.ok();
    }
    kubevirt.runs().await;
    kubevirt.hold(true).await;
    kubevirt
}

#[tokio::test(flavor = "multi_thread")]
async fn point_17_stopped_by_a_verb_is_more_than_an_instance_that_ended() {
    let kubevirt = held("RerunOnFailure").await;
    let before = kubevirt.world.changes().len();
    let mut off = begin(&kubevirt, &["--power=off", "--via=api"]);
    off.run.says("was asked to stop").await;
    kubevirt.shows(VMI, |vmi| vmi["status"]["phase"] = json!("Failed"));
    kubevirt.shows(VM, |vm| vm["status"]["stateChangeRequests"] = Value::Null);
    off.run.says("has an instance that ended").await;
    kubevirt.shows(VM, |vm| vm["status"]["stateChangeRequests"] = json!([{"action": "Start"}]));
    kubevirt.world.edit(VMI, |_| None);
    off.run.says("has a request to start or stop under way").await;
    kubevirt.shows(VM, |vm| vm["status"]["stateChangeRequests"] = Value::Null);
    off.run.says("still counts its instance as created").await;
    kubevirt.hold(false).await;
    off.end().await.is(0, "done: virtual machine `team-a/web01` is stopped");
    assert_eq!(kubevirt.world.changes()[before..], ["PUT web01/stop {}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_start_and_restart_are_said_once() {
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Manual"})).await;
    kubevirt.until("it is seen", |vm, _| vm["status"]["printableStatus"] == "Stopped").await;
    kubevirt.hold(true).await;
    let mut on = begin(&kubevirt, &["--power=on", "--via=api"]);
    on.run.says("was asked to start").await;
    kubevirt.hold(false).await;
    on.end().await.is(0, READY);
    let old = kubevirt.uid();
    kubevirt.hold(true).await;
    let mut restart = begin(&kubevirt, &["--power=restart", "--via=api", HELD[0], HELD[1]]);
    // it is ready, and not the one that is wanted
    restart.run.says("still runs as the instance that is to be replaced").await;
    kubevirt.hold(false).await;
    restart.end().await.is(0, READY);
    assert_ne!(kubevirt.uid(), old);
    assert_eq!(kubevirt.world.changes(), ["PUT web01/start {}", "PUT web01/restart {}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_verb_is_said_once_however_late_its_effect_is_seen() {
    let kubevirt = held("Manual").await;
    let old = kubevirt.uid();
    let before = kubevirt.world.changes().len();
    kubevirt.world.mute(&[VM, VMI]);
    let restart = begin(&kubevirt, &["--power=restart", "--via=api", HELD[0], HELD[1]]);
    kubevirt.until("it was told", |vm, _| !vm["status"]["stateChangeRequests"].is_null()).await;
    let read = kubevirt.world.reads(VMI);
    kubevirt.hold(false).await;
    kubevirt.until("it has looked again", |_, _| kubevirt.world.reads(VMI) > read).await;
    kubevirt.world.mute(&[]);
    restart.end().await.is(0, READY);
    assert_ne!(kubevirt.uid(), old);
    assert_eq!(kubevirt.world.changes()[before..], ["PUT web01/restart {}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_started_again_by_itself_is_not_told_to() {
    let kubevirt = held("RerunOnFailure").await;
    let before = kubevirt.world.changes().len();
    kubevirt.shows(VMI, |vmi| vmi["status"]["phase"] = json!("Failed"));
    let mut on = begin(&kubevirt, &["--power=on", "--via=api"]);
    on.run.says("is started again after a failure").await;
    kubevirt.shows(VMI, |vmi| vmi["status"]["phase"] = json!("Running"));
    kubevirt.hold(false).await;
    on.end().await.is(0, READY);
    assert_eq!(kubevirt.world.changes().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_restart_waits_for_a_request_to_start_or_stop() {
    let kubevirt = held("Always").await;
    kubevirt.shows(VM, |vm| vm["status"]["stateChangeRequests"] = json!([{"action": "Start"}]));
    let mut restart = begin(&kubevirt, &["--power=restart"]);
    restart.run.says("has a request to start or stop under way").await;
    assert_eq!(kubevirt.world.changes(), [""; 0]);
    kubevirt.hold(false).await;
    restart.end().await.is(0, READY);
    assert_eq!(kubevirt.world.changes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_12_a_status_of_an_older_generation_is_not_judged() {
    let kubevirt = held("Always").await;
    application(&kubevirt, COMMIT);
    kubevirt.declare(|spec| spec["template"]["spec"]["domain"] = json!({"cpu": {"cores": 4}}));
    let mut declared = begin(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]);
    declared.run.says("has changed, and KubeVirt has not seen it yet").await;
    kubevirt.hold(false).await;
    assert_eq!(declared.end().await.code, 31, "it has to be restarted");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_10_an_instance_without_a_disk_that_is_declared_has_to_be_replaced() {
    let kubevirt = held("Always").await;
    application(&kubevirt, COMMIT);
    let disk = DISK.replace("web01-root", "web01-root-2");
    let there = json!({"metadata": {"name": "web01-root-2"}, "status": {"phase": "Succeeded"}});
    kubevirt.world.put(&disk, there);
    kubevirt.declare(|spec| {
        spec["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("web01-root-2");
    });
    // virt-controller has seen it, and has no word of a restart
    kubevirt.shows(VM, |vm| {
        let generation = vm["metadata"]["generation"].clone();
        vm["status"]["desiredGeneration"] = generation.clone();
        vm["status"]["observedGeneration"] = generation;
    });
    let ended = run(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]).await;
    ended.is(
        31,
        "error: virtual machine `team-a/web01` still runs without disk `web01-root-2`, which is declared now, and has to \
         be restarted",
    );
    // one that is on its way out already is replaced without leave
    kubevirt.shows(VMI, |vmi| vmi["metadata"]["deletionTimestamp"] = json!("2026-11-21T06:00:00Z"));
    let mut declared = begin(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]);
    declared.run.says("waiting for kubevirt: ").await;
    kubevirt.hold(false).await;
    declared.end().await.is(0, LIVE);
    assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 2);
    assert_eq!(kubevirt.world.changes(), [""; 0]);
}

/// A guest that is given memory while it runs, by what our commit declared.
async fn changing() -> KubeVirt {
    let kubevirt = held("Always").await;
    application(&kubevirt, COMMIT);
    kubevirt.shows(VMI, |vmi| {
        vmi["status"]["conditions"] =
            json!([{"type": "HotMemoryChange", "status": "True", "message": "plugging in"}]);
    });
    kubevirt
}

#[tokio::test(flavor = "multi_thread")]
async fn point_10_a_change_of_a_running_guest_is_waited_for() {
    let kubevirt = changing().await;
    let mut declared = begin(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]);
    declared.run.says("is being changed while it runs (HotMemoryChange): plugging in").await;
    kubevirt.shows(VMI, |vmi| vmi["status"]["conditions"] = json!([]));
    declared.end().await.is(0, LIVE);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_12_a_stop_that_is_seen_late_is_followed() {
    let kubevirt = changing().await;
    let mut declared = begin(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]);
    declared.run.says("is being changed while it runs").await;
    // Argo CD said that it is live, and only now the change of the machine is heard of
    kubevirt.declare(|spec| spec["runStrategy"] = json!("Halted"));
    kubevirt.hold(false).await;
    declared.end().await.is(0, "done: virtual machine `team-a/web01` is stopped at 9f8e7d6");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_12_what_was_declared_before_is_not_judged() {
    // each of them would be refused, or taken for stopped, by what the machine was before our commit
    for (power, before) in [("as-declared", "Halted"), ("restart", "Halted"), ("on", "Manual")] {
        let kubevirt = KubeVirt::with(json!({"runStrategy": before})).await;
        application(&kubevirt, &"0d".repeat(20));
        let flag = format!("--power={power}");
        let mut at = begin(&kubevirt, &[&flag, FOLLOWS[0], FOLLOWS[1]]);
        at.run.says("is Synced at 0d0d0d0 (want 9f8e7d6)").await;
        // that it is live is heard of first
        kubevirt.world.mute(&[VM]);
        let read = kubevirt.world.reads(VM);
        kubevirt.declare(|spec| spec["runStrategy"] = json!("Always"));
        application(&kubevirt, COMMIT);
        kubevirt.until("it has looked again", |_, _| kubevirt.world.reads(VM) > read).await;
        kubevirt.world.mute(&[]);
        at.end().await.is(0, LIVE);
    }
}
