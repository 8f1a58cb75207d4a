//! `kill -9` at every system call of one push, then the same request again.

use testbed::git::history::History;
use testbed::proxy::{Doors, Over};

use crate::support::{Case, folder};

/// Each push fetches what the ones before it made: with so many into one repository, the last makes hardly more calls than the first.
const TOGETHER: usize = 40;

/// Which of the calls, counted from 1: by `SYSCALLS` `all` of them or so many, 8 unless set, at even distances from a random one.
fn points(least: usize, most: usize) -> Vec<usize> {
    let wanted = std::env::var("SYSCALLS").unwrap_or_else(|_| "8".to_owned());
    if wanted == "all" {
        return (1..=most).collect();
    }
    let wanted = wanted.parse::<usize>().unwrap().clamp(1, least);
    let first = rand::random_range(0..least / wanted);
    println!("from call {}", first + 1);
    (0..wanted).map(|n| 1 + first + n * (least / wanted)).collect()
}

/// The least and the most system calls of three pushes, none of them disturbed: answers come in more or fewer pieces.
async fn count(over: Over) -> (usize, usize) {
    let doors = Doors::open().await.unwrap();
    let calls = |n| {
        let case = Case::new(&doors.server, &format!("r-{n}"), &format!("vm-{n}"), 1);
        let mut command = case.bare("results", &[]);
        let (calls, ended) = case.traced("results", command.args(doors.flags(over).unwrap()), None);
        assert!(ended.ok().changed());
        calls
    };
    let three = [0, 1, 2].map(calls);
    (*three.iter().min().unwrap(), *three.iter().max().unwrap())
}

async fn at_each(over: Over) {
    let (least, most) = count(over).await;
    let points = points(least, most);
    let (mut killed, mut landed) = (0, 0);
    for points in points.chunks(TOGETHER) {
        let doors = Doors::open().await.unwrap();
        let (history, git) = (History::begin(doors.server.git()).unwrap(), doors.server.git());
        for point in points {
            let (id, vm) = (format!("r-{point}"), format!("vm-{point}"));
            let case = Case::new(&doors.server, &id, &vm, 1);
            let command = || {
                let mut command = case.bare("results", &[]);
                command.args(doors.flags(over).unwrap());
                command
            };
            let (begun, first) = case.traced("results", &mut command(), Some(*point));
            // a run that was waited for less made fewer calls, and has ended before its turn
            assert_eq!(begun == *point, first.code == -1, "{}", first.stderr);
            history.ran(case.told(None, &first));
            let again = case.end("results", &mut command());
            history.ran(case.told(None, again.ok()));
            killed += usize::from(first.code == -1);
            landed += usize::from(first.code == -1 && !again.changed());
            let (commit, digest) = (again.commit(), &again.results["digest"]);
            assert_eq!(
                git.log_of(&format!("{}/request.yaml", folder(&vm))).unwrap(),
                [commit],
                "call {point}"
            );
            assert_eq!(
                git.git(&["log", "-1", "--format=%B", commit]).unwrap(),
                format!(
                    "provision vm team-a/{vm}\n\nRequest-Id: {id}\nRequest-Digest: {digest}\nRequested-By: jane@example.org\n\
                     Operation: provision"
                )
            );
        }
        // exactly once, with these bytes, nothing else changed, a sound repository
        assert_eq!(history.check().unwrap(), []);
    }
    println!(
        "over {over:?} a push makes {least} to {most} system calls; killed before {killed} of {}, when {landed} were on the branch already",
        points.len()
    );
    assert!(killed > 0);
    // both sides of the moment that counts
    assert!(points.len() < most || (landed > 0 && landed < killed), "{landed} of {killed} had landed");
}

#[tokio::test]
async fn killed_at_calls_of_a_push_over_http_and_run_again_there_is_one_commit() {
    at_each(Over::Http).await;
}

#[tokio::test]
async fn killed_at_calls_of_a_push_over_ssh_and_run_again_there_is_one_commit() {
    at_each(Over::Ssh).await;
}
