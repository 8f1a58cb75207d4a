//! The wait for somebody to merge it.

use std::time::{Duration, Instant};

use testbed::git::forge::{Api, ApiFault, Dialect};
use testbed::git::{Entry, Server};

use crate::proposed::{HEAD, on, propose};
use crate::support::{Case, Ended, folder};

/// Run it, and do something as soon as it has looked at the open pull request.
fn meanwhile(case: &Case, dialect: Dialect, server: &Server, more: &[&str], act: impl FnOnce()) -> Ended {
    let flags = on(dialect, server);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let start = Instant::now();
    let child = case.command("results", &flags).spawn().unwrap();
    let looks = |call: &String| call.starts_with("GET ") && call.split('?').next().unwrap().ends_with("/1");
    while !server.calls().unwrap().iter().any(looks) {
        assert!(start.elapsed() < Duration::from_mins(2), "nobody looks: {:?}", server.calls());
        std::thread::yield_now();
    }
    act();
    case.ended("results", child, start)
}

#[tokio::test]
async fn merged_is_done_by_the_merge_commit() {
    for dialect in Dialect::ALL {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        let mut commit = String::new();
        let ended = meanwhile(&case, dialect, &server, &[], || commit = server.merge(1).unwrap());
        assert!(ended.ok().changed(), "{dialect:?}");
        assert_eq!((ended.commit(), ended.results["branch"].as_str()), (commit.as_str(), "main"));
        assert_eq!(server.git().tip().unwrap(), commit);
        let file = server.git().read("main", &format!("{}/virtual-machine.yaml", folder("web"))).unwrap();
        assert_eq!(file, b"name: web\ncpu: 1\n");
        let url = &ended.results["pull-request"];
        let line =
            format!("done: pull request `{url}` is merged by commit `{commit}` on branch `main` at `HOST`");
        assert_eq!(
            ended.last(&server).1.replace(&server.host(), "HOST"),
            line.replace(&server.host(), "HOST")
        );
        // run again, also long after, with the branch gone: the same commit, and nothing is made anew
        server.git().commit(&[Entry::file("other", "text\n")], "other").unwrap();
        let again = propose(&case, dialect, &server, &[]);
        assert!(!again.ok().changed(), "{dialect:?}");
        assert_eq!((again.commit(), &again.results["pull-request"]), (commit.as_str(), url));
        assert_eq!(again.results["branch"], "main");
        assert!(server.git().git(&["rev-parse", "--verify", HEAD]).is_err());
        server.git().fsck().unwrap();
    }
}

#[tokio::test]
async fn closed_is_refused_and_stays_so() {
    for dialect in Dialect::ALL {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        let close = || server.with_pull(1, |pull| pull.closed = true).unwrap();
        let ended = meanwhile(&case, dialect, &server, &[], close);
        let line =
            format!("error: pull request `{}` was closed and not merged", ended.results["pull-request"]);
        assert_eq!(
            (ended.code, ended.stderr.lines().rev().nth(1).unwrap()),
            (31, line.as_str()),
            "{dialect:?}"
        );
        assert_eq!(ended.results["outcome"], "refused");
        let again = propose(&case, dialect, &server, &[]);
        assert_eq!(
            (again.code, again.stderr.lines().rev().nth(1).unwrap()),
            (31, line.as_str()),
            "{dialect:?}"
        );
        assert_eq!(server.pulls().unwrap().len(), 1);
        // opened again, the same request goes on
        server.with_pull(1, |pull| pull.closed = false).unwrap();
        propose(&case, dialect, &server, &[]).ok();
    }
}

#[tokio::test]
async fn the_deadline_is_a_timeout_that_says_what_was_seen() {
    for (dialect, why) in [
        (Dialect::GitHub, ": mergeable state `blocked`"),
        (Dialect::GitLab, ": merge status `not_approved`"),
        (Dialect::Gitea, ""),
        (Dialect::Bitbucket, ""),
        (Dialect::AzureDevOps, ": merge status `succeeded`"),
    ] {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        propose(&case, dialect, &server, &[]).ok();
        let flags = on(dialect, &server);
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.push("--timeout=3s");
        let ended = case.run(&flags);
        let url = &ended.results["pull-request"];
        let line = format!("error: pull request `{url}` is not merged after 3s{why}");
        assert_eq!(
            (ended.code, ended.stderr.lines().rev().nth(1).unwrap()),
            (60, line.as_str()),
            "{dialect:?}"
        );
        assert!(ended.took < Duration::from_secs(8), "{:?}", ended.took);
    }
}

#[tokio::test]
async fn trouble_while_it_waits_ends_nothing_that_will_be_well() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let busy = |status: u16| {
        ApiFault::Answer(
            status,
            vec![("retry-after", "1".to_owned())],
            serde_json::json!({ "message": "slow down" }),
        )
    };
    for fault in [ApiFault::Reset, busy(429), busy(503), busy(403), ApiFault::Lost] {
        server.api_fault(Api::Read, fault).unwrap();
    }
    let mut commit = String::new();
    let ended = meanwhile(&case, Dialect::GitHub, &server, &[], || commit = server.merge(1).unwrap());
    assert_eq!(ended.ok().commit(), commit);
    // and what will not be well ends it
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let gone = ApiFault::Answer(401, vec![], serde_json::json!({ "message": "Bad credentials" }));
    server.api_fault(Api::Read, gone).unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let ended = meanwhile(&case, Dialect::GitHub, &server, &[], || {});
    let line = "error: cannot read a pull request at `HOST`: http status 401, Bad credentials";
    assert_eq!(ended.last(&server), (30, line.to_owned()));
}

#[tokio::test]
async fn merged_and_taken_back_it_is_superseded() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    propose(&case, Dialect::GitHub, &server, &[]).ok();
    let commit = server.merge(1).unwrap();
    let gone = ["request.yaml", "virtual-machine.yaml"]
        .map(|name| Entry::absent(format!("{}/{name}", folder("web"))));
    server.git().commit(&gone, "revert").unwrap();
    let ended = propose(&case, Dialect::GitHub, &server, &[]);
    let url = format!("http://{}/team/machines/pull/1", server.host());
    let line = format!(
        "error: pull request `{url}` was merged by commit `{commit}`, and branch `main` at `{}` does not hold the change any more",
        server.host()
    );
    assert_eq!((ended.code, ended.stderr.lines().rev().nth(1).unwrap()), (21, line.as_str()));
}

#[tokio::test]
async fn a_signal_ends_the_wait() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    propose(&case, Dialect::GitHub, &server, &[]).ok();
    let flags = on(Dialect::GitHub, &server);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let start = Instant::now();
    let before = server.calls().unwrap().len();
    let child = case.command("results", &flags).spawn().unwrap();
    while server.calls().unwrap().len() < before + 2 {
        assert!(start.elapsed() < Duration::from_mins(2));
        std::thread::yield_now();
    }
    let killed = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let ended = case.ended("results", child, start);
    assert_eq!((ended.code, ended.results["outcome"].as_str()), (143, "cancelled"), "{}", ended.stderr);
}

#[tokio::test]
async fn changed_before_it_was_merged_it_is_not_what_was_asked_for() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let theirs = || {
        let main = server.git().tip().unwrap();
        // on the branch of its own, by way of main
        server.git().git(&["update-ref", "refs/heads/main", HEAD]).unwrap();
        let path = format!("{}/request.yaml", folder("web"));
        let file = crate::support::request("r-1", "web", 64);
        server.git().commit(&[Entry::file(path, file)], "larger").unwrap();
        server.git().git(&["update-ref", &format!("refs/heads/{HEAD}"), "main"]).unwrap();
        server.git().git(&["update-ref", "refs/heads/main", &main]).unwrap();
        server.merge(1).unwrap();
    };
    let ended = meanwhile(&case, Dialect::GitHub, &server, &[], theirs);
    let line = "error: request `r-1` is on branch `main` at `HOST` already, with other content";
    assert_eq!(ended.last(&server), (20, line.to_owned()));
}
