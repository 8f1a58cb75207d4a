//! Whole operations, and each of their phases again at every later point.

use serde_json::{Value, json};

use crate::pod::{Ended, MACHINE, World, again};

/// Phases that were carried out, to be run again after each later one.
#[derive(Default)]
struct Done(Vec<(&'static str, &'static str, Value, &'static str, String)>);

impl Done {
    /// Carry out a phase, then every one before it and itself once more: nothing changes, and each finds the commit of the
    /// last phase of its request.
    #[track_caller]
    fn publish(
        &mut self,
        world: &World,
        id: &'static str,
        operation: &'static str,
        spec: Value,
        phase: &'static str,
    ) -> Ended {
        let ended = world.publish(id, operation, &spec, phase);
        self.0.push((id, operation, spec, phase, ended.changed().to_owned()));
        let tip = world.server.git().tip().unwrap();
        for (id, operation, spec, phase, _) in &self.0 {
            let (_, _, _, last, commit) = self.0.iter().rfind(|done| done.0 == *id).unwrap();
            let again = world.publish(id, operation, spec, phase);
            if *last == "rollback" && *phase != "rollback" {
                let told = format!(
                    "render-vm: error: request `{id}` was rolled back: the machine has its boot disk of before"
                );
                assert_eq!((again.code, again.last.as_str()), (21, told.as_str()), "{id} {phase}");
            } else {
                assert_eq!(again.already(), commit, "{id} {phase}");
            }
        }
        assert_eq!(world.server.git().tip().unwrap(), tip);
        ended
    }
}

fn lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("-{}", line.trim()));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+{}", line.trim()));
    gone.chain(come).collect()
}

#[tokio::test]
async fn power_off_and_on() {
    let (world, provisioned) = World::with_machine().await;
    let before = world.machine();
    let mut done = Done::default();
    let off = done.publish(&world, "r-1", "stop", json!({"forceAfterSeconds": 90}), "power");
    assert_eq!(
        lines(&before["virtual-machine.yaml"], &world.machine()["virtual-machine.yaml"]),
        ["-runStrategy: \"Always\"", "+runStrategy: \"Halted\""]
    );
    let text = |name: &str| off.result(name).to_owned();
    assert_eq!(
        (text("until"), text("force-after"), text("require-ip")),
        ("stopped".into(), "90s".into(), "true".into())
    );
    let raw = world.server.git().git(&["log", "-1", "--format=%B", off.result("commit")]).unwrap();
    assert_eq!(
        raw,
        format!(
            "stop vm team-a/db-01\n\nRequest-Id: r-1\nRequest-Digest: {}\nRequested-By: jane@example.org\nOperation: stop\nPhase: power",
            off.result("digest")
        )
    );
    let on = done.publish(&world, "r-2", "start", json!({}), "power");
    assert_eq!(on.result("until"), "ready");
    assert_eq!(world.machine(), before);
    let restarted = done.publish(&world, "r-3", "restart", json!({}), "power");
    assert_eq!((restarted.result("until"), restarted.result("force-after")), ("ready", ""));
    assert_eq!(world.machine(), before);
    // the machine's own request as well, after all that
    assert_eq!(world.pod(again(), None).run().already(), provisioned);
    assert_eq!(world.server.git().log().unwrap().len(), 5);
    world.server.git().fsck().unwrap();
}

#[tokio::test]
async fn repave_and_cleanup() {
    let (world, _) = World::with_machine().await;
    let before = world.machine();
    let (mut done, image) = (Done::default(), "https://images.example.org/linux-2.qcow2");
    let spec = json!({"image": {"source": "http", "url": image}, "rollbackForSeconds": 900});
    let repaved = done.publish(&world, "r-1", "repave", spec.clone(), "repave");
    let (with_both, claim) = (world.machine(), repaved.result("boot-claim").to_owned());
    assert_eq!((repaved.result("until"), repaved.result("allow-restart")), ("ready", "true"));
    assert_eq!(repaved.result("prove-for"), "900s");
    assert_eq!(with_both.len(), before.len() + 1);
    let changed = lines(&before["virtual-machine.yaml"], &with_both["virtual-machine.yaml"]);
    assert_eq!(changed[1], format!("+claimName: \"{claim}\""), "{changed:?}");
    assert_eq!(changed.len(), 2);
    let cleaned = done.publish(&world, "r-1", "repave", spec.clone(), "cleanup");
    assert_eq!((cleaned.result("boot-claim"), cleaned.result("prove-for")), (claim.as_str(), ""));
    // the old disk is gone: a run of the same request waits for nothing more
    assert_eq!(world.publish("r-1", "repave", &spec, "repave").result("prove-for"), "");
    let after = world.machine();
    let new: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    let old: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    assert_eq!((new.len(), old.len()), (1, 1));
    assert!(after[new[0]].contains(image) && after[new[0]].contains(&claim), "{}", after[new[0]]);
    let changed = lines(&before["kustomization.yaml"], &after["kustomization.yaml"]);
    assert_eq!(changed, [format!("-- \"{}\"", old[0]), format!("+- {}", new[0])]);
    assert_eq!(after["disk-data.yaml"], before["disk-data.yaml"]);
    let subjects = world.server.git().git(&["log", "-2", "--format=%s"]).unwrap();
    assert_eq!(subjects, "repave vm team-a/db-01: cleanup\nrepave vm team-a/db-01: repave");
}

#[tokio::test]
async fn repave_and_rollback() {
    let (world, _) = World::with_machine().await;
    let before = world.machine();
    let mut done = Done::default();
    done.publish(&world, "r-1", "repave", json!({}), "repave");
    assert_ne!(world.machine(), before);
    let back = done.publish(&world, "r-1", "repave", json!({}), "rollback");
    assert_eq!((back.result("until"), back.result("allow-restart")), ("ready", "true"));
    assert_eq!(world.machine(), before);
    let cleanup = world.publish("r-1", "repave", &json!({}), "cleanup");
    let last = "render-vm: error: phase `rollback` of request `r-1` is done, it excludes this one";
    assert_eq!((cleanup.code, cleanup.last.as_str()), (20, last));
}

#[tokio::test]
async fn deprovision_and_undelete() {
    let (world, _) = World::with_machine().await;
    let (before, applications) = (world.machine(), world.files("applications/in-cluster"));
    let mut done = Done::default();
    let stopped = done.publish(&world, "r-1", "deprovision", json!({}), "stop");
    assert_eq!(stopped.result("until"), "stopped");
    let removed = world.publish("r-1", "deprovision", &json!({}), "remove");
    let commit = removed.changed().to_owned();
    // the record of the stop has moved with the machine
    for phase in ["stop", "remove"] {
        let again = world.publish("r-1", "deprovision", &json!({}), phase);
        assert_eq!((again.already(), again.result("until")), (commit.as_str(), "absent"));
    }
    assert_eq!((removed.result("until"), removed.result("boot-claim")), ("absent", ""));
    assert_eq!((world.files(MACHINE).len(), world.files("applications/in-cluster").len()), (0, 0));
    // the folder of the Applications stays, though the last one is gone
    assert_eq!(world.files("applications").keys().collect::<Vec<_>>(), ["README.md"]);
    let archive = world.files("archive/in-cluster/team-a/db-01/r-0");
    assert_eq!(archive["application.yaml"], applications["team-a/db-01.yaml"]);
    assert_eq!(archive["disk-data.yaml"], before["disk-data.yaml"]);
    let tombstone = &archive["tombstone.yaml"];
    assert!(tombstone.contains("requestId: \"r-1\"\n  requestedBy: \"jane@example.org\"\n"), "{tombstone}");
    // the namespace is not the machine's
    assert_eq!(world.files("namespaces").len(), 1);
    // the request that made it does not make it again
    let provision = world.pod(again(), None).run();
    assert_eq!((provision.code, provision.result("outcome")), (21, "superseded"), "{}", provision.last);

    let undeleted = world.publish("r-2", "undelete", &json!({}), "undelete");
    let commit = undeleted.changed().to_owned();
    assert_eq!(undeleted.result("until"), "stopped");
    assert_eq!(world.publish("r-2", "undelete", &json!({}), "undelete").already(), commit);
    let mut stopped = before.clone();
    let machine = before["virtual-machine.yaml"].replace("\"Always\"", "\"Halted\"");
    stopped.insert("virtual-machine.yaml".to_owned(), machine);
    assert_eq!((world.machine(), world.files("applications/in-cluster")), (stopped, applications));
    assert_eq!(world.files("archive").len(), 0);
    // it is not removed again by what removed it
    for phase in ["stop", "remove"] {
        let ended = world.publish("r-1", "deprovision", &json!({}), phase);
        assert_eq!((ended.code, ended.result("outcome")), (21, "superseded"), "{}", ended.last);
    }
    world.publish("r-3", "start", &json!({}), "power").changed();
    assert_eq!(world.machine(), before);
    world.server.git().fsck().unwrap();
}

#[tokio::test]
async fn disks_grow_on_the_record() {
    let (world, _) = World::with_machine().await;
    let before = world.machine();
    let spec = json!({
        "compute": {"cpu": 4, "memory": "8Gi"},
        "disks": [{"name": "data", "size": "200Gi"}, {"name": "root", "size": "30Gi"}],
        "allowRestart": true,
    });
    let ended = Done::default().publish(&world, "r-1", "resize", spec, "resize");
    let generation = ended.result("boot-claim").strip_prefix("db-01-root-").unwrap();
    assert_eq!(
        ended.result("grow-disks"),
        format!("db-01-data-{generation}=200Gi,db-01-root-{generation}=30Gi")
    );
    assert_eq!(ended.result("allow-restart"), "true");
    let after = world.machine();
    let changed = lines(&before["virtual-machine.yaml"], &after["virtual-machine.yaml"]);
    assert_eq!(changed, ["-sockets: 2", "-guest: \"4Gi\"", "+sockets: 4", "+guest: \"8Gi\""]);
    assert!(before.iter().all(|(name, text)| name == "virtual-machine.yaml" || after[name] == *text));
}

#[tokio::test]
async fn what_is_refused_writes_nothing() {
    let (world, _) = World::with_machine().await;
    let tip = world.server.git().tip().unwrap();
    for (id, operation, spec, phase, code, last) in [
        (
            "r-0",
            "stop",
            json!({}),
            "power",
            20,
            "E_CONFLICT: the request that a machine of this name was provisioned by has this id, with other content",
        ),
        (
            "r-1",
            "undelete",
            json!({}),
            "undelete",
            20,
            "E_EXISTS: the machine is there already, provisioned by request `r-0`",
        ),
        (
            "r-1",
            "resize",
            json!({"disks": [{"name": "data", "size": "1Gi"}]}),
            "resize",
            10,
            "E_DISK_SIZE: `1Gi` is less than the `100Gi` that it has",
        ),
        (
            "r-1",
            "resize",
            json!({"disks": [{"name": "logs", "size": "1Gi"}]}),
            "resize",
            10,
            "E_NO_DISK: the machine has no disk `logs`",
        ),
    ] {
        let ended = world.publish(id, operation, &spec, phase);
        let last = format!("render-vm: error: request refused, 1 problem: {last}");
        assert_eq!((ended.code, ended.last), (code, last));
    }
    assert_eq!(world.server.git().tip().unwrap(), tip);
}
