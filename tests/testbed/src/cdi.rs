//! A stand-in for CDI 1.65: `DataVolumes` become claims and are filled.
//!
//! It plays: the claim of the same name, owned by the `DataVolume`, with CDI's size (6 % for the filesystem) and labels; the phases
//! `ImportScheduled`, `ImportInProgress`, Succeeded of an import and `SnapshotForSmartCloneInProgress`,
//! `CloneFromSnapshotSourceInProgress`, Succeeded of a clone, with progress and conditions in the order seen on a real cluster; an
//! import that fails again and again; a storage class that CDI does not know, which refuses a volume without access modes.
//!
//! It does not play: bytes (nothing is fetched), admission (a changed `spec` is taken, a `DataSource` that is not there only leaves
//! the volume without a phase), the `prime-…` claims, `WaitForFirstConsumer`, adoption, `DataImportCrons`, persistent volumes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use kube::Client;
use serde_json::{Value, json};

use crate::standin::{
    Controller, Kind, Objects, Running, Scope, claims, items, key, now, owner, set_condition, text, volumes,
};

/// What is in a file system besides the disk image, in per cent: CDI's default.
const OVERHEAD: u64 = 6;

/// How a [`Cdi`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces it looks after; none named: all.
    pub namespaces: Vec<String>,
    /// How long each phase lasts.
    pub pace: Duration,
    /// Whether CDI knows access modes for the storage class. If not, a volume has to name them.
    pub storage_is_known: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { namespaces: Vec::new(), pace: Duration::from_millis(150), storage_is_known: true }
    }
}

#[derive(Debug, Default)]
struct Knobs {
    held: bool,
    failing: HashMap<(String, String), String>,
}

/// A running stand-in for CDI; it stops when dropped.
#[derive(Debug)]
pub struct Cdi {
    running: Running,
    knobs: Arc<Mutex<Knobs>>,
}

impl Cdi {
    /// Start it, in the current tokio runtime.
    pub fn start(client: Client, options: Options) -> Self {
        let knobs = Arc::default();
        let objects = Objects::new(client);
        let kinds = vec![volumes(), claims()];
        let scope = Scope(options.namespaces.clone());
        let filler = Filler {
            objects: objects.clone(),
            options,
            scope,
            knobs: Arc::clone(&knobs),
            since: HashMap::new(),
        };
        Self { running: Running::start(&objects, kinds, filler), knobs }
    }

    /// Leave every volume in the phase that it is in, until [`Cdi::go_on`].
    pub fn hold(&self) {
        self.knobs().held = true;
    }

    /// Go on with the volumes.
    pub fn go_on(&self) {
        self.knobs().held = false;
        self.running.poke();
    }

    /// Let the import of a volume fail with these words, again and again, until [`Cdi::heal`].
    pub fn fail(&self, namespace: &str, name: &str, words: &str) {
        self.knobs().failing.insert((namespace.to_owned(), name.to_owned()), words.to_owned());
        self.running.poke();
    }

    /// Let the import of a volume go on.
    pub fn heal(&self, namespace: &str, name: &str) {
        self.knobs().failing.remove(&(namespace.to_owned(), name.to_owned()));
        self.running.poke();
    }

    fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.knobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Filler {
    objects: Objects,
    options: Options,
    scope: Scope,
    knobs: Arc<Mutex<Knobs>>,
    /// Since when a volume, by uid, is in its phase.
    since: HashMap<String, (String, Instant)>,
}

impl Controller for Filler {
    async fn look(&mut self) -> Result<Option<Duration>> {
        let mut busy = false;
        for volume in self.objects.list(&volumes()).await? {
            if self.scope.holds(&volume) && volume["metadata"].get("deletionTimestamp").is_none() {
                busy |= self.bring_on(&volume).await?;
            }
        }
        Ok(busy.then_some(self.options.pace / 2))
    }
}

impl Filler {
    /// True if there is more to do for this volume.
    async fn bring_on(&mut self, volume: &Value) -> Result<bool> {
        let phase = text(volume, "/status/phase");
        if phase == "Succeeded" {
            return Ok(false);
        }
        let id = text(volume, "/metadata/uid").to_owned();
        let since = self.since.entry(id).or_insert_with(|| (phase.to_owned(), Instant::now()));
        if since.0 != phase {
            *since = (phase.to_owned(), Instant::now());
        }
        let elapsed = since.1.elapsed() >= self.options.pace;
        let (held, failure) = {
            let knobs = self.knobs.lock().unwrap_or_else(PoisonError::into_inner);
            (knobs.held, knobs.failing.get(&key(volume)).cloned())
        };
        if !self.options.storage_is_known
            && volume.pointer("/spec/storage").is_some()
            && items(volume, "/spec/storage/accessModes").is_empty()
        {
            return self.refuse_claim(volume).await;
        }
        let claim = claims().of(volume);
        let Some(claim_seen) = self.objects.get(&claim).await? else {
            if self.source_is_there(volume).await? {
                self.objects.create(&claims(), &claim_of(volume)).await?;
                let pending =
                    [("Bound", "False", "Pending", pending(volume)), ("Ready", "False", "", String::new())];
                self.write(volume, "", "N/A", &pending).await?;
            }
            return Ok(true);
        };
        if held || !elapsed {
            return Ok(true);
        }
        let (scheduled, in_progress) = if clone_source(volume) {
            ("SnapshotForSmartCloneInProgress", "CloneFromSnapshotSourceInProgress")
        } else {
            ("ImportScheduled", "ImportInProgress")
        };
        let bound = ("Bound", "False", "Pending", pending(volume));
        if phase.is_empty() {
            let conditions =
                [bound, ("Ready", "False", "", String::new()), ("Running", "False", "", String::new())];
            self.write(volume, scheduled, "N/A", &conditions).await?;
        } else if phase == scheduled {
            let ready = ("Ready", "False", "TransferRunning", String::new());
            let conditions = [bound, ready, ("Running", "True", "Pod is running", String::new())];
            self.write(volume, in_progress, "N/A", &conditions).await?;
        } else if let Some(words) = failure {
            let conditions =
                [bound, ("Ready", "False", "", String::new()), ("Running", "False", "Error", words)];
            self.write(volume, phase, "N/A", &conditions).await?;
        } else {
            self.bind(&claim, &claim_seen).await?;
            let name = text(volume, "/metadata/name");
            let conditions = [
                ("Bound", "True", "Bound", format!("PVC {name} Bound")),
                ("Ready", "True", "", String::new()),
                ("Running", "False", "Completed", "Import Complete".to_owned()),
            ];
            self.write(volume, "Succeeded", "100.0%", &conditions).await?;
        }
        Ok(true)
    }

    async fn refuse_claim(&self, volume: &Value) -> Result<bool> {
        let class = storage_class(volume);
        let words = format!("no accessMode specified in StorageProfile {class}");
        let conditions = [
            ("Bound", "False", "ErrClaimNotValid", words.clone()),
            ("Ready", "False", "ErrClaimNotValid", words),
            ("Running", "False", "", String::new()),
        ];
        let mut status =
            json!({ "conditions": volume["status"].get("conditions").cloned().unwrap_or(json!([])) });
        fill_conditions(&mut status, &conditions);
        self.put(volume, status).await?;
        Ok(false)
    }

    /// A `sourceRef` is resolved when the claim is made; CDI's admission refuses a volume whose `DataSource` is not there.
    async fn source_is_there(&self, volume: &Value) -> Result<bool> {
        let Some(reference) = volume.pointer("/spec/sourceRef") else { return Ok(true) };
        let own = text(volume, "/metadata/namespace");
        let namespace = reference["namespace"].as_str().unwrap_or(own);
        let sources = Kind::new("cdi.kubevirt.io/v1beta1", "datasources");
        let source = self.objects.get(&sources.path(namespace, text(reference, "/name"))).await?;
        Ok(source.is_some_and(|source| {
            source["spec"]["source"].as_object().is_some_and(|object| !object.is_empty())
        }))
    }

    async fn bind(&self, path: &str, claim: &Value) -> Result<()> {
        let name = json!({ "spec": { "volumeName": format!("pvc-{}", text(claim, "/metadata/uid")) } });
        self.objects.merge(path, &name).await?;
        let status = json!({ "status": {
            "phase": "Bound", "accessModes": claim["spec"]["accessModes"],
            "capacity": { "storage": claim["spec"]["resources"]["requests"]["storage"] },
        } });
        self.objects.merge(&format!("{path}/status"), &status).await
    }

    async fn write(
        &self,
        volume: &Value,
        phase: &str,
        progress: &str,
        conditions: &[(&str, &str, &str, String)],
    ) -> Result<()> {
        let mut status = json!({
            "claimName": volume["metadata"]["name"],
            "conditions": volume["status"].get("conditions").cloned().unwrap_or(json!([])),
            "progress": progress,
        });
        if !phase.is_empty() {
            status["phase"] = json!(phase);
        }
        fill_conditions(&mut status, conditions);
        self.put(volume, status).await
    }

    async fn put(&self, volume: &Value, status: Value) -> Result<()> {
        if volume.get("status") == Some(&status) {
            return Ok(());
        }
        self.objects.set(&format!("{}/status", volumes().of(volume)), volume, &[("/status", status)]).await
    }
}

fn fill_conditions(status: &mut Value, conditions: &[(&str, &str, &str, String)]) {
    let Some(list) = status["conditions"].as_array_mut() else { return };
    for (kind, state, reason, message) in conditions {
        let mut condition =
            json!({ "type": kind, "status": state, "lastTransitionTime": now(), "lastHeartbeatTime": now() });
        if !reason.is_empty() {
            condition["reason"] = json!(reason);
        }
        if !message.is_empty() {
            condition["message"] = json!(message);
        }
        set_condition(list, condition);
    }
}

fn pending(volume: &Value) -> String {
    format!("PVC {} Pending", text(volume, "/metadata/name"))
}

fn clone_source(volume: &Value) -> bool {
    ["/spec/sourceRef", "/spec/source/pvc", "/spec/source/snapshot"]
        .iter()
        .any(|at| volume.pointer(at).is_some())
}

fn storage_class(volume: &Value) -> &str {
    let named = ["/spec/storage/storageClassName", "/spec/pvc/storageClassName"];
    named.iter().map(|at| text(volume, at)).find(|name| !name.is_empty()).unwrap_or("standard")
}

fn claim_of(volume: &Value) -> Value {
    let asked = if volume.pointer("/spec/pvc").is_some() { "/spec/pvc" } else { "/spec/storage" };
    let at = |field: &str| volume.pointer(&format!("{asked}/{field}")).cloned();
    let mode = at("volumeMode").unwrap_or(json!("Filesystem"));
    // A clone may leave its size to the source, whose size nobody knows here.
    let size = at("resources/requests/storage").unwrap_or(json!("1Gi"));
    let size = match (asked, mode == "Filesystem", size.as_str().and_then(bytes)) {
        ("/spec/storage", true, Some(bytes)) => json!((bytes * (100 + OVERHEAD)).div_ceil(100).to_string()),
        _ => size,
    };
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": volume["metadata"]["name"], "namespace": volume["metadata"]["namespace"],
            "annotations": volume["metadata"].get("annotations").cloned().unwrap_or(json!({})),
            "labels": { "app": "containerized-data-importer", "app.kubernetes.io/managed-by": "cdi-controller" },
            "ownerReferences": owner("cdi.kubevirt.io/v1beta1", "DataVolume", volume),
        },
        "spec": {
            "accessModes": at("accessModes").unwrap_or(json!(["ReadWriteOnce"])), "volumeMode": mode,
            "storageClassName": storage_class(volume), "resources": { "requests": { "storage": size } },
        },
    })
}

/// Bytes of a whole quantity; none where it is written otherwise.
fn bytes(quantity: &str) -> Option<u64> {
    let end = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let factor = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_as_large_as_cdi_makes_it() {
        let volume = json!({
            "metadata": { "name": "d", "namespace": "n", "uid": "u" },
            "spec": { "source": { "blank": {} }, "storage": { "resources": { "requests": { "storage": "64Mi" } } } },
        });
        // measured.md: 64Mi is made as 71135396
        assert_eq!(claim_of(&volume)["spec"]["resources"]["requests"]["storage"], "71135396");
    }
}
