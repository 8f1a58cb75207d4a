//! A few seconds of it, so that it still works on the day when it is needed.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;
use std::time::Duration;

use soak::race::{self, Finish};
use testbed::proxy::{Doors, Over};

/// `cargo xtask test` has built every binary; they are one folder above the tests.
fn git_push() -> PathBuf {
    let binary = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("git-push");
    assert!(binary.is_file(), "build the binaries first: `cargo build --workspace --bins`");
    binary
}

#[tokio::test]
async fn a_few_clients_for_a_few_seconds() {
    let options =
        soak::Options { binary: git_push(), time: Duration::from_secs(3), clients: 3, silence: 0.0, seed: 1 };
    let doors = Doors::open().await.unwrap();
    let requests = soak::run(&options, doors).unwrap();
    assert!(requests >= 3, "only {requests} requests");
}

#[tokio::test]
async fn a_short_race() {
    for over in Over::ALL {
        let doors = Doors::open().await.unwrap();
        assert_eq!(race::ours(&git_push(), &doors, over, 5).unwrap().attempts.len(), 5);
        let [.., most] = Finish::quantiles(&race::loops(&doors, over, 3).unwrap().attempts).unwrap();
        assert!(most >= 1);
    }
}
