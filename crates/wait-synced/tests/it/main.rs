//! The built binary against a stand-in API server, which shows what Argo CD and KubeVirt would write.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod absent;
mod control_plane;
mod git;
mod lease;
mod scripted;
mod server;
#[path = "../../../cluster/tests/standin/mod.rs"]
mod standin;

use std::time::{Duration, Instant};

use scripted::{
    APPLICATION, DIGEST, DISK, OLD, OURS, PARENT, Run, VM, VMI, application, runs, until, vm, vmi,
};
use serde_json::{Value, json};
use standin::{Standin, Verb};

/// The machine as it was before our commit: Synced, running, of another request.
async fn before() -> Standin {
    let standin = Standin::start().await;
    standin.put(APPLICATION, application(OLD, "Synced", 0));
    runs(&standin, "sha256:old");
    standin
}

/// From here on each refresh shows our commit, applied, and our machine.
fn obedient(standin: &Standin) {
    standin.on_refresh(|standin, count| {
        runs(standin, DIGEST);
        standin.put(APPLICATION, application(OURS, "Synced", count));
    });
}

const COMMIT: &str = "--commit=9f8e7d6000000000000000000000000000000000";
const OUR_DIGEST: &str = "--digest=sha256:aa";

#[tokio::test(flavor = "multi_thread")]
async fn ready_with_all_that_was_asked_for() {
    let standin = before().await;
    obedient(&standin);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = format!("--require-tcp-port={}", listener.local_addr().unwrap().port());
    let flags = [COMMIT, OUR_DIGEST, "--require-guest-agent=true", "--require-ip", &port];
    let ended = Run::begin(&standin, "30s", &flags).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
    let results =
        ["outcome", "changed", "revision", "vm-status", "node", "ip", "reason"].map(|r| ended.result(r));
    assert_eq!(results, ["ok", "false", OURS, "Running", "node1", "127.0.0.1", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_synced_never_ends_well() {
    let standin = before().await;
    // compared again and again, always at the old commit: as if the push had got lost
    standin.on_refresh(|standin, count| standin.put(APPLICATION, application(OLD, "Synced", count)));
    let ended = Run::begin(&standin, "8s", &[COMMIT]).end().await;
    ended.is(
        60,
        "error: virtual machine `team-a/web01` is not ready after 8s: waited for argo cd: application \
         `argocd/in-cluster.team-a.web01` is Synced at 0d0d0d0 (want 9f8e7d6)",
    );
    assert_eq!(
        [ended.result("outcome"), ended.result("reason"), ended.result("revision")],
        ["timeout", "OtherRevision", ""]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_old_synced_is_compared_again() {
    let standin = Standin::start().await;
    standin.put(APPLICATION, application(OURS, "Synced", 0));
    runs(&standin, "sha256:drifted");
    // the refresh is taken and never answered: nothing has been compared since we came
    let ended = Run::begin(&standin, "4s", &[COMMIT]).end().await;
    ended.is(
        60,
        "error: virtual machine `team-a/web01` is not ready after 4s: waited for argo cd: application \
         `argocd/in-cluster.team-a.web01` was not compared with Git since this wait began",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_lost_twice_is_asked_for_again() {
    let standin = before().await;
    standin.on_refresh(|standin, count| {
        if count >= 3 {
            runs(standin, DIGEST);
            standin.put(APPLICATION, application(OURS, "Synced", count));
        }
    });
    let ended = Run::begin(&standin, "30s", &[COMMIT, OUR_DIGEST]).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
    let asked = standin.requests().iter().filter(|r| r.verb == Verb::Patch).count();
    assert_eq!(asked, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_name_is_no_revision() {
    let standin = before().await;
    standin.on_refresh(|standin, count| standin.put(APPLICATION, application("main", "Synced", count)));
    let ended = Run::begin(&standin, "4s", &[COMMIT]).end().await;
    ended.is(
        60,
        "error: virtual machine `team-a/web01` is not ready after 4s: waited for argo cd: application \
         `argocd/in-cluster.team-a.web01` is Synced at main (want 9f8e7d6)",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machines_own_digest_is_a_witness_once_no_sync_is_under_way() {
    let standin = before().await;
    standin.on_refresh(|standin, _| {
        let mut syncing = application("5e5e5e5000000000000000000000000000000000", "OutOfSync", 9);
        syncing["status"]["operationState"] = json!({"phase": "Running", "message": "waiting"});
        standin.put(APPLICATION, syncing);
        runs(standin, DIGEST);
    });
    let mut run = Run::begin(&standin, "30s", &[COMMIT, OUR_DIGEST]);
    while standin.requests().iter().filter(|r| r.verb == Verb::Patch).count() < 2 {
        assert!(run.is_at_work(), "it did not wait for the sync");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // never Synced, and at a commit that nobody can place: something else in this Application drifts
    standin.on_refresh(|_, _| {});
    standin.put(APPLICATION, application("5e5e5e5000000000000000000000000000000000", "OutOfSync", 10));
    let ended = run.end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
    assert!(
        ended.log.iter().any(|l| l.ends_with("is OutOfSync at 5e5e5e5 (want 9f8e7d6)")),
        "it did not wait for the sync: {:#?}",
        ended.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_ends_fail_at_once_in_the_controllers_words() {
    let denied = "admission webhook \"virtualmachine-validator.kubevirt.io\" denied the request: spec.template.spec.domain is not valid";
    let sync_failed = {
        let mut application = application(OURS, "OutOfSync", 1);
        application["status"]["operationState"] =
            json!({"phase": "Failed", "message": denied, "syncResult": {"revision": OURS}});
        application
    };
    let unsynchronized = |reason: &str, message: &str| json!({"type": "Synchronized", "status": "False", "reason": reason, "message": message});
    let pull = "Back-off pulling image \"registry.local/nothing:1\": not found";
    let claim = "PVC team-a/web01-root does not exist, waiting for it to appear";
    let crash = {
        let mut vm = vm(DIGEST, "CrashLoopBackOff");
        vm["status"]["startFailure"] = json!({"consecutiveFailCount": 1, "lastFailedVMIUID": "u1"});
        vm
    };
    let synced = || application(OURS, "Synced", 1);
    let vm = |status| vm(DIGEST, status);
    let cases: [(&str, Value, Value, Option<Value>, &str); 4] = [
        (
            "SyncFailed",
            sync_failed,
            vm("Running"),
            None,
            &format!("error: application `argocd/in-cluster.team-a.web01` failed to sync: {denied}"),
        ),
        (
            "ImagePullBackOff",
            synced(),
            vm("ImagePullBackOff"),
            Some(vmi("Scheduling", &unsynchronized("ImagePullBackOff", pull))),
            &format!("error: virtual machine `team-a/web01` cannot pull an image: {pull}"),
        ),
        (
            "ErrorPvcNotFound",
            synced(),
            vm("ErrorPvcNotFound"),
            Some(vmi("Pending", &unsynchronized("FailedPvcNotFound", claim))),
            &format!("error: virtual machine `team-a/web01` misses a volume: {claim} (for 5s)"),
        ),
        (
            "CrashLoopBackOff",
            synced(),
            crash,
            None,
            "error: virtual machine `team-a/web01` crashed once before it ever ran; last warning: SyncFailed: qemu unexpectedly closed the monitor",
        ),
    ];
    for (reason, application, vm, vmi, last) in cases {
        let standin = Standin::start().await;
        standin.put("/api/v1/namespaces/team-a/events", json!({"items": [
            {"reason": "Old", "message": "older", "lastTimestamp": "2026-11-21T06:00:00Z"},
            {"reason": "SyncFailed", "message": "qemu unexpectedly closed the monitor", "lastTimestamp": "2026-11-21T06:00:05Z"}]}));
        standin.on_refresh(move |standin, _| {
            if let Some(vmi) = vmi.clone() {
                standin.put(VMI, vmi);
            }
            standin.put(VM, vm.clone());
            standin.put(APPLICATION, application.clone());
        });
        standin.put(APPLICATION, scripted::application(OLD, "Synced", 0));
        let began = Instant::now();
        let ended = Run::begin(&standin, "10m", &[COMMIT, OUR_DIGEST]).end().await;
        ended.is(40, last);
        assert_eq!([ended.result("outcome"), ended.result("reason")], ["failed", reason]);
        assert!(began.elapsed() < Duration::from_mins(2), "{reason}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_state_before_is_not_ours() {
    let standin = before().await;
    let crashed = |digest: &str, uid: &str| {
        let mut vm = vm(digest, "CrashLoopBackOff");
        vm["status"]["startFailure"] = json!({"consecutiveFailCount": 3, "lastFailedVMIUID": uid});
        vm
    };
    standin.put(VM, crashed("sha256:old", "old"));
    standin.delete(VMI);
    let shown = crashed(DIGEST, "old");
    standin.on_refresh(move |standin, count| {
        standin.put(VM, shown.clone());
        standin.put(APPLICATION, application(OURS, "Synced", count));
    });
    let run = Run::begin(&standin, "30s", &[COMMIT, OUR_DIGEST]);
    until("the change is live", || {
        standin.get(APPLICATION).is_some_and(|a| a["status"]["sync"]["revision"] == OURS)
    })
    .await;
    runs(&standin, DIGEST);
    run.end().await.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_is_asked_for_from_its_parent() {
    let standin = Standin::start().await;
    let mut parent = application(OLD, "Synced", 0);
    parent["metadata"]["name"] = json!("vms");
    standin.put(PARENT, parent.clone());
    standin.on_refresh(move |standin, count| {
        if count == 1 {
            let mut parent = parent.clone();
            parent["status"]["sync"]["revision"] = json!(OURS);
            standin.put(PARENT, parent);
            standin.put(APPLICATION, json!({"metadata": {"name": "in-cluster.team-a.web01"}, "spec": {}}));
        } else {
            runs(standin, DIGEST);
            standin.put(APPLICATION, application(OURS, "Synced", count));
        }
    });
    let ended = Run::begin(&standin, "30s", &[COMMIT, "--parent-application=argocd/vms"]).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
    let asked: Vec<String> =
        standin.requests().into_iter().filter(|r| r.verb == Verb::Patch).map(|r| r.path).collect();
    assert_eq!(asked, [PARENT, APPLICATION]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_is_an_end_too() {
    let standin = before().await;
    standin.on_refresh(|standin, count| {
        let mut halted = vm(DIGEST, "Stopped");
        halted["spec"]["runStrategy"] = json!("Halted");
        halted["status"]["created"] = json!(null);
        standin.put(APPLICATION, application(OURS, "Synced", count));
        standin.put(VM, halted);
        standin.put(
            DISK,
            json!({"metadata": {"name": "web01-root"}, "status": {"phase": "WaitForFirstConsumer"}}),
        );
        standin.delete(VMI);
    });
    let ended = Run::begin(&standin, "30s", &[COMMIT, OUR_DIGEST, "--until=stopped"]).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is stopped at 9f8e7d6");
    assert_eq!(ended.result("vm-status"), "Stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_with_what_was_waited_for() {
    let standin = before().await;
    let run = Run::begin(&standin, "60s", &[COMMIT]);
    until("it is at work", || standin.requests().iter().any(|r| r.verb == Verb::Patch)).await;
    let id = run.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    run.end().await.is(
        143,
        "error: cancelled by SIGTERM: stopped while waiting for argo cd: application `argocd/in-cluster.team-a.web01` \
         was not compared with Git since this wait began",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_witness_it_does_not_begin() {
    let standin = Standin::start().await;
    let ended = Run::begin(&standin, "10s", &[]).end().await;
    ended.is(2, "error: cannot tell the new state from the old: `--application` is given without `--commit` or `--digest`");
    let ended = Run::begin(&standin, "10s", &["--commit=main"]).end().await;
    ended.is(
        2,
        "error: invalid value 'main' for '--commit <COMMIT>': expected a full commit id: 40 or 64 hex digits",
    );
}
