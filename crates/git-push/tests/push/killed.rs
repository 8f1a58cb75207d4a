//! `kill -9` at any moment, then again.

use std::time::{Duration, Instant};

use testbed::git::Server;

use crate::support::{Case, LOCKED, one_commit};

const MOMENTS: u32 = 50;

#[tokio::test]
async fn killed_at_fifty_moments_and_run_again_there_is_one_commit_each() {
    let server = Server::plain().await.unwrap();
    Case::new(&server, "r-first", "first", 1).run(&[]).ok();
    // a run is cut into its requests: moments are spread over all of them, and over the time that one takes; the first run, into an
    // empty repository, has fewer
    let before = server.seen().len();
    let second = Case::new(&server, "r-second", "second", 1).run(&[]).ok().took;
    let requests = server.seen().len() - before;
    let mut took = second / u32::try_from(requests).unwrap();
    let (mut killed, mut landed) = (0, 0);
    for n in 0..MOMENTS {
        let vm = format!("vm-{n}");
        let case = Case::new(&server, &format!("r-{n}"), &vm, 1);
        let start = Instant::now();
        let mut child = case.command("results", &[]).spawn().unwrap();
        let (request, moment) = (n as usize % (requests + 1), took.mul_f64(rand::random_range(0.0..1.0)));
        let before = server.seen().len();
        while server.seen().len() < before + request && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(moment);
        child.kill().unwrap();
        killed += u32::from(case.ended("results", child, start).code == -1);
        let again = case.run(&[]);
        landed += u32::from(!again.ok().changed());
        if again.changed() {
            // how busy the machine is may change meanwhile
            took = again.took / u32::try_from(requests).unwrap();
        }
        assert_eq!(one_commit(&server, &vm), again.commit(), "killed {moment:?} after request {request}");
    }
    assert_eq!(server.git().log().unwrap().len(), MOMENTS as usize + 3);
    server.git().fsck().unwrap();
    println!("killed {killed} of {MOMENTS} runs; {landed} of all were on the branch when run again");
    // otherwise the moments missed the run, and nothing was shown
    assert!(killed > 0 && landed > 0, "killed {killed}, landed {landed}");
}

#[tokio::test]
async fn a_signal_ends_the_attempts() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    server.git().hold_lock(true).unwrap();
    let start = Instant::now();
    let child = case.command("results", &[]).spawn().unwrap();
    while server.seen().iter().filter(|s| s.on == testbed::git::On::Push).count() == 0 {
        assert!(start.elapsed() < Duration::from_mins(5), "no push was tried");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ended = case.ended("results", child, start);
    assert_eq!(
        ended.last(&server),
        (143, format!("error: cancelled by SIGTERM: cannot push to branch `main` at `HOST`: {LOCKED}"))
    );
    assert_eq!(ended.results["outcome"], "cancelled");
    server.git().hold_lock(false).unwrap();
    assert!(case.run(&[]).ok().changed());
    one_commit(&server, "web");
}
