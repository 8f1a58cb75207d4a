//! An API server in trouble, or one that must not be troubled.

use serde_json::json;

use crate::scripted::{APPLICATION, DIGEST, DISK, OURS, Run, VM, VMI, application, runs, until, vm, vmi};
use crate::standin::{Fault, Verb};
use crate::{COMMIT, OUR_DIGEST, before, obedient};

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_api_server_change_nothing_but_the_time() {
    for (verb, fault, times) in [
        (Verb::Watch, Fault::Cut, 20),
        (Verb::Watch, Fault::Event(410), 6),
        (Verb::Watch, Fault::Status(504), 3),
        (Verb::Watch, Fault::Reset, 6),
        (Verb::Get, Fault::Status(429), 6),
        (Verb::Get, Fault::Status(500), 6),
        (Verb::Get, Fault::Status(403), 3),
        (Verb::Get, Fault::Unserved, 6),
        (Verb::Patch, Fault::Status(500), 2),
        (Verb::Patch, Fault::Reset, 2),
    ] {
        let standin = before().await;
        obedient(&standin);
        standin.fault(verb, fault, times);
        let ended = Run::begin(&standin, "90s", &[COMMIT, OUR_DIGEST]).end().await;
        assert_eq!(ended.code, 0, "{verb:?} {fault:?}: {:#?}", ended.log);
    }
}

/// Each takes a minute, so they take it together.
#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_minute() {
    tokio::join!(
        silence_and_deafness_cost_one_round(),
        who_may_not_read_is_told_so_after_a_minute(),
        an_idle_wait_is_quiet(),
    );
}

async fn silence_and_deafness_cost_one_round() {
    let standin = before().await;
    standin.fault(Verb::Get, Fault::Silence, 1);
    standin.fault(Verb::Watch, Fault::Deaf, 3);
    obedient(&standin);
    let ended = Run::begin(&standin, "90s", &[COMMIT, OUR_DIGEST]).end().await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_watches_show_is_read_once_more() {
    let standin = before().await;
    // the machine ran before; that it is being replaced is heard of by nobody
    for machine in ["virtualmachines", "virtualmachineinstances"] {
        standin.fault_at(machine, Verb::Watch, Fault::Deaf, 1);
    }
    standin.on_refresh(|standin, count| {
        standin.put(VMI, vmi("Scheduling", &json!({"type": "Ready", "status": "False"})));
        standin.put(VM, vm(DIGEST, "Starting"));
        standin.put(APPLICATION, application(OURS, "Synced", count));
    });
    let reads = || standin.requests().iter().filter(|r| r.verb == Verb::Get && r.path == VMI).count();
    let mut run = Run::begin(&standin, "30s", &[COMMIT]);
    until("three more reads", || reads() >= 4).await;
    assert!(run.is_at_work(), "it believed a watch that had gone deaf");
    runs(&standin, DIGEST);
    run.end().await.is(0, "done: virtual machine `team-a/web01` is ready at 9f8e7d6 on node `node1`");
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_is_all_of_it_gone_and_nothing_else_that_answers_404() {
    let standin = before().await;
    // an API server that has just started does not know the kinds yet
    standin.fault(Verb::Get, Fault::Unserved, 8);
    standin.fault(Verb::Watch, Fault::Unserved, 8);
    let mut run = Run::begin(&standin, "60s", &["--until=absent"]);
    let watches = || standin.requests().iter().filter(|r| r.verb == Verb::Watch).count();
    until("all is read, after all faults", || watches() >= 11).await;
    assert!(run.is_at_work(), "it took what is not served for absent");
    for path in [APPLICATION, VM, VMI] {
        standin.delete(path);
    }
    run.end().await.is(0, "done: virtual machine `team-a/web01` is absent");
}

async fn who_may_not_read_is_told_so_after_a_minute() {
    let standin = before().await;
    standin.only_token("another");
    // long before its own deadline, which would be told as 60
    let ended = Run::begin(&standin, "10m", &[COMMIT]).end().await;
    ended.is(30, "error: cannot read application `argocd/in-cluster.team-a.web01` for 1m: Unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_gone_at_the_deadline_is_transient() {
    let standin = before().await;
    let run = Run::begin(&standin, "30s", &[COMMIT]);
    until("it is at work", || standin.requests().iter().filter(|r| r.verb == Verb::Watch).count() >= 3).await;
    standin.stop();
    let ended = run.end().await;
    assert_eq!(ended.code, 50, "{:#?}", ended.log);
    let errors = ended.log.iter().filter(|l| l.starts_with("error: ")).count();
    assert_eq!(errors, 1, "only the last line says error: {:#?}", ended.log);
    let last = ended.last().to_owned();
    assert!(last.starts_with("error: virtual machine `team-a/web01` is not ready after 30s: waited for the api server: cannot read "), "{last}");
    assert!(last.ends_with("; last seen: argo cd: application `argocd/in-cluster.team-a.web01` was not compared with Git since this wait began"), "{last}");
    standin.restart().await;
}

async fn an_idle_wait_is_quiet() {
    let standin = before().await;
    let mut syncing = application(OURS, "OutOfSync", 1);
    syncing["status"]["operationState"] = json!({"phase": "Running", "message": "waiting"});
    standin.on_refresh(move |standin, _| standin.put(APPLICATION, syncing.clone()));
    let ended = Run::begin(&standin, "75s", &[COMMIT]).end().await;
    assert_eq!(ended.code, 60);
    let requests = standin.requests();
    let count = |verb: Verb, path: &str| requests.iter().filter(|r| r.verb == verb && r.path == path).count();
    assert!(
        (2..=5).contains(&count(Verb::Patch, APPLICATION)),
        "refreshes: {}",
        count(Verb::Patch, APPLICATION)
    );
    for path in [APPLICATION, VM, VMI, DISK] {
        assert!((2..=4).contains(&count(Verb::Get, path)), "reads of {path}: {}", count(Verb::Get, path));
    }
    // rounds of 30 and of 60 seconds; one of them may be cut by a server that is starved
    let watches = requests.iter().filter(|r| r.verb == Verb::Watch).count();
    assert!((8..=12).contains(&watches), "{watches}");
    let progress = ended.log.iter().filter(|l| l.starts_with("waiting for ")).count();
    assert!((3..=6).contains(&progress), "{:#?}", ended.log);
}
