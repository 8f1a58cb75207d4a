//! Removals that end, and those that never would.

use serde_json::{Value, json};

use super::application::{OLD, synced, wanted};
use super::{failed, merged, patient, pending};
use crate::conditions::{
    Claim, State, WantedApplication, application_gone, kept, orphaned, owned_by_machine, parent_removal,
    removed,
};

const LEAF: (&str, &str) = ("argocd", "in-cluster.team-a.web01");
const DENIED: &str = "virtualmachines.kubevirt.io \"web01\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: VirtualMachine web01 cannot be deleted";

fn deleting() -> Value {
    let metadata = json!({"deletionTimestamp": "2026-11-21T06:00:00Z", "finalizers": ["resources-finalizer.argocd.argoproj.io"]});
    merged(synced(), &json!({"metadata": metadata}))
}

#[test]
fn point_08_an_application_that_is_deleted_says_what_holds_it() {
    let confirm = json!({"status": {"resources": [{"group": "kubevirt.io", "kind": "VirtualMachine", "namespace": "team-a", "name": "web01", "requiresDeletionConfirmation": true}]}});
    let approved = |time: &str| {
        merged(
            confirm.clone(),
            &json!({"metadata": {"annotations": {"argocd.argoproj.io/deletion-approved": time}}}),
        )
    };
    let unconfirmed = pending(
        "DeleteConfirm",
        "waits for somebody to confirm the deletion of VirtualMachine `team-a/web01`",
    );
    let ordinary =
        pending("Deleting", "is being deleted (finalizers: resources-finalizer.argocd.argoproj.io)");
    let waiting = "waiting for healthy state of kubevirt.io/VirtualMachine/web01";
    for (patch, expected) in [
        (json!({}), ordinary.clone()),
        (
            json!({"status": {"conditions": [{"type": "DeletionError", "message": "cluster not found"}]}}),
            patient("DeletionError", "cannot be deleted: cluster not found", 120),
        ),
        (
            json!({"status": {"conditions": [{"type": "DeletionError", "message": DENIED}]}}),
            patient("DeletionDenied", &format!("cannot be deleted: {DENIED}"), 45),
        ),
        (confirm.clone(), unconfirmed.clone()),
        (approved("2026-11-21T05:59:59Z"), unconfirmed),
        (approved("2026-11-21T06:00:00Z"), ordinary),
        (
            json!({"operation": {"sync": {}}, "status": {"operationState": {"phase": "Running", "message": "waiting for hook"}}}),
            pending("Syncing", "is syncing, and its deletion waits for that: waiting for hook"),
        ),
        (
            json!({"operation": {"sync": {}}, "status": {"health": {"status": "Suspended"}, "operationState": {"phase": "Running", "message": waiting}}}),
            patient(
                "SuspendedDeadlock",
                &format!(
                    "waits for a stopped machine to become healthy, which never happens (argo-cd#29663): {waiting}"
                ),
                30,
            ),
        ),
    ] {
        assert_eq!(application_gone(Some(&merged(deleting(), &patch))), expected, "{patch}");
    }
    assert_eq!(application_gone(None), State::Ready);
}

#[test]
fn point_08_an_application_that_nobody_deletes_says_what_argo_cd_refuses() {
    assert_eq!(application_gone(Some(&synced())), pending("StillThere", "still exists"));
    let pause = json!({"metadata": {"annotations": {"argocd.argoproj.io/skip-reconcile": "true"}}});
    assert_eq!(
        application_gone(Some(&merged(deleting(), &pause))),
        pending("Paused", "is paused by somebody (annotation `argocd.argoproj.io/skip-reconcile`)")
    );
    for (kind, reason, words) in [
        (
            "SyncError",
            "WouldBeEmpty",
            "Skipping sync attempt to [9f8e7d6]: auto-sync will wipe out all resources",
        ),
        (
            "ComparisonError",
            "PathMissing",
            "Failed to load target state: vms/in-cluster/team-a/web01: app path does not exist",
        ),
    ] {
        let app = merged(synced(), &json!({"status": {"conditions": [{"type": kind, "message": words}]}}));
        assert_eq!(application_gone(Some(&app)), patient(reason, &format!("still exists: {words}"), 120));
    }
}

#[test]
fn point_08_a_parent_that_does_not_remove_the_application_says_why() {
    let leaf = |patch: Value| {
        merged(
            json!({"group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": "in-cluster.team-a.web01"}),
            &patch,
        )
    };
    let result = |status: &str, message: &str| json!({"status": {"operationState": {"syncResult": {"resources": [leaf(json!({"status": status, "message": message}))]}}}});
    let name = "application `in-cluster.team-a.web01`";
    for (patch, expected) in [
        (
            json!({"status": {"sync": {"revision": OLD}}}),
            pending("StillThere", &format!("has not removed {name} yet: it is Synced at 0d0d0d0")),
        ),
        (
            json!({"status": {"operationState": {"phase": "Running", "message": "waiting for pruning confirmation of argoproj.io/Application/in-cluster.team-a.web01"}}}),
            pending(
                "PruneConfirm",
                &format!(
                    "waits for somebody to confirm the removal of {name}: waiting for pruning confirmation of argoproj.io/Application/in-cluster.team-a.web01"
                ),
            ),
        ),
        (
            result("PruneSkipped", "ignored (no prune)"),
            failed("PruneSkipped", &format!("does not remove {name}: ignored (no prune)")),
        ),
        (
            result("SyncFailed", DENIED),
            patient("SyncFailed", &format!("failed to remove {name}: {DENIED}"), 45),
        ),
        (
            result("Pruned", "pruned"),
            pending("StillThere", &format!("has not removed {name} yet: it is Synced at 9f8e7d6")),
        ),
        (
            json!({"status": {"conditions": [{"type": "SyncError", "message": "auto-sync will wipe out all resources"}]}}),
            patient(
                "WouldBeEmpty",
                &format!("does not remove {name}: auto-sync will wipe out all resources"),
                60,
            ),
        ),
        (
            json!({"status": {"conditions": [{"type": "ComparisonError", "message": "applications: app path does not exist"}]}}),
            patient(
                "PathMissing",
                &format!("does not remove {name}: applications: app path does not exist"),
                60,
            ),
        ),
        (
            json!({"spec": {"syncPolicy": {"automated": {"prune": false}}}, "status": {"sync": {"status": "OutOfSync"}, "resources": [leaf(json!({"requiresPruning": true}))]}}),
            patient("NotPruned", &format!("would remove {name}, and its sync policy does not prune"), 60),
        ),
    ] {
        assert_eq!(parent_removal(Some(&merged(synced(), &patch)), LEAF, &wanted()), expected, "{patch}");
    }
    assert_eq!(parent_removal(None, LEAF, &wanted()), patient("ParentMissing", "does not exist", 60));
    // what an operation on an older commit left alone is not what is asked for
    let older = merged(
        result("PruneSkipped", "ignored (no prune)"),
        &json!({"status": {"operationState": {"syncResult": {"revision": OLD}}}}),
    );
    let older = merged(synced(), &older);
    assert_eq!(
        parent_removal(Some(&older), LEAF, &wanted()),
        pending("StillThere", &format!("has not removed {name} yet: it is Synced at 9f8e7d6"))
    );
    let any = WantedApplication { commit: None, ..wanted() };
    assert_eq!(
        parent_removal(Some(&older), LEAF, &any),
        failed("PruneSkipped", &format!("does not remove {name}: ignored (no prune)"))
    );
}

#[test]
fn point_08_a_machine_without_application_is_an_orphan() {
    let words = "still exists, and its application is gone: nothing removes it";
    assert_eq!(orphaned(&json!({"metadata": {}})), Some(patient("Orphaned", words, 60)));
    let protected = json!({"metadata": {"labels": {"kubevirt.io/vm-delete-protection": "True"}}});
    let why = format!("{words}, and its label `kubevirt.io/vm-delete-protection` forbids it");
    assert_eq!(orphaned(&protected), Some(patient("Orphaned", &why, 60)));
    assert_eq!(orphaned(&json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z"}})), None);
}

fn owned(kind: &str, api_version: &str) -> Value {
    json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Other", "name": "x"}, {"apiVersion": api_version, "kind": kind, "name": "web01"}]}})
}

#[test]
fn point_01_an_object_of_a_machine_is_known() {
    assert_eq!(owned_by_machine(&owned("VirtualMachine", "kubevirt.io/v1")), Some("web01"));
    assert_eq!(owned_by_machine(&owned("VirtualMachine", "example.org/v1")), None);
    assert_eq!(owned_by_machine(&owned("DataVolume", "cdi.kubevirt.io/v1beta1")), None);
    assert_eq!(owned_by_machine(&json!({})), None);
}

#[test]
fn point_08_a_claim_that_was_to_stay_is_there_and_stays() {
    let going = json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z", "finalizers": ["kubernetes.io/pvc-protection"]}});
    let bound = json!({"status": {"phase": "Bound"}});
    let of_machine = owned("VirtualMachine", "kubevirt.io/v1");
    let of_volume = owned("DataVolume", "cdi.kubevirt.io/v1beta1");
    for (claim, data_volume, expected) in [
        (Some(&bound), None, State::Ready),
        (Some(&of_volume), Some(&bound), State::Ready),
        (None, None, failed("ClaimLost", "is gone, and was to be kept")),
        (None, Some(&bound), failed("ClaimLost", "is gone, and was to be kept")),
        (Some(&going), None, failed("ClaimDeleted", "was to be kept, and is being deleted")),
        (
            Some(&bound),
            Some(&going),
            failed("ClaimDeleted", "was to be kept, and its data volume is being deleted"),
        ),
        (
            Some(&of_machine),
            None,
            failed("ClaimOwned", "was to be kept, and belongs to machine `web01`, so it is deleted with it"),
        ),
        (
            Some(&bound),
            Some(&of_machine),
            failed(
                "ClaimOwned",
                "was to be kept, and its data volume belongs to machine `web01`, so it is deleted with it",
            ),
        ),
        (
            Some(&json!({"status": {"phase": "Lost"}})),
            None,
            failed("ClaimLost", "has lost its volume, and was to be kept"),
        ),
    ] {
        assert_eq!(kept(&Claim { claim, data_volume }), expected);
    }
    let left = "still exists, and nothing removes it";
    for (claim, data_volume, alone, expected) in [
        (None, None, true, State::Ready),
        (Some(&bound), None, false, pending("StillThere", "still exists")),
        (Some(&bound), Some(&bound), true, patient("ClaimLeft", left, 60)),
        (None, Some(&bound), true, patient("ClaimLeft", &format!("its data volume {left}"), 60)),
        (
            Some(&going),
            None,
            true,
            pending("Deleting", "is being deleted (finalizers: kubernetes.io/pvc-protection)"),
        ),
        (
            Some(&bound),
            Some(&going),
            true,
            pending(
                "Deleting",
                "its data volume is being deleted (finalizers: kubernetes.io/pvc-protection)",
            ),
        ),
    ] {
        assert_eq!(removed(&Claim { claim, data_volume }, alone), expected);
    }
}
