//! The claim that a `DataVolume` stands for.

use serde_json::{Value, json};

use crate::standin::{owner, text};

/// What is in a file system besides the disk image, in per cent: CDI's default.
const OVERHEAD: u64 = 6;
/// The class of a volume that names none.
pub(crate) const CLASS: &str = "standard";

pub(super) fn storage_class(volume: &Value) -> &str {
    let named = ["/spec/storage/storageClassName", "/spec/pvc/storageClassName"];
    named.iter().map(|at| text(volume, at)).find(|name| !name.is_empty()).unwrap_or(CLASS)
}

/// The claim of a volume; `source_size` is that of the disk it is cloned from, which a clone may leave its own size to.
pub(super) fn claim_of(volume: &Value, source_size: Option<&str>) -> Value {
    let asked = if volume.pointer("/spec/pvc").is_some() { "/spec/pvc" } else { "/spec/storage" };
    let at = |field: &str| volume.pointer(&format!("{asked}/{field}")).cloned();
    let mode = at("volumeMode").unwrap_or(json!("Filesystem"));
    let own_size = at("resources/requests/storage");
    let size = match (asked, mode == "Filesystem", own_size.as_ref().and_then(Value::as_str).and_then(bytes))
    {
        ("/spec/storage", true, Some(bytes)) => json!((bytes * (100 + OVERHEAD)).div_ceil(100).to_string()),
        _ => own_size.unwrap_or_else(|| json!(source_size.unwrap_or("1Gi"))),
    };
    let mut annotations = volume["metadata"].get("annotations").cloned().unwrap_or(json!({}));
    annotations["cdi.kubevirt.io/createdForDataVolume"] = volume["metadata"]["uid"].clone();
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": volume["metadata"]["name"], "namespace": volume["metadata"]["namespace"],
            "annotations": annotations,
            "labels": { "app": "containerized-data-importer", "app.kubernetes.io/managed-by": "cdi-controller" },
            "ownerReferences": owner("cdi.kubevirt.io/v1beta1", "DataVolume", volume),
        },
        "spec": {
            "accessModes": at("accessModes").unwrap_or(json!(["ReadWriteOnce"])), "volumeMode": mode,
            "storageClassName": storage_class(volume), "resources": { "requests": { "storage": size } },
        },
    })
}

/// Bytes of a whole quantity; none where it is written otherwise.
pub(crate) fn bytes(quantity: &str) -> Option<u64> {
    let end = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let factor = match unit {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_as_large_as_cdi_makes_it() {
        let volume = json!({
            "metadata": { "name": "d", "namespace": "n", "uid": "u" },
            "spec": { "source": { "blank": {} }, "storage": { "resources": { "requests": { "storage": "64Mi" } } } },
        });
        // measured.md: 64Mi is made as 71135396
        assert_eq!(claim_of(&volume, None)["spec"]["resources"]["requests"]["storage"], "71135396");
    }

    #[test]
    fn a_clone_may_leave_its_size_to_its_source() {
        let volume = json!({
            "metadata": { "name": "d", "namespace": "n", "uid": "u" },
            "spec": { "source": { "pvc": { "name": "golden", "namespace": "n" } }, "storage": {} },
        });
        assert_eq!(
            claim_of(&volume, Some("71135396"))["spec"]["resources"]["requests"]["storage"],
            "71135396"
        );
    }
}
