//! What a `VirtualMachine` says of itself.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Storage, Virt, claim_names, power::to_run};
use crate::standin::{condition, instances, items, machines, now, remove_condition, set_condition, text};

/// Fields of a template that a running guest can follow, or that KubeVirt judges one by one.
const LIVE: [&str; 5] =
    ["/domain/cpu/sockets", "/domain/memory/guest", "/nodeSelector", "/affinity", "/tolerations"];
/// How many times its sockets a guest can be given without a restart: KubeVirt's default.
const MAX_SOCKETS: u64 = 4;

impl Virt {
    /// Write the machine's status, if it changed; `started` is the spec that the instance was made from.
    pub(super) async fn say(
        &mut self,
        machine: &Value,
        instance: Option<&Value>,
        started: Option<&Value>,
        failure: Option<Value>,
        storage: &Storage,
    ) -> Result<()> {
        let mut status = json!({ "printableStatus": "Stopped" });
        if let Some(before) = machine.get("status") {
            // Locks and requests in it are somebody else's.
            status = before.clone();
            for field in ["startFailure", "created", "ready"] {
                status.as_object_mut().map(|fields| fields.remove(field));
            }
            let mut conditions = conditions(machine, instance, started);
            self.complain(machine, instance, &mut conditions);
            status["conditions"] = json!(conditions);
            status["desiredGeneration"] = machine["metadata"]["generation"].clone();
            status["volumeSnapshotStatuses"] = snapshots(machine, storage);
            if let Some(failure) = &failure {
                status["startFailure"] = failure.clone();
            }
            if let Some(instance) = instance {
                self.observe(machine, instance, started, &mut status).await?;
                status["created"] = json!(true);
                if condition(instance, "Ready").is_some_and(|ready| ready["status"] == "True") {
                    status["ready"] = json!(true);
                }
            }
            // Only once it was started: so KubeVirt knows whether it ever was.
            if status.get("runStrategy").is_some() || instance.is_some() {
                status["runStrategy"] = json!(strategy(machine));
            }
            if done(machine, instance) {
                let rest = items(machine, "/status/stateChangeRequests")[1..].to_vec();
                status["stateChangeRequests"] = Value::Array(rest);
            }
            if items(&status, "/stateChangeRequests").is_empty() {
                status.as_object_mut().map(|fields| fields.remove("stateChangeRequests"));
            }
            status["printableStatus"] = json!(printable(machine, instance, failure.is_some(), storage));
        }
        if machine.get("status") == Some(&status) {
            return Ok(());
        }
        let path = format!("{}/status", machines().of(machine));
        self.objects.set_unchanged(&path, machine, &[("/status", status)]).await
    }

    /// The generation that the instance was made from, or a later one with the same template, which then goes into its annotation.
    async fn observe(
        &self,
        machine: &Value,
        instance: &Value,
        started: Option<&Value>,
        status: &mut Value,
    ) -> Result<()> {
        const GENERATION: &str = "kubevirt.io/vm-generation";
        let mut observed =
            text(&instance["metadata"]["annotations"], "/kubevirt.io~1vm-generation").to_owned();
        let generation = machine["metadata"]["generation"].to_string();
        if observed != generation
            && started.is_some_and(|started| started["template"] == machine["spec"]["template"])
        {
            let bump = json!({ "metadata": { "annotations": { GENERATION: generation } } });
            self.objects.merge(&instances().of(instance), &bump).await?;
            observed = generation;
        }
        if let Ok(observed) = observed.parse::<u64>() {
            status["observedGeneration"] = json!(observed);
        }
        Ok(())
    }
}

/// The run strategy, also of a machine that says `running`.
pub(crate) fn strategy(machine: &Value) -> &str {
    match (text(machine, "/spec/runStrategy"), machine["spec"]["running"].as_bool()) {
        ("", Some(true)) => "Always",
        ("", _) => "Halted",
        (strategy, _) => strategy,
    }
}

/// Whether the first request to start or stop has come true (KubeVirt's `isTrimFirstChangeRequestNeeded`).
fn done(machine: &Value, instance: Option<&Value>) -> bool {
    let Some(first) = items(machine, "/status/stateChangeRequests").first() else { return false };
    match (text(first, "/action"), instance) {
        ("Stop", None) => true,
        ("Stop", Some(instance)) => first["uid"] != instance["metadata"]["uid"],
        (_, Some(instance)) => instance["metadata"].get("deletionTimestamp").is_none() && !ended(instance),
        (_, None) => false,
    }
}

/// The machine's own conditions, then those of its instance, which stay when the instance is gone.
fn conditions(machine: &Value, instance: Option<&Value>, started: Option<&Value>) -> Vec<Value> {
    let mut conditions = items(machine, "/status/conditions").to_vec();
    let Some(instance) = instance else {
        set_condition(&mut conditions, not_ready("VMINotExists", "VMI does not exist"));
        for kind in ["PodScheduled", "Synchronized", "RestartRequired", "AgentConnected", "HotVCPUChange"] {
            remove_condition(&mut conditions, kind);
        }
        return conditions;
    };
    let theirs = items(instance, "/status/conditions");
    conditions.retain(|own| {
        ["RestartRequired", "Failure"].iter().any(|kind| own["type"] == *kind)
            || theirs.iter().any(|other| other["type"] == own["type"])
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
    let why = started.and_then(|started| restart_required(started, &machine["spec"]));
    match why.filter(|_| instance["metadata"].get("deletionTimestamp").is_none()) {
        Some(why) => set_condition(
            &mut conditions,
            json!({
                "type": "RestartRequired", "status": "True", "lastProbeTime": null, "lastTransitionTime": now(),
                "message": why,
            }),
        ),
        None => remove_condition(&mut conditions, "RestartRequired"),
    }
    conditions
}

/// Nothing is wrong with making the instance any more.
pub(super) fn forgive(conditions: &mut Vec<Value>) {
    remove_condition(conditions, "Failure");
}

/// Why a running guest does not follow its machine's spec, with the roll-out strategy `LiveUpdate` and a guest that cannot migrate.
fn restart_required(started: &Value, wanted: &Value) -> Option<&'static str> {
    const MEMORY: &str =
        "memory updated in template spec. Memory-hotplug is only available for migratable VMs";
    let (before, after) = (&started["template"]["spec"], &wanted["template"]["spec"]);
    let without_live = |spec: &Value| {
        let mut spec = spec.clone();
        for at in LIVE {
            let Some((parent, field)) = at.rsplit_once('/') else { continue };
            let parent = spec.pointer_mut(parent).and_then(Value::as_object_mut);
            parent.map(|fields| fields.remove(field));
        }
        spec
    };
    if without_live(before) != without_live(after)
        || started["preference"]["name"] != wanted["preference"]["name"]
    {
        return Some("a non-live-updatable field was changed in the template spec");
    }
    let sockets = |spec: &Value| spec.pointer("/domain/cpu/sockets").and_then(Value::as_u64).unwrap_or(1);
    if sockets(after) > sockets(before) * MAX_SOCKETS {
        return Some("CPU sockets updated in template spec to a value higher than what's available");
    }
    if sockets(after) < sockets(before) {
        return Some("Reduction of CPU socket count requires a restart");
    }
    // Instance types are not expanded here: another one is taken for one with other memory.
    let memory = |spec: &Value| spec.pointer("/domain/memory/guest").cloned();
    (memory(before) != memory(after) || started["instancetype"]["name"] != wanted["instancetype"]["name"])
        .then_some(MEMORY)
}

pub(super) fn ended(instance: &Value) -> bool {
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
    if let Some(instance) = instance.filter(|instance| !ended(instance)) {
        if instance["metadata"].get("deletionTimestamp").is_some() || strategy(machine) == "Halted" {
            return "Stopping";
        }
        if instance.pointer("/status/migrationState/startTimestamp").is_some() {
            return "Migrating";
        }
        if condition(instance, "Paused").is_some_and(|paused| paused["status"] == "True") {
            return "Paused";
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
    let to_run = to_run(machine, instance);
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

/// Whether each volume can be part of a snapshot, in KubeVirt's words (pkg/storage/snapshot/snapshot.go `getVolumeSnapshotStatus`).
fn snapshots(machine: &Value, storage: &Storage) -> Value {
    let namespace = text(machine, "/metadata/namespace");
    let volumes = items(machine, "/spec/template/spec/volumes").iter().map(|volume| {
        let name = text(volume, "/name");
        let list = json!({ "volumes": [volume] });
        let Some(claim) = claim_names(&list).next() else {
            let reason = format!("Snapshot is not supported for this volumeSource type [{name}]");
            return json!({ "name": name, "enabled": false, "reason": reason });
        };
        let Some(claim) = storage.claims.get(&(namespace.to_owned(), claim.to_owned())) else {
            return json!({ "name": name, "enabled": false, "reason": "PVC not found" });
        };
        let class = text(claim, "/spec/storageClassName");
        if storage.snapshot_classes.contains_key(class) {
            return json!({ "name": name, "enabled": true });
        }
        let reason = format!(
            "No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [{class}] [{name}]"
        );
        json!({ "name": name, "enabled": false, "reason": reason })
    });
    volumes.collect()
}

pub(super) fn not_ready(reason: &str, message: &str) -> Value {
    json!({
        "type": "Ready", "status": "False", "reason": reason, "message": message,
        "lastProbeTime": now(), "lastTransitionTime": now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_running_guest_cannot_follow() {
        let spec = |sockets: u64, memory: &str, grace: u64| {
            json!({ "template": { "spec": {
                "domain": { "cpu": { "sockets": sockets }, "memory": { "guest": memory } }, "terminationGracePeriodSeconds": grace,
            } } })
        };
        let started = spec(2, "1Gi", 30);
        for (wanted, why) in [
            (spec(2, "1Gi", 30), None),
            (spec(3, "1Gi", 30), None),
            (spec(1, "1Gi", 30), Some("Reduction of CPU socket count requires a restart")),
            (
                spec(9, "1Gi", 30),
                Some("CPU sockets updated in template spec to a value higher than what's available"),
            ),
            (
                spec(2, "2Gi", 30),
                Some("memory updated in template spec. Memory-hotplug is only available for migratable VMs"),
            ),
            (spec(2, "1Gi", 60), Some("a non-live-updatable field was changed in the template spec")),
        ] {
            assert_eq!(restart_required(&started, &wanted), why, "{wanted}");
        }
    }
}
