//! An Application goes (Argo CD 3.5.7, `finalizeApplicationDeletion`), and what it takes along.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Syncer, compare};
use crate::standin::{applications, items, now, set_condition, text};

const CASCADE: &str = "resources-finalizer.argocd.argoproj.io";
/// When somebody agreed to what has to be confirmed, on the Application.
const APPROVED: &str = "argocd.argoproj.io/deletion-approved";

impl Syncer {
    /// Delete what the Application brought, then let it go. What cannot be deleted is said in the condition `DeletionError`, and tried again.
    pub(super) async fn finalize(&mut self, application: &Value) -> Result<()> {
        let finalizers = items(application, "/metadata/finalizers");
        let Some(cascade) = finalizers.iter().find(|name| text(name, "").starts_with(CASCADE)) else {
            return Ok(());
        };
        let mut live = Vec::new();
        for resource in items(application, "/status/resources") {
            let path = self.path_of(resource).await?;
            let Some(object) = self.objects.get(&path).await? else { continue };
            if compare::ours(&object, application) {
                live.push((path, object));
            }
        }
        // One that is going already is waited for, also where it is not ours to delete.
        if live.iter().any(|(_, object)| object["metadata"].get("deletionTimestamp").is_some()) {
            return Ok(());
        }
        live.retain(|(_, object)| !compare::option(object, "Delete=false"));
        let since = text(application, "/metadata/deletionTimestamp");
        if live.iter().any(|(_, object)| needs_word(object)) && !approved(application, since) {
            return Ok(());
        }
        let policy = if text(cascade, "").ends_with("/background") { "Background" } else { "Foreground" };
        for (path, _) in &live {
            if let Err(error) = self.objects.delete_with(path, policy).await {
                return self.say_undeletable(application, &error).await;
            }
        }
        // What is left is seen at the next look, which its own change brings.
        if !live.is_empty() {
            return Ok(());
        }
        let rest = crate::standin::remove_item(finalizers, text(cascade, ""));
        let path = applications().of(application);
        self.objects.set(&path, application, &[("/metadata/finalizers", rest)]).await
    }

    async fn say_undeletable(&mut self, application: &Value, error: &kube::Error) -> Result<()> {
        let message = super::operation::words(error);
        let mut conditions = items(application, "/status/conditions").to_vec();
        let said = conditions
            .iter()
            .any(|condition| condition["type"] == "DeletionError" && condition["message"] == message);
        let again = std::time::Instant::now() + self.options.retry;
        self.retry_at.insert(text(application, "/metadata/uid").to_owned(), again);
        if said {
            return Ok(());
        }
        set_condition(
            &mut conditions,
            json!({ "type": "DeletionError", "message": message, "lastTransitionTime": now() }),
        );
        let part = ("/status/conditions", Value::Array(conditions));
        self.objects.set(&applications().of(application), application, &[part]).await
    }
}

/// Whether somebody has to agree before this object is deleted or pruned.
pub(super) fn needs_word(object: &Value) -> bool {
    ["Delete=confirm", "Prune=confirm"].iter().any(|option| compare::option(object, option))
}

/// Whether somebody agreed, not before `since`.
pub(super) fn approved(application: &Value, since: &str) -> bool {
    let at = application["metadata"]["annotations"][APPROVED].as_str().unwrap_or_default();
    match (at.parse::<jiff::Timestamp>(), since.parse::<jiff::Timestamp>()) {
        (Ok(at), Ok(since)) => at >= since,
        _ => false,
    }
}
