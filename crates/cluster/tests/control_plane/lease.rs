//! One holder at a time, whatever happens.

use std::time::Duration;

use cluster::{Attempt, Cluster, Created, Hold, LEASE, LeaseArgs, Name, RUNS_ANNOTATION, Released, Taker};
use serde_json::{Value, json};
use step::{Context, Failure, Kind};
use tokio::time::{Instant, timeout};

use crate::{begin, object};

const LONG: Duration = Duration::from_mins(5);
const SHORT: Duration = Duration::from_secs(6);

fn taker(cluster: &Cluster, lease: &str, holder: &str, lasts: Duration) -> Taker {
    Taker::new(cluster, &lease.parse::<Name>().unwrap(), holder).lasting(lasts)
}

async fn taken(taker: &mut Taker) -> Hold {
    match taker.attempt().await.unwrap() {
        Attempt::Taken(hold) => hold,
        other => panic!("{other:?}"),
    }
}

async fn record(cluster: &Cluster, lease: &str) -> Value {
    cluster.get(&object(LEASE, lease)).await.unwrap().unwrap()
}

/// The words without times.
fn said(failure: &Failure) -> String {
    let message = failure.message();
    let words: Vec<&str> = message.split(' ').map(|w| if w.starts_with("20") { "T" } else { w }).collect();
    words.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_of_many_takers_at_once_one_holds_it() {
    let cluster = begin("lease-many").await;
    for round in 0..10_u32 {
        let takers = (0..8).map(|n| {
            let mut taker = taker(&cluster, "lease-many/vm", &format!("req-{round}-{n}"), LONG);
            tokio::spawn(async move {
                loop {
                    match taker.attempt().await.unwrap() {
                        Attempt::Raced => {}
                        Attempt::Taken(hold) => return Some(hold),
                        Attempt::Held(_) => return None,
                        other @ Attempt::Expired { .. } => panic!("{other:?}"),
                    }
                }
            })
        });
        let mut holds = Vec::new();
        for taker in takers.collect::<Vec<_>>() {
            holds.extend(taker.await.unwrap());
        }
        assert_eq!(holds.len(), 1, "round {round}: {holds:?}");
        let hold = holds.remove(0);
        let spec = record(&cluster, "lease-many/vm").await["spec"].clone();
        assert_eq!(spec["holderIdentity"], hold.holder());
        assert_eq!(spec["leaseTransitions"], round, "each round has one holder");
        assert_eq!(hold.release().await, Ok(Released::Free));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_goes_on_with_it_at_once_and_another_is_told_who_holds_it() {
    let cluster = begin("lease-again").await;
    let first =
        taken(&mut taker(&cluster, "lease-again/vm", "req-1", LONG).about(Some("restart"), Some("c/ns/vm")))
            .await;
    let before = record(&cluster, "lease-again/vm").await;
    // a crash: nothing is released
    drop(first);
    let context = Context::new(Duration::from_secs(30));
    let args = |holder: &str| LeaseArgs {
        lease: Some("lease-again/vm".parse().unwrap()),
        holder: Some(holder.to_owned()),
        lease_for: "20m".parse().ok(),
        ..LeaseArgs::default()
    };
    let began = Instant::now();
    let again = args("req-1").take(&cluster, &context).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    let after = record(&cluster, "lease-again/vm").await;
    assert_eq!(after["spec"]["leaseDurationSeconds"], 1200, "as `--lease-for` says");
    for field in ["acquireTime", "leaseTransitions", "holderIdentity"] {
        assert_eq!(after["spec"][field], before["spec"][field], "{field}");
    }
    assert_ne!(after["spec"]["renewTime"], before["spec"]["renewTime"]);
    let refused = args("req-2").take(&cluster, &context).await.unwrap_err();
    assert_eq!(
        (refused.kind(), said(&refused)),
        (
            Kind::Conflict,
            "lease `lease-again/vm` is held by request `req-1` (`restart`) since T until T unless renewed"
                .to_owned()
        )
    );
    assert!(
        matches!(args("req-2").release(&cluster, None, &context).await, Ok(Released::Other(h)) if h.id == "req-1")
    );
    assert!(again.check().is_ok(), "another's release does nothing");
    assert_eq!(args("req-1").release(&cluster, None, &context).await, Ok(Released::Free));
    assert_eq!(args("req-1").release(&cluster, None, &context).await, Ok(Released::Already));
    assert_eq!(LeaseArgs::default().release(&cluster, None, &context).await, Ok(Released::Already));
    assert!(LeaseArgs::default().take(&cluster, &context).await.unwrap().is_none());
    let free = record(&cluster, "lease-again/vm").await;
    assert_eq!(free.pointer("/spec/holderIdentity"), None);
    assert_eq!(free.pointer("/metadata/annotations"), Some(&json!({"vmlifecycle.dev/vm": "c/ns/vm"})));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_the_first_of_two_runs_to_end_does_not_free_it_under_the_other() {
    let cluster = begin("lease-runs").await;
    let run = async |holder: &str, run: &str| {
        taken(&mut taker(&cluster, "lease-runs/vm", holder, LONG).run(Some(run))).await
    };
    let holds = (run("req-1", "run-1").await, run("req-1", "run-2").await);
    let context = Context::new(Duration::from_secs(30));
    let args = LeaseArgs {
        lease: "lease-runs/vm".parse().ok(),
        holder: Some("req-1".to_owned()),
        ..LeaseArgs::default()
    };
    let release = async |run: &'static str| args.release(&cluster, Some(run), &context).await;
    assert_eq!(release("run-1").await, Ok(Released::Shared(vec!["run-2".to_owned()])));
    assert_eq!(release("run-1").await, Ok(Released::Shared(vec!["run-2".to_owned()])), "once more");
    assert!(holds.1.check().is_ok());
    let mut other = taker(&cluster, "lease-runs/vm", "req-2", LONG).run(Some("run-3"));
    assert!(matches!(other.attempt().await.unwrap(), Attempt::Held(h) if h.id == "req-1"));
    drop(holds);
    assert_eq!(release("run-2").await, Ok(Released::Free));
    drop(taken(&mut other).await);
    let annotations = record(&cluster, "lease-runs/vm").await["metadata"]["annotations"].clone();
    assert_eq!(annotations, json!({RUNS_ANNOTATION: "run-3"}));
    let foreign = release("run-3").await.unwrap();
    assert!(matches!(foreign, Released::Other(h) if h.id == "req-2"), "another request's run of that name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_holder_is_renewed_and_a_dead_one_is_replaced_after_its_time() {
    let cluster = begin("lease-dead").await;
    let hold = taken(&mut taker(&cluster, "lease-dead/vm", "req-1", SHORT)).await;
    let mut other = taker(&cluster, "lease-dead/vm", "req-2", SHORT);
    // three times its length: it would have expired
    let end = Instant::now() + SHORT * 3;
    while Instant::now() < end {
        assert!(matches!(other.attempt().await.unwrap(), Attempt::Held(_)));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(hold.check().is_ok());
    drop(hold);
    let died = Instant::now();
    let second = loop {
        match other.attempt().await.unwrap() {
            Attempt::Taken(hold) => break hold,
            Attempt::Held(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Attempt::Expired { again, .. } => tokio::time::sleep_until(again).await,
            Attempt::Raced => {}
        }
    };
    // the last renewal was up to a third of its length before the end
    assert!(died.elapsed() > SHORT / 2, "{:?}", died.elapsed());
    assert!(died.elapsed() < SHORT * 2, "{:?}", died.elapsed());
    let spec = record(&cluster, "lease-dead/vm").await["spec"].clone();
    assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&json!("req-2"), &json!(1)));
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_record_is_looked_at_before_it_is_taken() {
    let cluster = begin("lease-old").await;
    let lease = object(LEASE, "lease-old/vm");
    let old = json!({"spec": {
        "holderIdentity": "req-1", "leaseDurationSeconds": 4, "leaseTransitions": 7,
        "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z"
    }});
    assert!(matches!(cluster.create(&lease, &old).await.unwrap(), Created::New(_)));
    let mut other = taker(&cluster, "lease-old/vm", "req-2", LONG);
    let Attempt::Expired { holder, again } = other.attempt().await.unwrap() else { panic!("taken at once") };
    assert_eq!(holder.id, "req-1");
    // its holder lives after all, with a clock that is far behind
    let renewed = json!({"spec": {"renewTime": "2026-01-01T00:00:02.000000Z"}});
    cluster.merge_patch(&lease, &renewed).await.unwrap().unwrap();
    tokio::time::sleep_until(again).await;
    let Attempt::Expired { again, .. } = other.attempt().await.unwrap() else {
        panic!("taken from the living")
    };
    tokio::time::sleep_until(again).await;
    drop(taken(&mut other).await);
    assert_eq!(record(&cluster, "lease-old/vm").await["spec"]["leaseTransitions"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_holds_it_for_no_longer_than_it_lasts() {
    let cluster = begin("lease-ahead").await;
    let lease = object(LEASE, "lease-ahead/vm");
    let ahead = json!({"spec": {"holderIdentity": "req-1", "leaseDurationSeconds": 3, "renewTime": "2099-01-01T00:00:00.000000Z"}});
    assert!(matches!(cluster.create(&lease, &ahead).await.unwrap(), Created::New(_)));
    let mut other = taker(&cluster, "lease-ahead/vm", "req-2", LONG);
    assert!(matches!(other.attempt().await.unwrap(), Attempt::Held(_)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(taken(&mut other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_ends_all_that_is_done_under_it() {
    let cluster = begin("lease-lost").await;
    for (name, change, words) in [
        (
            "taken",
            json!({"spec": {"holderIdentity": "req-2"}}),
            "lease `lease-lost/taken` is lost: it was taken by request `req-2` since T until T unless renewed",
        ),
        (
            "freed",
            json!({"spec": {"holderIdentity": null}}),
            "lease `lease-lost/freed` is lost: it was released",
        ),
        ("deleted", Value::Null, "lease `lease-lost/deleted` is lost: it was deleted"),
    ] {
        let lease = object(LEASE, &format!("lease-lost/{name}"));
        let hold = taken(&mut taker(&cluster, &lease.name.to_string(), "req-1", SHORT)).await;
        hold.note("before", "x").await.unwrap();
        if change.is_null() {
            cluster.delete(&lease, None).await.unwrap();
        } else {
            cluster.merge_patch(&lease, &change).await.unwrap().unwrap();
        }
        let during = hold.during(std::future::pending::<Result<(), Failure>>());
        let lost = timeout(SHORT, during).await.unwrap().unwrap_err();
        assert_eq!((lost.kind(), said(&lost)), (Kind::Conflict, words.to_owned()));
        for later in [
            hold.check(),
            hold.note("k", "v").await,
            hold.noted("before").await.map(|_| ()),
            hold.during(async { Ok(()) }).await,
        ] {
            assert_eq!(later.unwrap_err(), lost);
        }
        let left = cluster.get(&lease).await.unwrap();
        let holder = left.as_ref().and_then(|l| l.pointer("/spec/holderIdentity"));
        assert_ne!(holder, Some(&json!("req-1")), "what is lost is not taken back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_are_kept_from_one_holder_to_the_next_and_survive_races() {
    let cluster = begin("lease-notes").await;
    let hold = taken(&mut taker(&cluster, "lease-notes/vm", "req-1", SHORT)).await;
    assert_eq!(hold.noted("restart").await, Ok(None));
    // all at once, and a renewal between them
    let notes = (0..6).map(|n| {
        let hold = hold.clone();
        tokio::spawn(async move { hold.note(&format!("k{n}"), &format!("v{n}")).await })
    });
    for note in notes.collect::<Vec<_>>() {
        note.await.unwrap().unwrap();
    }
    for n in 0..6 {
        assert_eq!(hold.noted(&format!("k{n}")).await, Ok(Some(format!("v{n}"))));
    }
    // of all who say that they are the first one is
    let firsts = (0..6).map(|n| {
        let hold = hold.clone();
        tokio::spawn(async move { hold.note_first("first", &format!("v{n}")).await.unwrap() })
    });
    let mut told = Vec::new();
    for first in firsts.collect::<Vec<_>>() {
        told.push(first.await.unwrap());
    }
    told.dedup();
    assert_eq!(hold.noted("first").await, Ok(Some(told.remove(0))));
    assert_eq!(told, [""; 0], "one and the same");
    let long = hold.note("long", &"x".repeat(1024)).await.unwrap_err();
    assert_eq!((long.kind(), long.message()), (Kind::Internal, "note `long` is too long: 1028 bytes"));
    hold.release().await.unwrap();
    let next = taken(&mut taker(&cluster, "lease-notes/vm", "req-2", SHORT)).await;
    assert_eq!(next.noted("k5").await, Ok(Some("v5".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_it_is_lost_before_it_expires() {
    let plane = testbed::control_plane::ControlPlane::start().await.unwrap();
    plane.ensure_namespace("flows").await.unwrap();
    let cluster = Cluster::connect(Some(&plane.kubeconfig())).await.unwrap();
    let hold = taken(&mut taker(&cluster, "flows/vm", "req-1", SHORT)).await;
    plane.stop_api_server();
    let stopped = Instant::now();
    let lost = timeout(SHORT * 2, hold.lost()).await.unwrap();
    assert!(stopped.elapsed() < SHORT, "{:?}", stopped.elapsed());
    assert_eq!(
        (lost.kind(), lost.message()),
        (Kind::Conflict, "lease `flows/vm` is lost: it could not be renewed for 5s")
    );
}
