//! Where the content of a disk comes from, and the `DataSources` that point there.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Filler,
    claim::{bytes, claim_of},
};
use crate::{
    disks::{BLANK, content},
    standin::{Objects, claims, data_sources, now, set_condition, text, volume_snapshots, volumes},
};

/// What a volume is filled from.
pub(super) enum Source {
    /// There, with this content and, of a disk, its size.
    Found { content: String, size: Option<String> },
    /// It cannot be used now: the condition's reason and message. Looked at again.
    NotNow { reason: &'static str, message: String },
    /// The `DataSource` is not there; CDI's admission refuses such a volume, one that lost it later has no phase.
    Unknown,
}

impl Filler {
    /// What fills this volume. A `sourceRef` is resolved now, not when the volume was asked for.
    pub(super) async fn source(&self, volume: &Value) -> Result<Source> {
        let own = text(volume, "/metadata/namespace");
        let mut source = volume["spec"]["source"].clone();
        if let Some(reference) = volume.pointer("/spec/sourceRef") {
            let Some(found) = resolve(&self.objects, reference, own).await? else {
                return Ok(Source::Unknown);
            };
            source = found;
        }
        for (kind, place, word) in [("pvc", claims(), "pvc"), ("snapshot", volume_snapshots(), "snapshot")] {
            let Some(named) = source.get(kind) else { continue };
            let namespace = named["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or(own);
            let name = text(named, "/name");
            let Some(object) = self.objects.get(&place.path(namespace, name)).await? else {
                let message = format!("The source {word} {name} doesn't exist");
                return Ok(Source::NotNow { reason: "CloneWithoutSource", message });
            };
            let size = if kind == "pvc" {
                text(&object, "/spec/resources/requests/storage")
            } else {
                text(&object, "/status/restoreSize")
            };
            if kind == "snapshot"
                && let Some(words) = unfit(&object)
            {
                let message = format!("The clone doesn't meet the validation requirements: {words}");
                return Ok(Source::NotNow { reason: "CloneValidationFailed", message });
            }
            let Some(content) = content(&object).filter(|_| !size.is_empty()) else {
                // CDI waits for a source that is itself being filled.
                return Ok(Source::NotNow {
                    reason: "Pending",
                    message: format!("The source {word} {name} is not ready"),
                });
            };
            let wanted = claim_of(volume, Some(size));
            let asked = volume["spec"].pointer("/storage/resources/requests/storage").and_then(Value::as_str);
            let asked =
                asked.or(volume["spec"].pointer("/pvc/resources/requests/storage").and_then(Value::as_str));
            if let (Some(asked), Some(there)) = (asked.and_then(bytes), bytes(size))
                && asked < there
                // A claim is compared with what becomes of the size, a snapshot with the size as it is written.
                && (kind == "snapshot" || bytes(text(&wanted, "/spec/resources/requests/storage")) < Some(there))
            {
                let message = format!(
                    "The clone doesn't meet the validation requirements: target resources requests storage size is smaller \
                     than the source {asked} < {there}"
                );
                return Ok(Source::NotNow { reason: "CloneValidationFailed", message });
            }
            return Ok(Source::Found { content: content.to_owned(), size: Some(size.to_owned()) });
        }
        let named = ["/http/url", "/registry/url", "/s3/url", "/gcs/url", "/imageio/url"];
        let url = named.iter().map(|at| text(&source, at)).find(|url| !url.is_empty());
        Ok(Source::Found { content: url.unwrap_or(BLANK).to_owned(), size: None })
    }

    /// Say of a `DataSource` whether what it points to is there.
    pub(super) async fn say_source(&self, source: &Value) -> Result<()> {
        let own = text(source, "/metadata/namespace");
        let mut pointed = source["spec"]["source"].clone();
        let mut ready = ("NoSource".to_owned(), "No source PVC set".to_owned(), false);
        if let Some(next) = pointed.get("dataSource").cloned() {
            let next = self.objects.get(&data_sources().path(own, text(&next, "/name"))).await?;
            pointed = next.map_or(json!({}), |next| next["spec"]["source"].clone());
        }
        if let Some(named) = pointed.get("pvc") {
            let namespace = named["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or(own);
            let volume = self.objects.get(&volumes().path(namespace, text(named, "/name"))).await?;
            let claim = self.objects.get(&claims().path(namespace, text(named, "/name"))).await?;
            let phase = volume.as_ref().map(|volume| text(volume, "/status/phase").to_owned());
            ready = match (phase.as_deref(), claim) {
                (Some("Succeeded"), _) | (None, Some(_)) => is_ready(),
                (Some(phase), _) => (phase.to_owned(), format!("Import DataVolume phase {phase}"), false),
                (None, None) => ("NotFound".to_owned(), "PVC not found".to_owned(), false),
            };
        } else if let Some(named) = pointed.get("snapshot") {
            let namespace = named["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or(own);
            let snapshot =
                self.objects.get(&volume_snapshots().path(namespace, text(named, "/name"))).await?;
            ready = match snapshot {
                None => ("NotFound".to_owned(), "Snapshot not found".to_owned(), false),
                Some(snapshot) if snapshot["status"]["readyToUse"] == true => is_ready(),
                Some(_) => ("SnapshotNotReady".to_owned(), "Snapshot phase is not ready".to_owned(), false),
            };
        }
        let (reason, message, is_ready) = ready;
        let mut conditions = source["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let mut condition = json!({
            "type": "Ready", "status": if is_ready { "True" } else { "False" }, "reason": reason, "message": message,
            "lastTransitionTime": now(), "lastHeartbeatTime": now(),
        });
        if let Some(before) = conditions.first().filter(|before| before["reason"] == reason) {
            condition = before.clone();
        }
        set_condition(&mut conditions, condition);
        let status =
            json!({ "conditions": conditions, "source": if is_ready { pointed } else { json!({}) } });
        if source.get("status") == Some(&status) {
            return Ok(());
        }
        // The kind has no status subresource.
        self.objects.set(&data_sources().of(source), source, &[("/status", status)]).await
    }
}

/// Why CDI makes nothing of a `VolumeSnapshot` (CDI 1.65 `common/util.go` `IsSnapshotValidForClone` and
/// `datavolume/snapshot-clone-controller.go` `validateSnapshotClone`); the class is not looked at.
fn unfit(snapshot: &Value) -> Option<String> {
    if snapshot.get("status").is_none() {
        return Some("no status on source snapshot yet".to_owned());
    }
    if let Some(error) = snapshot["status"].get("error") {
        let words = error["message"].as_str().unwrap_or("no details");
        return Some(format!("snapshot in error state with msg: {words}"));
    }
    text(snapshot, "/status/restoreSize").is_empty().then(|| "snapshot has no restore size".to_owned())
}

fn is_ready() -> (String, String, bool) {
    ("Ready".to_owned(), "DataSource is ready to be consumed".to_owned(), true)
}

/// The source that a `sourceRef` stands for: that of the `DataSource`, or of the one that it points to.
async fn resolve(objects: &Objects, reference: &Value, own: &str) -> Result<Option<Value>> {
    let namespace = reference["namespace"].as_str().unwrap_or(own);
    let path = data_sources().path(namespace, text(reference, "/name"));
    let Some(source) = objects.get(&path).await? else { return Ok(None) };
    let mut pointed = source["spec"]["source"].clone();
    if let Some(next) = pointed.get("dataSource") {
        let next = objects.get(&data_sources().path(namespace, text(next, "/name"))).await?;
        pointed = next.map_or(Value::Null, |next| next["spec"]["source"].clone());
    }
    if pointed.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(None);
    }
    // A claim without a namespace is one beside its DataSource.
    for kind in ["pvc", "snapshot"] {
        if pointed.get(kind).is_some_and(|named| named["namespace"].as_str().unwrap_or_default().is_empty()) {
            pointed[kind]["namespace"] = json!(namespace);
        }
    }
    Ok(Some(pointed))
}
