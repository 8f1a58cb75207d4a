//! Every step that real runs take is one of the model's: the logs of the binary against the automaton in `tests/protocol`.

use std::process::Command;
use std::time::Instant;

use protocol::{Ending, History, Plan, Replay, Request};
use testbed::git::{Ending as Lost, Fault, On, Server};

use crate::support::{Case, Ended};

/// A run that writes down each step of the push.
fn command(case: &Case, results: &str, more: &[&str]) -> Command {
    let mut command = case.command(results, more);
    command.env("RUST_LOG", "gitops::protocol=debug").arg("--log-format=json");
    command
}

fn run(case: &Case, results: &str, more: &[&str]) -> Ended {
    case.end(results, &mut command(case, results, more))
}

/// The branch as it is now; the request with the id `r-<n>` is number `n` of the table.
fn history(server: &Server) -> History {
    let format = "--format=%H %(trailers:key=Request-Id,valueonly,separator=%x20)";
    let log = server.git().git(&["log", "--reverse", format, "main"]).unwrap();
    History::new(log.lines().map(|line| {
        let (commit, id) = line.split_once(' ').unwrap_or((line, ""));
        (commit.to_owned(), id.strip_prefix("r-").map(|n| n.parse().unwrap()))
    }))
}

/// The words of a run's steps, each of which the model takes as well; a run that was killed has no end.
#[track_caller]
fn words(plan: &Plan, history: &mut History, request: u8, ended: &Ended) -> String {
    let mut replay = Replay::new(plan, history, request);
    replay.follow(&ended.stderr).unwrap();
    if ended.code != -1 {
        let (outcome, commit) = (ended.results["outcome"].as_str(), ended.commit());
        replay.end(Ending { outcome, commit, changed: ended.changed() }).unwrap();
    }
    replay.words()
}

fn plan(table: Vec<Request>) -> Plan {
    Plan { table, flaw: None }
}

const PUSHED: &str = "fetched read, settled absent, judged write, offers sent, answered acknowledged";

#[tokio::test]
async fn alone_each_run_takes_the_shortest_way() {
    let server = Server::plain().await.unwrap();
    let plan = plan(vec![Request::new(0), Request::new(0).after(0), Request::new(0)]);
    let first = Case::new(&server, "r-0", "web", 1);
    let made = run(&first, "results", &[]);
    let base = format!("--base={}", made.ok().commit());
    let replaced = run(&Case::new(&server, "r-1", "web", 2), "results", &[&base]);
    let same = Case::new(&server, "r-1", "web", 2);
    let again = run(&same, "results", &[&base]);
    let late = run(&first, "again", &[]);
    let other = run(&Case::new(&server, "r-2", "web", 4), "results", &[]);
    let mut history = history(&server);
    let judged = |verdict: &str| format!("fetched read, settled absent, judged {verdict}");
    for (request, ended, wanted) in [
        (0, &made, PUSHED.to_owned()),
        (1, &replaced, PUSHED.to_owned()),
        (1, &again, judged("done")),
        (0, &late, judged("superseded")),
        (2, &other, judged("conflict")),
    ] {
        assert_eq!(words(&plan, &mut history, request, ended), wanted, "{}", ended.stderr);
    }
    // what was made by one run is not what another one of the same request makes on another tip
    let mut replay = Replay::new(&plan, &mut history, 0);
    let error = replay.follow(&replaced.stderr).unwrap_err();
    assert!(format!("{error:#}").contains("no step of"), "{error:#}");
}

#[tokio::test]
async fn side_by_side_every_run_takes_a_way_of_the_model() {
    const PUSHERS: u8 = 8;
    let server = Server::plain().await.unwrap();
    // the last two want the machine of the first one
    let file = |n: u8| if n < PUSHERS - 2 { n } else { 0 };
    let plan = plan((0..PUSHERS).map(|n| Request::new(file(n))).collect());
    let case = |n: u8| Case::new(&server, &format!("r-{n}"), &format!("vm-{}", file(n)), 1 + u16::from(n));
    let cases: Vec<_> = (0..PUSHERS).map(case).collect();
    // two copies of each
    let runs: Vec<_> =
        cases.iter().zip(0..).flat_map(|(case, n)| [(case, n, "one"), (case, n, "two")]).collect();
    let start = Instant::now();
    let children: Vec<_> =
        runs.iter().map(|(case, _, results)| command(case, results, &[]).spawn().unwrap()).collect();
    let ended: Vec<_> =
        runs.iter().zip(children).map(|((case, _, results), c)| case.ended(results, c, start)).collect();
    let mut history = history(&server);
    let ways: Vec<_> =
        runs.iter().zip(&ended).map(|((_, n, _), ended)| words(&plan, &mut history, *n, ended)).collect();
    assert!(ways.iter().any(|way| way.contains("answered contention")), "nobody met anybody: {ways:#?}");
    assert_eq!(server.git().log().unwrap().len(), usize::from(PUSHERS) - 2 + 1);
}

#[tokio::test]
async fn a_lost_answer_is_a_way_of_the_model() {
    let server = Server::plain().await.unwrap();
    let plan = plan((0..8).map(Request::new).collect());
    let found = "fetched read, settled absent, judged write, offers sent, answered passing, fetched read, settled landed";
    let mut runs = Vec::new();
    for (n, ending) in (0_u8..).zip(Lost::ALL.into_iter().filter(|e| *e != Lost::Silence)) {
        server.fault(On::Push, Fault::Accepted(ending));
        runs.push((n, run(&Case::new(&server, &format!("r-{n}"), &format!("vm-{n}"), 1), "results", &[])));
    }
    // and once more, with somebody else's commit on top of it before the branch is read again
    let hook = "#!/bin/sh\nset -e\ncommit=$(git commit-tree -p main -m 'somebody else' main^{tree})\n\
                git update-ref refs/heads/main $commit\n";
    server.git().hook("post-receive", hook).unwrap();
    server.fault(On::Push, Fault::Accepted(Lost::Close));
    runs.push((7, run(&Case::new(&server, "r-7", "vm-7", 1), "results", &[])));
    let mut history = history(&server);
    for (n, ended) in &runs {
        assert_eq!(words(&plan, &mut history, *n, ended), found, "{}", ended.stderr);
    }
    assert_eq!(server.git().log().unwrap().len(), 1 + runs.len() + 1);
}

#[tokio::test]
async fn a_refusal_is_a_way_of_the_model() {
    let server = Server::plain().await.unwrap();
    let plan = plan(vec![Request::new(0), Request::new(1)]);
    server.fault(On::PushRefs, Fault::Status(403, None));
    let before = run(&Case::new(&server, "r-0", "web", 1), "results", &[]);
    server.git().hook("pre-receive", "#!/bin/sh\nexit 1\n").unwrap();
    let after = run(&Case::new(&server, "r-1", "db", 1), "results", &[]);
    let mut history = history(&server);
    let sent = "fetched read, settled absent, judged write, offers sent, answered lasting";
    assert_eq!((before.code, words(&plan, &mut history, 0, &before).as_str()), (30, sent));
    let looked = format!("{sent}, fetched read, settled absent");
    assert_eq!((after.code, words(&plan, &mut history, 1, &after)), (31, looked));
}

#[tokio::test]
async fn killed_and_run_again_is_two_ways_of_the_model() {
    let server = Server::plain().await.unwrap();
    let plan = plan(vec![Request::new(0)]);
    let case = Case::new(&server, "r-0", "web", 1);
    // it is killed as soon as the server has its commit, and never hears of it
    server.fault(On::Push, Fault::Accepted(Lost::Silence));
    let start = Instant::now();
    let mut child = command(&case, "killed", &[]).spawn().unwrap();
    while server.git().log().unwrap().len() == 1 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    let killed = case.ended("killed", child, start);
    let again = run(&case, "results", &[]);
    let mut history = history(&server);
    let sent = "fetched read, settled absent, judged write, offers sent";
    assert_eq!((killed.code, words(&plan, &mut history, 0, &killed).as_str()), (-1, sent));
    let found = "fetched read, settled absent, judged done";
    assert_eq!((again.ok().changed(), words(&plan, &mut history, 0, &again).as_str()), (false, found));
}

#[tokio::test]
async fn without_being_asked_for_no_step_is_logged() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-0", "web", 1);
    let ended = case.end("results", case.command("results", &[]).arg("--log-format=json"));
    let line =
        format!("done: pushed commit `{}` on branch `main` at `{}`\n", ended.ok().commit(), server.host());
    assert_eq!(ended.stderr, line);
}
