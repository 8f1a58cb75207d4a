//! What is known of an object comes true, whatever the API server does in between. The server is a stand-in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::standin::{Fault, Standin, Verb};
use cluster::{APPLICATION, Cluster, Object, Seen, Sight, VIRTUAL_MACHINE, Watched};
use serde_json::json;
use step::Kind;
use tokio::sync::Notify;

const PATH: &str = "/apis/kubevirt.io/v1/namespaces/team-a/virtualmachines/web01";

struct Following {
    standin: Standin,
    watched: Watched,
    bell: Arc<Notify>,
    config: PathBuf,
    _folder: tempfile::TempDir,
}

impl Following {
    async fn begin(prepare: impl FnOnce(&Standin)) -> Self {
        let standin = Standin::start().await;
        prepare(&standin);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(&config, standin.kubeconfig("first")).unwrap();
        let cluster = Cluster::connect(Some(&config)).await.unwrap();
        let bell = Arc::new(Notify::new());
        let object = Object { kind: VIRTUAL_MACHINE, name: "team-a/web01".parse().unwrap() };
        let watched = Watched::new(&cluster, object, Arc::clone(&bell));
        Self { standin, watched, bell, config, _folder: folder }
    }

    async fn until(&self, what: &str, seconds: u64, met: impl Fn(&Sight) -> bool) {
        let wait = async {
            while !met(&self.watched.sight()) {
                self.bell.notified().await;
            }
        };
        let met = tokio::time::timeout(Duration::from_secs(seconds), wait).await;
        assert!(met.is_ok(), "{what}: {:?}", self.watched.sight());
    }

    async fn shows(&self, what: &str, mark: u64) {
        self.until(what, 10, |sight| sight.object().is_some_and(|o| o["mark"] == json!(mark))).await;
    }
}

fn marked(mark: u64) -> serde_json::Value {
    json!({"metadata": {"name": "web01"}, "mark": mark})
}

#[tokio::test(flavor = "multi_thread")]
async fn made_changed_deleted_and_made_again() {
    let following = Following::begin(|_| {}).await;
    following.until("absent", 10, |s| s.seen == Seen::Absent).await;
    following.standin.put(PATH, marked(1));
    following.shows("made", 1).await;
    following.standin.put(PATH, marked(2));
    following.shows("changed", 2).await;
    following.standin.delete(PATH);
    following.until("deleted", 10, |s| s.seen == Seen::Absent).await;
    following.standin.put(PATH, marked(3));
    following.shows("made again", 3).await;
    let gets = following.standin.requests().iter().filter(|r| r.verb == Verb::Get).count();
    assert_eq!(gets, 1, "events told everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_got_over() {
    for (verb, fault, times) in [
        (Verb::Watch, Fault::Cut, 4),
        (Verb::Watch, Fault::Event(410), 2),
        (Verb::Watch, Fault::Status(410), 2),
        (Verb::Watch, Fault::Status(504), 2),
        (Verb::Watch, Fault::Reset, 2),
        (Verb::Watch, Fault::Event(500), 2),
        (Verb::Get, Fault::Status(429), 3),
        (Verb::Get, Fault::Status(500), 3),
        (Verb::Get, Fault::Status(503), 3),
        (Verb::Get, Fault::Status(403), 2),
        (Verb::Get, Fault::Unserved, 3),
        (Verb::Get, Fault::Reset, 3),
    ] {
        let following = Following::begin(|standin| {
            standin.put(PATH, marked(1));
            standin.fault(verb, fault, times);
        })
        .await;
        following.shows(&format!("{verb:?} {fault:?}"), 1).await;
        following.standin.put(PATH, marked(2));
        following.shows(&format!("{verb:?} {fault:?}, later"), 2).await;
        // what is left of the faults may come after that read; the read behind the last of them takes its trouble away
        following.until(&format!("{verb:?} {fault:?}, over"), 10, |sight| sight.trouble.is_none()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_ten_times_is_found_again_each_time() {
    let following = Following::begin(|standin| standin.put(PATH, marked(0))).await;
    following.shows("before", 0).await;
    for round in 1..=10 {
        following.standin.stop();
        following.standin.put(PATH, marked(round));
        following.standin.restart().await;
        following.shows("after a restart", round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_went_deaf_is_left_behind() {
    let following = Following::begin(|standin| {
        standin.put(PATH, marked(1));
        standin.fault(Verb::Watch, Fault::Deaf, 1);
    })
    .await;
    following.shows("before", 1).await;
    following.standin.put(PATH, marked(2));
    following.until("the next read", 40, |s| s.object().is_some_and(|o| o["mark"] == json!(2))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_answer_ends() {
    let following = Following::begin(|standin| {
        standin.put(PATH, marked(1));
        standin.fault(Verb::Get, Fault::Silence, 1);
    })
    .await;
    following.until("trouble", 15, |s| s.trouble.is_some()).await;
    assert_eq!(following.watched.sight().trouble.unwrap().message, "no answer within 10s");
    following.shows("the next request", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_not_served_is_not_an_absent_object() {
    let following = Following::begin(|standin| standin.fault(Verb::Get, Fault::Unserved, 1000)).await;
    following.until("trouble", 10, |s| s.trouble.is_some()).await;
    assert_eq!(following.watched.sight().seen, Seen::NotYet);
    following.until("not served", 90, |s| s.seen == Seen::NotServed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_read_anew_when_they_are_refused() {
    let following = Following::begin(|standin| {
        standin.put(PATH, marked(1));
        standin.only_token("first");
    })
    .await;
    following.shows("the first token", 1).await;
    following.standin.only_token("second");
    following.standin.stop();
    following.standin.restart().await;
    following.until("refused", 10, |s| s.trouble.as_ref().is_some_and(|t| t.kind == Kind::Permission)).await;
    assert_eq!(
        following.watched.sight().object(),
        Some(&following.standin.get(PATH).unwrap()),
        "the last state is kept"
    );
    std::fs::write(&following.config, following.standin.kubeconfig("second")).unwrap();
    following.standin.put(PATH, marked(2));
    following.until("the second token", 30, |s| s.object().is_some_and(|o| o["mark"] == json!(2))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_one_annotation() {
    let standin = Standin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, standin.kubeconfig("token")).unwrap();
    let cluster = Cluster::connect(Some(&config)).await.unwrap();
    let object = Object { kind: APPLICATION, name: "argocd/web01".parse().unwrap() };
    let path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/web01";
    assert_eq!(cluster.refresh(&object).await, Ok(false), "there is none");
    standin.put(path, json!({"metadata": {"name": "web01", "annotations": {"kept": "x"}}}));
    standin.on_refresh(move |standin, count| {
        standin.put(path, json!({"metadata": {"name": "web01"}, "count": count}));
    });
    assert_eq!(cluster.refresh(&object).await, Ok(true));
    assert_eq!(standin.get(path).unwrap()["count"], json!(1));
    let patched: Vec<String> =
        standin.requests().into_iter().filter(|r| r.verb == Verb::Patch).map(|r| r.path).collect();
    assert_eq!(patched, [path, path]);
}
