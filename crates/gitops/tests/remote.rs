//! Reading the branch and asking its history, over HTTP.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod opened;

use std::time::Duration;

use clap::Parser as _;
use step::{Context, Kind};
use testbed::git::{Entry, Fault, On, Server};

use vm::conditions::Relation;

use opened::{Flags, args, open};

fn context() -> Context {
    Context::new(Duration::from_mins(1))
}

fn commit(server: &Server, path: &str, content: &str) -> String {
    server.git().commit(&[Entry::file(path, content)], path).unwrap()
}

#[tokio::test]
async fn the_tip_and_its_files_are_read() {
    let server = Server::empty().await.unwrap();
    let remote = open(&server);
    assert_eq!(remote.tip(&context()), Ok(None));
    let first = commit(&server, "a/b", "one");
    assert_eq!(remote.tip(&context()), Ok(Some(first.clone())));
    assert_eq!(remote.read(&first, "a/b"), Ok(Some(b"one".to_vec())));
    for nothing in ["a", "a/c", "a/b/c"] {
        assert_eq!(remote.read(&first, nothing), Ok(None), "{nothing}");
    }
    let second = commit(&server, "a/b", "two");
    server.fault(On::Fetch, Fault::Status(503, None));
    assert_eq!(remote.tip(&context()), Ok(Some(second.clone())));
    assert_eq!(remote.read(&second, "a/b"), Ok(Some(b"two".to_vec())));
}

#[tokio::test]
async fn a_later_fetch_brings_only_what_is_new() {
    let server = Server::plain().await.unwrap();
    // text that does not compress: the state of a small random generator
    let noise = |n: u64| {
        (0..500).fold((n, String::new()), |(x, text), _| {
            let x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x, format!("{text}{x:x}"))
        })
    };
    let files: Vec<_> = (0..200).map(|n| Entry::file(format!("large/{n}"), noise(n).1)).collect();
    server.git().commit(&files, "large").unwrap();
    // a server that leaves nothing out
    server.git().git(&["config", "uploadpack.allowFilter", "false"]).unwrap();
    let remote = open(&server);
    remote.tip(&context()).unwrap();
    let first = server.sent();
    assert!(first > 500_000, "{first}");
    let next = commit(&server, "small", "text");
    assert_eq!(remote.tip(&context()), Ok(Some(next.clone())));
    assert_eq!(remote.tip(&context()), Ok(Some(next)));
    let later = server.sent() - first;
    assert!(later < 20_000, "{later} bytes for two more fetches after {first}");
}

#[tokio::test]
async fn a_commit_stands_to_ours_as_the_history_says() {
    let server = Server::plain().await.unwrap();
    let before = server.git().tip().unwrap();
    let ours = commit(&server, "vms/web/vm.yaml", "cpu: 1");
    let beside = commit(&server, "vms/db/vm.yaml", "cpu: 1");
    let replaced = commit(&server, "vms/web/vm.yaml", "cpu: 2");
    let back = commit(&server, "vms/web/vm.yaml", "cpu: 1");
    let gone = server.git().commit(&[Entry::absent("vms/web/vm.yaml")], "gone").unwrap();
    let nowhere = "1".repeat(40);
    let table = [
        (&ours, Relation::Contains),
        (&beside, Relation::Contains),
        (&replaced, Relation::Replaced),
        (&back, Relation::Contains),
        (&gone, Relation::Replaced),
        (&before, Relation::Lacks),
        (&nowhere, Relation::Lacks),
    ];
    let remote = open(&server);
    for (live, wanted) in &table {
        assert_eq!(remote.relation(&ours, live, "vms/web", &context()), Ok(*wanted), "{live} after others");
        assert_eq!(
            open(&server).relation(&ours, live, "vms/web", &context()),
            Ok(*wanted),
            "{live} asked first"
        );
    }
}

#[tokio::test]
async fn the_history_is_followed_below_the_first_depth_and_above_the_last_fetch() {
    let server = Server::plain().await.unwrap();
    let ours = commit(&server, "vms/web/vm.yaml", "cpu: 1");
    for n in 0..70 {
        commit(&server, "vms/db/vm.yaml", &format!("cpu: {n}"));
    }
    let remote = open(&server);
    let deep = server.git().tip().unwrap();
    assert_eq!(remote.relation(&ours, &deep, "vms/web", &context()), Ok(Relation::Contains));
    // asked again, nothing is fetched
    let requests = server.seen().len();
    assert_eq!(remote.relation(&ours, &deep, "vms/web", &context()), Ok(Relation::Contains));
    assert_eq!(server.seen().len(), requests);
    let later = commit(&server, "vms/web/vm.yaml", "cpu: 2");
    assert_eq!(remote.relation(&ours, &later, "vms/web", &context()), Ok(Relation::Replaced));
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_a_failure_to_try_again() {
    let server = Server::plain().await.unwrap();
    let ours = commit(&server, "vms/web/vm.yaml", "cpu: 1");
    let live = commit(&server, "vms/db/vm.yaml", "cpu: 1");
    let remote = open(&server);
    server.fault(On::FetchRefs, Fault::Status(503, None));
    let failure = remote.relation(&ours, &live, "vms/web", &context()).unwrap_err();
    let words = format!("cannot read branch `main` at `{}`: http status 503, server error", server.host());
    assert_eq!((failure.kind(), failure.message()), (Kind::Transient, words.as_str()));
    assert_eq!(remote.relation(&ours, &live, "vms/web", &context()), Ok(Relation::Contains));
    let failure = remote.relation("main", &live, "vms/web", &context()).unwrap_err();
    assert_eq!(failure.kind(), Kind::Usage);
}

#[tokio::test]
async fn the_flags_say_what_is_wrong_with_them() {
    let server = Server::plain().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let flags = |more: &[&str]| Flags::parse_from([&["test"], more].concat()).remote;
    assert!(!flags(&[]).is_given() && args(&server, folder.path()).is_given());
    let url = format!("--url={}", server.url());
    for (more, why) in [
        (vec![], "no repository is given"),
        (
            vec!["--url=https://user:pass@host/m"],
            "cannot use the address of `--url`: user and password do not belong into it",
        ),
        (vec![&url, "--branch=a b"], "the value of `--branch` is not the name of a branch"),
        (vec![&url, "--branch=a:b"], "the value of `--branch` is not the name of a branch"),
        (vec![&url, "--branch=-x"], "the value of `--branch` is not the name of a branch"),
        (vec![&url, "--branch=*"], "the value of `--branch` is not the name of a branch"),
        (vec![&url, "--basic-auth=/nowhere"], "cannot read credentials from `/nowhere`: it is not a folder"),
    ] {
        let failure = flags(&more).open().unwrap_err();
        assert_eq!((failure.kind(), failure.message()), (Kind::Usage, why), "{more:?}");
    }
    assert!(!format!("{:?}", flags(&["--url=https://user:secret@host/m"])).contains("secret"));
    assert_eq!(server.seen(), []);
}
