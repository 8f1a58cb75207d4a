//! What is refused, by whom, in which words, and that nothing happens then.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testbed::git::{Entry, Fault, On, Server};

use crate::support::{Case, folder, write};

#[tokio::test]
async fn a_hook_is_heard() {
    let server = Server::plain().await.unwrap();
    server.git().hook("pre-receive", "#!/bin/sh\necho 'no machines on Fridays' >&2\nexit 1\n").unwrap();
    let ended = Case::new(&server, "r-1", "web", 1).run(&[]);
    let line =
        "error: cannot push to branch `main` at `HOST`: pre-receive hook declined: no machines on Fridays";
    assert_eq!(ended.last(&server), (31, line.to_owned()));
    assert_eq!(ended.results["outcome"], "refused");
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    let pushes = server.seen().iter().filter(|s| s.on == On::Push).count();
    assert_eq!((pushes, server.git().log().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_status_has_its_class() {
    let server = Server::plain().await.unwrap();
    let said = |verb: &str, why: &str| format!("error: cannot {verb} branch `main` at `HOST`: {why}");
    for (on, status, code, line) in [
        (On::FetchRefs, 403, 30, said("read", "http status 403, access denied")),
        (On::PushRefs, 403, 30, said("push to", "http status 403, access denied")),
        (On::Push, 403, 30, said("push to", "http status 403, access denied")),
        (
            On::FetchRefs,
            404,
            2,
            said("read", "http status 404, no such repository, or the credential may not see it"),
        ),
        (On::Push, 413, 31, said("push to", "http status 413, too large")),
    ] {
        server.fault(on, Fault::Status(status, None));
        let ended = Case::new(&server, "r-1", "web", 1).run(&[]);
        assert_eq!(ended.last(&server), (code, line), "{on:?} {status}");
    }
    assert_eq!(server.git().log().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_shown_once_a_connection() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let lines = server.url_with_credentials().replace(server.credentials().1, "wrong-password");
    write(&case.path("auth/.git-credentials"), &lines);
    let ended = case.run(&[]);
    let line = "error: cannot read branch `main` at `HOST`: it refuses the credential";
    assert_eq!(ended.last(&server), (30, line.to_owned()));
    assert!(!ended.stderr.contains("wrong-password"), "{}", ended.stderr);
    let with = server.seen().iter().filter(|s| s.authorization).count();
    assert_eq!((server.seen().len(), with), (2, 1));
}

#[tokio::test]
async fn without_a_credential_for_the_host_none_is_sent() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    write(&case.path("auth/.git-credentials"), "https://other:unrelated-pass@other.example.org\n");
    let line =
        "error: cannot read branch `main` at `HOST`: it asks for a credential and none for it was given";
    assert_eq!(case.run(&[]).last(&server), (30, line.to_owned()));
    assert!(server.seen().iter().all(|s| !s.authorization));
}

#[tokio::test]
async fn a_redirect_carries_no_credential() {
    for on in [On::FetchRefs, On::Fetch, On::PushRefs, On::Push] {
        let (server, other) = (Server::plain().await.unwrap(), Server::plain().await.unwrap());
        // another host, and another port of the same one
        for to in [other.url_by_name(), other.url()] {
            let base = to.strip_suffix("/machines.git").unwrap();
            server.fault(on, Fault::Redirect(base.to_owned()));
            let ended = Case::new(&server, "r-1", "web", 1).run(&[]);
            let verb = if matches!(on, On::FetchRefs | On::Fetch) { "read" } else { "push to" };
            let why = "the server redirects elsewhere, which is not followed";
            let line = format!("error: cannot {verb} branch `main` at `HOST`: {why}");
            assert_eq!(ended.last(&server), (2, line), "{on:?} to {to}");
            assert!(other.seen().iter().all(|s| !s.authorization), "{on:?} to {to}: {:?}", other.seen());
            assert!(to == other.url() || other.seen().is_empty(), "{on:?} to {to}: {:?}", other.seen());
        }
        assert_eq!(server.git().log().unwrap().len(), 1, "{on:?}");
    }
}

#[tokio::test]
async fn odd_entries_in_the_way_are_left_alone() {
    let server = Server::plain().await.unwrap();
    let path = |vm: &str| format!("{}/request.yaml", folder(vm));
    server
        .git()
        .commit(
            &[
                Entry::link(folder("linked"), "../../../elsewhere"),
                Entry::submodule(folder("module")),
                Entry::link(path("leaf"), "/etc/passwd"),
                Entry::executable(path("tool"), "#!/bin/sh\n"),
                Entry::file(folder("file"), "text\n"),
                Entry::file(format!("{}/x", path("tree")), "text\n"),
            ],
            "odd entries",
        )
        .unwrap();
    let tip = server.git().tip().unwrap();
    for (vm, place, what, more) in [
        ("linked", folder("linked"), "a symbolic link", " (and 1 more)"),
        ("module", folder("module"), "a submodule", " (and 1 more)"),
        ("leaf", path("leaf"), "a symbolic link", ""),
        ("tool", path("tool"), "an executable file", ""),
        ("file", folder("file"), "a file", " (and 1 more)"),
        ("tree", path("tree"), "a folder", ""),
    ] {
        let ended = Case::new(&server, "r-1", vm, 1).run(&[]);
        let line = format!("error: cannot change branch `main` at `HOST`: `{place}` is {what} there{more}");
        assert_eq!(ended.last(&server), (31, line), "{vm}");
    }
    assert_eq!(server.git().tip().unwrap(), tip);
}

#[tokio::test]
async fn addresses_are_refused_before_anything_is_touched() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let (form, parts) = ("expected `https://host/path`", "user and password do not belong into it");
    let local = server.repository().display().to_string();
    for (url, why) in [
        (format!("file://{local}"), form),
        (local.clone(), form),
        ("git://127.0.0.1/machines.git".to_owned(), form),
        (format!("ext::{local}"), form),
        ("--upload-pack=touch".to_owned(), "it starts with `-`"),
        (server.url_with_credentials(), parts),
        ("http://git.example.org/machines.git".to_owned(), "plain http is for the loopback address only"),
        ("ssh://git@127.0.0.1/machines.git".to_owned(), "ssh is not supported yet"),
        ("git@127.0.0.1:machines.git".to_owned(), "ssh is not supported yet"),
    ] {
        let ended = case.end("results", &mut case.bare("results", &[&format!("--url={url}")]));
        let line = format!("error: cannot use the address of `--url`: {why}");
        assert_eq!(ended.last(&server), (2, line), "{url}");
    }
    assert_eq!((server.seen(), server.git().log().unwrap().len()), (vec![], 1));
}

#[tokio::test]
async fn one_id_has_one_content() {
    let server = Server::plain().await.unwrap();
    let commit = Case::new(&server, "r-1", "web", 1).run(&[]).ok().commit().to_owned();
    let changed = Case::new(&server, "r-1", "web", 2);
    for flags in [vec![], vec![format!("--base={commit}")]] {
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let ended = changed.run(&flags);
        let line = "error: request `r-1` is on branch `main` at `HOST` already, with other content";
        assert_eq!(ended.last(&server), (20, line.to_owned()));
    }
    assert_eq!(server.git().tip().unwrap(), commit);
}

#[tokio::test]
async fn a_request_that_was_replaced_is_not_made_again() {
    let server = Server::plain().await.unwrap();
    let first = Case::new(&server, "r-1", "web", 1);
    let commit = first.run(&[]).ok().commit().to_owned();
    let second = Case::new(&server, "r-2", "web", 2);
    assert!(second.run(&[&format!("--base={commit}")]).ok().changed());
    let line = format!(
        "error: commit `{commit}` made this change on branch `main` at `HOST`, and a later one replaced it"
    );
    assert_eq!(first.run(&[]).last(&server), (21, line));
    assert_eq!(server.git().log().unwrap().len(), 3);
}

#[tokio::test]
async fn secrets_are_not_committed() {
    let server = Server::plain().await.unwrap();
    let encoded = STANDARD.encode(format!("user:{}", server.credentials().1));
    for (content, what) in [
        (format!("password: {}\n", server.credentials().1), "a credential of this step"),
        (format!("data: {encoded}\n"), "a credential of this step"),
        ("token: unrelated-pass\n".to_owned(), "a credential of this step"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned(), "a private key"),
    ] {
        let case = Case::new(&server, "r-1", "web", 1);
        let path = format!("{}/secret.yaml", folder("web"));
        case.write(&path, &content);
        let line = format!("error: `{path}` is not committed: it holds {what}");
        assert_eq!(case.run(&[]).last(&server), (31, line));
    }
    assert_eq!(server.seen(), []);
}
