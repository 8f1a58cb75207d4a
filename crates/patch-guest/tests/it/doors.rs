//! Who is not known is told nothing, and what is wrong from the start is found out before the guest is asked.

use std::fs;

use serde_json::json;

use crate::server::{Guest, executable};

const MARKS: &str = "echo run >> @/runs\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_not_the_known_one_is_told_nothing() {
    let guest = Guest::new(MARKS);
    let at = format!("127.0.0.1:{}", guest.port());
    guest.knows(&["shop/web02"], "host").unwrap();
    let unknown = guest.patch(&[]).await;
    unknown.is(30, &format!("error: the host key of `shop/web01` at {at} is not known"));
    assert_eq!(
        unknown.log.last().unwrap(),
        "hint: put it into `known_hosts` of `--ssh-directory` under the name `shop/web01`"
    );
    for name in ["shop/web01".to_owned(), format!("[127.0.0.1]:{}", guest.port())] {
        guest.knows(&[&name], "other").unwrap();
        let changed = guest.patch(&[]).await;
        changed.is(30, &format!("error: the host key of `shop/web01` at {at} is not the one that `known_hosts` has for `{name}`"));
        assert_eq!([changed.result("reason"), changed.result("changed")], ["Denied", "false"]);
    }
    assert_eq!((guest.text("sudo.log"), guest.at("state/REQ-1").exists()), (String::new(), false));
    // by its address it is as good, where its name is not written
    guest.knows(&[&format!("[127.0.0.1]:{}", guest.port())], "host").unwrap();
    guest.patch(&[]).await.is(0, "done: profile `security` was run in the guest of `shop/web01`");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_log_in_or_become_root_is_told_so() {
    let guest = Guest::new(MARKS);
    executable(&guest.at("bin/sudo"), "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n");
    guest
        .patch(&[])
        .await
        .is(30, "error: the guest does not do what it is asked, exit status 1: sudo: a password is required");
    fs::copy(guest.at("other.pub"), guest.at("authorized_keys")).unwrap();
    let ended = guest.patch(&["--user=root"]).await;
    ended.is(
        30,
        &format!("error: `shop/web01` at 127.0.0.1:{} lets user `root` in by none of the keys", guest.port()),
    );
    let ended = guest.patch(&["--become=none", "--port=1", "--timeout=1s"]).await;
    ended.is(
        50,
        "error: cannot reach the SSH server of `shop/web01` at 127.0.0.1:1: Connection refused (os error 111)",
    );
    assert_eq!((guest.text("runs"), guest.at("state/REQ-1").exists()), (String::new(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_from_the_start_is_found_out_first() {
    let guest = Guest::new(MARKS);
    for (operation, spec, code, last) in [
        (
            "patch",
            json!({"profile": "monthly", "method": "in-guest"}),
            10,
            "error: there is no profile `monthly` for guests",
        ),
        (
            "patch",
            json!({"profile": "security", "method": "offline"}),
            10,
            "error: the request asks for method `offline`, and this patches the running machine",
        ),
        ("snapshot", json!({}), 10, "error: the request asks to snapshot, and this patches"),
    ] {
        guest.asks(operation, &spec);
        guest.patch(&[]).await.is(code, last);
        // the step before it, with the token, says the same
        guest.patch(&["--action=address"]).await.is(code, last);
    }
    guest.asks("patch", &json!({"profile": "security", "method": "in-guest"}));
    guest.profile("#!/bin/sh\n\n  # nothing yet\n");
    let file = guest.at("site/security.sh");
    guest
        .patch(&[])
        .await
        .is(2, &format!("error: cannot use profile `{}`: it holds no command", file.display()));
    guest.profile(MARKS);
    fs::write(guest.at("address.json"), json!({"vm": "shop/web02", "address": "127.0.0.1"}).to_string())
        .unwrap();
    let file = guest.at("address.json");
    guest.patch(&[]).await.is(
        2,
        &format!("error: cannot use address file `{}`: it is of `shop/web02`, and the request is about `shop/web01`", file.display()),
    );
    assert_eq!(guest.connections(), 0, "nobody was asked");
}
