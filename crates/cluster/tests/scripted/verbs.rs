//! What verbs make of bad answers. The servers are scripts.

use std::time::Duration;

use crate::standin::{Fault, Standin, Verb};
use cluster::{Cluster, Created, Deleted, LEASE, Name, Object, POD, Taker, VIRTUAL_MACHINE};
use serde_json::{Value, json};
use step::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

async fn connect(kubeconfig: &str) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, kubeconfig).unwrap();
    Cluster::connect(Some(&config)).await.unwrap()
}

fn lease() -> Object {
    Object { kind: LEASE, name: "flows/vm".parse().unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_a_second_change_of_state_is_told_in_kubevirts_words_and_slows_nobody_down() {
    let standin = Standin::start().await;
    let cluster = connect(&standin.kubeconfig("token")).await;
    let vm = Object { kind: VIRTUAL_MACHINE, name: "team-a/web01".parse().unwrap() };
    for code in [500, 409] {
        standin.fault_at(
            "/subresources.kubevirt.io/v1/namespaces/team-a/virtualmachines/web01/stop",
            Verb::Put,
            Fault::Status(code),
            3,
        );
        for _ in 0..3 {
            let began = Instant::now();
            let error = cluster.subresource(&vm, "stop", &json!({"gracePeriod": 0})).await.unwrap_err();
            assert_eq!(
                (error.status(), error.kind(), error.to_string().as_str()),
                (code, Kind::Transient, "injected")
            );
            assert_eq!(cluster.get(&vm).await, Ok(None));
            assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
        }
    }
    let error = cluster.subresource(&vm, "../../start", &json!({})).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_not_taken_for_one() {
    let standin = Standin::start().await;
    let cluster = connect(&standin.kubeconfig("token")).await;
    standin.fault(Verb::Post, Fault::Silence, 1);
    let error = cluster.create(&lease(), &json!({})).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.to_string().as_str()),
        (Kind::Transient, 0, "no answer within 10s")
    );
    assert!(matches!(cluster.create(&lease(), &json!({})).await, Ok(Created::New(_))));
    assert_eq!(cluster.create(&lease(), &json!({})).await, Ok(Created::Exists));
    for (verb, code, kind) in [
        (Verb::Put, 503, Kind::Transient),
        (Verb::Put, 403, Kind::Permission),
        (Verb::Put, 422, Kind::Failed),
        (Verb::Delete, 429, Kind::Transient),
        (Verb::Delete, 409, Kind::Transient),
    ] {
        standin.fault(verb, Fault::Status(code), 1);
        let error = match verb {
            Verb::Put => cluster.replace(&lease(), &json!({})).await.map(|_| ()).unwrap_err(),
            _ => cluster.delete(&lease(), None).await.map(|_| ()).unwrap_err(),
        };
        assert_eq!((error.kind(), error.status()), (kind, code), "{verb:?}");
    }
    standin.fault(Verb::Delete, Fault::Unserved, 1);
    let error = cluster.delete(&lease(), None).await.unwrap_err();
    assert!(error.not_served(), "a kind that is not served is no object that is gone: {error}");
    assert_eq!(cluster.delete(&lease(), None).await, Ok(Deleted::Asked));
    assert_eq!(cluster.delete(&lease(), None).await, Ok(Deleted::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_kept_through_blips() {
    let standin = Standin::start().await;
    let cluster = connect(&standin.kubeconfig("token")).await;
    let name: Name = "flows/vm".parse().unwrap();
    let mut taker = Taker::new(&cluster, &name, "req-1").lasting(Duration::from_secs(9));
    let cluster::Attempt::Taken(hold) = taker.attempt().await.unwrap() else { unreachable!("it is free") };
    let path = "/apis/coordination.k8s.io/v1/namespaces/flows/leases/vm";
    let renewed = || standin.get(path).unwrap()["spec"]["renewTime"].clone();
    let before = renewed();
    standin.fault(Verb::Get, Fault::Status(503), 2);
    standin.fault(Verb::Put, Fault::Reset, 1);
    let end = Instant::now() + Duration::from_secs(9);
    while renewed() == before {
        assert!(Instant::now() < end, "never renewed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(hold.check(), Ok(()));
    // what is noted through a blip is noted once, and is there
    standin.fault(Verb::Put, Fault::Status(500), 1);
    hold.note("restarted", "uid-1").await.unwrap();
    assert_eq!(hold.noted("restarted").await, Ok(Some("uid-1".to_owned())));
}

/// A server that gives these answers, one a connection, and tells the paths that were asked for.
async fn canned(answers: Vec<(u16, Value)>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for (code, body) in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(connection.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            asked.push(request.split(' ').nth(1).unwrap().to_owned());
            let body = body.to_string();
            let head =
                format!("HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            connection.write_all((head + &body).as_bytes()).await.unwrap();
            connection.shutdown().await.unwrap();
        }
        asked
    });
    (format!("http://{address}"), served)
}

fn page(names: &[&str], next: &str) -> (u16, Value) {
    let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    (200, json!({"metadata": {"continue": next}, "items": items}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_pages_expire_is_begun_anew_and_not_for_ever() {
    let expired = || {
        (
            410,
            json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}),
        )
    };
    let config = |server: &str| {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        })
        .to_string()
    };
    let (address, served) =
        canned(vec![page(&["a"], "x/="), expired(), page(&["a"], "y"), page(&["b"], "")]).await;
    let all = connect(&config(&address)).await.list(POD, "team-a", Some("a=b")).await.unwrap();
    let names: Vec<&str> = all.iter().map(|p| p["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"], "each once");
    let first = "/api/v1/namespaces/team-a/pods?limit=500&labelSelector=a%3Db";
    let next = |token: &str| format!("{first}&continue={token}");
    assert_eq!(served.await.unwrap(), [first.to_owned(), next("x%2F%3D"), first.to_owned(), next("y")]);

    let round = || [page(&["a"], "x"), expired()];
    let (address, _served) = canned([round(), round(), round()].concat()).await;
    let error = connect(&config(&address)).await.list(POD, "team-a", None).await.unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (410, "too old"));
}
