//! A stand-in for KubeVirt, for one machine: what virt-controller and the verbs of virt-api do to it, as kubevirt 1.8 `pkg/virt-api/rest/lifecycle.go`
//! and `pkg/virt-controller/watch/vm/vm.go` have it. It shows nothing of a real KubeVirt.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::World;

pub(crate) const VM: &str = "/apis/kubevirt.io/v1/namespaces/team-a/virtualmachines/web01";
pub(crate) const VMI: &str = "/apis/kubevirt.io/v1/namespaces/team-a/virtualmachineinstances/web01";
pub(crate) const DISK: &str = "/apis/cdi.kubevirt.io/v1beta1/namespaces/team-a/datavolumes/web01-root";

/// How the guest behaves.
#[derive(Debug, Default)]
pub(crate) struct Guest {
    /// It does not hear that it shall stop.
    pub(crate) deaf: AtomicBool,
    /// It is not started yet.
    pub(crate) late: AtomicBool,
    /// virt-controller does nothing: what is seen stays as it is, or as a test makes it.
    pub(crate) held: AtomicBool,
    step: tokio::sync::Mutex<()>,
    /// Instances that began.
    pub(crate) begun: AtomicU32,
}

pub(crate) struct KubeVirt {
    pub(crate) world: World,
    pub(crate) guest: Arc<Guest>,
    work: JoinHandle<()>,
}

impl Drop for KubeVirt {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// A machine with one disk, declared so.
pub(crate) fn machine(spec: &Value) -> Value {
    let mut vm = json!({
        "metadata": {"name": "web01", "namespace": "team-a", "generation": 1, "uid": "vm-1"},
        "spec": {"template": {"spec": {
            "terminationGracePeriodSeconds": 3600,
            "volumes": [{"name": "root", "persistentVolumeClaim": {"claimName": "web01-root"}}]
        }}},
        "status": {}
    });
    for (key, value) in spec.as_object().unwrap() {
        vm["spec"][key] = value.clone();
    }
    vm
}

impl KubeVirt {
    /// The machine, declared so, and its controller.
    pub(crate) async fn with(spec: Value) -> Self {
        let world = World::start().await;
        world.put(VM, machine(&spec));
        world.put(DISK, json!({"metadata": {"name": "web01-root"}, "status": {"phase": "Succeeded"}}));
        let guest = Arc::new(Guest::default());
        world.on_verb(verb);
        let work = tokio::spawn(control(world.clone(), Arc::clone(&guest)));
        Self { world, guest, work }
    }

    /// Until the machine shows this.
    pub(crate) async fn until(&self, what: &str, met: impl Fn(&Value, Option<&Value>) -> bool) {
        let mut changed = self.world.watch();
        let wait = async {
            while !self.world.get(VM).is_some_and(|vm| met(&vm, self.world.get(VMI).as_ref())) {
                changed.changed().await.unwrap();
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {what}");
    }

    pub(crate) async fn runs(&self) -> String {
        self.until("it runs", |vm, _| vm["status"]["printableStatus"] == "Running").await;
        self.uid()
    }

    pub(crate) fn uid(&self) -> String {
        self.world.get(VMI).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// Stop virt-controller, between two steps, or let it go on.
    pub(crate) async fn hold(&self, held: bool) {
        let _step = self.guest.step.lock().await;
        self.guest.held.store(held, Ordering::SeqCst);
    }

    /// What the machine, or its instance, shows while virt-controller is held.
    pub(crate) fn shows(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        self.world.edit(path, |object| {
            let mut object = object.unwrap();
            edit(&mut object);
            Some(object)
        });
    }

    /// What somebody else does to the spec, such as Argo CD.
    pub(crate) fn declare(&self, edit: impl FnOnce(&mut Value)) {
        self.world.edit(VM, |vm| {
            let mut vm = vm.unwrap();
            edit(&mut vm["spec"]);
            vm["metadata"]["generation"] = json!(vm["metadata"]["generation"].as_u64().unwrap() + 1);
            Some(vm)
        });
    }
}

fn strategy(vm: &Value) -> &str {
    match vm["spec"]["running"].as_bool() {
        Some(true) => "Always",
        Some(false) => "Halted",
        None => vm["spec"]["runStrategy"].as_str().unwrap(),
    }
}

fn over(vmi: &Value) -> bool {
    matches!(vmi["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// The verbs of virt-api.
fn verb(world: &World, _: &str, verb: &str, body: &Value) -> (u16, String) {
    let (vm, vmi) = (world.get(VM).unwrap(), world.get(VMI));
    let strategy = strategy(&vm).to_owned();
    let conflict =
        |words: &str| (409, format!("Operation cannot be fulfilled on virtualmachine \"web01\": {words}"));
    let wishes = vm["status"]["stateChangeRequests"].as_array().cloned().unwrap_or_default();
    let wish = |new: Value| {
        let stop = new.as_array().unwrap().len() == 1 && new[0]["action"] == "Stop";
        if !wishes.is_empty() && !stop {
            return (
                500,
                "Internal error occurred: unable to complete request: stop/start already underway".to_owned(),
            );
        }
        world.edit(VM, |vm| {
            let mut vm = vm.unwrap();
            vm["status"]["stateChangeRequests"] = new;
            Some(vm)
        });
        (202, String::new())
    };
    let spec = |strategy: &str| {
        world.edit(VM, |vm| {
            let mut vm = vm.unwrap();
            vm["spec"]["runStrategy"] = json!(strategy);
            vm["metadata"]["generation"] = json!(vm["metadata"]["generation"].as_u64().unwrap() + 1);
            Some(vm)
        });
        (202, String::new())
    };
    let live = vmi.as_ref().filter(|vmi| !over(vmi));
    let id = vmi.as_ref().map(|vmi| vmi["metadata"]["uid"].clone());
    match (verb, strategy.as_str()) {
        ("start", _) if live.is_some() => conflict("VM is already running"),
        ("start", "Halted") => spec("Always"),
        ("start", "Manual" | "RerunOnFailure") => wish(match id {
            Some(id) => json!([{"action": "Stop", "uid": id}, {"action": "Start"}]),
            None => json!([{"action": "Start"}]),
        }),
        ("start", other) => conflict(&format!("{other} does not support manual start requests")),
        ("stop", _) => {
            let grace = body.get("gracePeriod").cloned();
            let shorter = live.is_some_and(|vmi| {
                grace.as_ref().and_then(Value::as_u64) < vmi["spec"]["terminationGracePeriodSeconds"].as_u64()
            });
            if let (Some(grace), Some(_)) = (&grace, live) {
                world.edit(VMI, |vmi| {
                    let mut vmi = vmi?;
                    vmi["spec"]["terminationGracePeriodSeconds"] = grace.clone();
                    Some(vmi)
                });
            }
            match strategy.as_str() {
                "Always" | "Once" => spec("Halted"),
                _ if live.is_none() => conflict("VM is not running"),
                "Halted" if grace.is_none() || !shorter => {
                    conflict("Halted only supports manual stop requests with a shorter graceperiod")
                }
                _ => wish(json!([{"action": "Stop", "uid": id}])),
            }
        }
        ("restart", "Halted" | "Once") => conflict("does not support manual restart requests"),
        ("restart", _) if vmi.is_none() => conflict("VM is not running: Halted"),
        ("restart", _) => {
            // a grace period of 0 shortens that of a pod, which a kubelet that has begun to stop it does not heed
            wish(json!([{"action": "Stop", "uid": id}, {"action": "Start"}]))
        }
        _ => (404, "no such verb".to_owned()),
    }
}

/// virt-controller, and the guest.
async fn control(world: World, guest: Arc<Guest>) {
    let mut changed = world.watch();
    let dying: Mutex<Option<Instant>> = Mutex::new(None);
    loop {
        {
            let _step = guest.step.lock().await;
            if !guest.held.load(Ordering::SeqCst) {
                step(&world, &guest, &dying);
            }
        }
        // the guest takes a while for everything
        let _ = tokio::time::timeout(Duration::from_millis(100), changed.changed()).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn step(world: &World, guest: &Guest, dying: &Mutex<Option<Instant>>) {
    let (vm, vmi) = (world.get(VM).unwrap(), world.get(VMI));
    let wishes = vm["status"]["stateChangeRequests"].as_array().cloned().unwrap_or_default();
    let wants = |action: &str, id: &Value| {
        wishes.first().is_some_and(|wish| wish["action"] == action && (id.is_null() || wish["uid"] == *id))
    };
    let strategy = strategy(&vm).to_owned();
    if let Some(vmi) = &vmi {
        let going = vmi["metadata"].get("deletionTimestamp").is_some();
        if !going
            && (strategy == "Halted"
                || wants("Stop", &vmi["metadata"]["uid"])
                || (over(vmi) && strategy == "Always"))
        {
            world.edit(VMI, |vmi| {
                let mut vmi = vmi?;
                vmi["metadata"]["deletionTimestamp"] = json!("2026-11-21T06:00:00Z");
                Some(vmi)
            });
        }
        if going {
            let mut dying = dying.lock().unwrap();
            let since = *dying.get_or_insert_with(Instant::now);
            let grace =
                Duration::from_secs(vmi["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30));
            let killed = since.elapsed() >= grace;
            if over(vmi) {
                *dying = None;
                world.edit(VMI, |_| None);
            } else if killed
                || (!guest.deaf.load(Ordering::SeqCst) && since.elapsed() > Duration::from_millis(150))
            {
                world.edit(VMI, |vmi| {
                    let mut vmi = vmi?;
                    vmi["status"]["phase"] = json!(if killed { "Failed" } else { "Succeeded" });
                    Some(vmi)
                });
            }
        } else if vmi["status"]["phase"] == "Scheduled" {
            world.edit(VMI, |vmi| {
                let mut vmi = vmi?;
                vmi["status"]["phase"] = json!("Running");
                Some(vmi)
            });
        }
    }
    let first = vm["status"]["runStrategy"] != json!(strategy);
    let starts =
        strategy == "Always" || (strategy == "RerunOnFailure" && first) || wants("Start", &Value::Null);
    if vmi.is_none() && strategy != "Halted" && starts && !guest.late.load(Ordering::SeqCst) {
        let number = guest.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let template = vm["spec"]["template"]["spec"].clone();
        world.edit(VMI, |vmi| {
            vmi.or_else(|| {
                Some(json!({
                    "metadata": {"name": "web01", "namespace": "team-a", "uid": format!("i-{number}")},
                    "spec": template,
                    "status": {"phase": "Scheduled", "nodeName": "node1", "interfaces": [{"ipAddress": "127.0.0.1"}]}
                }))
            })
        });
    }
    report(world);
}

fn report(world: &World) {
    let instance = world.get(VMI);
    world.edit(VM, |vm| {
        let mut vm = vm?;
        let strategy = strategy(&vm).to_owned();
        let running = instance.as_ref().is_some_and(|v| v["status"]["phase"] == "Running");
        let going = instance.as_ref().is_some_and(|v| v["metadata"].get("deletionTimestamp").is_some());
        let started_from = |v: &Value| {
            v["spec"]["volumes"] == vm["spec"]["template"]["spec"]["volumes"]
                && v["spec"]["domain"] == vm["spec"]["template"]["spec"]["domain"]
        };
        let old = instance.as_ref().is_some_and(|v| !started_from(v));
        let generation = vm["metadata"]["generation"].clone();
        let status = vm["status"].as_object_mut().unwrap();
        // a wish is dropped when its instance is gone, or when one has begun
        if let Some(wishes) = status.get("stateChangeRequests").and_then(Value::as_array).cloned() {
            let done = match (wishes.first(), &instance) {
                (Some(wish), Some(v)) if wish["action"] == "Stop" => wish["uid"] != v["metadata"]["uid"],
                (Some(wish), None) => wish["action"] == "Stop",
                (Some(_), Some(_)) => !going,
                (None, _) => false,
            };
            let left: Vec<_> = wishes.into_iter().skip(usize::from(done)).collect();
            if left.is_empty() {
                status.remove("stateChangeRequests");
            } else {
                status.insert("stateChangeRequests".into(), json!(left));
            }
        }
        let printable = match (&instance, going, running) {
            (Some(_), true, _) => "Stopping",
            (Some(_), _, true) => "Running",
            (Some(_), ..) => "Starting",
            (None, ..) => "Stopped",
        };
        let mut conditions = vec![json!({"type": "Ready", "status": if printable == "Running" { "True" } else { "False" }, "message": "not running"})];
        if old && running && !going {
            conditions.push(json!({"type": "RestartRequired", "status": "True", "message": "a non-live-updatable field was changed in the template spec"}));
        } else {
            status.insert("observedGeneration".into(), generation.clone());
        }
        status.insert("conditions".into(), json!(conditions));
        status.insert("printableStatus".into(), json!(printable));
        status.insert("desiredGeneration".into(), generation);
        if instance.is_some() {
            status.insert("created".into(), json!(true));
        } else {
            status.remove("created");
        }
        if status.contains_key("runStrategy") || instance.is_some() {
            status.insert("runStrategy".into(), json!(strategy));
        }
        Some(vm)
    });
}
