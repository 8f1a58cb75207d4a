//! What happens to disks, seen by marks in them; Argo CD's self-heal is on throughout.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::power::{file, instance_uid, running};
use super::{day_two, ensure_holds, expect, request, served};
use crate::setup::{FIRST, NEXT, World};

/// A machine with a boot disk from the golden image and a data disk.
pub(super) fn with_disks(world: &World, id: &str, name: &str) -> Value {
    let mut request = request(world, id, name);
    request["spec"]["compute"] = json!({"instanceType": world.machines, "preference": world.machines});
    request["spec"]["image"] =
        json!({"source": "data-source", "name": "golden", "namespace": world.machines});
    request["spec"]["disks"] = json!([
        {"name": "root", "role": "root", "size": "128Mi"},
        {"name": "data", "size": "64Mi"},
    ]);
    request
}

/// No claim and no `DataVolume` of the machine is owned by it: what is owned dies with its owner.
pub(super) fn unowned(world: &World, claim: &str) -> Result<()> {
    for kind in ["pvc", "datavolume"] {
        let Some(object) = world.kubectl.find(&[kind, claim, "-n", &world.machines])? else { continue };
        let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        ensure!(owners.iter().all(|o| o["kind"] != "VirtualMachine"), "{kind} {claim} is owned: {owners:?}");
    }
    Ok(())
}

/// Snapshot, change, restore: both disks are the snapshot's again, and Argo CD leaves it so.
pub(super) fn snapshot_and_restore(world: &World) -> Result<()> {
    let (root, data) = (world.claim("clone", "root")?, world.claim("clone", "data")?);
    world.set_mark(&root, "root-before")?;
    world.set_mark(&data, "data-before")?;
    let take = day_two(world, "snap-clone", "snapshot", "clone", json!({}));
    let ended = world.flow("snapshot-vm", "snap-clone", &take)?;
    expect(&ended, "ok")?;
    let task = ended.task("snapshot-vm")?;
    let (name, volumes) = (task.result("snapshot-name"), task.result("included-volumes"));
    say!("  snapshot {name}: {volumes}; {}", task.result("indications"));
    ensure!(volumes.contains("root") && volumes.contains("data"), "included volumes: {volumes}");
    let again = world.flow("snapshot-vm", "snap-clone-again", &take)?;
    expect(&again, "ok")?;
    ensure!(again.task("snapshot-vm")?.result("snapshot-name") == name, "another snapshot");
    let all = world.kubectl.get(&["virtualmachinesnapshot", "-n", &world.machines])?;
    ensure!(all["items"].as_array().map(Vec::len) == Some(1), "there are two snapshots");

    world.set_mark(&root, "root-after")?;
    world.set_mark(&data, "data-after")?;
    let before = world.git().read("main", &file(world, "clone"))?;
    let (root_uid, data_uid) = (world.claim_uid(&root)?, world.claim_uid(&data)?);
    let restore = day_two(world, "restore-clone", "restore", "clone", json!({"snapshot": name}));
    let ended = world.flow("restore-vm", "restore-clone", &restore)?;
    expect(&ended, "ok")?;
    running(world, "clone")?;
    for (volume, claim, uid) in [("root", &root, root_uid), ("data", &data, data_uid)] {
        ensure!(world.claim("clone", volume)? == *claim, "the machine names another claim for {volume}");
        ensure!(world.claim_uid(claim)? != uid, "the claim of {volume} was not restored");
        let mark = world.mark(claim)?;
        ensure!(mark == format!("{volume}-before"), "the disk {volume} holds `{mark}`");
        unowned(world, claim)?;
    }
    ensure!(world.git().read("main", &file(world, "clone"))? == before, "the machine's file changed");
    let left = world.kubectl.get(&["virtualmachinerestore", "-n", &world.machines])?;
    ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "a VirtualMachineRestore is left");
    let application = world.application("clone")?.context("no Application")?;
    let annotations = &application["metadata"]["annotations"];
    ensure!(annotations["argocd.argoproj.io/skip-reconcile"].is_null(), "Argo CD is still told to look away");
    ensure!(application["status"]["sync"]["status"] == "Synced", "{}", application["status"]["sync"]);

    let again = world.flow("restore-vm", "restore-clone-again", &restore)?;
    expect(&again, "ok")?;
    world.set_mark(&data, "data-later")?;
    let again = world.flow("restore-vm", "restore-clone-thrice", &restore)?;
    expect(&again, "ok")?;
    ensure!(world.mark(&data)? == "data-later", "the same request restored a second time");
    Ok(())
}

/// A second machine from the snapshot of the first, by what the flow told of it: it has the snapshot's disks for itself.
pub(super) fn provision_from_snapshot(world: &World) -> Result<()> {
    // done already: the same request tells of its snapshot once more
    let take = day_two(world, "snap-clone", "snapshot", "clone", json!({}));
    let ended = world.flow("snapshot-vm", "snap-clone-sources", &take)?;
    expect(&ended, "ok")?;
    let sources = ended.task("snapshot-vm")?.result("sources");
    say!("  sources: {sources}");
    let source = |volume: &str| {
        let one = sources.split(',').find_map(|one| one.strip_prefix(&format!("{volume}=")));
        let (name, size) = one.and_then(|one| one.split_once(':')).with_context(|| sources.clone())?;
        Ok::<_, anyhow::Error>((name.to_owned(), size.to_owned()))
    };
    let ((root, root_size), (data, data_size)) = (source("root")?, source("data")?);
    for volume in ["root", "data"] {
        world.set_mark(&world.claim("clone", volume)?, &format!("{volume}-now"))?;
    }
    let mut copy = with_disks(world, "copy", "copy");
    copy["spec"]["image"] = json!({"source": "snapshot", "name": root});
    copy["spec"]["disks"] = json!([
        {"name": "root", "role": "root", "size": root_size},
        {"name": "data", "size": data_size, "source": {"snapshot": data}},
    ]);
    let ended = world.provision("copy", &copy)?;
    expect(&ended, "ok")?;
    for name in ["clone", "copy"] {
        running(world, name)?;
    }
    for volume in ["root", "data"] {
        let (first, second) = (world.claim("clone", volume)?, world.claim("copy", volume)?);
        ensure!(first != second, "both machines have the claim {first}");
        ensure!(world.claim_uid(&first)? != world.claim_uid(&second)?, "both have the volume of {volume}");
        let (first, mark) = (world.mark(&first)?, world.mark(&second)?);
        ensure!(first == format!("{volume}-now"), "the first machine's {volume} holds `{first}`");
        ensure!(mark == format!("{volume}-before"), "the copy's {volume} holds `{mark}`");
        unowned(world, &second)?;
    }
    let address = |name: &str| -> Result<Value> {
        let machine = world.machine(name)?.with_context(|| format!("no VirtualMachine {name}"))?;
        let devices = &machine["spec"]["template"]["spec"]["domain"]["devices"];
        Ok(devices["interfaces"][0]["macAddress"].clone())
    };
    ensure!(address("clone")? != address("copy")?, "both machines have the same MAC address");
    served(world, "copy")
}

/// A snapshot that is not there is refused before anything is done: the machine runs on, and Git says what it said.
pub(super) fn restore_of_nothing(world: &World) -> Result<()> {
    let instance = instance_uid(world, "clone")?;
    // other machines go on meanwhile
    let folder = format!("vms/in-cluster/{}/clone", world.machines);
    let commits = world.git().log_of(&folder)?;
    ensure!(instance.is_some(), "it does not run");
    let restore = day_two(world, "restore-none", "restore", "clone", json!({"snapshot": "absent"}));
    let ended = world.flow("restore-vm", "restore-none", &restore)?;
    ensure!(!ended.succeeded, "it succeeded");
    let (outcome, message) = (ended.report()?.result("flow-outcome"), ended.report()?.result("flow-message"));
    say!("  told: {outcome}: {message}");
    ensure!(outcome == "failed", "the outcome is `{outcome}`");
    ensure_holds(&message, &["absent", "does not exist"])?;
    ensure!(world.git().log_of(&folder)? == commits, "something was committed");
    ensure!(instance_uid(world, "clone")? == instance, "the machine was stopped for it");
    running(world, "clone")
}

/// A new boot disk from the golden image of now; the machine's identity and its data stay.
pub(super) fn repave(world: &World) -> Result<()> {
    let identity = |machine: &Value| {
        let spec = &machine["spec"]["template"]["spec"]["domain"];
        (
            machine["metadata"]["uid"].clone(),
            spec["firmware"]["uuid"].clone(),
            spec["devices"]["interfaces"].clone(),
        )
    };
    let before = world.machine("clone")?.context("no VirtualMachine clone")?;
    let (root, data) = (world.claim("clone", "root")?, world.claim("clone", "data")?);
    world.set_mark(&data, "data-kept")?;
    let (data_uid, instance) = (world.claim_uid(&data)?, instance_uid(world, "clone")?);
    ensure!(world.image_mark(&root)? == FIRST, "the boot disk is of another image");
    world.golden_image("golden-2", &world.next_disk_url)?;
    let repave = day_two(world, "repave-clone", "repave", "clone", json!({}));
    expect(&world.flow("repave-vm", "repave-clone", &repave)?, "ok")?;
    running(world, "clone")?;
    let after = world.machine("clone")?.context("no VirtualMachine clone")?;
    ensure!(identity(&before) == identity(&after), "the machine is another one");
    let new = world.claim("clone", "root")?;
    ensure!(new != root, "the boot disk has the old name");
    ensure!(world.image_mark(&new)? == NEXT, "the boot disk is of the old image");
    ensure!(instance_uid(world, "clone")? != instance, "the old instance still runs");
    ensure!(
        world.claim_uid(&data)? == data_uid && world.mark(&data)? == "data-kept",
        "the data disk changed"
    );
    unowned(world, &data)?;
    ensure!(
        world.kubectl.find(&["datavolume", &root, "-n", &world.machines])?.is_none(),
        "the old disk is left"
    );

    let instance = instance_uid(world, "clone")?;
    expect(&world.flow("repave-vm", "repave-clone-again", &repave)?, "ok")?;
    ensure!(world.claim("clone", "root")? == new, "the same request repaved a second time");
    ensure!(instance_uid(world, "clone")? == instance, "the same request restarted it a second time");
    Ok(())
}

/// A boot disk that can never be filled: the machine keeps the old one.
pub(super) fn repave_rolled_back(world: &World) -> Result<()> {
    let (root, instance) = (world.claim("clone", "root")?, instance_uid(world, "clone")?);
    world.set_mark(&root, "root-kept")?;
    let spec = json!({"image": {"source": "http", "url": world.disk_url.replace("disk.img", "absent.img")}});
    let repave = day_two(world, "repave-bad", "repave", "clone", spec);
    world.start_flow("repave-vm", "repave-bad", &repave, &[("timeout", "90s")])?;
    let ended = world.ended("repave-bad")?;
    ensure!(!ended.succeeded, "it succeeded");
    let message = ended.report()?.result("flow-message");
    say!("  told: {}: {message}", ended.report()?.result("flow-outcome"));
    ensure_holds(&message, &["rolled back"])?;
    running(world, "clone")?;
    ensure!(world.claim("clone", "root")? == root, "the machine names another boot disk");
    ensure!(world.mark(&root)? == "root-kept", "the boot disk is another one");
    say!("  instance before {instance:?}, after {:?}", instance_uid(world, "clone")?);
    Ok(())
}

/// More memory; only with leave to restart.
pub(super) fn resize_compute(world: &World) -> Result<()> {
    let instance = instance_uid(world, "plain")?;
    let larger = json!({"compute": {"memory": "160Mi"}});
    let refused = day_two(world, "resize-refused", "resize", "plain", larger.clone());
    let ended = world.flow("resize-vm", "resize-refused", &refused)?;
    let report = ended.report()?;
    say!("  told: {}: {}", report.result("flow-outcome"), report.result("flow-message"));
    ensure!(!ended.succeeded, "no restart was allowed, and it says done");
    ensure!(instance_uid(world, "plain")? == instance, "it was restarted without leave");

    let allowed = json!({"compute": {"memory": "160Mi"}, "allowRestart": true});
    let resize = day_two(world, "resize-plain", "resize", "plain", allowed);
    expect(&world.flow("resize-vm", "resize-plain", &resize)?, "ok")?;
    let found = world.kubectl.get(&["virtualmachineinstance", "plain", "-n", &world.machines])?;
    ensure!(found["spec"]["domain"]["memory"]["guest"] == "160Mi", "{}", found["spec"]["domain"]["memory"]);
    ensure!(instance_uid(world, "plain")? != instance, "it was not restarted");
    Ok(())
}

/// Another instance type and a larger data disk in one request.
pub(super) fn resize_with_disks(world: &World) -> Result<()> {
    let spec = json!({
        "compute": {"instanceType": format!("{}-large", world.machines)},
        "disks": [{"name": "data", "size": "96Mi"}],
        "allowRestart": true,
    });
    let data = world.claim("clone", "data")?;
    let uid = world.claim_uid(&data)?;
    expect(
        &world.flow("resize-vm", "resize-clone", &day_two(world, "resize-clone", "resize", "clone", spec))?,
        "ok",
    )?;
    let found = world.kubectl.get(&["virtualmachineinstance", "clone", "-n", &world.machines])?;
    ensure!(found["spec"]["domain"]["memory"]["guest"] == "160Mi", "{}", found["spec"]["domain"]["memory"]);
    let claim = world.kubectl.get(&["pvc", &data, "-n", &world.machines])?;
    say!(
        "  data disk: asked {}, has {}",
        claim["spec"]["resources"]["requests"]["storage"],
        claim["status"]["capacity"]["storage"]
    );
    ensure!(world.claim_uid(&data)? == uid, "the data disk is another one");
    running(world, "clone")
}
