//! A `VirtualMachineSnapshot`: the machine is locked, its volumes are snapshotted (KubeVirt 1.8, pkg/storage/snapshot).

use anyhow::Result;
use serde_json::{Value, json};

use super::{Storage, Virt, capture::content_name, duration::seconds};
use crate::standin::{
    Kind, condition, contents, items, key, machines, now, remove_item, set_condition, snapshots, text,
};

const PROTECTION: &str = "snapshot.kubevirt.io/vmsnapshot-protection";
/// Holds a machine while a snapshot of it is taken.
const SOURCE_PROTECTION: &str = "snapshot.kubevirt.io/snapshot-source-protection";
/// KubeVirt's default for `failureDeadline`, in seconds.
const DEADLINE: f64 = 300.0;

/// What is known of a snapshot's machine.
pub(super) struct Source<'a> {
    pub(super) machine: &'a Value,
    pub(super) instance: Option<&'a Value>,
    locked: bool,
    /// The words of the condition Progressing.
    words: String,
}

impl Virt {
    /// Bring a snapshot one step on; true if there is more to do for it.
    pub(super) async fn snapshot(
        &mut self,
        snapshot: &Value,
        machine: Option<&Value>,
        instance: Option<&Value>,
        storage: &Storage,
    ) -> Result<bool> {
        let path = snapshots().of(snapshot);
        let deleting = snapshot["metadata"].get("deletionTimestamp").is_some();
        let late = progressing(snapshot) && deadline_is_over(snapshot);
        let content_path = contents().path(text(snapshot, "/metadata/namespace"), &content_name(snapshot));
        let mut content = self.objects.get(&content_path).await?;
        let mut source = machine.map(|machine| {
            let locked = machine["status"]["snapshotInProgress"] == snapshot["metadata"]["name"]
                && items(machine, "/metadata/finalizers").iter().any(|name| name == SOURCE_PROTECTION);
            let words = if locked { "Source locked and operation in progress" } else { "Source not locked" };
            Source { machine, instance, locked, words: words.to_owned() }
        });
        let finalizers = items(snapshot, "/metadata/finalizers");
        if !deleting && !late && !finalizers.iter().any(|name| name == PROTECTION) {
            let with = json!([finalizers, &[json!(PROTECTION)]].concat());
            self.objects.set(&path, snapshot, &[("/metadata/finalizers", with)]).await?;
            return Ok(true);
        }
        let mut unlocked = true;
        if let Some(source) = source.as_mut().filter(|_| snapshot.get("status").is_some()) {
            if progressing(snapshot) && !deleting && !late {
                unlocked = false;
                if !source.locked {
                    self.lock(snapshot, source, storage).await?;
                } else if content.is_none() {
                    self.capture(snapshot, source, storage).await?;
                    return Ok(true);
                }
            } else if source.machine["status"]["snapshotInProgress"] == snapshot["metadata"]["name"]
                && (!progressing(snapshot)
                    || content.is_none()
                    || !deletes_content(snapshot, content.as_ref()))
            {
                self.unlock(source.machine).await?;
                return Ok(true);
            } else {
                unlocked = !source.locked;
            }
        }
        if let Some(there) = content.as_ref() {
            let ended = deleting || late || failed(snapshot);
            if ended && deletes_content(snapshot, Some(there)) {
                self.drop_content(there).await?;
                return Ok(true);
            }
            content = self.update_content(there, deleting).await?;
        }
        let more = self.say_snapshot(snapshot, source.as_ref(), content.as_ref(), late).await?;
        if deleting && unlocked {
            self.objects.set(&path, snapshot, &[("/metadata/finalizers", Value::Null)]).await?;
        }
        Ok(more)
    }

    /// Lock the machine, unless a disk is missing, unbound or unfilled, a pod uses one of a machine that is off, or another snapshot
    /// is being taken: then it is tried again later, and the snapshot says why.
    async fn lock(&self, snapshot: &Value, source: &mut Source<'_>, storage: &Storage) -> Result<()> {
        let machine = source.machine;
        let (namespace, name) = key(machine);
        if let Some(why) = not_lockable(machine, storage) {
            source.words = format!("Source not locked source {namespace}/{name} {why}");
            return Ok(());
        }
        if source.instance.is_none() {
            let users = self.pods_with(machine).await?;
            if users > 0 {
                let claims: Vec<_> = super::claim_names(&machine["spec"]["template"]["spec"]).collect();
                source.words = format!(
                    "Source not locked source is offline but {users} pods using PVCs [{}]",
                    claims.join(" ")
                );
                return Ok(());
            }
        }
        let own = &snapshot["metadata"]["name"];
        match machine["status"].get("snapshotInProgress") {
            Some(other) if other != own => {
                source.words = format!("Source not locked snapshot {other} in progress");
            }
            Some(_) => {
                let with = [items(machine, "/metadata/finalizers"), &[json!(SOURCE_PROTECTION)]].concat();
                let part = ("/metadata/finalizers", Value::Array(with));
                self.objects.set_unchanged(&machines().of(machine), machine, &[part]).await?;
            }
            None if machine.get("status").is_some() => {
                let path = format!("{}/status", machines().of(machine));
                let part = ("/status/snapshotInProgress", own.clone());
                self.objects.set_unchanged(&path, machine, &[part]).await?;
            }
            None => {}
        }
        Ok(())
    }

    /// How many pods that have not ended use a disk of the machine.
    async fn pods_with(&self, machine: &Value) -> Result<usize> {
        let claims: Vec<_> = super::claim_names(&machine["spec"]["template"]["spec"]).collect();
        let pods = self.objects.list(&Kind::new("v1", "pods")).await?;
        let uses = |pod: &&Value| {
            pod["metadata"]["namespace"] == machine["metadata"]["namespace"]
                && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
                && items(pod, "/spec/volumes")
                    .iter()
                    .any(|volume| claims.contains(&text(volume, "/persistentVolumeClaim/claimName")))
        };
        Ok(pods.iter().filter(uses).count())
    }

    async fn unlock(&self, machine: &Value) -> Result<()> {
        let path = machines().of(machine);
        if items(machine, "/metadata/finalizers").iter().any(|name| name == SOURCE_PROTECTION) {
            let rest = remove_item(items(machine, "/metadata/finalizers"), SOURCE_PROTECTION);
            return self.objects.set_unchanged(&path, machine, &[("/metadata/finalizers", rest)]).await;
        }
        let part = ("/status/snapshotInProgress", Value::Null);
        self.objects.set_unchanged(&format!("{path}/status"), machine, &[part]).await
    }

    /// Write the snapshot's status; true if it is not at its end.
    async fn say_snapshot(
        &self,
        snapshot: &Value,
        source: Option<&Source<'_>>,
        content: Option<&Value>,
        late: bool,
    ) -> Result<bool> {
        let mut status = snapshot.get("status").cloned().unwrap_or(json!({ "readyToUse": false }));
        if let Some(source) = source {
            status["sourceUID"] = source.machine["metadata"]["uid"].clone();
        }
        if let Some(content) = content.filter(|content| content.get("status").is_some()) {
            status["virtualMachineSnapshotContentName"] = content["metadata"]["name"].clone();
            for field in ["creationTime", "readyToUse", "error"] {
                match content["status"].get(field) {
                    Some(value) => status[field] = value.clone(),
                    None => drop(status.as_object_mut().map(|fields| fields.remove(field))),
                }
            }
        }
        let mut conditions = items(snapshot, "/status/conditions").to_vec();
        if late || failed(snapshot) {
            status["phase"] = json!("Failed");
            put(&mut conditions, "Failure", "True", "snapshot deadline exceeded");
            put(&mut conditions, "Progressing", "False", "Operation failed");
        } else if text(snapshot, "/status/phase") == "Succeeded" || status.get("creationTime").is_some() {
            status["phase"] = json!("Succeeded");
            put(&mut conditions, "Progressing", "False", "Operation complete");
            if let Some(content) = content {
                status["snapshotVolumes"] = volumes(content);
            }
        } else {
            status["phase"] = json!("InProgress");
            match source {
                None => put(&mut conditions, "Progressing", "False", "Source does not exist"),
                Some(source) => {
                    let state = if source.locked { "True" } else { "False" };
                    put(&mut conditions, "Progressing", state, &source.words);
                    indicate(&mut status, source.instance);
                }
            }
            if snapshot["metadata"].get("deletionTimestamp").is_some() {
                status["phase"] = json!("Deleting");
                put(&mut conditions, "Progressing", "False", "VM snapshot is deleting");
            }
        }
        let (state, words) =
            if status["readyToUse"] == true { ("True", "Ready") } else { ("False", "Not ready") };
        put(&mut conditions, "Ready", state, words);
        if status.get("error").is_some() {
            put(&mut conditions, "Progressing", "False", "In error state");
        }
        status["conditions"] = Value::Array(conditions);
        let at_end = matches!(text(&status, "/phase"), "Succeeded" | "Failed");
        if snapshot.get("status") != Some(&status) {
            let path = format!("{}/status", snapshots().of(snapshot));
            self.objects.set(&path, snapshot, &[("/status", status)]).await?;
            return Ok(true);
        }
        Ok(!at_end)
    }
}

/// What keeps a machine's disks from being snapshotted, in KubeVirt's words.
fn not_lockable(machine: &Value, storage: &Storage) -> Option<String> {
    let namespace = text(machine, "/metadata/namespace");
    super::claim_names(&machine["spec"]["template"]["spec"]).find_map(|name| {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(claim) = storage.claims.get(&key) else {
            return Some(format!("volume doesnt exist: {name}"));
        };
        if claim["metadata"].get("deletionTimestamp").is_some() {
            return Some(format!("volume is being deleted: {name}"));
        }
        if claim["status"]["phase"] != "Bound" {
            return Some(format!("volume not bound: {name}"));
        }
        let owned =
            items(claim, "/metadata/ownerReferences").iter().any(|owner| owner["kind"] == "DataVolume");
        let filled = storage.volumes.get(&key).is_none_or(|volume| volume["status"]["phase"] == "Succeeded");
        (owned && !filled).then(|| format!("volume not populated: {name}"))
    })
}

fn progressing(snapshot: &Value) -> bool {
    !matches!(text(snapshot, "/status/phase"), "Succeeded" | "Failed")
}

fn failed(snapshot: &Value) -> bool {
    text(snapshot, "/status/phase") == "Failed"
}

fn deadline_is_over(snapshot: &Value) -> bool {
    let deadline = match text(snapshot, "/spec/failureDeadline") {
        "" => DEADLINE,
        written => seconds(written).unwrap_or(DEADLINE),
    };
    let made = text(snapshot, "/metadata/creationTimestamp").parse::<jiff::Timestamp>();
    let age = made.map_or(0.0, |made| jiff::Timestamp::now().duration_since(made).as_secs_f64());
    // None is written as 0.
    deadline > 0.0 && age > deadline
}

/// Content goes with its snapshot where that says so, and always where it is not ready.
fn deletes_content(snapshot: &Value, content: Option<&Value>) -> bool {
    text(snapshot, "/spec/deletionPolicy") != "Retain"
        || content.is_some_and(|content| content["status"]["readyToUse"] != true)
}

/// Put a condition in, as KubeVirt does for snapshots and restores: its words are the reason.
pub(super) fn put(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str) {
    let there = json!({ "status": { "conditions": conditions } });
    if condition(&there, kind).is_some_and(|there| there["status"] == status && there["reason"] == reason) {
        return;
    }
    let new = json!({
        "type": kind, "status": status, "reason": reason, "lastProbeTime": null, "lastTransitionTime": now(),
    });
    set_condition(conditions, new);
}

/// Under which circumstances it is taken.
fn indicate(status: &mut Value, instance: Option<&Value>) {
    let Some(instance) = instance else {
        for field in ["indications", "sourceIndications"] {
            status.as_object_mut().map(|fields| fields.remove(field));
        }
        return;
    };
    let guest = if condition(instance, "Paused").is_some_and(|paused| paused["status"] == "True") {
        (
            "Paused",
            "Snapshot taken while the VM was paused. Snapshot is crash-consistent and may not be application-consistent.",
        )
    } else if condition(instance, "AgentConnected").is_some() {
        (
            "GuestAgent",
            "Guest agent was active and attempted to quiesce the filesystem for application consistency.",
        )
    } else {
        (
            "NoGuestAgent",
            "Guest agent was not available. Snapshot is crash-consistent and may not be application-consistent.",
        )
    };
    let online =
        ("Online", "Snapshot taken while the VM was running. Consistency depends on guest-agent quiescing.");
    let mut all = [guest, online];
    all.sort_unstable();
    status["indications"] = all.iter().map(|(name, _)| *name).collect();
    status["sourceIndications"] =
        all.iter().map(|(name, words)| json!({ "indication": name, "message": words })).collect();
}

/// The volumes that are in it, and those that are not.
fn volumes(content: &Value) -> Value {
    let (mut included, mut excluded) = (Vec::new(), Vec::new());
    for volume in items(content, "/spec/source/virtualMachine/spec/template/spec/volumes") {
        let backups = items(content, "/spec/volumeBackups");
        let list = if backups.iter().any(|backup| backup["volumeName"] == volume["name"]) {
            &mut included
        } else {
            &mut excluded
        };
        list.push(volume["name"].clone());
    }
    let mut lists = json!({});
    for (field, list) in [("includedVolumes", included), ("excludedVolumes", excluded)] {
        if !list.is_empty() {
            lists[field] = Value::Array(list);
        }
    }
    lists
}
