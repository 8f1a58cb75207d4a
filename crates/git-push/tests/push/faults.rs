//! What goes wrong on the way, and is mended.

use std::time::{Duration, Instant};

use testbed::git::{Ending, Entry, Fault, On, Server};

use crate::support::{Case, Ended, LOCKED, one_commit};

/// Seconds until the deadline of a run that has to come to a certain point before it. The first will do, but on a starved
/// machine it may be over before the server has heard of the run; what such a run says is checked, and the next is tried.
const DEADLINES: [u64; 5] = [2, 6, 18, 54, 162];

/// Run against a fault that waits at the server. Once the server has met the run with it, the run may take no longer than
/// to the deadline, and 5 seconds to give up; 15 more are for a machine that has other things to do. Without a deadline of its own
/// it would take 30 seconds for a silence, and minutes for what drips.
fn run_into(server: &Server, case: &Case, deadline: u64) -> Ended {
    let start = Instant::now();
    let mut child = case.command("results", &[&format!("--timeout={deadline}s")]).spawn().unwrap();
    let mut met = None;
    while child.try_wait().unwrap().is_none() {
        if server.faults_left() == 0 {
            met.get_or_insert_with(Instant::now);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let held = met.map_or(Duration::ZERO, |met| met.elapsed());
    assert!(held < Duration::from_secs(deadline + 20), "held up for {held:?} by a deadline of {deadline} s");
    case.ended("results", child, start)
}

/// What a run may say that is over before it came to the point.
#[track_caller]
fn is_over(ended: &Ended, server: &Server) {
    let (code, line) = ended.last(server);
    let words = match code {
        50 => "error: cannot push to branch `main` at `HOST`: ",
        51 => "error: cannot tell whether the push to branch `main` at `HOST` was accepted: ",
        _ => "neither",
    };
    assert!(line.starts_with(words), "{code}: {line}");
}

#[tokio::test]
async fn a_lost_answer_is_found_on_the_branch() {
    let server = Server::plain().await.unwrap();
    for (n, ending) in Ending::ALL.into_iter().enumerate().filter(|(_, e)| *e != Ending::Silence) {
        let vm = format!("vm-{n}");
        let case = Case::new(&server, &format!("r-{n}"), &vm, 1);
        server.fault(On::Push, Fault::Accepted(ending));
        let ended = case.run(&[]);
        assert!(ended.ok().changed(), "{ending:?}");
        assert_eq!(one_commit(&server, &vm), ended.commit(), "{ending:?}");
        assert_eq!(server.faults_left(), 0, "{ending:?}");
    }
    server.git().fsck().unwrap();
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_the_branch_read_once_more() {
    // one that sends its answer drop by drop is never silent
    for fault in [Fault::Accepted(Ending::Silence), Fault::Drip] {
        let mut found = false;
        // after a minute a silence ends by itself, and the next attempt would find the commit
        for deadline in DEADLINES.into_iter().filter(|deadline| *deadline < 60) {
            let server = Server::plain().await.unwrap();
            let case = Case::new(&server, "r-1", "web", 1);
            server.fault(On::Push, fault.clone());
            let ended = run_into(&server, &case, deadline);
            if ended.code == 0 {
                assert!(ended.ok().changed());
                assert_eq!((one_commit(&server, "web").as_str(), server.faults_left()), (ended.commit(), 0));
                found = true;
                break;
            }
            is_over(&ended, &server);
        }
        assert!(found, "{fault:?}: not by any deadline");
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_below_other_commits() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let path = format!("{}/request.yaml", crate::support::folder("web"));
    // by the time that our answer is lost, somebody has put back on top what was there before
    let hook = "#!/bin/sh\nset -e\ncommit=$(git commit-tree -p main -m 'somebody removes it' main~1^{tree})\n\
                git update-ref refs/heads/main $commit\n";
    server.git().hook("post-receive", hook).unwrap();
    server.fault(On::Push, Fault::Accepted(Ending::Close));
    let ended = case.run(&[]);
    assert!(ended.ok().changed());
    assert_eq!(server.git().log_of(&path).unwrap()[1], ended.commit());
    assert_eq!((server.git().log().unwrap().len(), server.faults_left()), (3, 0));
}

/// A proxy that gave up may still have our first offer: that the second one was refused for certain does not settle it.
#[tokio::test]
async fn point_25_an_offer_without_an_answer_stays_open() {
    for deadline in DEADLINES {
        let server = Server::plain().await.unwrap();
        let case = Case::new(&server, "r-1", "web", 1);
        server.git().hold_lock(true).unwrap();
        server.fault(On::Push, Fault::Status(504, None));
        let ended = case.run(&[&format!("--timeout={deadline}s")]);
        let (code, line) = ended.last(&server);
        if server.faults_left() == 0 && line.ends_with(LOCKED) {
            assert_eq!((code, ended.results["outcome"].as_str()), (51, "unknown"), "{line}");
            return;
        }
        is_over(&ended, &server);
    }
    unreachable!("never offered twice");
}

/// Somebody takes a commit back between our look and our push: for the server ours would be a plain step forward, and bring
/// it back.
#[tokio::test]
async fn a_commit_that_was_taken_back_meanwhile_stays_so() {
    let server = Server::plain().await.unwrap();
    let first = server.git().tip().unwrap();
    server.git().commit(&[Entry::file("notes", "not yet\n")], "by mistake").unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let back = ["update-ref", "refs/heads/main", &first].map(str::to_owned).to_vec();
    server.fault(On::PushRefs, Fault::Meanwhile(back));
    // with a base, what was taken back is known here: a plain step forward would be pushed on
    let ended = case.run(&[&format!("--base={first}")]);
    assert!(ended.ok().changed());
    assert_eq!(server.git().log().unwrap(), [ended.commit().to_owned(), first]);
    assert_eq!(server.faults_left(), 0);
}

/// A branch of which nothing but our files is left would have Argo CD remove every other machine.
#[tokio::test]
async fn a_branch_that_is_removed_meanwhile_is_not_begun_anew() {
    let server = Server::plain().await.unwrap();
    let first = server.git().tip().unwrap();
    for flags in [vec![], vec![format!("--base={first}")]] {
        let case = Case::new(&server, "r-1", "web", 1);
        let gone = ["update-ref", "-d", "refs/heads/main"].map(str::to_owned).to_vec();
        server.fault(On::PushRefs, Fault::Meanwhile(gone));
        let ended = case.run(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        let line = format!(
            "error: cannot change branch `main` at `HOST`: it is gone, and was at commit `{first}` a moment ago"
        );
        assert_eq!((ended.last(&server), ended.results["outcome"].as_str()), ((20, line), "conflict"));
        assert!(server.git().tip().is_err(), "it was begun anew");
        server.git().git(&["update-ref", "refs/heads/main", &first]).unwrap();
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let server = Server::plain().await.unwrap();
    let faults = [
        (On::FetchRefs, Fault::Status(503, None)),
        (On::Fetch, Fault::Reset),
        (On::Fetch, Fault::Accepted(Ending::Half)),
        (On::PushRefs, Fault::Status(500, None)),
        (On::Push, Fault::Status(429, Some(1))),
        (On::Push, Fault::Status(502, None)),
        (On::Push, Fault::Status(503, Some(1))),
        (On::Push, Fault::Status(504, None)),
        (On::Push, Fault::Reset),
        (On::Push, Fault::Locked),
    ];
    for (n, (on, fault)) in faults.into_iter().enumerate() {
        let vm = format!("vm-{n}");
        let case = Case::new(&server, &format!("r-{n}"), &vm, 1);
        server.fault(on, fault.clone());
        let ended = case.run(&[]);
        assert!(ended.ok().changed(), "{fault:?}");
        assert_eq!(
            (one_commit(&server, &vm).as_str(), server.faults_left()),
            (ended.commit(), 0),
            "{fault:?}"
        );
    }
    server.git().fsck().unwrap();
}

/// Each of these requests meets this fault, all at once, each at a server of its own: code, last line and commits.
async fn held_up(fault: Fault, wanted: &[(On, i32, &str, usize)]) {
    let mut left = wanted.to_vec();
    for deadline in DEADLINES {
        let mut cases = Vec::new();
        for wanted in left {
            let server = Server::plain().await.unwrap();
            let case = Case::new(&server, "r-1", "web", 1);
            server.fault(wanted.0, fault.clone());
            cases.push((wanted, server, case));
        }
        let ends: Vec<_> = std::thread::scope(|scope| {
            let run = |(_, server, case)| scope.spawn(move || run_into(server, case, deadline));
            let runs: Vec<_> = cases.iter().map(|(w, server, case)| run((w, server, case))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        left = Vec::new();
        for ((wanted, server, _), ended) in cases.iter().zip(ends) {
            let (_, code, line, commits) = *wanted;
            if (ended.last(server), server.git().log().unwrap().len()) != ((code, line.to_owned()), commits) {
                is_over(&ended, server);
                left.push(*wanted);
            }
        }
        if left.is_empty() {
            return;
        }
    }
    assert!(left.is_empty(), "not by any deadline: {left:?}");
}

#[tokio::test]
async fn a_silent_server_holds_nobody_up() {
    let late = "error: cannot push to branch `main` at `HOST`: no answer in time";
    let nothing = "error: cannot push to branch `main` at `HOST`: could not read from socket: timed out";
    let unknown = "error: cannot tell whether the push to branch `main` at `HOST` was accepted: could not read from \
                   socket: timed out";
    let wanted = [
        (On::FetchRefs, 50, late, 1),
        (On::Fetch, 50, late, 1),
        (On::PushRefs, 50, nothing, 1),
        (On::Push, 51, unknown, 1),
    ];
    held_up(Fault::Silence, &wanted).await;
}

#[tokio::test]
async fn a_server_that_drips_holds_nobody_up() {
    let late = "error: cannot push to branch `main` at `HOST`: no answer in time";
    let nothing = "error: cannot push to branch `main` at `HOST`: could not read from socket: timed out";
    let wanted = [(On::FetchRefs, 50, late, 1), (On::Fetch, 50, late, 1), (On::PushRefs, 50, nothing, 1)];
    held_up(Fault::Drip, &wanted).await;
}

#[tokio::test]
async fn trouble_until_the_deadline_is_said_with_the_last_words() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    server.git().hold_lock(true).unwrap();
    // a deadline that falls into an exchange is told as `unknown`, rightly: such a run says nothing here. The pauses between
    // exchanges grow, so that a longer deadline rather falls into one of them
    let wanted = (50, format!("error: cannot push to branch `main` at `HOST`: {LOCKED}"));
    let ended = DEADLINES.into_iter().flat_map(|deadline| [deadline; 2]).find_map(|deadline| {
        let ended = case.run(&[&format!("--timeout={deadline}s")]);
        is_over(&ended, &server);
        (ended.last(&server) == wanted).then_some(ended)
    });
    assert_eq!(ended.expect("never between two attempts").results["outcome"], "transient");
    server.git().hold_lock(false).unwrap();
    assert!(case.run(&[]).ok().changed());
    one_commit(&server, "web");
}

#[tokio::test]
async fn nobody_there_is_tried_until_the_deadline() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let host = server.host();
    drop(server);
    let wanted = format!(
        "error: cannot push to branch `main` at `{host}`: failed to connect to 127.0.0.1: Connection refused"
    );
    // before the first attempt is over, there is nothing to say yet
    let said = DEADLINES.map(|deadline| deadline / 2).into_iter().find(|deadline| {
        let ended = case.run(&[&format!("--timeout={deadline}s")]);
        let line = ended.stderr.lines().find(|l| l.starts_with("error: ")).unwrap();
        assert_eq!(ended.code, 50, "{line}");
        line == wanted
    });
    assert!(said.is_some(), "never said: {wanted}");
}
