//! A stand-in for KubeVirt 1.8: a `VirtualMachine` gets its `VirtualMachineInstance`, which goes through its phases.
//!
//! It plays, in the order and with the words seen on a real cluster: the run strategies and the requests to start and stop in the
//! machine's status; Pending, Scheduling, Scheduled, Running, and Failed or Succeeded on the way out, killed at the end of the grace period
//! where the guest ignores the power button; `printableStatus` by KubeVirt's own order of precedence; conditions Ready,
//! `DataVolumesReady`, `PodScheduled`, Synchronized, `AgentConnected` (on request), `RestartRequired`; `created`, `ready`, `startFailure`,
//! `observedGeneration`, `volumeSnapshotStatuses`; interfaces with a MAC and an address; finalizers; `dataVolumeTemplates`; snapshots and
//! restores, with what they lock, delete and own. A machine waits for its claims and for the `DataVolumes` that own them. What admission
//! refuses and the subresources are with the control plane.
//!
//! It does not play: defaults (firmware, MAC, machine type are as the file has them), launcher pods, instance types (taken as they are,
//! never expanded, another name being taken for other memory), changes that a running guest follows (they are neither made nor asked a
//! restart for), migration and pause but as a [`Fault`], guests that are frozen, backend storage, `VirtualMachineSnapshots` of anything but machines, the
//! policy `StopTarget` for Manual machines.
//!
//! What goes wrong is chosen by the request itself, so that the same request can be shown to a real cluster: a container disk
//! whose image is named `nothing` or `missing` cannot be pulled; one named `crash` ends at start; a guest with more memory than the node
//! is not scheduled. [`KubeVirt::fail`] does the same to any machine.

mod capture;
mod duration;
mod fault;
mod instance;
mod machine;
mod power;
mod restore;
mod restored;
mod snapshot;
mod status;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use kube::Client;
use serde_json::Value;

pub use self::fault::Fault;
pub(crate) use self::status::strategy;
use crate::standin::{
    Controller, Kind, Objects, Running, Scope, claims, instances, items, key, machines, restores, snapshots,
    text, volume_snapshots, volumes,
};

const FINALIZER: &str = "kubevirt.io/virtualMachineControllerFinalize";
/// An annotation of a `VirtualMachine`, or of its template: with the value `true` its guest does not react to the power button, and is
/// killed at the end of its grace period. A guest without an operating system is such a one.
pub const IGNORES_ACPI: &str = "testbed.vmlifecycle.dev/ignores-acpi";

/// How a [`KubeVirt`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces it looks after; none named: all.
    pub namespaces: Vec<String>,
    /// How long each phase lasts.
    pub pace: Duration,
    /// How long a machine that failed to start waits before the next try, times the number of failures in a row (really 10 s
    /// and growing).
    pub start_back_off: Duration,
    /// Whether a guest agent connects in every guest.
    pub guest_agent: bool,
    /// The address of every guest. One of this machine makes a port of it reachable.
    pub address: IpAddr,
    /// The memory of the one node, in GiB.
    pub node_memory: u64,
    /// Whether every guest ignores the power button, as [`IGNORES_ACPI`] has it.
    pub ignores_acpi: bool,
    /// How long a restore waits for its machine to be off before it fails, in seconds; none: KubeVirt's 300.
    pub restore_grace: Option<i64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            pace: Duration::from_millis(150),
            start_back_off: Duration::from_secs(1),
            guest_agent: false,
            address: Ipv4Addr::new(10, 244, 0, 52).into(),
            node_memory: 256,
            ignores_acpi: false,
            restore_grace: None,
        }
    }
}

/// A running stand-in for KubeVirt; it stops when dropped.
#[derive(Debug)]
pub struct KubeVirt {
    running: Running,
    faults: Faults,
}

type Faults = Arc<Mutex<HashMap<(String, String), Fault>>>;

impl KubeVirt {
    /// Start it, in the current tokio runtime.
    pub fn start(client: Client, options: Options) -> Self {
        let faults = Faults::default();
        let objects = Objects::new(client);
        let kinds =
            vec![machines(), instances(), volumes(), claims(), snapshots(), restores(), volume_snapshots()];
        let virt = Virt {
            objects: objects.clone(),
            scope: Scope(options.namespaces.clone()),
            options,
            faults: Arc::clone(&faults),
            since: HashMap::new(),
            retry_at: HashMap::new(),
            revisions: HashMap::new(),
        };
        Self { running: Running::start(&objects, kinds, virt), faults }
    }

    /// Keep a machine from running, from its next phase on.
    pub fn fail(&self, namespace: &str, name: &str, fault: Fault) {
        self.faults().insert((namespace.to_owned(), name.to_owned()), fault);
        self.running.poke();
    }

    /// Take back what [`KubeVirt::fail`] did: an image appears, a node gets room.
    pub fn heal(&self, namespace: &str, name: &str) {
        self.faults().remove(&(namespace.to_owned(), name.to_owned()));
        self.running.poke();
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<(String, String), Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Virt {
    objects: Objects,
    options: Options,
    scope: Scope,
    faults: Faults,
    /// Since when an instance, by uid, is in its step.
    since: HashMap<String, (String, Instant)>,
    /// When a machine, by uid, may be started again.
    retry_at: HashMap<String, Instant>,
    /// What instances were made from, by the path of the revision, which has the uid of its machine in its name.
    revisions: HashMap<String, Value>,
}

/// The claims and `DataVolumes` of all namespaces, by namespace and name.
struct Storage {
    claims: HashMap<(String, String), Value>,
    volumes: HashMap<(String, String), Value>,
    /// The `VolumeSnapshotClass` of each `StorageClass` that has one.
    snapshot_classes: HashMap<String, String>,
}

impl Controller for Virt {
    async fn look(&mut self) -> Result<Option<Duration>> {
        let by_name = |list: Vec<Value>| {
            list.into_iter().map(|object| (key(&object), object)).collect::<HashMap<_, _>>()
        };
        // side by side, for the API server of a busy machine takes its time with each
        let (claims, volumes, instances) = (claims(), volumes(), instances());
        let (claims, volumes, instances, snapshot_classes) = tokio::try_join!(
            self.objects.list(&claims),
            self.objects.list(&volumes),
            self.objects.list(&instances),
            self.snapshot_classes(),
        )?;
        let storage = Storage { claims: by_name(claims), volumes: by_name(volumes), snapshot_classes };
        let live = by_name(instances);
        let mut busy = self.copies(&live, &storage).await?;
        for instance in live.values() {
            if self.scope.holds(instance) {
                busy |= self.instance(instance, &storage).await?;
            }
        }
        for machine in self.objects.list(&machines()).await? {
            if self.scope.holds(&machine) {
                busy |= self.machine(&machine, live.get(&key(&machine)), &storage).await?;
            }
        }
        Ok(busy.then_some(self.options.pace / 2))
    }
}

impl Virt {
    /// Snapshots and restores come first: what they lock or change, the rest of this look must not write over.
    async fn copies(&mut self, live: &HashMap<(String, String), Value>, storage: &Storage) -> Result<bool> {
        let mut busy = false;
        let about = |object: &Value, at: &str| {
            let namespace = text(object, "/metadata/namespace").to_owned();
            (namespace, text(object, &format!("/spec/{at}/name")).to_owned())
        };
        for snapshot in self.objects.list(&snapshots()).await? {
            if self.scope.holds(&snapshot) {
                let key = about(&snapshot, "source");
                let machine = self.objects.get(&machines().path(&key.0, &key.1)).await?;
                busy |= self.snapshot(&snapshot, machine.as_ref(), live.get(&key), storage).await?;
            }
        }
        for restore in self.objects.list(&restores()).await? {
            if self.scope.holds(&restore) {
                let key = about(&restore, "target");
                let machine = self.objects.get(&machines().path(&key.0, &key.1)).await?;
                busy |= self.restore(&restore, machine.as_ref(), live.get(&key), storage).await?;
            }
        }
        Ok(busy)
    }

    /// A profile's own class, or the one of the same driver (KubeVirt's `getVolumeSnapshotClassName`).
    async fn snapshot_classes(&self) -> Result<HashMap<String, String>> {
        let cluster = |api_version: &str, plural: &str| Kind::new(api_version, plural);
        let (classes, of_snapshots) = (
            cluster("storage.k8s.io/v1", "storageclasses"),
            cluster("snapshot.storage.k8s.io/v1", "volumesnapshotclasses"),
        );
        let (classes, of_snapshots) =
            tokio::try_join!(self.objects.list(&classes), self.objects.list(&of_snapshots))?;
        let mut found = HashMap::new();
        for class in classes {
            let matching = of_snapshots.iter().find(|other| other["driver"] == class["provisioner"]);
            if let Some(matching) = matching {
                let name = text(&class, "/metadata/name").to_owned();
                found.insert(name, text(matching, "/metadata/name").to_owned());
            }
        }
        Ok(found)
    }

    /// Whether an instance has been in `step` for as long as a step takes.
    fn long_enough(&mut self, instance: &Value, step: &str) -> bool {
        let id = text(instance, "/metadata/uid").to_owned();
        let since = self.since.entry(id).or_insert_with(|| (step.to_owned(), Instant::now()));
        if since.0 != step {
            *since = (step.to_owned(), Instant::now());
        }
        since.1.elapsed() >= self.options.pace
    }

    fn fault(&self, instance: &Value) -> Option<Fault> {
        // a deaf guest runs, and may have another fault
        if let Some(fault) = self.wrong(instance).filter(|fault| *fault != Fault::Deaf) {
            return Some(fault);
        }
        if gibibytes(text(instance, "/spec/domain/memory/guest")) > self.options.node_memory {
            // The scheduler's words on a cluster of one node.
            return Some(Fault::Unschedulable(
                "0/1 nodes are available: 1 Insufficient memory. no new claims to deallocate, preemption: 0/1 nodes are available: \
                 1 Preemption is not helpful for scheduling."
                    .to_owned(),
            ));
        }
        let images =
            items(instance, "/spec/volumes").iter().map(|volume| text(volume, "/containerDisk/image"));
        for image in images {
            match image.rsplit('/').next().and_then(|last| last.split([':', '@']).next()) {
                Some("nothing" | "missing") => {
                    return Some(Fault::ImagePull(format!(
                        "failed to pull and unpack image \"{image}\": failed to resolve image: {image}: not found"
                    )));
                }
                Some("crash") => return Some(Fault::Crash),
                _ => {}
            }
        }
        None
    }
}

/// Whole `GiB` of a quantity in `Gi` or `Ti`; smaller units are less than any node has.
fn gibibytes(quantity: &str) -> u64 {
    let parse =
        |number: &str, factor: u64| number.parse::<u64>().map_or(0, |number| number.saturating_mul(factor));
    if let Some(number) = quantity.strip_suffix("Ti") {
        parse(number, 1024)
    } else if let Some(number) = quantity.strip_suffix("Gi") {
        parse(number, 1)
    } else {
        0
    }
}

/// The names of the claims that a machine's volumes stand for.
fn claim_names(template: &Value) -> impl Iterator<Item = &str> {
    items(template, "/volumes").iter().filter_map(|volume| {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        let claim = if claim.is_empty() { text(volume, "/dataVolume/name") } else { claim };
        (!claim.is_empty()).then_some(claim)
    })
}
