//! Under a Lease: one operation per machine, and what a crashed one has left behind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

use crate::scripted::{APPLICATION, DIGEST, OURS, Run, VM, VMI, application, runs, until, vm};
use crate::standin::{Fault, Standin, Verb};
use crate::{COMMIT, OUR_DIGEST, before, obedient};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/flows/leases/in-cluster.team-a.web01";
pub(crate) const OURS_IS: [&str; 2] = ["--lease=flows/in-cluster.team-a.web01", "--holder=req-1"];

fn held_by(holder: &str) -> Value {
    json!({
        "metadata": {"name": "in-cluster.team-a.web01", "annotations": {"vmlifecycle.dev/operation": "restore"}},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 300, "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2099-01-01T00:00:00.000000Z"}
    })
}

fn paused(by: &str) -> Value {
    let mut app = application(OURS, "Synced", 0);
    app["metadata"]["annotations"] =
        json!({"kept": "x", "argocd.argoproj.io/skip-reconcile": "true", "vmlifecycle.dev/paused-by": by});
    app
}

/// A machine that is off, and being restored.
fn restoring() -> Value {
    let mut restoring = vm("sha256:old", "Stopped");
    restoring["status"]["restoreInProgress"] = json!("back");
    restoring
}

fn annotations(standin: &Standin) -> Value {
    standin.get(APPLICATION).unwrap()["metadata"]["annotations"].clone()
}

const PAUSED: &str = "error: virtual machine `team-a/web01` is not ready after 4s: waited for argo cd: application \
                      `argocd/in-cluster.team-a.web01` is paused by request `req-0` (annotation \
                      `argocd.argoproj.io/skip-reconcile`)";

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_machine_that_another_holds_is_left_alone() {
    let standin = before().await;
    standin.put(LEASE, held_by("req-2"));
    let ended = Run::begin(&standin, "30s", &[COMMIT, OURS_IS[0], OURS_IS[1]]).end().await;
    ended.is(
        20,
        "error: lease `flows/in-cluster.team-a.web01` is held by request `req-2` (`restore`) since 2026-01-01T00:00:00Z, \
         until 2099-01-01T00:05:00Z unless renewed",
    );
    assert!(standin.requests().iter().all(|r| r.verb != Verb::Patch), "nothing was asked of Argo CD");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_lease_that_is_lost_ends_the_wait() {
    let standin = before().await;
    let run = Run::begin(&standin, "60s", &[COMMIT, OURS_IS[0], OURS_IS[1]]);
    until("it holds", || standin.get(LEASE).is_some_and(|l| l["spec"]["holderIdentity"] == "req-1")).await;
    standin.put(LEASE, held_by("req-2"));
    run.end().await.is(
        20,
        "error: lease `flows/in-cluster.team-a.web01` is lost: it was taken by request `req-2` (`restore`) since \
         2026-01-01T00:00:00Z, until 2099-01-01T00:05:00Z unless renewed",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_pause_that_was_left_behind_is_taken_back_by_the_holder() {
    let standin = before().await;
    standin.put(APPLICATION, paused("req-0"));
    let run = Run::begin(&standin, "30s", &[COMMIT, OUR_DIGEST, OURS_IS[0], OURS_IS[1]]);
    until("the pause is taken back", || annotations(&standin) == json!({"kept": "x"})).await;
    obedient(&standin);
    // Argo CD compares by itself when it may again
    runs(&standin, DIGEST);
    standin.put(APPLICATION, application(OURS, "Synced", 1));
    run.end().await.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
    assert_eq!(
        standin.get(LEASE).unwrap()["spec"]["holderIdentity"],
        "req-1",
        "the next step goes on with it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stays_without_the_lease_and_while_a_restore_is_under_way() {
    let standin = before().await;
    standin.put(APPLICATION, paused("req-0"));
    Run::begin(&standin, "4s", &[COMMIT]).end().await.is(60, PAUSED);
    standin.put(VM, restoring());
    let ended = Run::begin(&standin, "4s", &[COMMIT, OURS_IS[0], OURS_IS[1]]).end().await;
    ended.is(60, PAUSED);
    assert_eq!(annotations(&standin)["vmlifecycle.dev/paused-by"], "req-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_03_only_the_pause_that_was_seen_is_taken_back() {
    let standin = before().await;
    standin.put(APPLICATION, paused("req-0"));
    standin.put(VM, restoring());
    standin.fault_at("applications", Verb::Watch, Fault::Deaf, 1);
    let run = Run::begin(&standin, "12s", &[COMMIT, "--until=stopped", OURS_IS[0], OURS_IS[1]]);
    let watched =
        |path: &str| standin.requests().iter().any(|r| r.verb == Verb::Watch && r.path.contains(path));
    until("it watches", || watched("applications") && watched("virtualmachines")).await;
    // another run of the same request pauses it for itself, which is heard of late
    standin.put(APPLICATION, paused("req-1"));
    standin.put(VM, vm("sha256:old", "Stopped"));
    let ended = run.end().await;
    assert!(ended.log.iter().any(|l| l.ends_with("left by request `req-0`")), "{:#?}", ended.log);
    assert_eq!(annotations(&standin)["vmlifecycle.dev/paused-by"], "req-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_03_our_own_pause_stays_until_the_machine_is_to_run_again() {
    let standin = before().await;
    standin.put(APPLICATION, paused("req-1"));
    let mut halted = vm("sha256:aa", "Stopped");
    halted["spec"]["runStrategy"] = json!("Halted");
    halted["status"]["created"] = json!(false);
    standin.put(VM, halted);
    standin.delete(VMI);
    // an earlier run had paused it when it had seen the machine off: nothing new comes from Argo CD, and nothing need
    let flags = [COMMIT, "--until=stopped", OURS_IS[0], OURS_IS[1]];
    let ended = Run::begin(&standin, "20s", &flags).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is stopped at 9f8e7d6");
    assert_eq!(annotations(&standin)["vmlifecycle.dev/paused-by"], "req-1");
    let run = Run::begin(&standin, "30s", &[COMMIT, OURS_IS[0], OURS_IS[1]]);
    until("the pause is taken back", || annotations(&standin) == json!({"kept": "x"})).await;
    runs(&standin, DIGEST);
    standin.put(APPLICATION, application(OURS, "Synced", 1));
    run.end().await.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
}

/// A wait that does not end, on a real API server, under the Lease.
fn wait(plane: &ControlPlane, namespace: &str, holder: &str, timeout: &str) -> std::process::Child {
    std::process::Command::new(env!("CARGO_BIN_EXE_wait-synced"))
        .arg(format!("--kubeconfig={}", plane.kubeconfig().display()))
        .args([
            format!("--vm={namespace}/web01"),
            format!("--lease={namespace}/vm"),
            format!("--holder={holder}"),
        ])
        .args(["--digest=sha256:aa", &format!("--timeout={timeout}")])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_killed_step_keeps_others_out_until_its_lease_expires_and_not_itself() {
    let plane = ControlPlane::shared().await.unwrap();
    let namespace = "ws-killed";
    plane.ensure_namespace(namespace).await.unwrap();
    let cluster = cluster::Cluster::connect(Some(&plane.kubeconfig())).await.unwrap();
    let lease = cluster::Object { kind: cluster::LEASE, name: format!("{namespace}/vm").parse().unwrap() };
    let record = async || cluster.get(&lease).await.unwrap().map_or(Value::Null, |l| l["spec"].clone());
    let held = async |holder: &str, since: &Value| {
        let end = Instant::now() + Duration::from_mins(2);
        loop {
            let spec = record().await;
            if spec["holderIdentity"] == holder && spec["renewTime"] != *since {
                return spec;
            }
            assert!(Instant::now() < end, "{spec}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut first = wait(plane, namespace, "req-1", "5m");
    let taken = held("req-1", &Value::Null).await;
    held("req-1", &taken["renewTime"]).await;
    first.kill().unwrap();
    first.wait().unwrap();

    // another is kept out, and says by whom
    let other = wait(plane, namespace, "req-2", "20s").wait_with_output().unwrap();
    let log = String::from_utf8(other.stderr).unwrap();
    assert_eq!(other.status.code(), Some(20), "{log}");
    assert!(
        log.starts_with(&format!("error: lease `{namespace}/vm` is held by request `req-1` since 20")),
        "{log}"
    );

    // the same request goes on at once
    let before = record().await;
    let began = Instant::now();
    let mut again = wait(plane, namespace, "req-1", "5m");
    let retaken = held("req-1", &before["renewTime"]).await;
    assert!(began.elapsed() < Duration::from_mins(2), "not before the lease was over: {:?}", began.elapsed());
    assert_eq!(retaken["acquireTime"], taken["acquireTime"]);
    again.kill().unwrap();
    again.wait().unwrap();

    // five minutes later
    let past = json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    cluster.merge_patch(&lease, &past).await.unwrap().unwrap();
    let began = Instant::now();
    let mut second = wait(plane, namespace, "req-2", "5m");
    let stolen = held("req-2", &Value::Null).await;
    assert!(began.elapsed() > Duration::from_secs(14), "taken without a look: {:?}", began.elapsed());
    assert_eq!(stolen["leaseTransitions"], 1);
    second.kill().unwrap();
    second.wait().unwrap();
}
