//! What a push moves over the wire, and servers that will not leave anything out.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod opened;

use std::time::Duration;

use gitops::{Change, File, Message};
use step::{Context, Kind};
use testbed::git::{Entry, On, Repository, Server};

use opened::open;

fn context() -> Context {
    Context::new(Duration::from_mins(5))
}

/// One new file, or one that is as it was at the base.
fn change(path: &str, content: &str, base: Option<&str>) -> Change {
    Change {
        files: vec![File { path: path.parse().unwrap(), bytes: content.as_bytes().to_vec() }],
        remove: vec![],
        unchanged: vec![],
        keep: vec![],
        marker: None,
        base: base.map(str::to_owned),
        message: Message::new("a machine", &[]).unwrap(),
        time: None,
    }
}

#[tokio::test]
async fn a_commit_into_twenty_thousand_files_moves_less_than_fifty_thousand_bytes() {
    let server = Server::empty().await.unwrap();
    server.git().fill(4000, 0).unwrap();
    let base = server.git().tip().unwrap();
    assert_eq!(server.git().files(&base).unwrap().len(), 20_000);
    let remote = open(&server);
    let moved = || (server.sent() + server.received(), server.seen().len());
    let new = change("vms/in-cluster/team-7/vm-new/request.yaml", "new\n", None);
    assert!(remote.push(&new, &context()).unwrap().changed);
    let (first, requests) = moved();
    // a file that is there, while somebody else pushes
    server
        .git()
        .commit(&[Entry::file(format!("{}/request.yaml", Repository::machine(8)), "other\n")], "other")
        .unwrap();
    let edit = change(&format!("{}/request.yaml", Repository::machine(7)), "edited\n", Some(&base));
    assert!(remote.push(&edit, &context()).unwrap().changed);
    let (both, more) = moved();
    println!("{first} bytes in {requests} requests, then {} in {}", both - first, more - requests);
    assert!(first < 50_000 && requests <= 10, "{first} bytes in {requests} requests");
    assert!(both - first < 50_000 && more - requests <= 10, "{} in {}", both - first, more - requests);
    let pushed = server.git().tip().unwrap();
    assert_eq!(server.git().files(&pushed).unwrap().len(), 20_001);
    assert_eq!(server.git().read(&pushed, &edit.files[0].path.to_string()).unwrap(), b"edited\n");
    server.git().fsck().unwrap();
}

/// Whatever a server knows or refuses of all this, a push is a push, and what is in the way is seen.
#[tokio::test]
async fn servers_that_leave_nothing_out_are_pushed_to_as_well() {
    for setting in ["", "uploadpack.allowFilter=false", "uploadpackfilter.tree.allow=false", "old"] {
        let server = Server::plain().await.unwrap();
        server.git().fill(40, 0).unwrap();
        let base = server.git().tip().unwrap();
        match setting.split_once('=') {
            Some((name, value)) => drop(server.git().git(&["config", name, value]).unwrap()),
            None if setting == "old" => server.grow_old(),
            None => {}
        }
        let remote = open(&server);
        let path = format!("{}/request.yaml", Repository::machine(7));
        let first = remote.push(&change(&path, "first\n", Some(&base)), &context()).unwrap();
        assert!(first.changed, "{setting}");
        let others = server.git().commit(&[Entry::file("notes", "theirs\n")], "theirs").unwrap();
        let again = open(&server).push(&change(&path, "first\n", Some(&base)), &context()).unwrap();
        assert_eq!((again.commit.as_str(), again.changed), (first.commit.as_str(), false), "{setting}");
        let failure = open(&server).push(&change(&path, "second\n", Some(&base)), &context()).unwrap_err();
        assert_eq!(failure.kind(), Kind::Conflict, "{setting}");
        assert!(failure.message().contains(&first.commit), "{setting}: {}", failure.message());
        // by the one that has fetched before
        assert_eq!(remote.tip(&context()).unwrap(), Some(others.clone()), "{setting}");
        assert_eq!(remote.read(&others, "notes").unwrap().unwrap(), b"theirs\n", "{setting}");
        let folder = remote.folder(&others, &Repository::machine(7)).unwrap();
        assert_eq!((folder.len(), folder[&path].as_slice()), (5, &b"first\n"[..]), "{setting}");
        server.git().fsck().unwrap();
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_branch_that_has_moved() {
    let server = Server::plain().await.unwrap();
    let first = server.git().tip().unwrap();
    let theirs = server.git().commit(&[Entry::file("notes", "theirs\n")], "theirs").unwrap();
    server.git().git(&["update-ref", "refs/heads/main", &first]).unwrap();
    let forth = ["update-ref", "refs/heads/main", &theirs].map(str::to_owned).to_vec();
    server.fault(On::PushRefs, testbed::git::Fault::Meanwhile(forth));
    let pushed = open(&server).push(&change("a", "b\n", None), &context()).unwrap();
    assert_eq!(server.git().log().unwrap(), [pushed.commit, theirs, first]);
    assert_eq!(server.seen().iter().filter(|seen| seen.on == On::Push).count(), 1);
}
