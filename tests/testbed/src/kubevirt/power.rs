//! Run strategies and requests to start and stop (KubeVirt's `syncRunStrategy`, pkg/virt-controller/watch/vm/vm.go).

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    FINALIZER, Fault, IGNORES_ACPI, Virt,
    status::{ended, strategy},
};
use crate::standin::{instances, items, machines, owner, revisions, text};

impl Virt {
    /// Start or stop what is to be started or stopped; true if there is more to do.
    pub(super) async fn power(&mut self, machine: &Value, instance: Option<&Value>) -> Result<bool> {
        let stop = instance.is_some_and(|instance| asked_to_stop(machine, instance));
        let start = asked_to_start(machine);
        match (strategy(machine), instance) {
            ("Always", Some(instance)) if stop || ended(instance) => self.end(instance).await?,
            ("RerunOnFailure", Some(instance)) if stop || ended(instance) => {
                let first = instance["metadata"].get("deletionTimestamp").is_none();
                self.end(instance).await?;
                if first && text(instance, "/status/phase") == "Failed" {
                    self.request_start(machine).await?;
                }
            }
            ("Manual", Some(instance)) if stop => self.end(instance).await?,
            ("Halted", Some(instance)) => self.end(instance).await?,
            ("Halted", None) if start => {
                let field = if machine["spec"].get("runStrategy").is_some() {
                    ("/spec/runStrategy", json!("Always"))
                } else {
                    ("/spec/running", json!(true))
                };
                self.objects.set_unchanged(&machines().of(machine), machine, &[field]).await?;
            }
            ("Always" | "Once", None) => self.begin(machine).await?,
            // Coming from another strategy it is started once.
            ("RerunOnFailure", None) if start || machine["status"]["runStrategy"] != "RerunOnFailure" => {
                self.begin(machine).await?;
            }
            ("Manual", None) if start => self.begin(machine).await?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn request_start(&self, machine: &Value) -> Result<()> {
        let path = format!("{}/status", machines().of(machine));
        let Some(machine) = self.objects.get(&machines().of(machine)).await? else { return Ok(()) };
        let requests = json!([{ "action": "Start" }]);
        self.objects.set_unchanged(&path, &machine, &[("/status/stateChangeRequests", requests)]).await
    }

    async fn begin(&mut self, machine: &Value) -> Result<()> {
        let id = text(machine, "/metadata/uid");
        let not_made = matches!(self.wrong(machine), Some(Fault::NotMade(..)));
        if not_made || self.retry_at.get(id).is_some_and(|at| *at > Instant::now()) {
            return Ok(());
        }
        let template = &machine["spec"]["template"];
        let generation = machine["metadata"]["generation"].to_string();
        let revision = format!("revision-start-vm-{id}-{generation}");
        let place = revisions().path(text(machine, "/metadata/namespace"), &revision);
        if self.objects.get(&place).await?.is_none() {
            let revision = json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": {
                    "name": revision, "namespace": machine["metadata"]["namespace"],
                    "ownerReferences": owner("kubevirt.io/v1", "VirtualMachine", machine),
                },
                "data": { "spec": machine["spec"] }, "revision": 0,
            });
            self.objects.create(&revisions(), &revision).await?;
        }
        let mut annotations = template["metadata"].get("annotations").cloned().unwrap_or(json!({}));
        annotations["kubevirt.io/vm-generation"] = json!(generation);
        if let Some(deaf) = machine["metadata"]["annotations"].get(IGNORES_ACPI) {
            annotations[IGNORES_ACPI] = deaf.clone();
        }
        let instance = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {
                "name": machine["metadata"]["name"], "namespace": machine["metadata"]["namespace"],
                "labels": template["metadata"].get("labels").cloned().unwrap_or(json!({})),
                "annotations": annotations,
                "finalizers": [FINALIZER, "kubevirt.io/foregroundDeleteVirtualMachine"],
                "ownerReferences": owner("kubevirt.io/v1", "VirtualMachine", machine),
            },
            "spec": template["spec"], "status": { "virtualMachineRevisionName": revision },
        });
        self.objects.create(&instances(), &instance).await.map(drop)
    }

    pub(super) async fn end(&self, instance: &Value) -> Result<()> {
        if instance["metadata"].get("deletionTimestamp").is_none() {
            self.objects.delete(&instances().of(instance)).await?;
        }
        Ok(())
    }

    /// The spec that an instance was made from, as its `ControllerRevision` has it, which never changes.
    pub(super) async fn started(&mut self, instance: &Value) -> Result<Option<Value>> {
        let name = text(instance, "/status/virtualMachineRevisionName");
        if name.is_empty() {
            return Ok(None);
        }
        let path = revisions().path(text(instance, "/metadata/namespace"), name);
        if !self.revisions.contains_key(&path)
            && let Some(mut revision) = self.objects.get(&path).await?
        {
            self.revisions.insert(path.clone(), revision["data"]["spec"].take());
        }
        Ok(self.revisions.get(&path).cloned())
    }
}

fn asked_to_start(machine: &Value) -> bool {
    items(machine, "/status/stateChangeRequests").first().is_some_and(|first| first["action"] == "Start")
}

fn asked_to_stop(machine: &Value, instance: &Value) -> bool {
    items(machine, "/status/stateChangeRequests")
        .first()
        .is_some_and(|first| first["action"] == "Stop" && first["uid"] == instance["metadata"]["uid"])
}

/// Whether the machine is set to run (KubeVirt's `isSetToStart`).
pub(super) fn to_run(machine: &Value, instance: Option<&Value>) -> bool {
    match (strategy(machine), instance) {
        ("Always", _) | ("RerunOnFailure" | "Once", None) => true,
        ("Manual", Some(instance)) => !asked_to_stop(machine, instance),
        ("Manual", None) => asked_to_start(machine),
        ("RerunOnFailure", Some(instance)) => text(instance, "/status/phase") != "Succeeded",
        _ => false,
    }
}
