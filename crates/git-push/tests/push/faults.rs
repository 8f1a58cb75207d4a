//! What goes wrong on the way, and is mended.

use std::time::{Duration, Instant};

use testbed::git::{Ending, Fault, On, Server};

use crate::support::{Case, LOCKED, one_commit};

#[tokio::test]
async fn a_lost_answer_is_found_on_the_branch() {
    let server = Server::plain().await.unwrap();
    for (n, ending) in Ending::ALL.into_iter().enumerate() {
        let vm = format!("vm-{n}");
        let case = Case::new(&server, &format!("r-{n}"), &vm, 1);
        server.fault(On::Push, Fault::Accepted(ending));
        // a silent server is given up at the deadline, and the branch read once more
        let ended = case.run(if ending == Ending::Silence { &["--timeout=4s"] } else { &[] });
        assert!(ended.ok().changed(), "{ending:?}");
        assert_eq!(one_commit(&server, &vm), ended.commit(), "{ending:?}");
        assert_eq!(server.faults_left(), 0, "{ending:?}");
        assert!(ended.took < Duration::from_secs(12), "{ending:?} took {:?}", ended.took);
    }
    server.git().fsck().unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_found_below_other_commits() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    server.fault(On::Push, Fault::Accepted(Ending::Close));
    // the fetch that would show our commit at the tip fails; by the next one somebody has committed on top
    server.fault(On::FetchRefs, Fault::Late(Duration::ZERO));
    server.fault(On::FetchRefs, Fault::Late(Duration::from_secs(2)));
    let start = Instant::now();
    let child = case.command("results", &[]).spawn().unwrap();
    while server.git().log().unwrap().len() == 1 {
        assert!(start.elapsed() < Duration::from_mins(1), "nothing was pushed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let path = format!("{}/request.yaml", crate::support::folder("web"));
    server.git().commit(&[testbed::git::Entry::absent(path.clone())], "somebody removes it").unwrap();
    let ended = case.ended("results", child, start);
    assert!(ended.ok().changed());
    assert_eq!(server.git().log_of(&path).unwrap()[1], ended.commit());
    assert_eq!(server.git().log().unwrap().len(), 3);
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

/// Run four at once, each at a server of its own that does this to one of the four requests. None may take longer than its
/// 2 seconds and the time to give up.
async fn held_up(fault: Fault) -> Vec<(On, i32, String, usize)> {
    let mut running = Vec::new();
    for on in [On::FetchRefs, On::Fetch, On::PushRefs, On::Push] {
        let server = Server::plain().await.unwrap();
        let case = Case::new(&server, "r-1", "web", 1);
        server.fault(on, fault.clone());
        let (start, child) = (Instant::now(), case.command("results", &["--timeout=2s"]).spawn().unwrap());
        running.push((on, server, case, child, start));
    }
    let ends = running.into_iter().map(|(on, server, case, child, start)| {
        let ended = case.ended("results", child, start);
        assert!(ended.took < Duration::from_secs(8), "{on:?} took {:?}", ended.took);
        let (code, line) = ended.last(&server);
        (on, code, line, server.git().log().unwrap().len())
    });
    ends.collect()
}

#[tokio::test]
async fn a_silent_server_holds_nobody_up() {
    let late = "error: cannot push to branch `main` at `HOST`: no answer in time".to_owned();
    let timed_out = "could not read from socket: timed out";
    let nothing = format!("error: cannot push to branch `main` at `HOST`: {timed_out}");
    let unknown =
        format!("error: cannot tell whether the push to branch `main` at `HOST` was accepted: {timed_out}");
    assert_eq!(
        held_up(Fault::Silence).await,
        [
            (On::FetchRefs, 50, late.clone(), 1),
            (On::Fetch, 50, late, 1),
            (On::PushRefs, 50, nothing, 1),
            (On::Push, 51, unknown, 1),
        ]
    );
}

#[tokio::test]
async fn a_server_that_drips_holds_nobody_up() {
    let line = "error: cannot tell whether the push to branch `main` at `HOST` was accepted: it still sends its answer";
    let unknown = |on, commits| (on, 51, line.to_owned(), commits);
    assert_eq!(
        held_up(Fault::Drip).await,
        [unknown(On::FetchRefs, 1), unknown(On::Fetch, 1), unknown(On::PushRefs, 1), unknown(On::Push, 2)]
    );
}

#[tokio::test]
async fn trouble_until_the_deadline_is_said_with_the_last_words() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    server.git().hold_lock(true).unwrap();
    let ended = case.run(&["--timeout=2s"]);
    assert_eq!(ended.last(&server), (50, format!("error: cannot push to branch `main` at `HOST`: {LOCKED}")));
    assert_eq!(ended.results["outcome"], "transient");
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
    let ended = case.run(&["--timeout=1s"]);
    let line = ended.stderr.lines().find(|l| l.starts_with("error: ")).unwrap();
    let wanted = format!(
        "error: cannot push to branch `main` at `{host}`: failed to connect to 127.0.0.1: Connection refused"
    );
    assert_eq!((ended.code, line), (50, wanted.as_str()));
}
