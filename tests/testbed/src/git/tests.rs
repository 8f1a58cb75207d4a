//! The server, seen by git's own client.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Output};

use super::repository::ENVIRONMENT;
use super::{Ending, Entry, Fault, On, Server};

fn git(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder).envs(ENVIRONMENT).env("GIT_TERMINAL_PROMPT", "0");
    // it would outweigh `http.sslCAInfo`
    command.env_remove("GIT_SSL_CAINFO");
    command.output().unwrap()
}

fn ok(folder: &Path, arguments: &[&str]) {
    let output = git(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn clone_with_a_commit(server: &Server, folder: &Path) {
    ok(folder, &["clone", "--quiet", &server.url_with_credentials(), "."]);
    // more than a buffer, so that the request is chunked and compressed where git does so
    std::fs::write(folder.join("large"), "line\n".repeat(300_000)).unwrap();
    ok(folder, &["add", "."]);
    ok(folder, &["commit", "--quiet", "-m", "second"]);
}

#[tokio::test]
async fn git_clones_and_pushes() {
    let (server, folder) = (Server::plain().await.unwrap(), tempfile::tempdir().unwrap());
    clone_with_a_commit(&server, folder.path());
    ok(folder.path(), &["-c", "http.postBuffer=1000", "push", "--quiet"]);
    let tip = server.git().tip().unwrap();
    assert_eq!(server.git().files(&tip).unwrap(), ["README.md", "large"]);
    assert_eq!(server.git().read(&tip, "large").unwrap().len(), 1_500_000);
    assert_eq!(server.git().log().unwrap().len(), 2);
    assert_eq!(server.git().not_linear().unwrap(), 1);
    server.git().fsck().unwrap();
}

#[tokio::test]
async fn without_credentials_nothing_is_read() {
    let (server, folder) = (Server::plain().await.unwrap(), tempfile::tempdir().unwrap());
    assert!(!git(folder.path(), &["clone", "--quiet", &server.url(), "."]).status.success());
    let seen: Vec<_> = server.seen().iter().map(|s| (s.on, s.authorization)).collect();
    assert_eq!(seen, [(On::FetchRefs, false)]);
}

#[tokio::test]
async fn every_ending_loses_the_answer_and_keeps_the_commit() {
    for ending in Ending::ALL.into_iter().filter(|e| *e != Ending::Silence) {
        let (server, folder) = (Server::plain().await.unwrap(), tempfile::tempdir().unwrap());
        clone_with_a_commit(&server, folder.path());
        server.fault(On::Push, Fault::Accepted(ending));
        let output = git(folder.path(), &["push"]);
        assert!(!output.status.success(), "{ending:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!((server.git().log().unwrap().len(), server.faults_left()), (2, 0), "{ending:?}");
    }
}

#[tokio::test]
async fn a_fault_before_git_keeps_the_branch() {
    for fault in [
        Fault::Status(503, Some(1)),
        Fault::Reset,
        Fault::Locked,
        Fault::Redirect(302, "http://[::1]:1".to_owned()),
    ] {
        let (server, folder) = (Server::plain().await.unwrap(), tempfile::tempdir().unwrap());
        clone_with_a_commit(&server, folder.path());
        server.fault(On::Push, fault.clone());
        if fault == Fault::Reset {
            // git sends a request again where a connection it had used before is reset
            server.fault(On::Push, Fault::Reset);
        }
        assert!(!git(folder.path(), &["push"]).status.success(), "{fault:?}");
        assert_eq!(server.git().log().unwrap().len(), 1, "{fault:?}");
        ok(folder.path(), &["push"]);
    }
}

#[tokio::test]
async fn tls_is_trusted_through_its_own_authority_only() {
    let server = Server::tls(IpAddr::V4(Ipv4Addr::LOCALHOST)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, server.ca_pem()).unwrap();
    let trusted = format!("http.sslCAInfo={}", ca.display());
    let url = server.url_with_credentials();
    assert!(!git(folder.path(), &["ls-remote", &url]).status.success());
    ok(folder.path(), &["-c", &trusted, "ls-remote", &url]);
    ok(folder.path(), &["-c", &trusted, "ls-remote", &url.replace("127.0.0.1", "localhost")]);
}

#[tokio::test]
async fn odd_entries_can_be_committed() {
    let server = Server::empty().await.unwrap();
    let entries = [
        Entry::file("plain", "text"),
        Entry::executable("tool", "text"),
        Entry::link("link", "plain"),
        Entry::submodule("module"),
    ];
    server.git().commit(&entries, "first").unwrap();
    let tree = server.git().git(&["ls-tree", "main"]).unwrap();
    let modes: Vec<_> = tree.lines().map(|l| &l[..6]).collect();
    assert_eq!(modes, ["120000", "160000", "100644", "100755"]);
    server.git().commit(&[Entry::absent("tool")], "second").unwrap();
    assert_eq!(server.git().files("main").unwrap(), ["link", "module", "plain"]);
}
