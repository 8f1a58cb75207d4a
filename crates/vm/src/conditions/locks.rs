//! What keeps a machine from being changed, and whether it runs what was declared.
//!
//! Sources: kubevirt 1.8 `pkg/storage/admitters/vm-storage-status.go` (a snapshot or a restore under way refuses changes of
//! volumes and run strategy), `pkg/virt-api/rest/lifecycle.go` (a second request to start or stop is answered with 500),
//! `pkg/virt-controller/watch/vm/vm.go` (`syncGenerationInfo`); argo-cd 3.5.7 `controller/appcontroller.go`.

use serde_json::Value;

use super::machine::restart_required;
use super::view::View;
use super::with_words;

/// Argo CD leaves an Application with this annotation alone while it is `true`, its status included.
pub const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";
/// Beside it, the id of the request that paused the Application.
pub const PAUSED_BY: &str = "vmlifecycle.dev/paused-by";

/// What holds a machine, as a predicate, such as ``is being snapshotted by `before-update` ``; none if it is free. An
/// operation of Argo CD counts where the Application is given.
pub fn busy(vm: &Value, application: Option<&Value>) -> Option<String> {
    let view = View(vm);
    if view.deleting() {
        return Some("is being deleted".to_owned());
    }
    let (snapshot, restore) =
        (view.text("/status/snapshotInProgress"), view.text("/status/restoreInProgress"));
    if !snapshot.is_empty() {
        return Some(format!("is being snapshotted by `{snapshot}`"));
    }
    if !restore.is_empty() {
        return Some(format!("is being restored by `{restore}`"));
    }
    if let Some(request) = view.list("/status/stateChangeRequests").next() {
        let action = request.text("/action").to_lowercase();
        let action = if action.is_empty() { "change".to_owned() } else { action };
        return Some(format!("has a request to {action} under way"));
    }
    application
        .map(View)
        .filter(|app| operating(*app))
        .map(|app| with_words("is being synced by Argo CD", app.text("/status/operationState/message")))
}

/// An operation of Argo CD is asked for or under way.
pub(super) fn operating(app: View<'_>) -> bool {
    app.at("/operation").is_some()
        || matches!(app.text("/status/operationState/phase"), "Running" | "Terminating")
}

/// Who paused an Application: the id of a request, or the empty text for somebody else. None if Argo CD looks after it.
pub fn paused_by(application: &Value) -> Option<&str> {
    let annotation = |name: &str| application.get("metadata")?.get("annotations")?.get(name)?.as_str();
    (annotation(SKIP_RECONCILE) == Some("true")).then(|| annotation(PAUSED_BY).unwrap_or_default())
}

/// Whether the instance is one of the machine as it is declared now; the error says why not, as a predicate of the machine.
/// That it is ready is another question.
pub fn runs_what_is_declared(vm: &Value, vmi: Option<&Value>) -> Result<(), String> {
    let view = View(vm);
    let Some(vmi) = vmi.map(View) else { return Err("has no instance".to_owned()) };
    if vmi.deleting() {
        return Err("has an instance that is being deleted".to_owned());
    }
    if let Some(words) = restart_required(vm) {
        return Err(with_words("still runs what was declared before and has to be restarted", words));
    }
    // desiredGeneration is what virt-controller has acted on; observedGeneration lags after a hotplug, and says nothing then
    match (view.number("/status/desiredGeneration"), view.number("/metadata/generation")) {
        (Some(seen), Some(newest)) if seen != newest => {
            Err(format!("is known to KubeVirt as generation {seen}, not yet as {newest}"))
        }
        _ => Ok(()),
    }
}

/// Whether a machine can be started from a `DataVolume`: it is filled, or it waits for nothing but the start.
pub fn usable(data_volume: &Value) -> bool {
    matches!(
        View(data_volume).text("/status/phase"),
        "Succeeded" | "WaitForFirstConsumer" | "PendingPopulation"
    )
}
