//! Machines off, on and restarted.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kubevirt::{DISK, KubeVirt, VM, VMI};
use crate::support::{Ended, FILE, Git, Run};

const APPLICATION: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/in-cluster.team-a.web01";
pub(crate) const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/flows/leases/web01";
pub(crate) const HELD: [&str; 2] = ["--lease=flows/web01", "--holder=r-1"];

/// A run with the flags that reach the machine, and these.
pub(crate) struct At {
    pub(crate) run: Run,
    _config: tempfile::TempDir,
}

pub(crate) fn begin(kubevirt: &KubeVirt, flags: &[&str]) -> At {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, kubevirt.world.kubeconfig()).unwrap();
    let config = format!("--kubeconfig={}", config.display());
    let mut all = vec!["--vm=team-a/web01", &config];
    all.extend(flags);
    At { run: Run::begin(all), _config: folder }
}

pub(crate) async fn run(kubevirt: &KubeVirt, flags: &[&str]) -> Ended {
    let at = begin(kubevirt, flags);
    tokio::task::spawn_blocking(|| at.run.ended()).await.unwrap()
}

impl At {
    pub(crate) async fn end(self) -> Ended {
        tokio::task::spawn_blocking(|| self.run.ended()).await.unwrap()
    }
}

fn disk(phase: &str) -> Value {
    json!({"metadata": {"name": "web01-root"}, "status": {"phase": phase}})
}

fn always() -> Value {
    json!({"runStrategy": "Always"})
}

/// An Application that shows this commit, applied.
pub(crate) fn application(kubevirt: &KubeVirt, revision: &str) {
    let source = json!({"repoURL": "https://git.example/vms.git", "path": "vms", "targetRevision": "main"});
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": "team-a"});
    kubevirt.world.put(APPLICATION, json!({
        "metadata": {"name": "in-cluster.team-a.web01", "namespace": "argocd"},
        "spec": {"source": source, "destination": destination, "syncPolicy": {"automated": {}}},
        "status": {
            "sync": {"status": "Synced", "revision": revision, "comparedTo": {"source": source, "destination": destination}},
            "reconciledAt": "2026-11-21T06:00:00Z",
            "resources": [{"group": "kubevirt.io", "kind": "VirtualMachine", "namespace": "team-a", "name": "web01", "status": "Synced"}]
        }
    }));
}

pub(crate) const COMMIT: &str = "9f8e7d6000000000000000000000000000000000";
pub(crate) const FOLLOWS: [&str; 2] =
    ["--application=argocd/in-cluster.team-a.web01", "--commit=9f8e7d6000000000000000000000000000000000"];

#[tokio::test(flavor = "multi_thread")]
async fn point_17_off_is_proven_by_the_instance_that_is_gone() {
    let kubevirt = KubeVirt::with(always()).await;
    kubevirt.runs().await;
    kubevirt.guest.deaf.store(true, Ordering::SeqCst);
    // nobody has declared it stopped yet: this step changes nothing itself
    let mut off = begin(&kubevirt, &["--power=off"]);
    // the wait that comes later says it with the time that is left
    off.run.says("has run strategy `Always`, so it is not declared stopped\n").await;
    kubevirt.declare(|spec| spec["runStrategy"] = json!("Halted"));
    kubevirt.until("it stops", |vm, _| vm["status"]["printableStatus"] == "Stopping").await;
    assert!(kubevirt.world.get(VMI).is_some());
    kubevirt.guest.deaf.store(false, Ordering::SeqCst);
    let ended = off.end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is stopped");
    assert!(kubevirt.world.get(VMI).is_none());
    assert_eq!(ended.results(["vm-status", "reason", "changed"]), ["Stopped", "", "false"]);
    assert_eq!(kubevirt.world.changes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_07_a_guest_that_does_not_stop_in_time_loses_its_power() {
    for spec in [json!({"runStrategy": "Halted"}), json!({"runStrategy": null, "running": false})] {
        let kubevirt = KubeVirt::with(always()).await;
        kubevirt.runs().await;
        kubevirt.guest.deaf.store(true, Ordering::SeqCst);
        kubevirt.declare(|old| {
            for (key, value) in spec.as_object().unwrap() {
                old[key] = value.clone();
            }
        });
        let began = Instant::now();
        let ended = run(&kubevirt, &["--power=off", "--force-after=2s"]).await;
        ended.is(0, "done: virtual machine `team-a/web01` is stopped");
        assert!(began.elapsed() >= Duration::from_secs(2), "cut off at once");
        assert_eq!(kubevirt.world.changes(), [r#"PUT web01/stop {"gracePeriod":0}"#]);
        assert!(
            ended.log.iter().any(|l| l.ends_with("did not stop in time: its power is cut")),
            "{:#?}",
            ended.log
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_stops_in_time_is_left_alone() {
    let kubevirt = KubeVirt::with(always()).await;
    kubevirt.runs().await;
    kubevirt.declare(|spec| spec["runStrategy"] = json!("Halted"));
    run(&kubevirt, &["--power=off", "--force-after=1m"]).await.ok();
    assert_eq!(kubevirt.world.changes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_waits_until_it_is_declared_and_ready() {
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Halted"})).await;
    let mut on = begin(&kubevirt, &["--power=on"]);
    on.run.says("is declared stopped\n").await;
    kubevirt.declare(|spec| spec["runStrategy"] = json!("Always"));
    let ended = on.end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
    assert_eq!(
        ended.results(["vm-status", "node", "ip", "restarted"]),
        ["Running", "node1", "127.0.0.1", "false"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_nothing_in_git_starts_is_told() {
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Manual"})).await;
    let ended = run(&kubevirt, &["--power=on"]).await;
    ended.is(
        31,
        "error: virtual machine `team-a/web01` has run strategy `Manual`, which does not start it by itself",
    );
    assert_eq!(ended.hint(), "use `--via api`, or declare another run strategy");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_02_a_bare_stop_that_git_does_not_know_of_is_not_off() {
    // somebody stopped it by hand; Argo CD has not applied our commit, and will start it again
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Halted"})).await;
    application(&kubevirt, &"0d".repeat(20));
    let ended = run(&kubevirt, &["--power=off", FOLLOWS[0], FOLLOWS[1], "--timeout=4s"]).await;
    ended.is(
        60,
        "error: virtual machine `team-a/web01` is not stopped after 4s: waited for argo cd: application \
         `argocd/in-cluster.team-a.web01` is Synced at 0d0d0d0 (want 9f8e7d6)",
    );
    application(&kubevirt, COMMIT);
    run(&kubevirt, &["--power=off", FOLLOWS[0], FOLLOWS[1]])
        .await
        .is(0, "done: virtual machine `team-a/web01` is stopped at 9f8e7d6");
}

#[tokio::test(flavor = "multi_thread")]
async fn git_and_cluster_in_one_run() {
    let kubevirt = KubeVirt::with(always()).await;
    kubevirt.runs().await;
    let vm = "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web01}\nspec: {runStrategy: Always}\n";
    let file = FILE.replace("web-1", "web01");
    let git = Git::with(&[(&file, vm)]).await;
    application(&kubevirt, &git.server.git().tip().unwrap());
    let [url, auth] = git.flags();
    let off = begin(&kubevirt, &["--power=off", FOLLOWS[0], &url, &auth, HELD[0], HELD[1]]);
    // Argo CD, in this test
    let argo_cd = async {
        while git.server.git().log_of(&file).unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let tip = git.server.git().tip().unwrap();
        kubevirt.declare(|spec| spec["runStrategy"] = json!("Halted"));
        application(&kubevirt, &tip);
        tip
    };
    let tip = tokio::time::timeout(Duration::from_secs(30), argo_cd).await.unwrap();
    let ended = off.end().await;
    ended.is(0, &format!("done: virtual machine `team-a/web01` is stopped at {}", &tip[..7]));
    assert_eq!(
        ended.results(["changed", "commit", "revision", "previous-run-strategy"]),
        ["true", &tip, &tip, "Always"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_restart_is_one_however_often_it_is_run() {
    let kubevirt = KubeVirt::with(always()).await;
    let old = kubevirt.runs().await;
    let ended = run(&kubevirt, &["--power=restart", HELD[0], HELD[1]]).await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
    assert_eq!(ended.results(["changed", "restarted"]), ["true", "true"]);
    let new = kubevirt.uid();
    assert_ne!(new, old);
    let again = run(&kubevirt, &["--power=restart", HELD[0], HELD[1]]).await;
    again.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
    assert_eq!(again.results(["changed", "restarted"]), ["false", "false"]);
    assert_eq!(kubevirt.uid(), new);
    assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 2);
    let deletes = kubevirt.world.changes();
    assert_eq!(deletes.len(), 1, "{deletes:#?}");
    assert!(deletes[0].starts_with("DELETE virtualmachineinstances/web01 "), "{deletes:#?}");
    assert!(deletes[0].contains(&format!(r#""preconditions":{{"uid":"{old}"}}"#)), "{deletes:#?}");
    // another request waits for its turn
    let other = run(&kubevirt, &["--power=restart", HELD[0], "--holder=r-2"]).await;
    assert_eq!(other.code, 20);
    assert!(
        other.last().starts_with("error: lease `flows/web01` is held by request `r-1` since "),
        "{}",
        other.last()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_restart_that_was_killed_at_any_moment_is_finished() {
    // the more of the moments are met, the better; each has to end in exactly one restart
    for moment in 0..10 {
        let kubevirt = KubeVirt::with(always()).await;
        let old = kubevirt.runs().await;
        let mut killed = begin(&kubevirt, &["--power=restart", HELD[0], HELD[1]]);
        tokio::time::sleep(Duration::from_millis(40 * moment)).await;
        killed.run.kill();
        let ended = run(&kubevirt, &["--power=restart", HELD[0], HELD[1]]).await;
        ended.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
        assert_ne!(kubevirt.uid(), old);
        assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 2, "after a kill at {} ms", 40 * moment);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_machine_is_not_restarted() {
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Halted"})).await;
    let ended = run(&kubevirt, &["--power=restart"]).await;
    ended.is(31, "error: virtual machine `team-a/web01` is declared stopped: there is nothing to restart");
    assert_eq!(ended.hint(), "`--power on` starts it");
    let kubevirt = KubeVirt::with(json!({"runStrategy": "RerunOnFailure"})).await;
    kubevirt.runs().await;
    let ended = run(&kubevirt, &["--power=restart"]).await;
    ended.is(
        31,
        "error: virtual machine `team-a/web01` has run strategy `RerunOnFailure`: it would not be started again by itself",
    );
    assert_eq!(kubevirt.world.changes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_ignores_a_restart_loses_its_power_and_is_started_again() {
    let kubevirt = KubeVirt::with(always()).await;
    let old = kubevirt.runs().await;
    kubevirt.guest.deaf.store(true, Ordering::SeqCst);
    let flags = ["--power=restart", "--force-after=1s", HELD[0], HELD[1]];
    run(&kubevirt, &flags).await.ok();
    assert_ne!(kubevirt.uid(), old);
    // `stop` wrote `Halted`, and `start` put back what Git declares
    assert_eq!(kubevirt.world.get(VM).unwrap()["spec"]["runStrategy"], "Always");
    let changes = kubevirt.world.changes();
    assert_eq!(changes[1..], [r#"PUT web01/stop {"gracePeriod":0}"#, "PUT web01/start {}"], "{changes:#?}");
    assert_eq!(run(&kubevirt, &flags).await.ok().result("restarted"), "false");
    assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 2);

    // declared stopped since: the old request starts nothing
    kubevirt.declare(|spec| spec["runStrategy"] = json!("Halted"));
    run(&kubevirt, &flags)
        .await
        .is(31, "error: virtual machine `team-a/web01` is declared stopped: there is nothing to restart");
    assert_eq!(kubevirt.world.changes().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_machine_that_was_cut_off_by_a_run_that_was_killed_is_started_again() {
    for moment in 0..6 {
        let kubevirt = KubeVirt::with(always()).await;
        kubevirt.runs().await;
        kubevirt.guest.deaf.store(true, Ordering::SeqCst);
        let flags = ["--power=restart", "--force-after=1s", HELD[0], HELD[1]];
        let mut killed = begin(&kubevirt, &flags);
        kubevirt.until("it is cut off", |vm, _| vm["spec"]["runStrategy"] == "Halted").await;
        tokio::time::sleep(Duration::from_millis(30 * moment)).await;
        killed.run.kill();
        run(&kubevirt, &flags).await.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
        assert_eq!(kubevirt.world.get(VM).unwrap()["spec"]["runStrategy"], "Always");
        assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 2, "after a kill {} ms later", 30 * moment);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_restart_waits_for_snapshots_restores_and_disks() {
    let kubevirt = KubeVirt::with(always()).await;
    kubevirt.runs().await;
    let busy = |field: &'static str, value: Value| {
        kubevirt.world.edit(VM, |vm| {
            let mut vm = vm.unwrap();
            vm["status"][field] = value;
            Some(vm)
        });
    };
    busy("snapshotInProgress", json!("nightly"));
    kubevirt.world.put(DISK, disk("ImportInProgress"));
    let mut restart = begin(&kubevirt, &["--power=restart"]);
    restart.run.says("needs disk `web01-root`, which is ImportInProgress").await;
    assert_eq!(kubevirt.world.changes(), [""; 0], "not while a disk is being filled");
    kubevirt.world.put(DISK, disk("Succeeded"));
    restart.run.says("is busy with snapshot `nightly`").await;
    busy("restoreInProgress", json!("back"));
    busy("snapshotInProgress", Value::Null);
    restart.run.says("is busy with restore `back`").await;
    assert_eq!(kubevirt.world.changes(), [""; 0], "not while a snapshot is made or restored");
    busy("restoreInProgress", Value::Null);
    restart.end().await.ok();
    assert_eq!(kubevirt.world.changes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_10_as_declared_is_not_the_old_hardware() {
    let kubevirt = KubeVirt::with(always()).await;
    let old = kubevirt.runs().await;
    application(&kubevirt, COMMIT);
    let declared = run(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]).await;
    declared.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
    assert_eq!(kubevirt.uid(), old, "nothing had to be restarted");

    kubevirt.declare(|spec| spec["template"]["spec"]["domain"] = json!({"cpu": {"cores": 4}}));
    let ended = run(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]).await;
    ended.is(
        31,
        "error: virtual machine `team-a/web01` still runs what was declared before and has to be restarted: \
         a non-live-updatable field was changed in the template spec",
    );
    assert_eq!(
        ended.hint(),
        "`--allow-restart` restarts it; or restart it at a time that suits its users, with `--power restart`"
    );
    assert_eq!(kubevirt.uid(), old);

    let ended = run(&kubevirt, &["--power=as-declared", "--allow-restart", FOLLOWS[0], FOLLOWS[1]]).await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
    assert_eq!(ended.results(["restarted", "revision"]), ["true", COMMIT]);
    assert_ne!(kubevirt.uid(), old);
    let again = run(&kubevirt, &["--power=as-declared", "--allow-restart", FOLLOWS[0], FOLLOWS[1]]).await;
    again.ok();
    assert_eq!(again.result("restarted"), "false");
    assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_declared_brings_a_new_disk_only_when_it_can_be_used() {
    let kubevirt = KubeVirt::with(always()).await;
    let old = kubevirt.runs().await;
    application(&kubevirt, COMMIT);
    let disk = DISK.replace("web01-root", "web01-root-2");
    kubevirt
        .world
        .put(&disk, json!({"metadata": {"name": "web01-root-2"}, "status": {"phase": "CloneInProgress"}}));
    kubevirt.declare(|spec| {
        spec["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!("web01-root-2");
    });
    let mut declared = begin(&kubevirt, &["--power=as-declared", "--allow-restart", FOLLOWS[0], FOLLOWS[1]]);
    declared.run.says("needs disk `web01-root-2`, which is CloneInProgress").await;
    assert_eq!(kubevirt.uid(), old, "restarted into a disk that is not there");
    kubevirt
        .world
        .put(&disk, json!({"metadata": {"name": "web01-root-2"}, "status": {"phase": "Succeeded"}}));
    declared.end().await.ok();
    assert_ne!(kubevirt.uid(), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_declared_is_stopped_where_that_is_declared() {
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Halted"})).await;
    application(&kubevirt, COMMIT);
    let ended = run(&kubevirt, &["--power=as-declared", FOLLOWS[0], FOLLOWS[1]]).await;
    ended.is(0, "done: virtual machine `team-a/web01` is stopped at 9f8e7d6");
    let ended = run(&kubevirt, &["--power=as-declared"]).await;
    ended.is(
        2,
        "error: cannot tell the new state from the old: neither `--application` nor `--digest` is given",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told() {
    let kubevirt = KubeVirt::with(always()).await;
    let vm = "--vm=team-a/web02";
    for power in ["--power=off", "--power=on"] {
        let ended = run(&kubevirt, &[power, vm, "--timeout=2s"]).await;
        ended.is(60, "error: not done after 2s: virtual machine `team-a/web02` does not exist");
    }
    let ended = run(&kubevirt, &["--power=restart", vm]).await;
    ended.is(40, "error: virtual machine `team-a/web02` does not exist");
    let lease = kubevirt.world.get(LEASE);
    assert_eq!(lease, None, "no Lease without `--lease`");
}
