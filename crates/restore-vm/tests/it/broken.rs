//! Restores that do not come to their end.

use std::time::{Duration, Instant};

use crate::bed::world::{APPLICATION, CLAIMS, RESTORES, VM};
use crate::{DONE, begin, clear, hold, world};

#[tokio::test(flavor = "multi_thread")]
async fn point_18_one_that_fails_before_the_disks_leaves_everything_as_it_was() {
    let world = world().await;
    world.way(|ways| ways.restore_fails = Some("begin: Restore target failed to be ready"));
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    ended.is(
        40,
        "error: virtual machine restore `team-a/r1` failed: Restore target failed to be ready; its disks are as they were; the \
         machine stays stopped",
    );
    assert_eq!(ended.result("reason"), "RestoreFailed");
    hold(&world, "new");
    clear(&world);
    world.way(|ways| ways.restore_fails = None);
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    hold(&world, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_18_one_that_fails_among_the_disks_keeps_argo_cd_paused_until_it_is_run_again() {
    let world = world().await;
    world.way(|ways| ways.restore_fails = Some("claims: no room"));
    let ended = begin(&world, &["--restore-name=r1"]).end().await;
    assert_eq!(ended.code, Some(40), "{:#?}", ended.log);
    assert!(
        ended.last().starts_with("error: virtual machine restore `team-a/r1` failed: no room; claim `web01-"),
        "{}",
        ended.last()
    );
    assert!(
        ended.last().ends_with(" is missing; the machine stays stopped, Argo CD stays paused"),
        "{}",
        ended.last()
    );
    assert_eq!(world.names(RESTORES), Vec::<String>::new(), "a failed one would block the next");
    assert_eq!(
        world.get(APPLICATION).unwrap()["metadata"]["annotations"]["argocd.argoproj.io/skip-reconcile"],
        "true"
    );
    world.way(|ways| ways.restore_fails = None);
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    hold(&world, "old");
    clear(&world);
}

/// `KubeVirt` tries what is no final failure again for ever: the deadline is ours.
#[tokio::test(flavor = "multi_thread")]
async fn point_18_what_is_tried_for_ever_ends_at_the_deadline() {
    let world = world().await;
    world.way(|ways| ways.restore_stays = Some("begin"));
    let began = Instant::now();
    let ended = begin(&world, &["--restore-name=r1", "--deadline=1s"]).end().await;
    assert!(began.elapsed() < Duration::from_secs(20));
    ended.is(
        60,
        "error: virtual machine restore `team-a/r1` is not complete after 1s: waited for virtual machine restore `team-a/r1`, \
         which is in progress: persistentvolumeclaims is forbidden: exceeded quota; its disks are as they were; the machine stays \
         stopped",
    );
    assert_eq!(ended.result("reason"), "Late");
    hold(&world, "new");
    clear(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_18_one_that_is_among_the_disks_at_the_deadline_is_left_to_go_on() {
    let world = world().await;
    world.way(|ways| ways.restore_stays = Some("claims"));
    let ended = begin(&world, &["--restore-name=r1", "--deadline=1s"]).end().await;
    assert_eq!((ended.code, ended.result("reason").as_str()), (Some(60), "InFlight"), "{:#?}", ended.log);
    assert!(
        ended.last().ends_with("; it is left to go on; the machine stays stopped, Argo CD stays paused"),
        "{}",
        ended.last()
    );
    assert_eq!(world.names(RESTORES), ["r1"]);
    assert_eq!(world.get(VM).unwrap()["status"]["restoreInProgress"], "r1");
    assert!(world.get(&format!("{CLAIMS}/web01-root-1")).is_none());
    world.way(|ways| ways.restore_stays = None);
    begin(&world, &["--restore-name=r1"]).end().await.is(0, DONE);
    assert_eq!(world.asked("POST"), 1);
    hold(&world, "old");
    clear(&world);
}
