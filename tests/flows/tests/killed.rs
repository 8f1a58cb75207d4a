//! Every flow killed somewhere on its way, then run again: the same end state, and nothing done twice.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which tells what it drew by lot")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flows::{MACHINES, World, request};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use testbed::pipeline::{Aftermath, Ended, Event, Flow, Kill, Moment};
use testbed::sshd::Sshd;

/// A flow, and what has to be true of the machine before and after it.
struct Case {
    pipeline: &'static str,
    operation: &'static str,
    spec: Value,
}

/// What must not differ, however often the flow was killed on its way.
#[derive(Debug, PartialEq)]
struct End {
    strategy: String,
    /// Instances that run at the end.
    running: usize,
    /// Instances that there ever were: a second restart is one more.
    instances: usize,
    snapshots: usize,
    restores: usize,
    data: Option<String>,
    commits: usize,
}

/// What stands in for the disk that is patched, and for the guest.
struct Bench {
    folder: tempfile::TempDir,
    guest: Option<Sshd>,
}

impl Bench {
    fn new(case: &Case) -> Self {
        let guest = (case.pipeline == "patch-guest-vm").then(|| {
            let names = std::iter::once("model".to_owned()).chain((0..100).map(row_name));
            let names: Vec<String> = names.map(|name| format!("{MACHINES}/{name}")).collect();
            let guest = Sshd::start().unwrap();
            guest.knows(&names.iter().map(String::as_str).collect::<Vec<_>>(), "host").unwrap();
            guest
        });
        Self { folder: tempfile::tempdir().unwrap(), guest }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The flow; `patch-vm` with a script in the place of virt-customize, and a file in the place of the disk; `patch-guest-vm` with
    /// this machine as the guest, whose profile takes a while.
    fn flow(&self, world: &World, case: &Case, machine: &Machine<'_>, run: &str) -> Flow {
        let mut flow = world.flow(case.pipeline, run, &machine.request).unwrap();
        if case.operation != "patch" {
            return flow;
        }
        let profiles = self.at(&format!("{}-profiles", machine.name));
        fs::create_dir_all(&profiles).unwrap();
        fs::write(profiles.join("security.commands"), "update\n").unwrap();
        let script = format!("sleep 1\necho run >>{}\n", self.at(machine.name).join("runs").display());
        fs::write(profiles.join("security.sh"), script).unwrap();
        flow.workspaces.insert("profiles".to_owned(), profiles);
        let disk = self.at(machine.name);
        if !disk.exists() {
            fs::create_dir(&disk).unwrap();
            fs::write(disk.join("disk.img"), "a disk ").unwrap();
        }
        if let Some(guest) = &self.guest {
            guest.is_guest_of(&mut flow).unwrap();
            return flow;
        }
        let binaries = self.at("binaries");
        if !binaries.exists() {
            let script = "#!/bin/sh\necho patched >>\"$4\"\n";
            flow.put_program(&binaries, "virt-customize", script).unwrap();
        }
        flow.binaries = binaries;
        MACHINES.clone_into(&mut flow.run.namespace);
        flow.params.insert("image".to_owned(), "libguestfs".to_owned());
        flow.claims.insert(machine.root.clone(), disk);
        flow
    }

    /// What was done to the disk, or in the guest, is done once.
    fn patched_once(&self, case: &Case, name: &str, place: &str) {
        let (file, wanted) = match case.pipeline {
            "patch-vm" => ("disk.img", "a disk patched\n"),
            "patch-guest-vm" => ("runs", "run\n"),
            _ => return,
        };
        assert_eq!(fs::read_to_string(self.at(name).join(file)).unwrap(), wanted, "{place}");
    }
}

/// The machine of a row.
fn row_name(number: usize) -> String {
    format!("m{number}")
}

/// A machine for a request whose runs are killed.
struct Machine<'a> {
    name: &'a str,
    /// The claims of its disks; not known before a provision.
    root: String,
    data: Option<String>,
    request: Value,
}

/// One with a word in its data disk, and what the flow needs to be there before it.
async fn provision<'a>(world: &World, case: &Case, name: &'a str) -> Machine<'a> {
    if case.operation == "provision" {
        return Machine { name, root: String::new(), data: None, request: flows::machine(name) };
    }
    world.provision(name).unwrap();
    let (root, data) = (world.claim(name, "root").await.unwrap(), world.claim(name, "data").await.unwrap());
    world.stage.write_disk(MACHINES, &data, "kept").await.unwrap();
    let request = request(&format!("kill-{name}"), case.operation, name, &prepare(world, case, name));
    Machine { name, root, data: Some(data), request }
}

/// The instances that there ever were, by machine: their uids. Looked at often, as each stays for seconds.
type Instances = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

fn instances(world: &Arc<World>) -> Instances {
    let seen = Instances::default();
    let (found, world) = (seen.clone(), world.clone());
    tokio::spawn(async move {
        while let Ok(list) = world.object("kubevirt.io/v1", "virtualmachineinstances", "").await {
            for one in list.iter().flat_map(|list| list["items"].as_array().unwrap()) {
                let text = |field: &str| one["metadata"][field].as_str().unwrap().to_owned();
                found.lock().unwrap().entry(text("name")).or_default().insert(text("uid"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    seen
}

/// The steps of a flow in their order, each with what it took; found by running it on a machine of its own.
fn steps(flow: &Flow) -> Vec<(String, String, Duration)> {
    let (mut steps, mut begun) = (Vec::new(), std::time::Instant::now());
    let ended = flow
        .run(&mut |event| match event {
            Event::Begun { .. } => begun = std::time::Instant::now(),
            Event::Ended { task, step, .. } => {
                steps.push((task.to_owned(), step.to_owned(), begun.elapsed()));
            }
            _ => {}
        })
        .unwrap();
    assert!(ended.succeeded, "{:?}", flows::told(&ended));
    steps
}

async fn end(world: &World, machine: &Machine<'_>, seen: &Instances, before: usize) -> End {
    let name = machine.name;
    let vm = world.object("kubevirt.io/v1", "virtualmachines", name).await.unwrap();
    let vmi = world.object("kubevirt.io/v1", "virtualmachineinstances", name).await.unwrap();
    let instances = {
        let mut all = seen.lock().unwrap();
        let uids = all.entry(name.to_owned()).or_default();
        uids.extend(vmi.iter().map(|vmi| vmi["metadata"]["uid"].as_str().unwrap().to_owned()));
        uids.len()
    };
    let data = match &machine.data {
        Some(claim) => claim.clone(),
        None => world.claim(name, "data").await.unwrap(),
    };
    let count = async |kind: &str| world.count_of("snapshot.kubevirt.io/v1beta1", kind, name).await.unwrap();
    End {
        strategy: vm
            .map_or_else(String::new, |vm| vm["spec"]["runStrategy"].as_str().unwrap_or_default().to_owned()),
        running: usize::from(vmi.is_some()),
        instances,
        snapshots: count("virtualmachinesnapshots").await,
        restores: count("virtualmachinerestores").await,
        data: world.stage.disk(MACHINES, &data).await.unwrap(),
        commits: world.server.git().log().unwrap().len() - before,
    }
}

/// Kill at some of all places, each row of them on a machine of its own: before a step, behind it, and in its midst.
async fn survives(case: Case) {
    let world = Arc::new(World::start().await.unwrap());
    let bench = Bench::new(&case);
    let seen = instances(&world);
    let model = provision(&world, &case, "model").await;
    let before = world.server.git().log().unwrap().len();
    let steps = steps(&bench.flow(&world, &case, &model, "model"));
    let wanted = end(&world, &model, &seen, before).await;
    let rows = rows(&steps);
    println!("{}: {} steps, {} rows; wanted {wanted:?}", case.pipeline, steps.len(), rows.len());
    let (mut kills, mut died) = (0, 0);
    for (n, row) in rows.into_iter().enumerate() {
        let name = row_name(n);
        let machine = provision(&world, &case, &name).await;
        let before = world.server.git().log().unwrap().len();
        let mut places = Vec::new();
        for (task, step, moment) in row {
            places.push(format!("{task}/{step} {moment:?}"));
            let killed = bench.flow(&world, &case, &machine, &format!("{name}-{}", places.len()));
            let kill = Kill { task, step, moment, aftermath: Aftermath::Gone };
            let ended = world.play(&Flow { kill: Some(kill), ..killed }).unwrap();
            (kills, died) = (kills + 1, died + usize::from(ended.gone));
        }
        let place = format!("{} killed at {}", case.pipeline, places.join(", "));
        let again = bench.flow(&world, &case, &machine, &format!("{name}-again"));
        let ended = world.play(&again).unwrap();
        let mut found = end(&world, &machine, &seen, before).await;
        if place.contains("patch-disk/") && !ended.succeeded {
            taken_back(&ended);
            found.restores = wanted.restores;
        } else {
            let (outcome, message) = flows::told(&ended);
            assert!(ended.succeeded && outcome == "ok", "{place}: {outcome}: {message}");
            bench.patched_once(&case, &name, &place);
        }
        assert_eq!(found, wanted, "{place}");
        println!("{place}: as wanted");
    }
    println!("{}: {died} of {kills} runs died, the others had ended", case.pipeline);
}

/// A disk that nobody can vouch for is the snapshot's again, and the machine as it was.
fn taken_back(ended: &Ended) {
    let (outcome, message) = flows::told(ended);
    assert_eq!(outcome, "failed", "{message}");
    assert!(message.contains("may be half patched") && message.contains("; rolled back: "), "{message}");
}

/// A step of a task and when it dies.
type Place = (String, String, Moment);

/// `KILLS` places of a flow (1 unless set), a row each. `all` is every boundary and `KILL_MOMENTS` (20 unless set) inside each
/// step: in each row every step dies once, and what the next one finds is what was left by those before. By lot, by `KILL_SEED`.
fn rows(steps: &[(String, String, Duration)]) -> Vec<Vec<Place>> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let seed: u64 = number("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut all = Vec::new();
    for nth in 0..number("KILL_MOMENTS").unwrap_or(20) + 2 {
        let row = steps.iter().map(|(task, step, took)| {
            let moment = match nth {
                0 => Moment::Before,
                1 => Moment::Behind,
                _ => Moment::During(took.mul_f64(random.random::<f64>())),
            };
            (task.clone(), step.clone(), moment)
        });
        // a disk that may be half patched is taken back, and that is the end of that request
        let row: Vec<_> = row.collect();
        all.extend(row.split_inclusive(|(task, ..)| task == "patch-disk").map(<[Place]>::to_vec));
    }
    let wanted = std::env::var("KILLS").unwrap_or_else(|_| "1".to_owned());
    if wanted != "all" {
        all = all.into_iter().flatten().map(|place| vec![place]).collect();
        all.shuffle(&mut random);
        all.truncate(wanted.parse().unwrap());
    }
    all
}

/// What a flow needs to be there before it; its `operationSpec` for this machine.
fn prepare(world: &World, case: &Case, machine: &str) -> Value {
    if case.operation == "start" {
        let id = format!("stop-{machine}");
        world.done("power-vm", &id, &request(&id, "stop", machine, &Value::Null)).unwrap();
    }
    if case.operation == "undelete" {
        let id = format!("remove-{machine}");
        world
            .done("deprovision-vm", &id, &request(&id, "deprovision", machine, &json!({"disks": "retain"})))
            .unwrap();
    }
    if case.operation != "restore" {
        return case.spec.clone();
    }
    let id = format!("snap-{machine}");
    let ended = world.run("snapshot-vm", &id, &request(&id, "snapshot", machine, &Value::Null)).unwrap();
    json!({"snapshot": ended.results["snapshot-name"]})
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning() {
    survives(Case { pipeline: "provision-vm", operation: "provision", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start() {
    survives(Case { pipeline: "power-vm", operation: "start", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop() {
    survives(Case { pipeline: "power-vm", operation: "stop", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart() {
    survives(Case { pipeline: "power-vm", operation: "restart", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot() {
    survives(Case { pipeline: "snapshot-vm", operation: "snapshot", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restore() {
    survives(Case { pipeline: "restore-vm", operation: "restore", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repave() {
    let spec = json!({"image": {"source": "http", "url": "https://images.example.com/second.img"}});
    survives(Case { pipeline: "repave-vm", operation: "repave", spec }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resize() {
    let spec = json!({"compute": {"memory": "2Gi"}, "allowRestart": true});
    survives(Case { pipeline: "resize-vm", operation: "resize", spec }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deprovision() {
    survives(Case { pipeline: "deprovision-vm", operation: "deprovision", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undelete() {
    survives(Case { pipeline: "undelete-vm", operation: "undelete", spec: Value::Null }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patch() {
    let spec = json!({"profile": "security"});
    survives(Case { pipeline: "patch-vm", operation: "patch", spec }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patch_in_the_guest() {
    let spec = json!({"profile": "security", "method": "in-guest"});
    survives(Case { pipeline: "patch-guest-vm", operation: "patch", spec }).await;
}
