//! What a restore makes: claims from snapshots, the spec of the machine, its own volumes.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Storage, Virt};
use crate::{
    disks::CONTENT,
    standin::{claims, items, key, owner, text, volumes},
};

const LAST: &str = "restore.kubevirt.io/lastRestoreUID";
const NAME: &str = "restore.kubevirt.io/name";
const POPULATED_FOR: &str = "cdi.kubevirt.io/storage.populatedFor";
/// Annotations of a claim that belong to its old volume.
const OF_THE_OLD: [&str; 6] = [
    "pv.kubernetes.io",
    "volume.beta.kubernetes.io",
    "cdi.kubevirt.io",
    "volume.kubernetes.io",
    "k8s.io/CloneRequest",
    "k8s.io/CloneOf",
];

/// Whether an object carries the mark of this restore.
pub(super) fn is_of(object: &Value, restore: &Value) -> bool {
    object["metadata"]["annotations"][LAST] == mark_of(restore)
}

/// Put the mark of this restore into annotations.
pub(super) fn mark(annotations: &mut Value, restore: &Value) {
    annotations[LAST] = json!(mark_of(restore));
}

fn mark_of(restore: &Value) -> String {
    format!("{}-{}", text(restore, "/metadata/name"), text(restore, "/metadata/uid"))
}

/// The name of the owner of this kind, if there is one.
pub(super) fn owned(object: &Value, kind: &str) -> Option<String> {
    let mut owners = items(object, "/metadata/ownerReferences").iter();
    owners.find(|owner| owner["kind"] == kind).map(|owner| text(owner, "/name").to_owned())
}

/// What the restored disk of a volume is called.
pub(super) fn volume_name(restore: &Value, volume: &str, claim: &str) -> String {
    let mut overrides = items(restore, "/spec/volumeRestoreOverrides").iter();
    let named =
        overrides.find(|other| other["volumeName"] == volume).map(|other| text(other, "/restoreName"));
    match (named.unwrap_or_default(), text(restore, "/spec/volumeRestorePolicy")) {
        ("", "InPlace") => claim.to_owned(),
        ("", "PrefixTargetName") => format!("{}-{volume}", text(restore, "/spec/target/name")),
        ("", _) => format!("restore-{}-{volume}", text(restore, "/metadata/uid")),
        (named, _) => named.to_owned(),
    }
}

/// The new claim of a volume.
pub(super) fn claim_of(
    restore: &Value,
    machine: Option<&Value>,
    content: &Value,
    backup: &Value,
    part: &Value,
    taken: &Value,
) -> Value {
    let source = &backup["persistentVolumeClaim"];
    let mut annotations = json!({});
    for (name, value) in source["metadata"]["annotations"].as_object().into_iter().flatten() {
        if !OF_THE_OLD.iter().any(|old| name.starts_with(old)) && name != CONTENT {
            annotations[name] = value.clone();
        }
    }
    annotations[NAME] = restore["metadata"]["name"].clone();
    mark(&mut annotations, restore);
    let mut labels = source["metadata"].get("labels").cloned().unwrap_or(json!({}));
    labels["restore.kubevirt.io/source-vm-name"] =
        content["spec"]["source"]["virtualMachine"]["metadata"]["name"].clone();
    labels["restore.kubevirt.io/source-vm-namespace"] = content["metadata"]["namespace"].clone();
    let from = json!({
        "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": backup["volumeSnapshotName"],
    });
    let mut resources = source["spec"]["resources"].clone();
    let size = |quantity: &str| crate::cdi::bytes(quantity).unwrap_or_default();
    if size(text(&resources, "/requests/storage")) < size(text(taken, "/status/restoreSize")) {
        resources["requests"]["storage"] = taken["status"]["restoreSize"].clone();
    }
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": part["persistentVolumeClaim"], "namespace": restore["metadata"]["namespace"], "labels": labels,
        },
        "spec": {
            "accessModes": source["spec"]["accessModes"], "resources": resources,
            "storageClassName": source["spec"]["storageClassName"], "volumeMode": source["spec"]["volumeMode"],
            "dataSource": from, "dataSourceRef": from,
        },
    });
    if let Some(volume) = part.get("dataVolumeName") {
        annotations[POPULATED_FOR] = volume.clone();
    } else if let (Some(machine), false) = (machine, restore["spec"]["volumeOwnershipPolicy"] == "None") {
        // Whoever owned the old one: a machine that is deleted later takes this disk along.
        claim["metadata"]["ownerReferences"] = owner("kubevirt.io/v1", "VirtualMachine", machine);
    }
    claim["metadata"]["annotations"] = annotations;
    claim
}

fn template_of<'a>(machine: &'a Value, volume: &str) -> Option<&'a Value> {
    items(machine, "/spec/dataVolumeTemplates").iter().find(|template| template["metadata"]["name"] == volume)
}

/// The machine as it is to be: the snapshot's spec with the restored disks; only its run strategy stays.
pub(super) fn spec_of(restore: &Value, machine: Option<&Value>, snapshot: &Value, status: &Value) -> Value {
    let mut spec = snapshot["spec"].clone();
    let of = |volume: &Value| {
        items(status, "/restores").iter().find(|part| part["volumeName"] == volume["name"]).cloned()
    };
    for volume in spec["template"]["spec"]["volumes"].as_array_mut().into_iter().flatten() {
        let Some(part) = of(volume) else { continue };
        let own = text(volume, "/dataVolume/name").to_owned();
        if own.is_empty() {
            volume["persistentVolumeClaim"]["claimName"] = part["persistentVolumeClaim"].clone();
        } else if template_of(snapshot, &own).is_some() {
            volume["dataVolume"]["name"] = part["dataVolumeName"].clone();
        } else {
            // A volume that is not the machine's own is named by its claim from now on, also in place.
            let claim = json!({ "claimName": part["persistentVolumeClaim"] });
            *volume = json!({ "name": volume["name"], "persistentVolumeClaim": claim });
        }
    }
    for (old, template) in items(snapshot, "/spec/dataVolumeTemplates")
        .iter()
        .zip(spec["dataVolumeTemplates"].as_array_mut().into_iter().flatten())
    {
        let volumes = items(snapshot, "/spec/template/spec/volumes");
        let volume = volumes.iter().find(|volume| volume["dataVolume"]["name"] == old["metadata"]["name"]);
        if let Some(part) = volume.and_then(of) {
            template["metadata"]["name"] = part["dataVolumeName"].clone();
        }
    }
    for matcher in ["instancetype", "preference"] {
        if let Some(revision) = spec[matcher]["revisionName"].as_str() {
            let from = text(restore, "/spec/virtualMachineSnapshotName");
            spec[matcher]["revisionName"] =
                json!(revision.replacen(from, text(restore, "/spec/target/name"), 1));
        } else if spec[matcher].is_null() {
            spec.as_object_mut().map(|fields| fields.remove(matcher));
        }
    }
    let power = |running: Option<&Value>, strategy: &Value| match running {
        Some(_) => ("running", json!(false), "runStrategy"),
        None => ("runStrategy", strategy.clone(), "running"),
    };
    let (field, value, other) = match machine {
        Some(machine) => power(machine["spec"].get("running"), &machine["spec"]["runStrategy"]),
        None => power(spec.get("running"), &json!("Halted")),
    };
    spec[field] = value;
    spec.as_object_mut().map(|fields| fields.remove(other));
    let mut annotations = snapshot["metadata"].get("annotations").cloned().unwrap_or(json!({}));
    mark(&mut annotations, restore);
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {
            "name": restore["spec"]["target"]["name"], "namespace": restore["metadata"]["namespace"],
            "labels": snapshot["metadata"].get("labels").cloned().unwrap_or(json!({})), "annotations": annotations,
        },
        "spec": spec,
    })
}

impl Virt {
    /// The machine's own volumes over their restored claims; true if there is something to wait for.
    pub(super) async fn restore_templates(
        &self,
        restore: &Value,
        snapshot: &Value,
        status: &mut Value,
        storage: &Storage,
    ) -> Result<bool> {
        let (namespace, name) = key(restore);
        let mut named = false;
        for volume in items(snapshot, "/spec/template/spec/volumes") {
            let own = text(volume, "/dataVolume/name");
            let Some(template) = template_of(snapshot, own) else { continue };
            let mut parts = status["restores"].as_array_mut().into_iter().flatten();
            let Some(part) = parts.find(|part| part["volumeName"] == volume["name"]) else { continue };
            let new = volume_name(restore, text(volume, "/name"), own);
            named |= part["dataVolumeName"] != new;
            part["dataVolumeName"] = json!(new);
            let claim_key = (namespace.clone(), text(part, "/persistentVolumeClaim").to_owned());
            let Some(claim) = storage.claims.get(&claim_key) else { return Ok(true) };
            if claim["metadata"]["annotations"][POPULATED_FOR] != new {
                let mut annotations = claim["metadata"]["annotations"].clone();
                annotations[POPULATED_FOR] = json!(new);
                let parts =
                    [("/metadata/annotations", annotations), ("/metadata/ownerReferences", Value::Null)];
                self.objects.set(&claims().of(claim), claim, &parts).await?;
                return Ok(true);
            }
            match storage.volumes.get(&(namespace.clone(), new.clone())) {
                Some(there) if text(there, "/status/phase") == "Succeeded" => {}
                Some(_) => return Ok(true),
                None => {
                    let mut made = json!({
                        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
                        "metadata": {
                            "name": new, "namespace": namespace,
                            "annotations": template["metadata"].get("annotations").cloned().unwrap_or(json!({})),
                        },
                        "spec": template["spec"],
                    });
                    made["metadata"]["annotations"][NAME] = json!(name);
                    made["metadata"]["annotations"]["cdi.kubevirt.io/storage.prePopulated"] = json!("true");
                    self.objects.create(&volumes(), &made).await?;
                    return Ok(true);
                }
            }
        }
        Ok(named)
    }
}
