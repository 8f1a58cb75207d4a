//! How long all has to hold.

use std::ffi::OsString;
use std::time::Duration;

use step::Step as _;

use crate::bed::Bed;
use crate::verify;

#[tokio::test(flavor = "multi_thread")]
async fn the_longer_of_both_times_holds() {
    let bed = Bed::new("vv-prove").await;
    bed.runs().await;
    for flags in [["--stable-for=1s", "--prove-for=3s"], ["--stable-for=3s", "--prove-for=1s"]] {
        let ended = verify(&bed, &flags).await;
        ended.is(0, "done: virtual machine `vv-prove/web01` passes all checks (3/3) on node `node1`, for 3s");
        assert!(ended.log.contains(&"all checks hold; now for 3s".to_owned()), "{:#?}", ended.log);
    }
    let ended = verify(&bed, &["--stable-for=12s", "--prove-for=2s", "--timeout=10s"]).await;
    ended.is(2, "error: `--stable-for 12s` cannot be over before `--timeout 10s`");
}

#[test]
fn the_time_to_prove_itself_comes_on_top() {
    let limit = |flags: &[&str]| {
        let all = ["verify-vm", "--vm=team-a/web01"].iter().chain(flags).map(OsString::from);
        step::parse::<verify_vm::Args>(all).unwrap().limit()
    };
    assert_eq!(limit(&[]), Duration::from_mins(10));
    assert_eq!(limit(&["--stable-for=5m", "--prove-for="]), Duration::from_mins(10));
    assert_eq!(limit(&["--prove-for=3600s"]), Duration::from_mins(70));
    assert_eq!(limit(&["--prove-for=1m", "--timeout=20s"]), Duration::from_secs(80));
}
