//! What happens to disks, seen by what they hold; Argo CD's self-heal is on throughout.
#![expect(clippy::unwrap_used, reason = "a test")]

use flows::{MACHINES, World, request, told};
use serde_json::{Value, json};
use testbed::cdi::Fault;

async fn write(world: &World, claim: &str, mark: &str) {
    world.stage.write_disk(MACHINES, claim, mark).await.unwrap();
}

async fn read(world: &World, claim: &str) -> String {
    world.stage.disk(MACHINES, claim).await.unwrap().unwrap_or_default()
}

async fn instance(world: &World, name: &str) -> Option<String> {
    let vmi = world.object("kubevirt.io/v1", "virtualmachineinstances", name).await.unwrap()?;
    vmi["metadata"]["uid"].as_str().map(str::to_owned)
}

/// No claim or data volume of the machine is owned by it.
async fn unowned(world: &World, claim: &str) {
    for (group, plural) in [("v1", "persistentvolumeclaims"), ("cdi.kubevirt.io/v1beta1", "datavolumes")] {
        let Some(object) = world.object(group, plural, claim).await.unwrap() else { continue };
        let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        assert!(owners.iter().all(|o| o["kind"] != "VirtualMachine"), "{plural} {claim}: {owners:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_03_restored_disks_are_the_snapshots_and_stay_so() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let (root, data) = (world.claim("web", "root").await.unwrap(), world.claim("web", "data").await.unwrap());
    write(&world, &root, "root before").await;
    write(&world, &data, "data before").await;
    let snapshot = request("snap", "snapshot", "web", &Value::Null);
    let ended = world.run("snapshot-vm", "snap", &snapshot).unwrap();
    assert!(ended.succeeded, "{:?}", told(&ended));
    let name = ended.results["snapshot-name"].clone();
    write(&world, &root, "root after").await;
    write(&world, &data, "data after").await;
    let file = world.file("web").unwrap();
    copied(&world, &ended.results["sources"]).await;

    // what is not there is not restored: it is known before the machine is stopped for it
    let (first, tip) = (instance(&world, "web").await, world.server.git().tip().unwrap());
    let nothing = request("restore-nothing", "restore", "web", &json!({"snapshot": "absent"}));
    let ended = world.run("restore-vm", "restore-nothing", &nothing).unwrap();
    let (outcome, message) = told(&ended);
    assert_eq!((ended.succeeded, outcome.as_str()), (false, "failed"));
    assert!(message.contains("virtual machine snapshot `team-a/absent` does not exist"), "{message}");
    let ran: Vec<&str> = ended.tasks.keys().map(String::as_str).collect();
    assert_eq!(ran, ["prepare-restore", "report-outcome"]);
    assert_eq!(world.server.git().tip().unwrap(), tip);
    assert!(first.is_some());
    assert_eq!(instance(&world, "web").await, first);
    let machine = world.stage.machine(MACHINES, "web").await.unwrap();
    assert_eq!(
        (&machine["spec"]["runStrategy"], &machine["status"]["printableStatus"]),
        (&json!("Always"), &json!("Running"))
    );

    let restore = request("restore", "restore", "web", &json!({"snapshot": name}));
    world.done("restore-vm", "restore", &restore).unwrap();
    assert_eq!(read(&world, &root).await, "root before");
    assert_eq!(read(&world, &data).await, "data before");
    assert_eq!(world.file("web").unwrap(), file);
    assert!(instance(&world, "web").await.is_some());
    unowned(&world, &root).await;
    unowned(&world, &data).await;
    assert_eq!(world.count("snapshot.kubevirt.io/v1beta1", "virtualmachinerestores").await.unwrap(), 0);
    let application = world.application("web").await.unwrap().unwrap();
    assert_eq!(application["metadata"]["annotations"]["argocd.argoproj.io/skip-reconcile"], Value::Null);

    // the same request later restores nothing a second time
    write(&world, &data, "data later").await;
    world.done("restore-vm", "restore-again", &restore).unwrap();
    assert_eq!(read(&world, &data).await, "data later");
}

/// A request for the machine `name` from these volume snapshots of `root` and `data`, each with the least size of its disk.
fn from_snapshots(name: &str, root: (&str, &str), data: (&str, &str)) -> Value {
    let mut request = flows::machine(name);
    request["spec"]["image"] = json!({"source": "snapshot", "name": root.0});
    request["spec"]["disks"] = json!([
        {"name": "root", "role": "root", "size": root.1},
        {"name": "data", "size": data.1, "source": {"snapshot": data.0}},
        {"name": "fresh", "size": "1Gi"},
    ]);
    request
}

/// A second machine is provisioned from the snapshot of the first, by what the flow told: it has the snapshot's disks for
/// itself, and the first keeps its own.
async fn copied(world: &World, sources: &str) {
    let source = |volume: &str| {
        let one = sources.split(',').find_map(|one| one.strip_prefix(&format!("{volume}=")));
        let (name, size) = one.unwrap().split_once(':').unwrap();
        (name.to_owned(), size.to_owned())
    };
    let ((root, root_size), (data, data_size)) = (source("root"), source("data"));
    // 6 % more than it was asked for is what the file system takes, in CDI's reckoning
    assert_eq!((root_size.as_str(), data_size.as_str()), ("2171Mi", "1086Mi"));
    let copy = from_snapshots("copy", (&root, &root_size), (&data, &data_size));
    world.done("provision-vm", "provision-copy", &copy).unwrap();
    for (volume, first, second) in
        [("root", "root after", "root before"), ("data", "data after", "data before")]
    {
        let (claim, other) =
            (world.claim("web", volume).await.unwrap(), world.claim("copy", volume).await.unwrap());
        assert_ne!(claim, other);
        assert_eq!((read(world, &claim).await.as_str(), read(world, &other).await.as_str()), (first, second));
        unowned(world, &other).await;
    }
    assert_eq!(read(world, &world.claim("copy", "fresh").await.unwrap()).await, "blank");
    let first = world.stage.machine(MACHINES, "web").await.unwrap();
    let second = world.stage.machine(MACHINES, "copy").await.unwrap();
    for at in ["/devices/interfaces/0/macAddress", "/firmware/uuid", "/firmware/serial"] {
        let of = |vm: &Value| vm["spec"]["template"]["spec"]["domain"].pointer(at).cloned().unwrap();
        assert_ne!(of(&first), of(&second), "{at}");
    }

    // what is not there is named, and so is a disk that is too small
    let lost = from_snapshots("lost", ("absent", "3Gi"), (&data, "1Gi"));
    let mut flow = world.flow("provision-vm", "provision-lost", &lost).unwrap();
    flow.params.insert("timeout".to_owned(), "10s".to_owned());
    let (outcome, message) = told(&world.play(&flow).unwrap());
    assert_eq!(outcome, "timeout", "{message}");
    let (root, data) = (flows::volume(&lost, "root").unwrap(), flows::volume(&lost, "data").unwrap());
    let missing = format!("disk `{root}` that cannot be made: The source snapshot absent doesn't exist");
    let small =
        format!("disk `{data}` that cannot be made: The clone doesn't meet the validation requirements");
    assert!(message.contains(&missing) || message.contains(&small), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_one_snapshot_for_one_request() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let snapshot = request("snap", "snapshot", "web", &Value::Null);
    world.done("snapshot-vm", "snap", &snapshot).unwrap();
    world.done("snapshot-vm", "snap-again", &snapshot).unwrap();
    assert_eq!(world.count("snapshot.kubevirt.io/v1beta1", "virtualmachinesnapshots").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_05_a_repaved_machine_is_the_same_one_with_a_new_boot_disk() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let (root, data) = (world.claim("web", "root").await.unwrap(), world.claim("web", "data").await.unwrap());
    write(&world, &root, "used").await;
    write(&world, &data, "kept").await;
    let before = world.stage.machine(MACHINES, "web").await.unwrap();
    let first = instance(&world, "web").await;
    let image = json!({"image": {"source": "http", "url": "https://images.example.com/second.img"}});
    let repave = request("repave", "repave", "web", &image);
    world.done("repave-vm", "repave", &repave).unwrap();
    let after = world.stage.machine(MACHINES, "web").await.unwrap();
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    let identity = |vm: &Value| {
        let domain = &vm["spec"]["template"]["spec"]["domain"];
        (domain["firmware"].clone(), domain["devices"]["interfaces"].clone())
    };
    assert_eq!(identity(&before), identity(&after));
    let new = world.claim("web", "root").await.unwrap();
    assert_ne!(new, root);
    assert!(read(&world, &new).await.contains("second.img"), "{}", read(&world, &new).await);
    assert_eq!(world.claim("web", "data").await.unwrap(), data);
    assert_eq!(read(&world, &data).await, "kept");
    unowned(&world, &data).await;
    let second = instance(&world, "web").await;
    assert_ne!(first, second);
    assert_eq!(world.object("cdi.kubevirt.io/v1beta1", "datavolumes", &root).await.unwrap(), None);

    world.done("repave-vm", "repave-again", &repave).unwrap();
    assert_eq!(world.claim("web", "root").await.unwrap(), new);
    assert_eq!(instance(&world, "web").await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repave_that_fails_leaves_the_old_boot_disk() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let root = world.claim("web", "root").await.unwrap();
    write(&world, &root, "used").await;

    // it comes up, and does not last: what the request waits for is wired to the check, or the old disk would be gone
    let spec = json!({
        "image": {"source": "http", "url": "https://images.example.com/second.img"},
        "rollbackForSeconds": 600,
    });
    let flow = world.flow("repave-vm", "short", &request("short", "repave", "web", &spec)).unwrap();
    let ended = world.play_until(&flow, "all checks hold; now for 10m", async || {
        world.delete(&format!("/apis/kubevirt.io/v1/namespaces/{MACHINES}/virtualmachineinstances/web")).await
    });
    let ended = ended.unwrap();
    let (outcome, message) = told(&ended);
    assert_eq!((ended.succeeded, outcome.as_str()), (false, "failed"), "{message}");
    assert!(message.contains("was restarted") && message.contains("rolled back"), "{message}");
    assert_eq!(world.claim("web", "root").await.unwrap(), root);
    assert_eq!(read(&world, &root).await, "used");
    assert!(instance(&world, "web").await.is_some());

    let image = json!({"image": {"source": "http", "url": "https://images.example.com/broken.img"}});
    let repave = request("repave", "repave", "web", &image);
    world.stage.cdi.fail(
        MACHINES,
        &flows::volume(&repave, "root").unwrap(),
        Fault::Import("Error", "Unable to connect to http data source".to_owned()),
    );
    let mut flow = world.flow("repave-vm", "repave", &repave).unwrap();
    flow.params.insert("timeout".to_owned(), "30s".to_owned());
    let ended = world.play(&flow).unwrap();
    let (outcome, message) = told(&ended);
    assert!(!ended.succeeded && outcome != "ok", "{outcome}: {message}");
    assert!(message.contains("rolled back"), "{message}");
    assert_eq!(world.claim("web", "root").await.unwrap(), root);
    assert_eq!(read(&world, &root).await, "used");
    assert!(instance(&world, "web").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_machine_needs_leave_to_restart() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let first = instance(&world, "web").await;
    let larger = request("larger", "resize", "web", &json!({"compute": {"memory": "2Gi"}}));
    let ended = world.run("resize-vm", "larger", &larger).unwrap();
    assert!(!ended.succeeded, "{:?}", told(&ended));
    assert_eq!(instance(&world, "web").await, first);
    let allowed = json!({"compute": {"memory": "3Gi"}, "allowRestart": true});
    world.done("resize-vm", "allowed", &request("allowed", "resize", "web", &allowed)).unwrap();
    assert_ne!(instance(&world, "web").await, first);
    assert!(world.file("web").unwrap().contains("guest: \"3Gi\""), "{}", world.file("web").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn point_01_data_outlives_its_machine_and_comes_back_with_it() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let (root, data) = (world.claim("web", "root").await.unwrap(), world.claim("web", "data").await.unwrap());
    write(&world, &data, "kept").await;
    let file = world.file("web").unwrap();
    let remove = request("remove", "deprovision", "web", &Value::Null);
    world.done("deprovision-vm", "remove", &remove).unwrap();
    assert_eq!(world.object("kubevirt.io/v1", "virtualmachines", "web").await.unwrap(), None);
    assert_eq!(world.application("web").await.unwrap(), None);
    assert_eq!(world.object("v1", "persistentvolumeclaims", &root).await.unwrap(), None);
    assert_eq!(read(&world, &data).await, "kept");
    unowned(&world, &data).await;
    world.done("deprovision-vm", "remove-again", &remove).unwrap();
    let message = world.refused("provision-vm", "replay", &flows::machine("web"), "superseded").unwrap();
    assert!(message.contains("remove"), "{message}");

    world.done("undelete-vm", "undelete", &request("undelete", "undelete", "web", &Value::Null)).unwrap();
    let halted = file.replace("\"Always\"", "\"Halted\"");
    let now = world.file("web").unwrap();
    assert!(now == file || now == halted, "{now}");
    assert_eq!(world.claim("web", "data").await.unwrap(), data);
    assert_eq!(read(&world, &data).await, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_08_where_it_is_asked_for_the_data_goes_as_well() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let (root, data) = (world.claim("web", "root").await.unwrap(), world.claim("web", "data").await.unwrap());
    let remove = request("remove", "deprovision", "web", &json!({"disks": "delete", "confirmName": "web"}));
    world.done("deprovision-vm", "remove", &remove).unwrap();
    for claim in [&root, &data] {
        assert_eq!(world.object("v1", "persistentvolumeclaims", claim).await.unwrap(), None);
        assert_eq!(world.object("cdi.kubevirt.io/v1beta1", "datavolumes", claim).await.unwrap(), None);
    }
}
