//! Locks, and what an instance runs.

use serde_json::{Value, json};

use super::application::{synced, wanted};
use super::machine::{vm, vmi};
use super::{merged, pending};
use crate::conditions::{State, application_state, busy, paused_by, runs_what_is_declared, usable};

#[test]
fn point_16_a_machine_that_is_held_says_by_what() {
    for (patch, expected) in [
        (json!({}), None),
        (json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z"}}), Some("is being deleted")),
        (json!({"status": {"snapshotInProgress": "before"}}), Some("is being snapshotted by `before`")),
        (json!({"status": {"restoreInProgress": "back"}}), Some("is being restored by `back`")),
        (json!({"status": {"snapshotInProgress": "", "restoreInProgress": null}}), None),
        (
            json!({"status": {"stateChangeRequests": [{"action": "Stop", "uid": "u"}, {"action": "Start"}]}}),
            Some("has a request to stop under way"),
        ),
        (json!({"status": {"stateChangeRequests": [{}]}}), Some("has a request to change under way")),
        (json!({"status": {"stateChangeRequests": []}}), None),
    ] {
        assert_eq!(busy(&merged(vm(), &patch), Some(&synced())).as_deref(), expected, "{patch}");
    }
    for (patch, expected) in [
        (
            json!({"operation": {"sync": {}}, "status": {"operationState": {"message": ""}}}),
            "is being synced by Argo CD",
        ),
        (
            json!({"status": {"operationState": {"phase": "Running", "message": "waiting for deletion"}}}),
            "is being synced by Argo CD: waiting for deletion",
        ),
        (
            json!({"status": {"operationState": {"phase": "Terminating", "message": "stops"}}}),
            "is being synced by Argo CD: stops",
        ),
    ] {
        assert_eq!(busy(&vm(), Some(&merged(synced(), &patch))).as_deref(), Some(expected), "{patch}");
        assert_eq!(busy(&vm(), None), None);
    }
}

#[test]
fn a_pause_names_its_request() {
    let annotated = |annotations: Value| json!({"metadata": {"annotations": annotations}});
    for (annotations, by) in [
        (
            json!({"argocd.argoproj.io/skip-reconcile": "true", "vmlifecycle.dev/paused-by": "req-7"}),
            Some("req-7"),
        ),
        (json!({"argocd.argoproj.io/skip-reconcile": "true"}), Some("")),
        (json!({"argocd.argoproj.io/skip-reconcile": "false", "vmlifecycle.dev/paused-by": "req-7"}), None),
        (json!({"vmlifecycle.dev/paused-by": "req-7"}), None),
        (json!(null), None),
    ] {
        assert_eq!(paused_by(&annotated(annotations.clone())), by, "{annotations}");
    }
}

#[test]
fn a_paused_application_says_nothing_of_git() {
    let paused = |annotations: Value| {
        application_state(
            Some(&merged(synced(), &json!({"metadata": {"annotations": annotations}}))),
            &wanted(),
        )
    };
    assert_eq!(
        paused(json!({"argocd.argoproj.io/skip-reconcile": "true", "vmlifecycle.dev/paused-by": "req-7"})),
        pending("Paused", "is paused by request `req-7` (annotation `argocd.argoproj.io/skip-reconcile`)")
    );
    assert_eq!(
        paused(json!({"argocd.argoproj.io/skip-reconcile": "true"})),
        pending("Paused", "is paused by somebody (annotation `argocd.argoproj.io/skip-reconcile`)")
    );
    assert_eq!(paused(json!({"argocd.argoproj.io/skip-reconcile": "false"})), State::Ready);
}

#[test]
fn point_10_an_instance_of_what_was_declared_before_does_not_count() {
    let restart = json!({"type": "RestartRequired", "status": "True", "message": "a non-live-updatable field was changed"});
    for (patch, why) in [
        (json!({}), None),
        (json!({"status": {"observedGeneration": 1}}), None),
        (json!({"status": {"conditions": [restart]}}), None),
        (
            json!({"metadata": {"generation": 3}, "status": {"desiredGeneration": 3, "conditions": [restart]}}),
            Some(
                "still runs what was declared before and has to be restarted: a non-live-updatable field was changed",
            ),
        ),
        (json!({"metadata": {"generation": 3}}), Some("is known to KubeVirt as generation 2, not yet as 3")),
        (json!({"metadata": {"generation": 3}, "status": {"desiredGeneration": null}}), None),
    ] {
        let judged = runs_what_is_declared(&merged(vm(), &patch), Some(&vmi()));
        assert_eq!(judged.err().as_deref(), why, "{patch}");
    }
    assert_eq!(runs_what_is_declared(&vm(), None), Err("has no instance".to_owned()));
    let going = merged(vmi(), &json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z"}}));
    assert_eq!(
        runs_what_is_declared(&vm(), Some(&going)),
        Err("has an instance that is being deleted".to_owned())
    );
}

#[test]
fn a_disk_that_waits_for_its_first_start_is_usable() {
    for (phase, yes) in [
        ("Succeeded", true),
        ("WaitForFirstConsumer", true),
        ("PendingPopulation", true),
        ("", false),
        ("Paused", false),
        ("Failed", false),
        ("ImportInProgress", false),
        ("SnapshotForSmartCloneInProgress", false),
        ("Novel", false),
    ] {
        assert_eq!(usable(&json!({"status": {"phase": phase}})), yes, "{phase}");
    }
}
