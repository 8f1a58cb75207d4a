//! Whether a machine's removal is over, and that it took nothing with it that was to stay.
//!
//! Sources: argo-cd 3.5.7 `controller/appcontroller.go` (`processAppOperationQueueItem`, `finalizeApplicationDeletion`,
//! `autoSync`), gitops-engine `pkg/sync/sync_context.go` (`pruneObject`, `setRunningPhase`).

use std::time::Duration;

use serde_json::Value;

use super::application::{self, WantedApplication, short};
use super::locks::operating;
use super::view::View;
use super::{State, with_words};

/// Deletion that fails is tried again by Argo CD.
const DELETION_ERROR: Duration = Duration::from_mins(2);
/// What admission denies it denies again.
const DENIED: Duration = Duration::from_secs(45);
/// Argo CD was asked to look again two or three times in this while.
const COMPARISON: Duration = Duration::from_mins(1);
/// What everybody else has left behind is collected within seconds, or never.
const ORPHANED: Duration = Duration::from_mins(1);

/// Refuses the deletion of a machine while it is `true` (OpenShift Virtualization, a `ValidatingAdmissionPolicy`).
const DELETE_PROTECTION: &str = "/metadata/labels/kubevirt.io~1vm-delete-protection";

/// A claim with the `DataVolume` that made it, each if it is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claim<'a> {
    /// The `PersistentVolumeClaim`.
    pub claim: Option<&'a Value>,
    /// The `DataVolume` of the same name.
    pub data_volume: Option<&'a Value>,
}

/// The machine that owns an object, so that it is deleted with it: its name.
pub fn owned_by_machine(object: &Value) -> Option<&str> {
    let machine = |o: &View<'_>| {
        o.text("/kind") == "VirtualMachine" && o.text("/apiVersion").starts_with("kubevirt.io/")
    };
    View(object).list("/metadata/ownerReferences").find(machine).map(|o| o.text("/name"))
}

/// Whether the Application is gone.
pub fn application_gone(application: Option<&Value>) -> State {
    let Some(app) = application.map(View) else {
        return State::Ready;
    };
    if let Some(paused) = application::paused(app) {
        return paused;
    }
    if !app.deleting() {
        return not_removed(app);
    }
    // an operation under way comes before the deletion
    if app.at("/operation").is_some() {
        let words = app.text("/status/operationState/message");
        return if application::waits_for_machine(app) {
            application::deadlock(app, words)
        } else {
            State::pending("Syncing", with_words("is syncing, and its deletion waits for that", words))
        };
    }
    if let Some(error) = app.condition("DeletionError") {
        let words = error.text("/message");
        let message = with_words("cannot be deleted", words);
        return if application::denied(words) {
            State::patient("DeletionDenied", message, DENIED)
        } else {
            State::patient("DeletionError", message, DELETION_ERROR)
        };
    }
    let unconfirmed = app.list("/status/resources").find(|r| r.flag("/requiresDeletionConfirmation"));
    if let Some(resource) = unconfirmed.filter(|_| !confirmed(app)) {
        let message = format!("waits for somebody to confirm the deletion of {}", named(resource));
        return State::pending("DeleteConfirm", message);
    }
    State::pending("Deleting", format!("is being deleted (finalizers: {})", app.finalizers()))
}

/// It is to be removed by its parent, or by somebody; what Argo CD says of it tells whether that was tried in vain.
fn not_removed(app: View<'_>) -> State {
    for kind in ["SyncError", "ComparisonError"] {
        if let Some(condition) = app.condition(kind) {
            let words = condition.text("/message");
            return State::patient(reason(kind, words), with_words("still exists", words), DELETION_ERROR);
        }
    }
    State::pending("StillThere", "still exists")
}

/// Two that have a way out of their own: `autoSync` refuses to remove all there is, and Git has no empty folders.
fn reason<'a>(kind: &'a str, words: &str) -> &'a str {
    if words.contains("auto-sync will wipe out all resources") {
        "WouldBeEmpty"
    } else if words.contains("app path does not exist") {
        "PathMissing"
    } else {
        kind
    }
}

/// The annotation is not older than the deletion; both are RFC 3339 in UTC with whole seconds, or nothing is confirmed.
fn confirmed(app: View<'_>) -> bool {
    let approved = app.text("/metadata/annotations/argocd.argoproj.io~1deletion-approved");
    !approved.is_empty() && approved >= app.text("/metadata/deletionTimestamp")
}

fn named(resource: View<'_>) -> String {
    let [kind, namespace, name] = ["/kind", "/namespace", "/name"].map(|field| resource.text(field));
    format!("{kind} `{namespace}/{name}`")
}

/// Why the parent has not removed an Application that is still there.
pub fn parent_removal(parent: Option<&Value>, leaf: (&str, &str), wanted: &WantedApplication<'_>) -> State {
    let Some(parent) = parent else {
        return State::patient("ParentMissing", "does not exist", COMPARISON);
    };
    let app = View(parent);
    let is_leaf = |r: &View<'_>| {
        r.text("/kind") == "Application" && r.text("/name") == leaf.1 && r.text("/namespace") == leaf.0
    };
    let leaf_name = format!("application `{}`", leaf.1);
    let message = app.text("/status/operationState/message");
    if operating(app) && message.contains("pruning confirmation of") {
        let message =
            with_words(&format!("waits for somebody to confirm the removal of {leaf_name}"), message);
        return State::pending("PruneConfirm", message);
    }
    let ours = wanted.commit.is_none() || application::operated_on(app, wanted);
    let result = app.list("/status/operationState/syncResult/resources").find(is_leaf).filter(|_| ours);
    match result.map(|r| (r.text("/status"), r.text("/message"))) {
        Some(("PruneSkipped", words)) => {
            return State::failed("PruneSkipped", with_words(&format!("does not remove {leaf_name}"), words));
        }
        Some(("SyncFailed", words)) => {
            let message = with_words(&format!("failed to remove {leaf_name}"), words);
            return State::patient("SyncFailed", message, DENIED);
        }
        _ => {}
    }
    // the words of these say what is refused: that all would be wiped out, or that there is no such path
    for kind in ["SyncError", "ComparisonError", "InvalidSpecError", "UnknownError"] {
        if let Some(condition) = app.condition(kind) {
            let words = condition.text("/message");
            let message = with_words(&format!("does not remove {leaf_name}"), words);
            return State::patient(reason(kind, words), message, COMPARISON);
        }
    }
    let automated = app.at("/spec/syncPolicy/automated");
    let prunes = automated.is_some_and(|a| a.flag("/prune"));
    if app.list("/status/resources").any(|r| is_leaf(&r) && r.flag("/requiresPruning"))
        && !prunes
        && !operating(app)
    {
        let message = format!("would remove {leaf_name}, and its sync policy does not prune");
        return State::patient("NotPruned", message, COMPARISON);
    }
    let at = application::compared(app, None).iter().map(|r| short(r)).collect::<Vec<_>>().join(", ");
    let status = app.text("/status/sync/status");
    State::pending("StillThere", format!("has not removed {leaf_name} yet: it is {status} at {at}"))
}

/// What a machine says that is left when its Application is gone: nobody removes it, unless it is being deleted already.
pub fn orphaned(vm: &Value) -> Option<State> {
    let view = View(vm);
    if view.deleting() {
        return None;
    }
    let protected = view.text(DELETE_PROTECTION).eq_ignore_ascii_case("true");
    let why = if protected { ", and its label `kubevirt.io/vm-delete-protection` forbids it" } else { "" };
    let message = format!("still exists, and its application is gone: nothing removes it{why}");
    Some(State::patient("Orphaned", message, ORPHANED))
}

/// Whether a claim that was to stay is there and stays.
pub fn kept(claim: &Claim<'_>) -> State {
    let Some(found) = claim.claim.map(View) else {
        return State::failed("ClaimLost", "is gone, and was to be kept");
    };
    for (what, object) in [("", Some(found)), ("its data volume ", claim.data_volume.map(View))] {
        let Some(object) = object else { continue };
        if object.deleting() {
            return State::failed("ClaimDeleted", format!("was to be kept, and {what}is being deleted"));
        }
        if let Some(machine) = owned_by_machine(object.0) {
            let message =
                format!("was to be kept, and {what}belongs to machine `{machine}`, so it is deleted with it");
            return State::failed("ClaimOwned", message);
        }
    }
    match found.text("/status/phase") {
        "Lost" => State::failed("ClaimLost", "has lost its volume, and was to be kept"),
        _ => State::Ready,
    }
}

/// Whether a claim that was to go is gone, with its `DataVolume`. `alone` says that everything that would have removed it is
/// gone already.
pub fn removed(claim: &Claim<'_>, alone: bool) -> State {
    let objects = [("", claim.claim), ("its data volume ", claim.data_volume)];
    for (what, object) in objects.into_iter().filter_map(|(what, o)| Some((what, View(o?)))) {
        if object.deleting() {
            let finalizers = object.finalizers();
            return State::pending("Deleting", format!("{what}is being deleted (finalizers: {finalizers})"));
        }
    }
    match objects.into_iter().find(|(_, object)| object.is_some()) {
        None => State::Ready,
        Some((what, _)) if alone => {
            State::patient("ClaimLeft", format!("{what}still exists, and nothing removes it"), ORPHANED)
        }
        Some((what, _)) => State::pending("StillThere", format!("{what}still exists")),
    }
}
