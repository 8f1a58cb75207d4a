//! What webhooks refuse.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::serve::Answer;
use crate::standin::{Objects, claims, contents, data_sources, items, machines, restores, snapshots, text};

/// Why a request is refused.
enum Refusal {
    /// KubeVirt's: a code of 422 with a reason, and a cause for each message.
    Causes(Vec<(&'static str, String, &'static str)>),
    /// CDI's: 422 without a reason; its message begins with a blank.
    Volume(String),
    /// Either's, where something it needs cannot be had.
    Other(String),
}

/// Judge an `AdmissionReview`; the one that would also change a `DataVolume` looks for its `DataSource`.
pub(super) async fn review(body: &[u8], objects: &Objects, mutating: bool) -> Answer {
    let Ok(review) = serde_json::from_slice::<Value>(body) else { return (400, None) };
    let request = &review["request"];
    let mut response = json!({ "uid": request["uid"], "allowed": true });
    let judged = if mutating { source_of(request, objects).await } else { judge(request, objects).await };
    let refused = match judged {
        Ok(None) => None,
        Ok(Some(refusal)) => Some(refusal),
        Err(error) => Some(Refusal::Other(format!("{error:#}"))),
    };
    if let Some(refusal) = refused {
        response["allowed"] = json!(false);
        response["status"] = match refusal {
            Refusal::Causes(causes) => {
                let messages: Vec<_> = causes.iter().map(|(_, message, _)| message.as_str()).collect();
                let causes = causes.iter();
                let causes: Vec<_> = causes
                    .map(|(kind, message, field)| json!({ "reason": kind, "message": message, "field": field }))
                    .collect();
                json!({
                    "code": 422, "reason": "Invalid", "message": messages.join(", "), "details": { "causes": causes },
                })
            }
            Refusal::Volume(message) => json!({ "code": 422, "message": format!(" {message}") }),
            Refusal::Other(message) => json!({ "code": 400, "message": message }),
        };
    }
    let answer =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
    (200, Some(answer))
}

async fn judge(request: &Value, objects: &Objects) -> Result<Option<Refusal>> {
    let (new, old) = (&request["object"], &request["oldObject"]);
    let create = request["operation"] == "CREATE";
    let causes = match text(request, "/resource/resource") {
        "virtualmachines" => machine(new, old),
        "virtualmachinesnapshots" if create => source(&new["spec"]["source"], "spec.source"),
        "virtualmachinerestores" if create => restore(request, objects).await?,
        "virtualmachinesnapshots" | "virtualmachinerestores" if new["spec"] != old["spec"] => {
            vec![("FieldValueInvalid", "spec in immutable after creation".to_owned(), "spec")]
        }
        "datavolumes" if create => return new_volume(request, objects).await,
        "datavolumes" if new["spec"] != old["spec"] => {
            return Ok(Some(Refusal::Volume("Cannot update DataVolume Spec".to_owned())));
        }
        _ => Vec::new(),
    };
    Ok((!causes.is_empty()).then_some(Refusal::Causes(causes)))
}

type Cause = (&'static str, String, &'static str);

/// Its power, and what a snapshot or a restore in progress locks.
fn machine(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &new["spec"];
    match (spec.get("running").is_some(), spec["runStrategy"].as_str()) {
        (true, Some(_)) => causes.push((
            "FieldValueInvalid",
            "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead"
                .to_owned(),
            "spec.running",
        )),
        (false, None) => {
            causes.push(("FieldValueInvalid", "RunStrategy must be specified".to_owned(), "spec.running"));
        }
        (false, Some(strategy))
            if !["Halted", "Manual", "Always", "RerunOnFailure", "Once"].contains(&strategy) =>
        {
            causes.push(("FieldValueInvalid", format!("Invalid RunStrategy ({strategy})"), "spec.runStrategy"));
        }
        _ => {}
    }
    if !causes.is_empty() || old.is_null() {
        return causes;
    }
    let power = |machine: &Value| {
        (machine["spec"].get("running").cloned(), machine["spec"].get("runStrategy").cloned())
    };
    let same_power = power(new) == power(old);
    let at = |machine: &Value| machine["spec"]["template"]["spec"]["volumes"].clone();
    let mut locked = |words: String| causes.push(("FieldValueNotSupported", words, "spec"));
    if let Some(restore) = new["status"]["restoreInProgress"].as_str().filter(|_| !same_power) {
        locked(format!("Cannot update VM runStrategy until restore \"{restore}\" completes"));
    }
    if let Some(snapshot) = new["status"]["snapshotInProgress"].as_str() {
        if at(new) != at(old) {
            locked(format!("Cannot update vm disks or volumes until snapshot \"{snapshot}\" completes"));
        } else if !same_power {
            locked(format!("Cannot update vm running state until snapshot \"{snapshot}\" completes"));
        }
    }
    causes
}

fn source(source: &Value, field: &str) -> Vec<Cause> {
    let (group, kind) = match field {
        "spec.source" => ("spec.source.apiGroup", "spec.source.kind"),
        _ => ("spec.target.apiGroup", "spec.target.kind"),
    };
    match (source["apiGroup"].as_str(), text(source, "/kind")) {
        (None, _) => vec![("FieldValueNotFound", "missing apiGroup".to_owned(), group)],
        (Some("kubevirt.io"), "VirtualMachine") => Vec::new(),
        (Some("kubevirt.io"), _) => vec![("FieldValueInvalid", "invalid kind".to_owned(), kind)],
        _ => vec![("FieldValueInvalid", "invalid apiGroup".to_owned(), group)],
    }
}

/// Its target, its policies, and no other restore of the same target that is not complete.
async fn restore(request: &Value, objects: &Objects) -> Result<Vec<Cause>> {
    let (new, namespace) = (&request["object"], text(request, "/namespace"));
    let target = &new["spec"]["target"];
    let mut causes = source(target, "spec.target");
    if causes.is_empty() {
        let of = text(new, "/spec/virtualMachineSnapshotName");
        if let Some(snapshot) = objects.get(&snapshots().path(namespace, of)).await? {
            let machine = objects.get(&machines().path(namespace, text(target, "/name"))).await?;
            let same =
                machine.is_some_and(|machine| machine["metadata"]["uid"] == snapshot["status"]["sourceUID"]);
            if !same {
                let content = text(&snapshot, "/status/virtualMachineSnapshotContentName");
                let content = (!content.is_empty())
                    .then_some(content)
                    .context("snapshot content name is nil in vmSnapshot status")?;
                objects.get(&contents().path(namespace, content)).await?.context("no content")?;
            }
        }
        let policies = [
            (
                "volumeRestorePolicy",
                "volume restore policy",
                &["InPlace", "RandomizeNames", "PrefixTargetName"][..],
                "spec.volumeRestorePolicy",
            ),
            (
                "volumeOwnershipPolicy",
                "volume ownership policy",
                &["Vm", "None"][..],
                "spec.volumeOwnershipPolicy",
            ),
        ];
        for (field, words, known, path) in policies {
            if let Some(policy) = new["spec"][field].as_str().filter(|policy| !known.contains(policy)) {
                causes.push(("FieldValueInvalid", format!("{words} \"{policy}\" doesn't exist"), path));
            }
        }
    }
    for other in objects.list(&restores()).await? {
        let same = text(&other, "/metadata/namespace") == namespace && other["spec"]["target"] == *target;
        if same && other["status"]["complete"] != true {
            let name = text(&other, "/metadata/name");
            let words = format!("VirtualMachineRestore \"{name}\" in progress");
            causes.push(("FieldValueInvalid", words, "spec.target"));
        }
    }
    Ok(causes)
}

/// What a volume clones by a `DataSource` has to be there.
async fn source_of(request: &Value, objects: &Objects) -> Result<Option<Refusal>> {
    let new = &request["object"];
    let Some(reference) = new["spec"].get("sourceRef") else { return Ok(None) };
    let namespace = reference["namespace"].as_str().unwrap_or(text(request, "/namespace"));
    let source = text(reference, "/name");
    if objects.get(&data_sources().path(namespace, source)).await?.is_some() {
        return Ok(None);
    }
    Ok(Some(Refusal::Other(format!("datasources.cdi.kubevirt.io \"{source}\" not found"))))
}

/// A claim of its name may be there only if the volume may have it.
async fn new_volume(request: &Value, objects: &Objects) -> Result<Option<Refusal>> {
    let (new, namespace) = (&request["object"], text(request, "/namespace"));
    let name = text(request, "/name");
    let spec = &new["spec"];
    let populated =
        ["/storage/dataSourceRef", "/pvc/dataSourceRef", "/storage/dataSource", "/pvc/dataSource"];
    let populated = populated.iter().any(|at| spec.pointer(at).is_some());
    if spec.get("source").is_some() == spec.get("sourceRef").is_some() && !populated {
        let words = "Data volume should have either Source or SourceRef, or be externally populated";
        return Ok(Some(Refusal::Volume(words.to_owned())));
    }
    let Some(claim) = objects.get(&claims().path(namespace, name)).await? else { return Ok(None) };
    let annotations = &claim["metadata"]["annotations"];
    let may = new["metadata"]["annotations"]["cdi.kubevirt.io/allowClaimAdoption"] == "true"
        || annotations["cdi.kubevirt.io/storage.populatedFor"] == name
        || items(&claim, "/metadata/ownerReferences").iter().any(|owner| owner["kind"] == "DataVolume");
    Ok((!may).then(|| Refusal::Volume(format!("Destination PVC {namespace}/{name} already exists"))))
}
