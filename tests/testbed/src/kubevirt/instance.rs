//! A `VirtualMachineInstance` through its phases.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Fault, IGNORES_ACPI, Storage, Virt, claim_names, status::not_ready};
use crate::standin::{instances, items, now, remove_condition, set_condition, text};

/// What its claims and `DataVolumes` say to an instance that wants to start.
enum Disks {
    Ready {
        with_volumes: bool,
    },
    Filling,
    /// Neither bound nor owned by a volume that is being filled.
    Unbound,
    Missing(String),
}

impl Virt {
    /// Bring an instance one step on; true if there is more to do for it.
    pub(super) async fn instance(&mut self, instance: &Value, storage: &Storage) -> Result<bool> {
        let mut status = instance.get("status").cloned().unwrap_or(json!({}));
        let mut conditions = items(instance, "/status/conditions").to_vec();
        let phase = text(instance, "/status/phase").to_owned();
        if instance["metadata"].get("deletionTimestamp").is_some() {
            return self.stop(instance, status, conditions).await;
        }
        let more = match phase.as_str() {
            "" | "Pending" => self.pending(instance, &mut status, &mut conditions, storage),
            "Scheduling" => self.scheduling(instance, &mut status, &mut conditions),
            "Scheduled" => self.scheduled(instance, &mut status, &mut conditions),
            "Running" => self.running(instance, &mut status, &mut conditions),
            _ => false,
        };
        self.write(instance, status, conditions).await?;
        Ok(more)
    }

    fn pending(
        &mut self,
        instance: &Value,
        status: &mut Value,
        conditions: &mut Vec<Value>,
        storage: &Storage,
    ) -> bool {
        if text(status, "/phase").is_empty() {
            enter(status, "Pending");
            return true;
        }
        match disks(instance, storage) {
            Disks::Missing(words) => {
                set_condition(
                    conditions,
                    not_ready("PodNotExists", "virt-launcher pod has not yet been scheduled"),
                );
                set_condition(conditions, fault("PodScheduled", "Unschedulable", &words));
                set_condition(conditions, fault("Synchronized", "FailedPvcNotFound", &words));
            }
            Disks::Filling | Disks::Unbound => {
                set_condition(
                    conditions,
                    not_ready("PodNotExists", "virt-launcher pod has not yet been scheduled"),
                );
                remove_condition(conditions, "Synchronized");
                let words = "Not all of the VMI's DVs are ready";
                set_condition(conditions, fault("DataVolumesReady", "NotAllDVsReady", words));
            }
            Disks::Ready { with_volumes } => {
                if self.long_enough(instance, "Pending") {
                    enter(status, "Scheduling");
                    remove_condition(conditions, "PodScheduled");
                    remove_condition(conditions, "Synchronized");
                    set_condition(
                        conditions,
                        not_ready("GuestNotRunning", "Guest VM is not reported as running"),
                    );
                    if with_volumes {
                        let words = "All of the VMI's DVs are bound and ready";
                        set_condition(
                            conditions,
                            json!({
                                "type": "DataVolumesReady", "status": "True", "reason": "AllDVsReady", "message": words,
                                "lastProbeTime": null, "lastTransitionTime": null,
                            }),
                        );
                    }
                }
            }
        }
        true
    }

    fn scheduling(&mut self, instance: &Value, status: &mut Value, conditions: &mut Vec<Value>) -> bool {
        match self.fault(instance) {
            Some(Fault::Unschedulable(words)) => {
                set_condition(conditions, fault("PodScheduled", "Unschedulable", &words));
                false
            }
            Some(Fault::ImagePull(words)) => {
                let back_off = self.long_enough(instance, "ErrImagePull")
                    || conditions.iter().any(|condition| condition["reason"] == "ImagePullBackOff");
                status["nodeName"] = json!("node1");
                let (reason, words) = if back_off {
                    (
                        "ImagePullBackOff",
                        format!("Back-off pulling image \"{}\": ErrImagePull: {words}", image(instance)),
                    )
                } else {
                    ("ErrImagePull", words)
                };
                set_condition(conditions, fault("Synchronized", reason, &words));
                !back_off
            }
            _ => {
                remove_condition(conditions, "PodScheduled");
                remove_condition(conditions, "Synchronized");
                if self.long_enough(instance, "Scheduling") {
                    enter(status, "Scheduled");
                    status["nodeName"] = json!("node1");
                    status["interfaces"] = interfaces(instance, None);
                }
                true
            }
        }
    }

    fn scheduled(&mut self, instance: &Value, status: &mut Value, conditions: &mut Vec<Value>) -> bool {
        if !self.long_enough(instance, "Scheduled") {
            return true;
        }
        match self.fault(instance) {
            Some(Fault::Crash) => {
                enter(status, "Failed");
                set_condition(conditions, not_ready("PodNotExists", "virt-launcher pod has terminated"));
                return false;
            }
            Some(Fault::Wedged) => return false,
            _ => {}
        }
        enter(status, "Running");
        status["interfaces"] = interfaces(instance, Some(&self.options.address.to_string()));
        true
    }

    fn running(&mut self, instance: &Value, status: &mut Value, conditions: &mut Vec<Value>) -> bool {
        let ready =
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        if !ready {
            if self.long_enough(instance, "Running") {
                match self.fault(instance) {
                    // before it is ready, so that a wait sees it (kubevirt 1.8 `pkg/virt-handler/vm.go`, reason and words)
                    Some(Fault::Paused) => {
                        let mut paused = holds("Paused");
                        paused["reason"] = json!("PausedByUser");
                        paused["message"] = json!("VMI was paused by user");
                        set_condition(conditions, paused);
                        return false;
                    }
                    Some(Fault::Migrating) => status["migrationState"] = json!({ "startTimestamp": now() }),
                    _ => {}
                }
                set_condition(conditions, holds("Ready"));
            }
            return true;
        }
        if self.options.guest_agent
            && !conditions.iter().any(|condition| condition["type"] == "AgentConnected")
        {
            if self.long_enough(instance, "Ready") {
                set_condition(conditions, holds("AgentConnected"));
                status["guestOSInfo"] = json!({ "id": "fedora", "name": "Fedora Linux" });
            }
            return true;
        }
        false
    }

    /// The guest shuts down by itself or is killed, its pod ends, the finalizers go.
    async fn stop(
        &mut self,
        instance: &Value,
        mut status: Value,
        mut conditions: Vec<Value>,
    ) -> Result<bool> {
        let phase = text(instance, "/status/phase").to_owned();
        if phase == "Succeeded" || phase == "Failed" {
            if self.long_enough(instance, "ended") {
                self.objects
                    .set(&instances().of(instance), instance, &[("/metadata/finalizers", Value::Null)])
                    .await?;
            }
            return Ok(true);
        }
        set_condition(&mut conditions, not_ready("PodTerminating", "virt-launcher pod is terminating"));
        let deaf = self.options.ignores_acpi
            || instance["metadata"]["annotations"][IGNORES_ACPI] == "true"
            || self.wrong(instance) == Some(Fault::Deaf);
        if deaf && phase == "Running" {
            if grace_is_over(instance) {
                enter(&mut status, "Failed");
            }
        } else if self.long_enough(instance, "stopping") {
            enter(&mut status, if phase == "Running" { "Succeeded" } else { "Failed" });
        }
        self.write(instance, status, conditions).await?;
        Ok(true)
    }

    async fn write(&self, instance: &Value, mut status: Value, conditions: Vec<Value>) -> Result<()> {
        if !conditions.is_empty() {
            status["conditions"] = Value::Array(conditions);
        }
        if instance.get("status") == Some(&status) {
            return Ok(());
        }
        // The kind has no status subresource.
        self.objects.set(&instances().of(instance), instance, &[("/status", status)]).await
    }
}

fn disks(instance: &Value, storage: &Storage) -> Disks {
    let namespace = text(instance, "/metadata/namespace");
    let mut with_volumes = false;
    let mut unbound = false;
    for name in claim_names(&instance["spec"]) {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(claim) = storage.claims.get(&key) else {
            return Disks::Missing(format!(
                "PVC {namespace}/{name} does not exist, waiting for it to appear"
            ));
        };
        let owned =
            items(claim, "/metadata/ownerReferences").iter().any(|owner| owner["kind"] == "DataVolume");
        if owned {
            with_volumes = true;
            if storage.volumes.get(&key).is_none_or(|volume| volume["status"]["phase"] != "Succeeded") {
                return Disks::Filling;
            }
        }
        unbound |= claim["status"]["phase"] != "Bound";
    }
    if unbound { Disks::Unbound } else { Disks::Ready { with_volumes } }
}

fn enter(status: &mut Value, phase: &str) {
    status["phase"] = json!(phase);
    let mut times = items(status, "/phaseTransitionTimestamps").to_vec();
    times.push(json!({ "phase": phase, "phaseTransitionTimestamp": now() }));
    status["phaseTransitionTimestamps"] = Value::Array(times);
}

fn interfaces(instance: &Value, address: Option<&str>) -> Value {
    let asked = items(instance, "/spec/domain/devices/interfaces");
    let fallback = [json!({ "name": "default" })];
    let asked = if asked.is_empty() { &fallback[..] } else { asked };
    let list = asked.iter().enumerate().map(|(index, interface)| {
        let mac = match text(interface, "/macAddress") {
            "" => format!("02:00:00:00:00:{index:02x}"),
            mac => mac.to_owned(),
        };
        let mut seen = json!({
            "infoSource": "domain", "linkState": "up", "mac": mac, "name": interface["name"], "podInterfaceName": format!("eth{index}"),
            "queueCount": 1,
        });
        if let (0, Some(address)) = (index, address) {
            seen["ipAddress"] = json!(address);
            seen["ipAddresses"] = json!([address]);
        }
        seen
    });
    list.collect()
}

fn image(instance: &Value) -> &str {
    let mut images =
        items(instance, "/spec/volumes").iter().map(|volume| text(volume, "/containerDisk/image"));
    images.rfind(|image| !image.is_empty()).unwrap_or_default()
}

/// Whether a guest that is to stop has had its time: 30 s where the instance does not say otherwise, which a stop by the API may shorten.
fn grace_is_over(instance: &Value) -> bool {
    let grace = instance["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let since = text(instance, "/metadata/deletionTimestamp").parse::<jiff::Timestamp>();
    since.is_ok_and(|since| jiff::Timestamp::now().as_second() - since.as_second() > grace)
}

fn fault(kind: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": "False", "reason": reason, "message": message,
        "lastProbeTime": null, "lastTransitionTime": now(),
    })
}

fn holds(kind: &str) -> Value {
    json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now() })
}
