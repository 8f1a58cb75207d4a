//! What a data source says of its image; pure.
//!
//! Sources: CDI 1.65 `pkg/controller/datasource-controller.go`, `core/v1beta1/types.go`; a data source that points to another
//! has its image in `status.source`, as every other has, and CDI follows one such step only.

use serde_json::Value;

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) kind: ImageKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImageKind {
    /// A volume.
    Claim,
    /// A snapshot of one.
    Snapshot,
}

impl ImageKind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Claim => "pvc",
            Self::Snapshot => "snapshot",
        }
    }
}

/// The text there, or the empty text.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|c| text(c, "/type") == kind)
}

/// The image that a data source points at now, or why it points at none, as a predicate. Its condition and its status are
/// written together, so an image beside `Ready=True` is one that CDI has seen to be there.
pub(crate) fn image(data_source: &Value) -> Result<Image, String> {
    let ready = condition(data_source, "Ready");
    if ready.is_none_or(|c| text(c, "/status") != "True") {
        let said = ready.map_or("", |c| text(c, "/message"));
        let reason = ready.map_or("", |c| text(c, "/reason"));
        return Err(match (said, reason) {
            ("", "") => "is not ready: CDI has not looked at it yet".to_owned(),
            ("", reason) => format!("is not ready: {reason}"),
            (said, _) => format!("is not ready: {said}"),
        });
    }
    let own = text(data_source, "/metadata/namespace");
    let kinds = [(ImageKind::Claim, "pvc"), (ImageKind::Snapshot, "snapshot")];
    kinds
        .into_iter()
        .find_map(|(kind, field)| {
            let source = data_source.pointer(&format!("/status/source/{field}"))?;
            let namespace = match text(source, "/namespace") {
                "" => own,
                namespace => namespace,
            };
            let (namespace, name) = (namespace.to_owned(), text(source, "/name").to_owned());
            Some(Image { kind, namespace, name }).filter(|i| !i.name.is_empty())
        })
        .ok_or_else(|| "is ready, and points at neither a volume nor a snapshot".to_owned())
}

/// Why no image of this data source will ever be found, as CDI words it: a chain that is too long, or turns on itself.
pub(crate) fn hopeless(data_source: &Value) -> Option<&str> {
    let ready = condition(data_source, "Ready").filter(|c| text(c, "/status") == "False")?;
    let reason = text(ready, "/reason");
    ["MaxReferenceDepthReached", "SelfReference", "CrossNamespaceReference"]
        .contains(&reason)
        .then(|| text(ready, "/message"))
}

/// The import cron that keeps a data source, if one does.
pub(crate) fn cron(data_source: &Value) -> Option<&str> {
    Some(text(data_source, "/metadata/labels/cdi.kubevirt.io~1dataImportCron"))
        .filter(|name| !name.is_empty())
}

/// Why the image that a data source points at is not the newest there is, in the cron's words; none if it is.
pub(crate) fn outdated(cron: &Value) -> Option<String> {
    let up_to_date = condition(cron, "UpToDate").filter(|c| text(c, "/status") != "True")?;
    let words = [text(up_to_date, "/message"), text(up_to_date, "/reason"), "not up to date"];
    words.into_iter().find(|w| !w.is_empty()).map(str::to_owned)
}

/// How large a disk from this volume or snapshot has to be, as the cluster writes it, or why it cannot be used.
pub(crate) fn size(kind: ImageKind, object: &Value) -> Result<String, String> {
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        return Err("is being deleted".to_owned());
    }
    Ok(match kind {
        ImageKind::Claim => {
            // a claim that was bound says what it holds; one that waits for its first consumer what it asks for
            let sizes = ["/status/capacity/storage", "/spec/resources/requests/storage"];
            sizes.into_iter().map(|p| text(object, p)).find(|s| !s.is_empty()).unwrap_or_default()
        }
        ImageKind::Snapshot => {
            if object.pointer("/status/readyToUse").and_then(Value::as_bool) != Some(true) {
                return Err("is not ready to use".to_owned());
            }
            text(object, "/status/restoreSize")
        }
    }
    .to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Image, ImageKind, cron, hopeless, image, outdated, size};

    fn source(status: &str, reason: &str, source: &Value) -> Value {
        json!({
            "metadata": {"name": "fedora", "namespace": "images", "labels": {"cdi.kubevirt.io/dataImportCron": "fedora-cron"}},
            "status": {"source": source, "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "words"}]}
        })
    }

    #[test]
    fn point_19_an_image_counts_only_beside_ready() {
        let pvc = json!({"pvc": {"name": "fedora-1", "namespace": "other"}});
        let found = |kind, namespace: &str| {
            Ok(Image { kind, namespace: namespace.to_owned(), name: "fedora-1".to_owned() })
        };
        assert_eq!(image(&source("True", "Ready", &pvc)), found(ImageKind::Claim, "other"));
        let snapshot = json!({"snapshot": {"name": "fedora-1"}});
        assert_eq!(image(&source("True", "Ready", &snapshot)), found(ImageKind::Snapshot, "images"));
        assert_eq!(image(&source("False", "NotFound", &pvc)), Err("is not ready: words".to_owned()));
        assert_eq!(
            image(&json!({"status": {"source": pvc}})),
            Err("is not ready: CDI has not looked at it yet".to_owned())
        );
        assert_eq!(
            image(&source("True", "Ready", &json!({"dataSource": {"name": "x"}}))),
            Err("is ready, and points at neither a volume nor a snapshot".to_owned())
        );
        assert_eq!(cron(&source("True", "Ready", &pvc)), Some("fedora-cron"));
    }

    #[test]
    fn what_never_gets_ready_is_told_from_what_is_on_its_way() {
        for (reason, words) in [
            ("MaxReferenceDepthReached", Some("words")),
            ("NoSource", None),
            ("NotFound", None),
            ("ImportInProgress", None),
        ] {
            assert_eq!(hopeless(&source("False", reason, &json!({}))), words, "{reason}");
        }
        assert_eq!(hopeless(&source("True", "SelfReference", &json!({}))), None);
    }

    #[test]
    fn a_newer_image_on_its_way_is_said() {
        let cron = |status: &str| json!({"status": {"conditions": [{"type": "UpToDate", "status": status, "reason": "ImportInProgress", "message": "Import is progressing"}]}});
        assert_eq!(outdated(&cron("True")), None);
        assert_eq!(outdated(&cron("False")), Some("Import is progressing".to_owned()));
        assert_eq!(outdated(&json!({})), None);
    }

    #[test]
    fn sizes_are_what_a_disk_from_it_needs() {
        let claim = json!({"spec": {"resources": {"requests": {"storage": "9Gi"}}}, "status": {"capacity": {"storage": "10Gi"}}});
        assert_eq!(size(ImageKind::Claim, &claim), Ok("10Gi".to_owned()));
        assert_eq!(
            size(ImageKind::Snapshot, &json!({"status": {"readyToUse": true, "restoreSize": "5Gi"}})),
            Ok("5Gi".to_owned())
        );
        assert_eq!(size(ImageKind::Snapshot, &json!({"status": {"readyToUse": true}})), Ok(String::new()));
        assert_eq!(size(ImageKind::Snapshot, &json!({"status": {}})), Err("is not ready to use".to_owned()));
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-11-21T08:00:00Z"}});
        assert_eq!(size(ImageKind::Claim, &deleted), Err("is being deleted".to_owned()));
    }
}
