//! Two operations on one machine at once: one is made, the other is told.

use serde_json::{Value, json};

use crate::pod::{Pod, STEPS, World, day_two};

/// Run all steps but the push.
fn prepare(pod: &Pod<'_>) {
    for step in &STEPS[..3] {
        pod.end(step, pod.start(step)).ok();
    }
}

/// Both have read the same commit; then both push, in this order or at once.
async fn race(first: (&str, Value, &'static str), second: (&str, Value, &'static str), at_once: bool) {
    let (world, _) = World::with_machine().await;
    let pods = [("r-1", first), ("r-2", second)].map(|(id, (operation, spec, phase))| {
        let pod = world.pod(day_two(id, operation, &spec), Some(phase));
        prepare(&pod);
        pod
    });
    let ended = if at_once {
        let children = [0, 1].map(|n| pods[n].start("git-push"));
        let mut children = children.into_iter();
        [0, 1].map(|n| pods[n].end("git-push", children.next().unwrap()))
    } else {
        [0, 1].map(|n| pods[n].end("git-push", pods[n].start("git-push")))
    };
    let mut codes = ended.each_ref().map(|ended| ended.code);
    codes.sort_unstable();
    assert_eq!(codes, [0, 20], "{ended:?}");
    let loser = usize::from(ended[0].code == 0);
    assert_eq!(ended[loser].result("outcome"), "conflict");
    assert!(ended[loser].last.starts_with("git-push: error: cannot change branch `main` at `HOST`: "));
    assert_eq!(world.server.git().log().unwrap().len(), 3);
    // made of what is there now it is no conflict any more
    pods[loser].run();
    world.server.git().fsck().unwrap();
}

#[tokio::test]
async fn a_stop_and_a_resize() {
    for at_once in [false, true] {
        race(("stop", json!({}), "power"), ("resize", json!({"compute": {"cpu": 4}}), "resize"), at_once)
            .await;
    }
}

/// They write to different files.
#[tokio::test]
async fn a_restart_and_another() {
    for at_once in [false, true] {
        race(("restart", json!({}), "power"), ("restart", json!({}), "power"), at_once).await;
    }
}

#[tokio::test]
async fn a_repave_and_a_removal() {
    for at_once in [false, true] {
        race(("repave", json!({}), "repave"), ("deprovision", json!({}), "stop"), at_once).await;
    }
}

#[tokio::test]
async fn the_same_request_twice_is_made_once() {
    let (world, _) = World::with_machine().await;
    let pods = [(); 3].map(|()| world.pod(day_two("r-1", "stop", &json!({})), Some("power")));
    pods.iter().for_each(prepare);
    let children: Vec<_> = pods.iter().map(|pod| pod.start("git-push")).collect();
    let ended: Vec<_> = pods.iter().zip(children).map(|(pod, child)| pod.end("git-push", child)).collect();
    // the same change on the same parent is the same commit, to the byte: each of them may say that it made it
    assert!(ended.iter().all(|one| one.ok().result("commit") == ended[0].result("commit")), "{ended:?}");
    assert_eq!(world.server.git().log().unwrap().len(), 3);
}

#[tokio::test]
async fn a_hand_edit_between_fetch_and_push_is_not_overwritten() {
    let (world, _) = World::with_machine().await;
    let pod = world.pod(day_two("r-1", "stop", &json!({})), Some("power"));
    prepare(&pod);
    let path = "vms/in-cluster/team-a/db-01/disk-data.yaml";
    let text = String::from_utf8(world.server.git().read("main", path).unwrap()).unwrap();
    let edited = testbed::git::Entry::file(path, format!("# ours\n{text}"));
    let by_hand = world.server.git().commit(&[edited], "by hand").unwrap();
    let author = world.server.git().git(&["log", "-1", "--format=%an"]).unwrap();
    let ended = pod.end("git-push", pod.start("git-push"));
    let last = format!(
        "git-push: error: cannot change branch `main` at `HOST`: `vms/in-cluster/team-a/db-01` was changed since, by commit \
         `{by_hand}` of `{author}`"
    );
    assert_eq!((ended.code, ended.last), (20, last));
    // a new pod reads anew; the comment stays
    world.publish("r-1", "stop", &json!({}), "power").changed();
    assert!(world.machine()["disk-data.yaml"].starts_with("# ours\n"));
}

#[tokio::test]
async fn after_a_conflict_the_request_is_rendered_on_what_is_there_and_both_are_made() {
    let (world, _) = World::with_machine().await;
    let pod = world.pod(day_two("r-1", "stop", &json!({})), Some("power"));
    prepare(&pod);
    world.publish("r-2", "resize", &json!({"compute": {"cpu": 4}}), "resize").changed();
    assert_eq!(pod.end("git-push", pod.start("git-push")).code, 20);
    // without a fetch: the push has left what it met
    for step in &STEPS[2..] {
        pod.end(step, pod.start(step)).ok();
    }
    let machine = &world.machine()["virtual-machine.yaml"];
    assert!(machine.contains("runStrategy: \"Halted\"\n") && machine.contains("sockets: 4\n"), "{machine}");
    assert_eq!(world.server.git().log().unwrap().len(), 4);
    world.server.git().fsck().unwrap();
}
