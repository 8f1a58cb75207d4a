//! The storage below CDI, as a CSI driver with the snapshot controller plays it: claims are bound, snapshots taken, volumes grow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Knobs, POPULATED_FOR, bytes};
use crate::{
    disks::{BLANK, content, marked},
    standin::{Controller, Objects, Scope, claims, items, now, text, volume_snapshots},
};

pub(super) struct Storage {
    objects: Objects,
    scope: Scope,
    pace: Duration,
    knobs: Arc<Mutex<Knobs>>,
    /// Since when something, by uid, is waited for.
    since: HashMap<String, Instant>,
}

impl Controller for Storage {
    async fn look(&mut self) -> Result<Option<Duration>> {
        let mut busy = false;
        let seen = self.objects.list(&claims()).await?;
        for claim in &seen {
            if !self.scope.holds(claim) || claim["metadata"].get("deletionTimestamp").is_some() {
                continue;
            }
            busy |= match text(claim, "/status/phase") {
                "Bound" => self.grow(claim).await?,
                _ => self.provision(claim, &seen).await?,
            };
        }
        for snapshot in self.objects.list(&volume_snapshots()).await? {
            if self.scope.holds(&snapshot) && snapshot["metadata"].get("deletionTimestamp").is_none() {
                busy |= self.snapshot(&snapshot, &seen).await?;
            }
        }
        Ok(busy.then_some(self.pace / 2))
    }
}

impl Storage {
    pub(super) fn new(objects: Objects, scope: Scope, pace: Duration, knobs: Arc<Mutex<Knobs>>) -> Self {
        Self { objects, scope, pace, knobs, since: HashMap::new() }
    }

    fn long_enough(&mut self, object: &Value) -> bool {
        let id = text(object, "/metadata/uid").to_owned();
        self.since.entry(id).or_insert_with(Instant::now).elapsed() >= self.pace
    }

    /// Bind a claim that no `DataVolume` fills, with what its source holds.
    async fn provision(&mut self, claim: &Value, seen: &[Value]) -> Result<bool> {
        let source = claim["spec"].get("dataSourceRef").or(claim["spec"].get("dataSource"));
        let filled = |owner: &Value| owner["kind"] == "DataVolume";
        let restored = claim["metadata"]["annotations"].get(POPULATED_FOR).is_some();
        if source.is_none() && !restored && items(claim, "/metadata/ownerReferences").iter().any(filled) {
            return Ok(false);
        }
        if self.knobs.lock().unwrap_or_else(PoisonError::into_inner).claims_held {
            return Ok(false);
        }
        if !self.long_enough(claim) {
            return Ok(true);
        }
        let namespace = text(claim, "/metadata/namespace");
        let word = match source {
            None => BLANK.to_owned(),
            Some(source) => {
                let name = text(source, "/name");
                let found = if source["kind"] == "VolumeSnapshot" {
                    let snapshot = self.objects.get(&volume_snapshots().path(namespace, name)).await?;
                    snapshot.filter(|snapshot| snapshot["status"]["readyToUse"] == true)
                } else {
                    seen.iter().find(|other| named(other, namespace, name)).cloned()
                };
                let Some(word) = found.as_ref().and_then(content) else { return Ok(false) };
                word.to_owned()
            }
        };
        let path = claims().of(claim);
        self.objects.merge(&path, &marked(&word)).await?;
        bind(&self.objects, &path, claim).await?;
        Ok(false)
    }

    /// What is bound grows to what is asked for; the API server itself refuses a claim that shrinks, or a class that cannot grow.
    async fn grow(&mut self, claim: &Value) -> Result<bool> {
        let asked = &claim["spec"]["resources"]["requests"]["storage"];
        let has = text(claim, "/status/capacity/storage");
        let size = |quantity: &str| bytes(quantity).unwrap_or_default();
        let id = format!("grow {}", text(claim, "/metadata/uid"));
        if size(asked.as_str().unwrap_or_default()) <= size(has) {
            self.since.remove(&id);
            return Ok(false);
        }
        if self.since.entry(id).or_insert_with(Instant::now).elapsed() < self.pace {
            return Ok(true);
        }
        let status = json!({ "status": {
            "allocatedResources": { "storage": asked }, "capacity": { "storage": asked },
        } });
        self.objects.merge(&format!("{}/status", claims().of(claim)), &status).await?;
        Ok(true)
    }

    /// A snapshot holds what was in the disk when it was asked for.
    async fn snapshot(&mut self, snapshot: &Value, seen: &[Value]) -> Result<bool> {
        if snapshot["status"]["readyToUse"] == true {
            return Ok(false);
        }
        let path = volume_snapshots().of(snapshot);
        let source = text(snapshot, "/spec/source/persistentVolumeClaimName");
        let claim = seen.iter().find(|claim| named(claim, text(snapshot, "/metadata/namespace"), source));
        let Some(claim) = claim.filter(|claim| claim["status"]["phase"] == "Bound") else { return Ok(false) };
        if content(snapshot).is_none() {
            if let Some(word) = content(claim) {
                self.objects.merge(&path, &marked(word)).await?;
            }
            return Ok(true);
        }
        let (held, failing) = {
            let knobs = self.knobs.lock().unwrap_or_else(PoisonError::into_inner);
            (knobs.snapshots_held, knobs.snapshots_failing.clone())
        };
        let bound = format!("snapcontent-{}", text(snapshot, "/metadata/uid"));
        let mut status = json!({ "boundVolumeSnapshotContentName": bound, "readyToUse": false });
        if let Some(words) = failing {
            if text(snapshot, "/status/error/message") == words {
                return Ok(false);
            }
            status["error"] = json!({ "message": words, "time": now() });
        } else if held || !self.long_enough(snapshot) {
            return Ok(!held);
        } else {
            status["readyToUse"] = json!(true);
            status["creationTime"] = snapshot["metadata"]["creationTimestamp"].clone();
            status["restoreSize"] = claim["status"]["capacity"]["storage"].clone();
        }
        self.objects.set(&format!("{path}/status"), snapshot, &[("/status", status)]).await?;
        Ok(true)
    }
}

fn named(object: &Value, namespace: &str, name: &str) -> bool {
    text(object, "/metadata/namespace") == namespace && text(object, "/metadata/name") == name
}

pub(super) async fn bind(objects: &Objects, path: &str, claim: &Value) -> Result<()> {
    let name = json!({ "spec": { "volumeName": format!("pvc-{}", text(claim, "/metadata/uid")) } });
    objects.merge(path, &name).await?;
    let status = json!({ "status": {
        "phase": "Bound", "accessModes": claim["spec"]["accessModes"],
        "capacity": { "storage": claim["spec"]["resources"]["requests"]["storage"] },
    } });
    objects.merge(&format!("{path}/status"), &status).await
}
