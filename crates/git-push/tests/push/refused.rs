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

/// As GitHub has it for a repository that is archived.
#[tokio::test]
async fn what_a_server_says_to_people_is_told() {
    let server = Server::plain().await.unwrap();
    for on in [On::FetchRefs, On::PushRefs] {
        server.fault(on, Fault::Says(403, "This repository was archived so it is read-only.\n"));
        let ended = Case::new(&server, "r-1", "web", 1).run(&[]);
        let (code, line) = ended.last(&server);
        let words = "http status 403, access denied: This repository was archived so it is read-only.";
        assert!(code == 30 && line.ends_with(words), "{code} {line}");
    }
}

#[tokio::test]
async fn a_server_that_says_when_is_asked_again_no_sooner() {
    let server = Server::plain().await.unwrap();
    server.fault(On::FetchRefs, Fault::Status(429, Some(3)));
    let ended = Case::new(&server, "r-1", "web", 1).run(&[]);
    assert!(ended.ok().changed());
    assert!(ended.took >= Duration::from_secs(3), "{:?}", ended.took);
}

/// That an earlier offer was not taken is certain: what refuses us now is the last word.
#[tokio::test]
async fn who_may_not_push_any_more_is_told_so_at_once() {
    let server = Server::plain().await.unwrap();
    server.fault(On::Push, Fault::Locked);
    // the first is let through
    server.fault(On::PushRefs, Fault::Late(Duration::ZERO));
    (0..100).for_each(|_| server.fault(On::PushRefs, Fault::Status(403, None)));
    let ended = Case::new(&server, "r-1", "web", 1).run(&["--timeout=60s"]);
    let line = "error: cannot push to branch `main` at `HOST`: http status 403, access denied";
    assert_eq!(ended.last(&server), (30, line.to_owned()));
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
    assert_eq!((server.seen().len(), with), (1, 1));
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

#[tokio::test]
async fn a_plan_that_is_none() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let plan = case.path("plan.json");
    let flag = format!("--plan={}", plan.display());
    let marker = "vms/in-cluster/team-a/web/request.yaml";
    for (text, why) in [
        ("{", "cannot read the plan `PLAN`: EOF while parsing an object at line 1 column 1"),
        ("{}", "cannot read the plan `PLAN`: missing field `marker` at line 1 column 2"),
        (
            r#"{"marker": "../x", "subject": "s"}"#,
            "cannot read the plan `PLAN`: `../x`: a path is relative, without empty parts, `.` and `..`",
        ),
        (
            r#"{"marker": "a", "subject": "s", "remove": [".git/config"]}"#,
            "cannot read the plan `PLAN`: `.git/config`: no part of a path begins with `.git`",
        ),
        (r#"{"marker": "a", "subject": "s"}"#, "cannot find the request: `a` is not in the source"),
        (
            &format!(r#"{{"marker": "{marker}", "subject": "s", "base": "main"}}"#),
            "the base commit is not 40 hex digits in lower case",
        ),
        (
            &format!(r#"{{"marker": "{marker}", "subject": "s", "remove": ["{marker}"]}}"#),
            "a file is both to write and to remove",
        ),
        (
            &format!(r#"{{"marker": "{marker}", "subject": ""}}"#),
            "the commit message is not one line of 1 to 200 printable characters",
        ),
    ] {
        write(&plan, text);
        let (code, last) = case.run(&[&flag]).last(&server);
        let last = last.replace(plan.to_str().unwrap(), "PLAN");
        assert_eq!((code, last), (2, format!("error: {why}")), "{text}");
    }
    let (code, last) = case.run(&[&flag, "--base=main"]).last(&server);
    assert_eq!(code, 2, "{last}");
    assert_eq!(server.seen(), []);
    // a plan without more is what the flags are by default
    write(&plan, &format!(r#"{{"marker": "{marker}", "subject": "a machine"}}"#));
    let commit = case.run(&[&flag]).ok().commit().to_owned();
    assert_eq!(server.git().git(&["log", "-1", "--format=%s", &commit]).unwrap(), "a machine");
}
