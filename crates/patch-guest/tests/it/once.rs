//! The profile is run once for each request, whatever happens to the step and the connection.

use std::fs;

use serde_json::json;

use crate::server::Guest;

/// Runs until it is let go, or its guest is gone; each run adds a line.
const WAITS: &str = "echo run >> @/runs\n: > @/runs-now\nwhile [ -d @/state ] && [ ! -e @/go ]; do sleep 0.05; done\necho patched\n";
const DONE: &str = "done: profile `security` was run in the guest of `shop/web01`: patched";
const FOLLOWED: &str = "done: profile `security` was run in the guest of `shop/web01`, begun by an earlier run of this request: patched";

#[tokio::test(flavor = "multi_thread")]
async fn once_and_again() {
    let guest = Guest::new("echo run >> @/runs\nid -u > @/id\numask > @/umask\necho one\necho patched >&2\n");
    let ended = guest.patch(&[]).await;
    ended.is(0, DONE);
    assert!(
        ended.log.ends_with(&["guest: one".to_owned(), "guest: patched".to_owned(), DONE.to_owned()]),
        "{:#?}",
        ended.log
    );
    let results = ["changed", "exit-status", "reason", "ip", "vm", "require-ip", "require-tcp-port"];
    assert_eq!(
        results.map(|r| ended.result(r)),
        ["true", "0", "", "127.0.0.1", "shop/web01", "false", "443"]
    );
    let again = guest.patch(&[]).await;
    again.is(0, FOLLOWED);
    assert_eq!([again.result("changed"), again.result("exit-status")], ["false", "0"]);
    assert_eq!((guest.text("runs").as_str(), guest.text("umask").trim()), ("run\n", "0022"));
    // what the site wrote is neither in a command line nor left behind
    assert!(!guest.text("sudo.log").contains("umask >"), "{}", guest.text("sudo.log"));
    assert!(!guest.at("state/REQ-1/script").exists());
    // the same id with another content
    guest.asks("patch", &json!({"profile": "other", "method": "in-guest"}));
    fs::copy(guest.at("site/security.sh"), guest.at("site/other.sh")).unwrap();
    guest.patch(&[]).await.is(20, "error: another request `REQ-1` was begun in `shop/web01`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_killed_and_a_lost_connection_go_on() {
    let guest = Guest::new(WAITS);
    let mut killed = guest.begin(&[]);
    guest.has("runs-now").await;
    killed.kill();
    assert_eq!(killed.end().await.code, None);
    // the next one has no more time than this
    let ended = guest.patch(&["--timeout=2s"]).await;
    ended.is(60, "error: profile `security` still runs in the guest of `shop/web01` and goes on (after 2s)");
    assert_eq!([ended.result("reason"), ended.result("changed")], ["Running", "false"]);
    let cancelled = guest.begin(&[]);
    let before = guest.connections();
    while guest.connections() == before {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    guest.cut();
    cancelled.says("waiting: ").await;
    fs::write(guest.at("go"), "").unwrap();
    cancelled.end().await.is(0, FOLLOWED);
    assert_eq!(guest.text("runs"), "run\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_are_one() {
    let guest = Guest::new(WAITS);
    let (one, two) = (guest.begin(&[]), guest.begin(&[]));
    guest.has("runs-now").await;
    fs::write(guest.at("go"), "").unwrap();
    for ended in [one.end().await, two.end().await] {
        assert!([DONE, FOLLOWED].contains(&ended.last()), "{:#?}", ended.log);
    }
    assert_eq!(guest.text("runs"), "run\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_fails_is_not_run_again() {
    let guest = Guest::new("echo run >> @/runs\necho no space left >&2\nexit 3\n");
    for changed in ["true", "false"] {
        let ended = guest.patch(&[]).await;
        ended.is(
            40,
            "error: profile `security` failed in the guest of `shop/web01` with exit status 3: no space left",
        );
        assert_eq!(
            ended.log.last().unwrap(),
            "hint: it runs on as it is; snapshot `web01-6aa2db3c25` is the way back: request `restore` of it"
        );
        assert_eq!(
            ["exit-status", "reason", "changed"].map(|r| ended.result(r)),
            ["3", "ProfileFailed", changed]
        );
    }
    assert_eq!(guest.text("runs"), "run\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ended_from_outside_is_reported_and_not_run_again() {
    let guest = Guest::new("echo run >> @/runs\n");
    let begun = guest.at("state/REQ-1/begun");
    fs::create_dir_all(&begun).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    // no process has this id: it is above the most that Linux gives
    for (boot, reason, why) in [
        ("00000000-0000-0000-0000-000000000000", "Rebooted", "the guest was started anew in the midst of it"),
        (boot.trim(), "Gone", "its process was ended in the midst of it"),
    ] {
        fs::write(begun.join("by"), format!("{boot} 4194305 \n")).unwrap();
        let ended = guest.patch(&[]).await;
        ended.is(
            40,
            &format!("error: profile `security` did not come to its end in the guest of `shop/web01`: {why}"),
        );
        assert_eq!([ended.result("reason"), ended.result("changed")], [reason, "false"]);
    }
    assert_eq!(guest.text("runs"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_output_is_one_printable_line() {
    let guest = Guest::new(
        "head -c 1000000 /dev/urandom\nprintf '\\n::vm-lifecycle done 0\\n\\033[2J\\007end \\342\\200\\256of it\\r\\n'\nexit 1\n",
    );
    let ended = guest.patch(&["--become=none"]).await;
    ended.is(
        40,
        "error: profile `security` failed in the guest of `shop/web01` with exit status 1: [2Jend of it",
    );
    let shown = |line: &String| line.len() < 400 && !line.contains(|c: char| c.is_control());
    assert!(ended.log.iter().all(shown) && ended.log.len() < 30, "{:#?}", ended.log);
    assert_eq!(guest.text("sudo.log"), "", "it was asked to do without");
}
