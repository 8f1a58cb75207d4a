//! A `VirtualMachine`: what it wants of its instance, and what it says of it.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Storage, Virt, claim_names};
use crate::standin::{
    condition, instances, items, machines, now, owner, remove_condition, set_condition, text,
};

const FINALIZER: &str = "kubevirt.io/virtualMachineControllerFinalize";

impl Virt {
    /// Bring a machine one step on; true if there is more to do for it.
    pub(super) async fn machine(
        &mut self,
        machine: &Value,
        instance: Option<&Value>,
        storage: &Storage,
    ) -> Result<bool> {
        let path = machines().of(machine);
        let finalizers = items(machine, "/metadata/finalizers");
        if machine["metadata"].get("deletionTimestamp").is_some() {
            self.say(machine, instance, None, storage).await?;
            if let Some(instance) = instance {
                self.end(instance).await?;
            } else {
                let rest: Vec<_> = finalizers.iter().filter(|name| *name != FINALIZER).collect();
                let rest = if rest.is_empty() { Value::Null } else { json!(rest) };
                self.objects.set(&path, machine, &[("/metadata/finalizers", rest)]).await?;
            }
            return Ok(true);
        }
        if !finalizers.iter().any(|name| name == FINALIZER) {
            let mut with = finalizers.to_vec();
            with.push(json!(FINALIZER));
            self.objects.set(&path, machine, &[("/metadata/finalizers", Value::Array(with))]).await?;
            return Ok(true);
        }
        let failure = self.failure(machine, instance);
        self.say(machine, instance, failure, storage).await?;
        // The first word about a new machine is that it is stopped, whatever it is meant to be.
        if machine.get("status").is_none() {
            return Ok(true);
        }
        let ended = instance.is_some_and(ended);
        match (wanted(machine), instance) {
            (Some(true), None) => {
                let id = text(machine, "/metadata/uid");
                if self.retry_at.get(id).is_none_or(|at| *at <= Instant::now()) {
                    self.begin(machine).await?;
                }
                Ok(true)
            }
            (Some(true), Some(instance)) if ended => self.end(instance).await.map(|()| true),
            (Some(false), Some(instance)) => self.end(instance).await.map(|()| true),
            _ => Ok(false),
        }
    }

    async fn begin(&mut self, machine: &Value) -> Result<()> {
        let template = &machine["spec"]["template"];
        let generation = machine["metadata"]["generation"].to_string();
        let instance = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {
                "name": machine["metadata"]["name"], "namespace": machine["metadata"]["namespace"],
                "labels": template["metadata"].get("labels").cloned().unwrap_or(json!({})),
                "annotations": { "kubevirt.io/vm-generation": generation },
                "finalizers": [FINALIZER, "kubevirt.io/foregroundDeleteVirtualMachine"],
                "ownerReferences": owner("kubevirt.io/v1", "VirtualMachine", machine),
            },
            "spec": template["spec"],
        });
        let made = self.objects.create(&instances(), &instance).await?;
        self.started_from.insert(text(&made, "/metadata/uid").to_owned(), template["spec"].clone());
        Ok(())
    }

    async fn end(&self, instance: &Value) -> Result<()> {
        if instance["metadata"].get("deletionTimestamp").is_none() {
            self.objects.delete(&instances().of(instance)).await?;
        }
        Ok(())
    }

    /// The new `startFailure`: counted once for each instance that failed before it ran, gone when one runs.
    fn failure(&mut self, machine: &Value, instance: Option<&Value>) -> Option<Value> {
        let before = machine["status"].get("startFailure").cloned();
        let Some(instance) = instance else { return before };
        let id = &instance["metadata"]["uid"];
        match text(instance, "/status/phase") {
            "Running" => None,
            // Stopped on purpose is no failure.
            "Failed" if wanted(machine) == Some(true) => {
                let before = before.unwrap_or(json!({}));
                let ran = items(instance, "/status/phaseTransitionTimestamps")
                    .iter()
                    .any(|at| at["phase"] == "Running");
                if ran || before["lastFailedVMIUID"] == *id {
                    return Some(before).filter(|before| before.get("consecutiveFailCount").is_some());
                }
                let count = before["consecutiveFailCount"].as_u64().unwrap_or(0) + 1;
                let wait = self.options.start_back_off * u32::try_from(count).unwrap_or(u32::MAX);
                let machine_id = text(machine, "/metadata/uid").to_owned();
                self.retry_at.insert(machine_id, Instant::now() + wait);
                let at = jiff::Timestamp::now() + wait;
                Some(json!({
                    "consecutiveFailCount": count, "lastFailedVMIUID": id,
                    "retryAfterTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                }))
            }
            _ => before,
        }
    }

    /// Write the machine's status, if it changed.
    async fn say(
        &mut self,
        machine: &Value,
        instance: Option<&Value>,
        failure: Option<Value>,
        storage: &Storage,
    ) -> Result<()> {
        let mut status = json!({ "printableStatus": "Stopped" });
        if machine.get("status").is_some() {
            status = json!({
                "conditions": self.conditions(machine, instance),
                "desiredGeneration": machine["metadata"]["generation"],
                "volumeSnapshotStatuses": snapshots(machine),
            });
            if let Some(failure) = &failure {
                status["startFailure"] = failure.clone();
            }
            if let Some(strategy) = machine["spec"].get("runStrategy") {
                status["runStrategy"] = strategy.clone();
            }
            let before = machine["status"].get("observedGeneration").cloned();
            let observed = instance.map_or(before, |instance| self.observed(machine, instance));
            if let Some(observed) = observed {
                status["observedGeneration"] = observed;
            }
            if let Some(instance) = instance {
                status["created"] = json!(true);
                if condition(instance, "Ready").is_some_and(|ready| ready["status"] == "True") {
                    status["ready"] = json!(true);
                }
            }
            status["printableStatus"] = json!(printable(machine, instance, failure.is_some(), storage));
        }
        if machine.get("status") == Some(&status) {
            return Ok(());
        }
        self.objects.set(&format!("{}/status", machines().of(machine)), machine, &[("/status", status)]).await
    }

    /// The generation that the instance was made from, or a later one with the same template.
    fn observed(&self, machine: &Value, instance: &Value) -> Option<Value> {
        if self.changed(machine, instance) {
            let made_from = &instance["metadata"]["annotations"]["kubevirt.io/vm-generation"];
            return made_from.as_str().and_then(|number| number.parse::<u64>().ok()).map(Value::from);
        }
        Some(machine["metadata"]["generation"].clone())
    }

    fn changed(&self, machine: &Value, instance: &Value) -> bool {
        let from = self.started_from.get(text(instance, "/metadata/uid"));
        from.is_some_and(|from| *from != machine["spec"]["template"]["spec"])
    }

    /// The machine's own conditions, then those of its instance, which stay when the instance is gone.
    fn conditions(&self, machine: &Value, instance: Option<&Value>) -> Vec<Value> {
        let mut conditions = items(machine, "/status/conditions").to_vec();
        let Some(instance) = instance else {
            set_condition(&mut conditions, not_ready("VMINotExists", "VMI does not exist"));
            for kind in ["PodScheduled", "Synchronized", "RestartRequired", "AgentConnected"] {
                remove_condition(&mut conditions, kind);
            }
            return conditions;
        };
        let theirs = items(instance, "/status/conditions");
        conditions.retain(|own| {
            own["type"] == "RestartRequired" || theirs.iter().any(|other| other["type"] == own["type"])
        });
        if condition(instance, "Ready").is_none() {
            set_condition(
                &mut conditions,
                not_ready("VMIConditionMissing", "VMI is missing the Ready condition"),
            );
        }
        for condition in theirs {
            set_condition(&mut conditions, condition.clone());
        }
        if self.changed(machine, instance) && instance["metadata"].get("deletionTimestamp").is_none() {
            set_condition(
                &mut conditions,
                json!({
                    "type": "RestartRequired", "status": "True", "lastProbeTime": null, "lastTransitionTime": now(),
                    "message": "a non-live-updatable field was changed in the template spec",
                }),
            );
        } else {
            remove_condition(&mut conditions, "RestartRequired");
        }
        conditions
    }
}

/// Whether the machine is to run; none: it is left as it is.
fn wanted(machine: &Value) -> Option<bool> {
    match text(machine, "/spec/runStrategy") {
        "Always" | "Once" | "RerunOnFailure" => Some(true),
        "Halted" => Some(false),
        _ => machine["spec"]["running"].as_bool(),
    }
}

fn ended(instance: &Value) -> bool {
    matches!(text(instance, "/status/phase"), "Succeeded" | "Failed")
}

/// `printableStatus`: the first that fits, in the order of KubeVirt's `setPrintableStatus` (pkg/virt-controller/watch/vm/vm.go).
fn printable(
    machine: &Value,
    instance: Option<&Value>,
    start_failed: bool,
    storage: &Storage,
) -> &'static str {
    if machine["metadata"].get("deletionTimestamp").is_some() {
        return "Terminating";
    }
    let has_reason = |kind: &str, reason: &str| {
        instance
            .and_then(|instance| condition(instance, kind))
            .is_some_and(|condition| condition["status"] == "False" && condition["reason"] == reason)
    };
    let to_run = wanted(machine) == Some(true);
    if let Some(instance) = instance.filter(|instance| !ended(instance)) {
        if instance["metadata"].get("deletionTimestamp").is_some() || wanted(machine) == Some(false) {
            return "Stopping";
        }
        if text(instance, "/status/phase") == "Running" {
            return "Running";
        }
    }
    if has_reason("Synchronized", "FailedPvcNotFound") {
        return "ErrorPvcNotFound";
    }
    if has_reason("PodScheduled", "Unschedulable") {
        return "ErrorUnschedulable";
    }
    let namespace = text(machine, "/metadata/namespace");
    let unbound = claim_names(&machine["spec"]["template"]["spec"]).any(|name| {
        let claim = storage.claims.get(&(namespace.to_owned(), name.to_owned()));
        claim.is_some_and(|claim| claim["status"]["phase"] != "Bound")
    });
    if to_run && unbound {
        return "WaitingForVolumeBinding";
    }
    if has_reason("Synchronized", "ErrImagePull") {
        return "ErrImagePull";
    }
    if has_reason("Synchronized", "ImagePullBackOff") {
        return "ImagePullBackOff";
    }
    match instance {
        Some(instance) if !ended(instance) => "Starting",
        _ if start_failed && to_run => "CrashLoopBackOff",
        _ => "Stopped",
    }
}

/// Whether each volume can be part of a snapshot.
fn snapshots(machine: &Value) -> Value {
    let volumes = items(machine, "/spec/template/spec/volumes").iter().map(|volume| {
        let name = text(volume, "/name");
        if claim_names(&json!({ "volumes": [volume] })).next().is_some() {
            json!({ "name": name, "enabled": true })
        } else {
            let reason = format!("Snapshot is not supported for this volumeSource type [{name}]");
            json!({ "name": name, "enabled": false, "reason": reason })
        }
    });
    volumes.collect()
}

fn not_ready(reason: &str, message: &str) -> Value {
    json!({
        "type": "Ready", "status": "False", "reason": reason, "message": message,
        "lastProbeTime": now(), "lastTransitionTime": now(),
    })
}
