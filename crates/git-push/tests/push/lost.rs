//! The server has accepted, and its answer is lost between it and us, over HTTP and SSH.

use std::sync::atomic::{AtomicUsize, Ordering};

use testbed::git::history::History;
use testbed::proxy::{Doors, Loss, Over};

use crate::support::{Case, Ended};

/// Runs at the same time, most of them waiting: a silence is a minute, and four over SSH.
const BESIDE: usize = 32;

fn push(doors: &Doors, over: Over, case: &Case, more: &[&str]) -> Ended {
    let flags = doors.flags(over).unwrap();
    case.end("results", case.bare("results", more).args(flags))
}

/// Each way to lose the answer, `LOST` times. Unless that is set it is twice, and without the silence, which takes minutes and
/// has a short test below.
async fn every_loss(over: Over) -> String {
    let wanted = std::env::var("LOST").ok().map(|times| times.parse().unwrap());
    let (doors, pushes) = (Doors::open().await.unwrap(), AtomicUsize::new(0));
    let history = History::begin(doors.server.git()).unwrap();
    let losses = Loss::ALL.into_iter().filter(|loss| wanted.is_some() || *loss != Loss::Silence);
    // one of each, then again: they meet each other
    (0..wanted.unwrap_or(2)).for_each(|_| losses.clone().for_each(|loss| doors.proxy.lose(loss)));
    let all = doors.proxy.left();
    let run = || {
        loop {
            let n = pushes.fetch_add(1, Ordering::Relaxed);
            if n >= all {
                return;
            }
            let case = Case::new(&doors.server, &format!("r-{n}"), &format!("vm-{n}"), 1);
            let ended = push(&doors, over, &case, &["--timeout=30m"]);
            assert!(ended.ok().changed());
            history.ran(case.told(None, &ended));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..BESIDE.min(all) {
            scope.spawn(run);
        }
    });
    assert_eq!(history.check().unwrap(), []);
    let met = doors.proxy.met();
    assert_eq!(
        (doors.proxy.left(), met.losses, doors.server.git().log().unwrap().len() - 1),
        (0, all as u64, all)
    );
    format!("{all} pushes over {over:?} lost their answer, {} connections", met.connections)
}

#[tokio::test]
async fn over_http_each_is_found_and_made_once() {
    println!("{}", every_loss(Over::Http).await);
}

#[tokio::test]
async fn over_ssh_each_is_found_and_made_once() {
    println!("{}", every_loss(Over::Ssh).await);
}

#[tokio::test]
async fn a_silence_ends_with_the_time_and_a_last_look() {
    for over in Over::ALL {
        let mut found = false;
        // a run that is over before it comes to its push is followed by a longer one; after a minute a silence ends by itself
        for deadline in [3, 6, 12, 24, 48] {
            let doors = Doors::open().await.unwrap();
            let history = History::begin(doors.server.git()).unwrap();
            let case = Case::new(&doors.server, "r-1", "web", 1);
            doors.proxy.lose(Loss::Silence);
            let ended = push(&doors, over, &case, &[&format!("--timeout={deadline}s")]);
            history.ran(case.told(None, &ended));
            assert_eq!(history.check().unwrap(), [], "{over:?}: {}", ended.stderr);
            if doors.proxy.left() == 0 && ended.code == 0 {
                found = true;
                break;
            }
            assert!([50, 51].contains(&ended.code), "{over:?}: {}", ended.stderr);
        }
        assert!(found, "{over:?}: not by any deadline");
    }
}
