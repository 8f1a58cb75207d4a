//! A `VirtualMachine`, brought on step by step.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::{FINALIZER, Storage, Virt, power::to_run, status::strategy};
use crate::standin::{items, machines, owner, text, volumes};

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
        let started = match instance {
            Some(instance) => self.started(instance).await?,
            None => None,
        };
        if machine["metadata"].get("deletionTimestamp").is_some() {
            self.say(machine, instance, started.as_ref(), None, storage).await?;
            if let Some(instance) = instance {
                self.end(instance).await?;
                return Ok(true);
            }
            if !finalizers.iter().any(|name| name == FINALIZER) {
                // Somebody else's finalizer, as that of a snapshot being taken, holds it.
                return Ok(false);
            }
            let rest: Vec<_> = finalizers.iter().filter(|name| *name != FINALIZER).collect();
            let rest = if rest.is_empty() { Value::Null } else { json!(rest) };
            self.objects.set(&path, machine, &[("/metadata/finalizers", rest)]).await?;
            return Ok(true);
        }
        if !finalizers.iter().any(|name| name == FINALIZER) {
            let mut with = finalizers.to_vec();
            with.push(json!(FINALIZER));
            self.objects.set(&path, machine, &[("/metadata/finalizers", Value::Array(with))]).await?;
            return Ok(true);
        }
        let failure = self.failure(machine, instance);
        self.say(machine, instance, started.as_ref(), failure, storage).await?;
        // The first word about a new machine is that it is stopped, whatever it is meant to be.
        if machine.get("status").is_none() {
            return Ok(true);
        }
        // Until its own volumes are filled, a machine that is not halted follows neither requests nor changes.
        if !self.templates(machine, storage).await? && strategy(machine) != "Halted" {
            return Ok(true);
        }
        self.power(machine, instance).await
    }

    /// Make the machine's own `DataVolumes`; whether all are filled.
    async fn templates(&self, machine: &Value, storage: &Storage) -> Result<bool> {
        let namespace = text(machine, "/metadata/namespace");
        let mut filled = true;
        for template in items(machine, "/spec/dataVolumeTemplates") {
            let name = text(template, "/metadata/name");
            if let Some(volume) = storage.volumes.get(&(namespace.to_owned(), name.to_owned())) {
                let phase = text(volume, "/status/phase");
                filled &= matches!(phase, "Succeeded" | "WaitForFirstConsumer" | "PendingPopulation");
                continue;
            }
            filled = false;
            let mut volume = json!({
                "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
                "metadata": {
                    "name": name, "namespace": namespace,
                    "labels": template["metadata"].get("labels").cloned().unwrap_or(json!({})),
                    "annotations": template["metadata"].get("annotations").cloned().unwrap_or(json!({})),
                    "ownerReferences": owner("kubevirt.io/v1", "VirtualMachine", machine),
                },
                "spec": template["spec"],
            });
            volume["metadata"]["annotations"]["cdi.kubevirt.io/allowClaimAdoption"] = json!("true");
            volume["metadata"]["labels"]["kubevirt.io/created-by"] = machine["metadata"]["uid"].clone();
            self.objects.create(&volumes(), &volume).await?;
        }
        Ok(filled)
    }

    /// The new `startFailure`: counted once for each instance that failed before it ran, gone when one runs.
    fn failure(&mut self, machine: &Value, instance: Option<&Value>) -> Option<Value> {
        let before = machine["status"].get("startFailure").cloned();
        let Some(instance) = instance else { return before };
        let id = &instance["metadata"]["uid"];
        match text(instance, "/status/phase") {
            "Running" => None,
            // Stopped on purpose is no failure.
            "Failed" if to_run(machine, Some(instance)) || strategy(machine) == "Once" => {
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
}
