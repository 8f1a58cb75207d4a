//! A `VirtualMachineRestore`: disks are made from a snapshot, the machine's spec becomes the snapshot's (KubeVirt 1.8,
//! pkg/storage/snapshot/restore.go).

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Storage, Virt,
    restored::{claim_of, is_of, mark, owned, spec_of, volume_name},
    snapshot::put,
};
use crate::standin::{
    claims, contents, items, key, machines, now, owner, restores, snapshots, text, volume_snapshots, volumes,
};

const PROTECTION: &str = "snapshot.kubevirt.io/vmrestore-protection";
const GRACE: &str = "5m0s";
const GRACE_SECONDS: i64 = 300;
/// What is done next, or why nothing is.
enum Step {
    Progress(&'static str, &'static str),
    /// Tried again; it is no failure yet.
    Problem(String),
    Failure(String),
    Done,
}

impl Virt {
    /// Bring a restore one step on; true if there is more to do for it.
    pub(super) async fn restore(
        &mut self,
        restore: &Value,
        machine: Option<&Value>,
        instance: Option<&Value>,
        storage: &Storage,
    ) -> Result<bool> {
        let path = restores().of(restore);
        let mut status = restore.get("status").cloned().unwrap_or(Value::Null);
        if status.is_null() {
            status = json!({ "complete": false });
            let words = "Initializing VirtualMachineRestore";
            return self
                .say_restore(restore, status, [("Progressing", "True", words), ("Ready", "False", words)])
                .await;
        }
        if restore["metadata"].get("deletionTimestamp").is_some() {
            return self.end_restore(restore, machine, status).await;
        }
        let failed = items(&status, "/conditions").iter().any(|condition| condition["type"] == "Failure");
        if status["complete"] == true || failed {
            return Ok(false);
        }
        let finalizers = items(restore, "/metadata/finalizers");
        if !finalizers.iter().any(|name| name == PROTECTION) {
            let with = [finalizers, &[json!(PROTECTION)]].concat();
            let mut parts = vec![("/metadata/finalizers", Value::Array(with))];
            if let Some(machine) = machine.filter(|_| items(restore, "/metadata/ownerReferences").is_empty())
            {
                parts.push(("/metadata/ownerReferences", owner("kubevirt.io/v1", "VirtualMachine", machine)));
            }
            self.objects.set(&path, restore, &parts).await?;
            return Ok(true);
        }
        let step = match (machine, instance) {
            (Some(machine), Some(_)) => self.not_off(restore, machine).await?,
            _ => self.restore_step(restore, machine, &mut status, storage).await?,
        };
        match step {
            Step::Progress(doing, waiting) => {
                self.say_restore(
                    restore,
                    status,
                    [("Progressing", "True", doing), ("Ready", "False", waiting)],
                )
                .await
            }
            Step::Problem(words) => {
                self.say_restore(
                    restore,
                    status,
                    [("Progressing", "False", &words), ("Ready", "False", &words)],
                )
                .await
            }
            Step::Failure(words) => {
                let all = [
                    ("Progressing", "False", &*words),
                    ("Ready", "False", &words),
                    ("Failure", "True", &words),
                ];
                self.say_restore(restore, status, all).await
            }
            Step::Done => {
                status["complete"] = json!(true);
                status["restoreTime"] = json!(now());
                let words = "Operation complete";
                let all = [("Progressing", "False", words), ("Ready", "True", words)];
                self.say_restore(restore, status, all).await
            }
        }
    }

    /// The machine runs: its restore waits, stops it or fails, as it was asked for.
    async fn not_off(&self, restore: &Value, machine: &Value) -> Result<Step> {
        let off =
            "Waiting for target VM to be powered off. Please stop the restore target to proceed with restore";
        Ok(match text(restore, "/spec/targetReadinessPolicy") {
            "FailImmediate" => {
                Step::Failure("Restore target VMI must be powered off before restore operation".to_owned())
            }
            "WaitEventually" => Step::Problem(off.to_owned()),
            "StopTarget" => {
                self.stop_by_restore(machine).await?;
                Step::Problem("Automatically stopping restore target for restore operation".to_owned())
            }
            _ => {
                let made = text(restore, "/metadata/creationTimestamp").parse::<jiff::Timestamp>();
                let age = made.map_or(0, |made| jiff::Timestamp::now().as_second() - made.as_second());
                if age > self.options.restore_grace.unwrap_or(GRACE_SECONDS) {
                    Step::Failure(format!(
                        "Restore target failed to be ready within {GRACE}. Please power off the target VM before attempting restore"
                    ))
                } else {
                    Step::Problem(format!("{off}, or the operation will fail after {GRACE}"))
                }
            }
        })
    }

    /// What the subresource `stop` does, for machines that the restore may stop.
    async fn stop_by_restore(&self, machine: &Value) -> Result<()> {
        let path = machines().of(machine);
        match super::status::strategy(machine) {
            "Always" | "Once" if machine["spec"].get("runStrategy").is_some() => {
                self.objects.set_unchanged(&path, machine, &[("/spec/runStrategy", json!("Halted"))]).await
            }
            "Always" | "Once" => {
                self.objects.set_unchanged(&path, machine, &[("/spec/running", json!(false))]).await
            }
            _ => Ok(()),
        }
    }

    async fn restore_step(
        &self,
        restore: &Value,
        machine: Option<&Value>,
        status: &mut Value,
        storage: &Storage,
    ) -> Result<Step> {
        let (namespace, name) = key(restore);
        let of = text(restore, "/spec/virtualMachineSnapshotName");
        let Some(snapshot) = self.objects.get(&snapshots().path(&namespace, of)).await? else {
            return Ok(Step::Problem(format!("VMSnapshot {namespace}/{of} does not exist")));
        };
        if text(&snapshot, "/status/phase") == "Failed" {
            return Ok(Step::Problem(format!("VMSnapshot {namespace}/{of} failed and is invalid to use")));
        }
        if snapshot["status"]["readyToUse"] != true {
            return Ok(Step::Problem(format!("VMSnapshot {namespace}/{of} not ready")));
        }
        let content = text(&snapshot, "/status/virtualMachineSnapshotContentName");
        let Some(content) = self.objects.get(&contents().path(&namespace, content)).await? else {
            return Ok(Step::Problem(format!("VMSnapshotContent {namespace}/{content} does not exist")));
        };
        if let Some(machine) = machine.filter(|machine| !is_of(machine, restore)) {
            if machine["metadata"]["uid"] != snapshot["status"]["sourceUID"] {
                let words =
                    "restore source and restore target are different but restore target already exists";
                return Ok(Step::Problem(words.to_owned()));
            }
            match machine["status"].get("restoreInProgress") {
                Some(other) if *other != name => {
                    return Ok(Step::Problem(format!(
                        "vm restore {} in progress",
                        other.as_str().unwrap_or_default()
                    )));
                }
                Some(_) => {}
                None => {
                    let path = format!("{}/status", machines().of(machine));
                    let part = ("/status/restoreInProgress", json!(name));
                    self.objects.set_unchanged(&path, machine, &[part]).await?;
                }
            }
        }
        if let Some(step) = self.restore_disks(restore, machine, &content, status, storage).await? {
            return Ok(step);
        }
        self.restore_spec(restore, machine, &content, status, storage).await
    }

    /// Disks first; none if all are there and bound.
    async fn restore_disks(
        &self,
        restore: &Value,
        machine: Option<&Value>,
        content: &Value,
        status: &mut Value,
        storage: &Storage,
    ) -> Result<Option<Step>> {
        const CREATING: Step = Step::Progress("Creating new PVCs", "Waiting for new PVCs");
        let (namespace, in_place) = (key(restore).0, restore["spec"]["volumeRestorePolicy"] == "InPlace");
        if status.get("restores").is_none() {
            status["restores"] = items(content, "/spec/volumeBackups")
                .iter()
                .map(|backup| {
                    let claim = text(backup, "/persistentVolumeClaim/metadata/name");
                    json!({
                        "volumeName": backup["volumeName"], "volumeSnapshotName": backup["volumeSnapshotName"],
                        "persistentVolumeClaim": volume_name(restore, text(backup, "/volumeName"), claim),
                    })
                })
                .collect();
            if !items(status, "/restores").is_empty() {
                return Ok(Some(CREATING));
            }
        }
        let (mut gone, mut waiting, mut named) = (None, false, false);
        for at in 0..items(status, "/restores").len() {
            let part = status["restores"][at].clone();
            let claim_name = text(&part, "/persistentVolumeClaim").to_owned();
            let there = storage.claims.get(&(namespace.clone(), claim_name.clone()));
            match there {
                None => gone = gone.or(Some((part, claim_name))),
                Some(claim) if in_place && !is_of(claim, restore) => {
                    waiting = true;
                    if claim["metadata"].get("deletionTimestamp").is_some() {
                        continue;
                    }
                    if let Some(volume) = owned(claim, "DataVolume") {
                        if part.get("dataVolumeName").is_none() {
                            status["restores"][at]["dataVolumeName"] = json!(volume);
                            named = true;
                            continue;
                        }
                        self.pre_populate(&namespace, &volume, &key(restore).1).await?;
                    }
                    // From here until the new claim is bound the old content exists in the snapshot alone.
                    self.objects.delete(&claims().of(claim)).await?;
                }
                Some(claim) => waiting |= claim["status"]["phase"] != "Bound",
            }
        }
        if named {
            return Ok(Some(CREATING));
        }
        let Some((part, claim)) = gone else { return Ok(waiting.then_some(CREATING)) };
        let progressing =
            items(status, "/conditions").iter().find(|condition| condition["type"] == "Progressing");
        let words = format!("persistentvolumeclaims \"{claim}\" not found");
        // Seen on a real cluster: KubeVirt deletes once more what is gone already, says so, and goes on.
        if in_place
            && part.get("dataVolumeName").is_some()
            && progressing.is_some_and(|now| now["reason"] == "Creating new PVCs")
        {
            return Ok(Some(Step::Problem(words)));
        }
        let backups = items(content, "/spec/volumeBackups");
        let Some(backup) = backups.iter().find(|backup| backup["volumeName"] == part["volumeName"]) else {
            return Ok(Some(Step::Problem(format!(
                "volume backup for volume {} not found",
                part["volumeName"]
            ))));
        };
        let name = text(backup, "/volumeSnapshotName");
        let Some(taken) = self.objects.get(&volume_snapshots().path(&namespace, name)).await? else {
            return Ok(Some(Step::Problem(format!("missing volumeSnapshot {name}"))));
        };
        let new = claim_of(restore, machine, content, backup, &part, &taken);
        self.objects.create(&claims(), &new).await?;
        Ok(Some(CREATING))
    }

    /// The volume makes no claim while its own is replaced.
    async fn pre_populate(&self, namespace: &str, volume: &str, restore: &str) -> Result<()> {
        let annotations = json!({
            "cdi.kubevirt.io/storage.prePopulated": volume, "restore.kubevirt.io/name": restore,
        });
        let path = volumes().path(namespace, volume);
        self.objects.merge(&path, &json!({ "metadata": { "annotations": annotations } })).await
    }

    /// Then the machine's spec; at last it is let go.
    async fn restore_spec(
        &self,
        restore: &Value,
        machine: Option<&Value>,
        content: &Value,
        status: &mut Value,
        storage: &Storage,
    ) -> Result<Step> {
        let updating = Step::Progress("Updating target spec", "Waiting for target update");
        let (namespace, name) = key(restore);
        if let Some(machine) = machine.filter(|machine| is_of(machine, restore)) {
            for volume in items(status, "/deletedDataVolumes") {
                let path = volumes().path(&namespace, volume.as_str().unwrap_or_default());
                self.objects.delete(&path).await?;
            }
            self.unlock_restored(machine, &name).await?;
            return Ok(Step::Done);
        }
        let snapshot = &content["spec"]["source"]["virtualMachine"];
        let templates = self.restore_templates(restore, snapshot, status, storage).await?;
        if templates {
            return Ok(updating);
        }
        let mut new = spec_of(restore, machine, snapshot, status);
        match machine {
            None => {
                self.objects.create(&machines(), &new).await?;
            }
            Some(machine) => {
                let old = items(machine, "/spec/dataVolumeTemplates").iter();
                let kept = items(&new, "/spec/dataVolumeTemplates").to_vec();
                let lost: Vec<_> = old
                    .map(|template| &template["metadata"]["name"])
                    .filter(|name| kept.iter().all(|kept| kept["metadata"]["name"] != **name))
                    .cloned()
                    .collect();
                if !lost.is_empty() && status.get("deletedDataVolumes").is_none() {
                    status["deletedDataVolumes"] = Value::Array(lost);
                    return Ok(updating);
                }
                let mut annotations = machine["metadata"].get("annotations").cloned().unwrap_or(json!({}));
                mark(&mut annotations, restore);
                let parts = [("/metadata/annotations", annotations), ("/spec", new["spec"].take())];
                self.objects.set_unchanged(&machines().of(machine), machine, &parts).await?;
            }
        }
        Ok(updating)
    }

    async fn unlock_restored(&self, machine: &Value, name: &str) -> Result<()> {
        if machine["status"]["restoreInProgress"] != name {
            return Ok(());
        }
        let part = ("/status/restoreInProgress", Value::Null);
        self.objects.set_unchanged(&format!("{}/status", machines().of(machine)), machine, &[part]).await
    }

    async fn end_restore(&self, restore: &Value, machine: Option<&Value>, status: Value) -> Result<bool> {
        if let Some(machine) = machine {
            self.unlock_restored(machine, &key(restore).1).await?;
        }
        let words = "VM restore is deleting";
        let said = items(&status, "/conditions").iter().any(|condition| condition["reason"] == words);
        if !said {
            return self
                .say_restore(restore, status, [("Progressing", "False", words), ("Ready", "False", words)])
                .await;
        }
        let rest = crate::standin::remove_item(items(restore, "/metadata/finalizers"), PROTECTION);
        self.objects.set(&restores().of(restore), restore, &[("/metadata/finalizers", rest)]).await?;
        Ok(true)
    }

    async fn say_restore<const N: usize>(
        &self,
        restore: &Value,
        mut status: Value,
        said: [(&str, &str, &str); N],
    ) -> Result<bool> {
        let mut conditions = items(&status, "/conditions").to_vec();
        for (kind, state, words) in said {
            put(&mut conditions, kind, state, words);
        }
        status["conditions"] = Value::Array(conditions);
        if restore.get("status") != Some(&status) {
            self.objects
                .set(&format!("{}/status", restores().of(restore)), restore, &[("/status", status)])
                .await?;
        }
        Ok(true)
    }
}
