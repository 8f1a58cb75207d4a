//! What a claim says of its size; pure.
//!
//! Sources: Kubernetes `core/v1` `PersistentVolumeClaimStatus` (`conditions`, `allocatedResourceStatuses`), CDI 1.65
//! `pkg/util/util.go` (`GetRequiredSpace`) and `core/v1beta1/types.go` (`CDIConfigStatus.filesystemOverhead`).

use serde_json::Value;
use vm::quantity::{Quantity, bytes};

/// What CDI adds where its settings cannot be read: its own default, 6 %.
const OVERHEAD: f64 = 0.06;
/// CDI rounds disks up to this many bytes before it adds the overhead.
const BLOCK: u64 = 1 << 20;

/// How far a claim is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has what it was raised to.
    Done,
    /// Its volume is large enough; the file system on it grows when a machine that uses it runs.
    Mounting,
    /// Not yet; the controller's word and what it says.
    Pending(String, String),
    /// It will not grow; the controller's word and what it says.
    Failed(String, String),
}

/// The text there, or the empty text.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Bytes that it requests.
pub(crate) fn requested(claim: &Value) -> u64 {
    bytes(text(claim, "/spec/resources/requests/storage")).unwrap_or_default()
}

/// Bytes that it has.
pub(crate) fn capacity(claim: &Value) -> u64 {
    bytes(text(claim, "/status/capacity/storage")).unwrap_or_default()
}

/// A volume with a file system on it, which is also what absent means.
pub(crate) fn on_file_system(claim: &Value) -> bool {
    text(claim, "/spec/volumeMode") != "Block"
}

/// What CDI adds to disks on file systems of this storage class, by its settings.
pub(crate) fn overhead(settings: Option<&Value>, class: &str) -> f64 {
    let all = settings.and_then(|s| s.pointer("/status/filesystemOverhead"));
    let of_class = all.and_then(|o| o.get("storageClass")?.get(class)?.as_str());
    let global = all.and_then(|o| o.get("global")?.as_str());
    of_class
        .or(global)
        .and_then(|text| text.parse().ok())
        .filter(|part| (0.0..1.0).contains(part))
        .unwrap_or(OVERHEAD)
}

/// Bytes that a claim has to have for a disk of this size.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sizes are far below 2⁵³ bytes of rounding that matters, and CDI counts so"
)]
pub(crate) fn needed(size: Quantity, overhead: Option<f64>) -> u64 {
    let bytes = size.mebibytes() << 20;
    match overhead {
        None => bytes,
        Some(part) => (bytes.div_ceil(BLOCK).saturating_mul(BLOCK) as f64 * (1.0 + part)).ceil() as u64,
    }
}

/// How far it is on its way to this many bytes.
pub(crate) fn progress(claim: &Value, wanted: u64) -> Progress {
    if capacity(claim) >= wanted {
        return Progress::Done;
    }
    let status = text(claim, "/status/allocatedResourceStatuses/storage");
    let conditions = claim.pointer("/status/conditions").and_then(Value::as_array);
    let holds = |kind: &str| {
        let mut all = conditions.into_iter().flatten();
        all.find(|c| text(c, "/type") == kind && text(c, "/status") == "True")
    };
    let words = |kind: &str| holds(kind).map_or("", |c| text(c, "/message")).to_owned();
    if matches!(status, "ControllerResizeInfeasible" | "NodeResizeInfeasible") {
        let kind = if status.starts_with("Node") { "NodeResizeError" } else { "ControllerResizeError" };
        return Progress::Failed(status.to_owned(), words(kind));
    }
    if holds("FileSystemResizePending").is_some() {
        return Progress::Mounting;
    }
    let known = ["ControllerResizeError", "NodeResizeError", "Resizing"];
    let (reason, said) = known
        .into_iter()
        .find(|kind| holds(kind).is_some())
        .map_or((status, String::new()), |kind| (kind, words(kind)));
    let reason = if reason.is_empty() { "Resizing" } else { reason };
    Progress::Pending(reason.to_owned(), said)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Progress, needed, overhead, progress};

    #[test]
    fn a_disk_on_a_file_system_needs_what_cdi_would_have_asked_for() {
        let size = "64Mi".parse().unwrap();
        // what a cluster was seen to make of 64Mi
        assert_eq!(needed(size, Some(0.06)), 71_135_396);
        assert_eq!(needed(size, None), 67_108_864);
    }

    #[test]
    fn the_overhead_is_the_class_own_else_the_global_one() {
        let settings = json!({"status": {"filesystemOverhead": {"global": "0.055", "storageClass": {"fast": "0.1", "odd": "lots"}}}});
        let of = |class| overhead(Some(&settings), class);
        let all = [of("fast"), of("slow"), of("odd"), overhead(None, "fast")].map(|part| part.to_string());
        assert_eq!(all, ["0.1", "0.055", "0.06", "0.06"]);
    }

    #[test]
    fn how_far_a_claim_is() {
        let claim = |capacity: &str, status: &str, condition: &str| -> Value {
            json!({"status": {
                "capacity": {"storage": capacity}, "allocatedResourceStatuses": {"storage": status},
                "conditions": [{"type": condition, "status": "True", "message": "words"}]
            }})
        };
        let wanted = 2 << 30;
        let pending = |reason: &str, words: &str| Progress::Pending(reason.to_owned(), words.to_owned());
        for (claim, state) in [
            (claim("2Gi", "", ""), Progress::Done),
            (claim("3Gi", "", "Resizing"), Progress::Done),
            (claim("1Gi", "NodeResizePending", "FileSystemResizePending"), Progress::Mounting),
            (claim("1Gi", "ControllerResizeInProgress", "Resizing"), pending("Resizing", "words")),
            (claim("1Gi", "", ""), pending("Resizing", "")),
            (
                claim("1Gi", "ControllerResizeInProgress", "ControllerResizeError"),
                pending("ControllerResizeError", "words"),
            ),
            (
                claim("1Gi", "ControllerResizeInfeasible", "ControllerResizeError"),
                Progress::Failed("ControllerResizeInfeasible".to_owned(), "words".to_owned()),
            ),
        ] {
            assert_eq!(progress(&claim, wanted), state, "{claim}");
        }
    }
}
