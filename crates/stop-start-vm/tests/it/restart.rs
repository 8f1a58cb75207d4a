//! A restart that came before there was anything to restart.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::cluster::{HELD, LEASE, begin, run};
use crate::kubevirt::{KubeVirt, VMI};

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_restart_that_found_no_instance_does_not_restart_a_later_one() {
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Halted"})).await;
    kubevirt.guest.late.store(true, Ordering::SeqCst);
    kubevirt.declare(|spec| spec["runStrategy"] = json!("Always"));
    let restart = begin(&kubevirt, &["--power=restart", HELD[0], HELD[1]]);
    let mut changed = kubevirt.world.watch();
    let noted = async {
        let notes = || {
            let lease = kubevirt.world.get(LEASE)?;
            Some(lease["metadata"]["annotations"]["vmlifecycle.dev/notes"].as_str()?.to_owned())
        };
        loop {
            if let Some(notes) = notes() {
                return notes;
            }
            changed.changed().await.unwrap();
        }
    };
    let noted = tokio::time::timeout(Duration::from_secs(30), noted).await.unwrap();
    assert_eq!(noted, r#"{"restart/r-1":"none"}"#);
    assert_eq!(kubevirt.world.get(VMI), None);
    kubevirt.guest.late.store(false, Ordering::SeqCst);
    for ended in [restart.end().await, run(&kubevirt, &["--power=restart", HELD[0], HELD[1]]).await] {
        ended.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
        assert_eq!(ended.result("restarted"), "false");
    }
    assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 1);
}
