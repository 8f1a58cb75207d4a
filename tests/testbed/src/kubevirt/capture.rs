//! A `VirtualMachineSnapshotContent`: the machine's spec and its claims as they are now, and a `VolumeSnapshot` of each.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Storage, Virt, snapshot::Source};
use crate::standin::{contents, items, key, now, owner, remove_item, text, volume_snapshots};

const PROTECTION: &str = "snapshot.kubevirt.io/vmsnapshotcontent-protection";

pub(super) fn content_name(snapshot: &Value) -> String {
    match text(snapshot, "/status/virtualMachineSnapshotContentName") {
        "" => format!("vmsnapshot-content-{}", text(snapshot, "/metadata/uid")),
        name => name.to_owned(),
    }
}

impl Virt {
    /// Write down what is to be in the snapshot. A claim without a class for snapshots is left out, and nobody is told.
    pub(super) async fn capture(
        &mut self,
        snapshot: &Value,
        source: &Source<'_>,
        storage: &Storage,
    ) -> Result<()> {
        let machine = source.machine;
        let namespace = text(machine, "/metadata/namespace");
        let mut backups = Vec::new();
        for volume in items(machine, "/spec/template/spec/volumes") {
            let list = json!({ "volumes": [volume] });
            let Some(name) = super::claim_names(&list).next() else { continue };
            let claim = storage.claims.get(&(namespace.to_owned(), name.to_owned()));
            let Some(claim) = claim.filter(|claim| {
                claim["status"]["phase"] == "Bound"
                    && storage.snapshot_classes.contains_key(text(claim, "/spec/storageClassName"))
            }) else {
                continue;
            };
            let of =
                format!("vmsnapshot-{}-volume-{}", text(snapshot, "/metadata/uid"), text(volume, "/name"));
            backups.push(json!({
                "volumeName": volume["name"], "volumeSnapshotName": of,
                "persistentVolumeClaim": { "metadata": simple(claim), "spec": claim["spec"] },
            }));
        }
        let spec = match source.instance {
            None => machine["spec"].clone(),
            Some(instance) => self.running_spec(snapshot, machine, instance).await?,
        };
        let content = json!({
            "apiVersion": "snapshot.kubevirt.io/v1beta1", "kind": "VirtualMachineSnapshotContent",
            "metadata": {
                "name": content_name(snapshot), "namespace": namespace, "finalizers": [PROTECTION],
            },
            "spec": {
                "virtualMachineSnapshotName": snapshot["metadata"]["name"],
                "source": { "virtualMachine": { "metadata": simple(machine), "spec": spec } },
                "volumeBackups": backups,
            },
        });
        self.objects.create(&contents(), &content).await.map(drop)
    }

    /// A running machine is captured as it was started, with its disks as they are. What it took from an instance type or a preference is
    /// pinned to a revision that belongs to the snapshot.
    async fn running_spec(&mut self, snapshot: &Value, machine: &Value, instance: &Value) -> Result<Value> {
        let mut spec = self.started(instance).await?.unwrap_or_else(|| machine["spec"].clone());
        for at in ["/template/spec/volumes", "/template/spec/domain/devices/disks", "/dataVolumeTemplates"] {
            let Some((parent, field)) = at.rsplit_once('/') else { continue };
            let now = machine["spec"].pointer(at).cloned();
            let Some(parent) = spec.pointer_mut(parent).and_then(Value::as_object_mut) else { continue };
            match now {
                Some(now) => drop(parent.insert(field.to_owned(), now)),
                None => drop(parent.remove(field)),
            }
        }
        for matcher in ["instancetype", "preference"] {
            if spec.get(matcher).is_some() {
                let revision = format!(
                    "{}-{}-v1beta1-{}-1",
                    text(snapshot, "/metadata/name"),
                    text(&spec[matcher], "/name"),
                    text(machine, "/metadata/uid"),
                );
                spec[matcher]["revisionName"] = json!(revision);
            }
        }
        Ok(spec)
    }

    /// Make the content's `VolumeSnapshots` and say how far they are; the content as it is then.
    pub(super) async fn update_content(&self, content: &Value, deleting: bool) -> Result<Option<Value>> {
        let (namespace, machine) =
            (key(content).0, text(content, "/spec/source/virtualMachine/metadata/name"));
        let created_before = content["status"].get("creationTime").is_some();
        let (mut created, mut ready, mut error) = (true, true, None);
        let (mut parts, mut missing) = (Vec::new(), Vec::new());
        for backup in items(content, "/spec/volumeBackups") {
            let name = text(backup, "/volumeSnapshotName");
            let path = volume_snapshots().path(&namespace, name);
            let Some(taken) = self.objects.get(&path).await? else {
                if created_before {
                    missing.push(name);
                } else if !deleting {
                    self.take(content, machine, backup).await?;
                }
                (created, ready) = (false, false);
                continue;
            };
            let mut part = json!({ "volumeSnapshotName": name });
            for field in ["readyToUse", "creationTime", "error"] {
                if let Some(value) = taken["status"].get(field) {
                    part[field] = value.clone();
                }
            }
            created &= part.get("creationTime").is_some();
            ready &= part["readyToUse"] == true;
            if error.is_none() && !text(&part, "/error/message").is_empty() {
                error = Some(format!("VolumeSnapshot {name} error: {}", text(&part, "/error/message")));
            }
            parts.push(part);
        }
        if !missing.is_empty() {
            error = Some(format!("VolumeSnapshots ({}) missing", missing.join(",")));
        }
        let mut status = content.get("status").cloned().unwrap_or(json!({}));
        if created && !created_before {
            status["creationTime"] = json!(now());
        }
        match error {
            Some(words) if !ready => {
                if text(&status, "/error/message") != words {
                    status["error"] = json!({ "message": words, "time": now() });
                }
            }
            None => drop(status.as_object_mut().map(|fields| fields.remove("error"))),
            Some(_) => {}
        }
        status["readyToUse"] = json!(ready);
        status["volumeSnapshotStatus"] = Value::Array(parts);
        let path = contents().of(content);
        if content.get("status") != Some(&status) {
            self.objects.set(&format!("{path}/status"), content, &[("/status", status)]).await?;
        }
        self.objects.get(&path).await
    }

    async fn take(&self, content: &Value, machine: &str, backup: &Value) -> Result<()> {
        let namespace = key(content).0;
        let class = text(backup, "/persistentVolumeClaim/spec/storageClassName");
        let Some(class) = self.snapshot_classes().await?.remove(class) else { return Ok(()) };
        let snapshot = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
            "metadata": {
                "name": backup["volumeSnapshotName"], "namespace": namespace,
                "labels": {
                    "snapshot.kubevirt.io/source-vm-name": machine, "snapshot.kubevirt.io/source-vm-namespace": namespace,
                },
                "ownerReferences": owner("snapshot.kubevirt.io/v1beta1", "VirtualMachineSnapshotContent", content),
            },
            "spec": {
                "source": { "persistentVolumeClaimName": backup["persistentVolumeClaim"]["metadata"]["name"] },
                "volumeSnapshotClassName": class,
            },
        });
        self.objects.create(&volume_snapshots(), &snapshot).await.map(drop)
    }

    /// Let content go; the garbage collector takes its `VolumeSnapshots`.
    pub(super) async fn drop_content(&self, content: &Value) -> Result<()> {
        let path = contents().of(content);
        let finalizers = items(content, "/metadata/finalizers");
        if finalizers.iter().any(|name| name == PROTECTION) {
            let rest = remove_item(finalizers, PROTECTION);
            self.objects.set(&path, content, &[("/metadata/finalizers", rest)]).await?;
        }
        self.objects.delete(&path).await
    }
}

/// Metadata as it goes into the content.
fn simple(object: &Value) -> Value {
    let mut metadata = object["metadata"].clone();
    metadata.as_object_mut().map(|fields| fields.remove("managedFields"));
    metadata
}
