//! The world of one machine with two disks. A disk is a word, so that lost data is seen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bed::controllers::tick;
use crate::bed::server::Server;

pub(crate) const VM: &str = "/apis/kubevirt.io/v1/namespaces/team-a/virtualmachines/web01";
pub(crate) const VMI: &str = "/apis/kubevirt.io/v1/namespaces/team-a/virtualmachineinstances/web01";
pub(crate) const APPLICATION: &str =
    "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/in-cluster.team-a.web01";
pub(crate) const SNAPSHOTS: &str =
    "/apis/snapshot.kubevirt.io/v1beta1/namespaces/team-a/virtualmachinesnapshots";
pub(crate) const CONTENTS: &str =
    "/apis/snapshot.kubevirt.io/v1beta1/namespaces/team-a/virtualmachinesnapshotcontents";
pub(crate) const RESTORES: &str =
    "/apis/snapshot.kubevirt.io/v1beta1/namespaces/team-a/virtualmachinerestores";
pub(crate) const VOLUME_SNAPSHOTS: &str =
    "/apis/snapshot.storage.k8s.io/v1/namespaces/team-a/volumesnapshots";
pub(crate) const CLAIMS: &str = "/api/v1/namespaces/team-a/persistentvolumeclaims";
pub(crate) const DATA_VOLUMES: &str = "/apis/cdi.kubevirt.io/v1beta1/namespaces/team-a/datavolumes";
/// The word in a disk.
pub(crate) const MARK: &str = "mark";

/// How the controllers behave.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether, in any combination")]
pub(crate) struct Ways {
    /// Snapshots of these volumes only are taken.
    pub(crate) snapshots: Vec<&'static str>,
    /// What is said of how a snapshot was taken.
    pub(crate) indications: Vec<&'static str>,
    /// Snapshots stay as they are at this point: `lock`, `ready`.
    pub(crate) snapshot_stays: Option<&'static str>,
    /// A snapshot fails, in these words.
    pub(crate) snapshot_fails: Option<&'static str>,
    /// A restore stays, or fails, before (`begin`) or after (`claims`) it touches the disks.
    pub(crate) restore_stays: Option<&'static str>,
    pub(crate) restore_fails: Option<&'static str>,
    /// Restored claims wait for their first consumer.
    pub(crate) pending: bool,
    /// The snapshot holds the revision of the machine's instance type, as that of a running machine does.
    pub(crate) revision: bool,
    /// The claims are made by the claims' own files in Git, not by data volumes: where one is missing Argo CD makes an empty one.
    pub(crate) plain_claims: bool,
    /// What Argo CD changes of the machine is not seen in lists and watches, though its own status is.
    pub(crate) machine_heard_late: bool,
    /// The volumes in Git.
    pub(crate) git: Value,
    /// Virtual seconds of the Argo CD clock.
    pub(crate) clock: u64,
}

/// The world, with its controllers at work until it is dropped.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) ways: Arc<Mutex<Ways>>,
    work: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn volumes() -> Value {
    json!([
        {"name": "root", "persistentVolumeClaim": {"claimName": "web01-root-1"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "web01-data-1"}},
        {"name": "cloud-init", "cloudInitNoCloud": {"userData": "#cloud-config"}}
    ])
}

impl World {
    /// A machine that is off, with the word `old` in each of its disks.
    pub(crate) async fn new() -> Self {
        let server = Server::start().await;
        let ways = Ways {
            snapshots: vec!["root", "data"],
            indications: Vec::new(),
            snapshot_stays: None,
            snapshot_fails: None,
            restore_stays: None,
            restore_fails: None,
            pending: false,
            revision: false,
            plain_claims: false,
            machine_heard_late: false,
            git: volumes(),
            clock: 0,
        };
        let ways = Arc::new(Mutex::new(ways));
        server.with(|store| {
            store.put(
                VM,
                json!({
                    "spec": {"runStrategy": "Halted", "instancetype": {"name": "small"}, "template": {"spec": {"volumes": volumes()}}},
                    "status": {"volumeSnapshotStatuses": [
                        {"name": "root", "enabled": true}, {"name": "data", "enabled": true},
                        {"name": "cloud-init", "enabled": false, "reason": "Snapshot is not supported for this volumeSource type [cloud-init]"}
                    ]}
                }),
            );
            for disk in ["root", "data"] {
                let name = format!("web01-{disk}-1");
                let dv = store.put(&format!("{DATA_VOLUMES}/{name}"), json!({"status": {"phase": "Succeeded"}}));
                let owner = json!([{"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": name, "uid": dv["metadata"]["uid"]}]);
                store.put(&format!("{CLAIMS}/{name}"), claim("old", &owner));
            }
            store.put(
                APPLICATION,
                json!({"metadata": {"namespace": "argocd"}, "spec": {"syncPolicy": {"automated": {"selfHeal": true}}},
                    "status": {"reconciledAt": time(0), "sync": {"status": "Synced"}}}),
            );
            store.described.insert("/openapi/v3/apis/snapshot.kubevirt.io/v1beta1".to_owned(), described(&["volumeRestorePolicy", "volumeOwnershipPolicy", "targetReadinessPolicy"]));
        });
        let world = (server.clone(), Arc::clone(&ways));
        let work = tokio::spawn(async move {
            loop {
                world.0.with(|store| tick(store, &mut world.1.lock().unwrap()));
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        });
        Self { server, ways, work }
    }

    pub(crate) fn way(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.ways.lock().unwrap());
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.server.with(|store| store.put(path, object));
    }

    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        self.server.with(|store| store.edit(path, change));
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.server.with(|store| store.get(path).cloned())
    }

    /// The names in a collection.
    pub(crate) fn names(&self, collection: &str) -> Vec<String> {
        self.server.with(|store| {
            store.all(collection).into_iter().map(|(p, _)| p.rsplit('/').next().unwrap().to_owned()).collect()
        })
    }

    /// How often a change of this method and place was asked for.
    pub(crate) fn asked(&self, change: &str) -> usize {
        self.server.with(|store| store.changes.iter().filter(|c| c.starts_with(change)).count())
    }

    /// A snapshot with the word that is in the disks now, made whole at once.
    pub(crate) async fn snapshot(&self, name: &str) {
        self.put(&format!("{SNAPSHOTS}/{name}"), json!({"spec": {"source": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web01"}}}));
        until("the snapshot", || {
            self.get(&format!("{SNAPSHOTS}/{name}")).unwrap()["status"]["readyToUse"] == true
        })
        .await;
    }
}

/// Wait for a condition.
pub(crate) async fn until(what: &str, met: impl Fn() -> bool) {
    let wait = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {what}");
}

pub(crate) fn described(fields: &[&str]) -> Value {
    let fields: serde_json::Map<String, Value> =
        fields.iter().map(|f| ((*f).to_owned(), json!({"type": "string"}))).collect();
    json!({"components": {"schemas": {"r": {
        "properties": {"spec": {"properties": fields}},
        "x-kubernetes-group-version-kind": [{"group": "snapshot.kubevirt.io", "kind": "VirtualMachineRestore", "version": "v1beta1"}]
    }}}})
}

pub(crate) fn claim(mark: &str, owners: &Value) -> Value {
    json!({"metadata": {"ownerReferences": owners, "finalizers": []}, MARK: mark,
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Bound"}})
}

pub(crate) fn time(second: u64) -> String {
    format!("2026-11-21T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}
