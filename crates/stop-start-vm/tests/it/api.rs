//! Machines whose power Git leaves open: `--via api`.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::cluster::{HELD, run};
use crate::kubevirt::{KubeVirt, VM};

#[tokio::test(flavor = "multi_thread")]
async fn point_15_the_api_is_not_used_where_git_owns_the_power() {
    for strategy in ["Always", "Halted", "Once"] {
        let kubevirt = KubeVirt::with(json!({"runStrategy": strategy})).await;
        for power in ["--power=off", "--power=on", "--power=restart"] {
            let ended = run(&kubevirt, &[power, "--via=api"]).await;
            ended.is(
                31,
                &format!(
                    "error: virtual machine `team-a/web01` has run strategy `{strategy}`: Git owns its power, and would \
                     undo what is done here"
                ),
            );
            assert_eq!(ended.hint(), "use `--via git`");
        }
        assert_eq!(kubevirt.world.changes(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_by_verbs_for_machines_that_git_leaves_open() {
    for strategy in ["Manual", "RerunOnFailure"] {
        let kubevirt = KubeVirt::with(json!({"runStrategy": strategy})).await;
        let on = run(&kubevirt, &["--power=on", "--via=api"]).await;
        on.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
        let first = kubevirt.uid();
        assert_eq!(run(&kubevirt, &["--power=on", "--via=api"]).await.ok().result("changed"), "false");

        let restart = run(&kubevirt, &["--power=restart", "--via=api", HELD[0], HELD[1]]).await;
        restart.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
        assert_eq!(restart.results(["changed", "restarted"]), ["true", "true"]);
        let second = kubevirt.uid();
        assert_ne!(first, second);
        let again = run(&kubevirt, &["--power=restart", "--via=api", HELD[0], HELD[1]]).await;
        assert_eq!(again.ok().results(["changed", "restarted"]), ["false", "false"]);
        assert_eq!(kubevirt.uid(), second, "a restart is one, however often it is run");

        kubevirt.guest.deaf.store(true, Ordering::SeqCst);
        let off = run(&kubevirt, &["--power=off", "--via=api", "--force-after=1s"]).await;
        off.is(0, "done: virtual machine `team-a/web01` is stopped");
        assert_eq!(off.results(["changed", "vm-status"]), ["true", "Stopped"]);
        assert_eq!(run(&kubevirt, &["--power=off", "--via=api"]).await.ok().result("changed"), "false");
        assert_eq!(kubevirt.world.get(VM).unwrap()["spec"]["runStrategy"], strategy, "the spec is Git's");
        let restart = run(&kubevirt, &["--power=restart", "--via=api"]).await;
        restart.is(31, "error: virtual machine `team-a/web01` is stopped: there is nothing to restart");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_ignores_the_verb_is_cut_off_and_started_again() {
    for strategy in ["Manual", "RerunOnFailure"] {
        let kubevirt = KubeVirt::with(json!({"runStrategy": strategy})).await;
        run(&kubevirt, &["--power=on", "--via=api"]).await.ok();
        let (old, said) = (kubevirt.uid(), kubevirt.world.changes().len());
        kubevirt.guest.deaf.store(true, Ordering::SeqCst);
        run(&kubevirt, &["--power=restart", "--via=api", "--force-after=1s", HELD[0], HELD[1]]).await.ok();
        assert_ne!(kubevirt.uid(), old);
        let changes = kubevirt.world.changes();
        let wanted = ["PUT web01/restart {}", r#"PUT web01/stop {"gracePeriod":0}"#, "PUT web01/start {}"];
        assert_eq!(changes[said..], wanted, "`stop` takes the place of the start that `restart` asked for");
        assert_eq!(kubevirt.world.get(VM).unwrap()["spec"]["runStrategy"], strategy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_answers_of_verbs_decide_nothing() {
    // 409 and 500, whatever the machine does: the machine itself is looked at
    let kubevirt = KubeVirt::with(json!({"runStrategy": "Manual"})).await;
    let times = AtomicU32::new(0);
    kubevirt.world.on_verb(move |world, _, verb, _| match times.fetch_add(1, Ordering::SeqCst) {
        0 => (
            409,
            "Operation cannot be fulfilled on virtualmachine: jsonpatch test operation does not apply"
                .to_owned(),
        ),
        1 => (
            500,
            "Internal error occurred: unable to complete request: stop/start already underway".to_owned(),
        ),
        _ => {
            assert_eq!(verb, "start");
            world.edit(VM, |vm| {
                let mut vm = vm.unwrap();
                vm["status"]["stateChangeRequests"] = json!([{"action": "Start"}]);
                Some(vm)
            });
            // it has done so, and says it has not
            (500, "Internal error occurred: timeout".to_owned())
        }
    });
    let ended = run(&kubevirt, &["--power=on", "--via=api"]).await;
    ended.is(0, "done: virtual machine `team-a/web01` is ready on node `node1`");
    assert_eq!(kubevirt.world.changes().len(), 3);
    assert_eq!(kubevirt.guest.begun.load(Ordering::SeqCst), 1);
}
