use serde_json::{Value, json};

use super::{failed, merged, patient, pending};
use crate::conditions::{
    Relation, State, WantedApplication, application_state, compared_revisions, is_commit, parent_state,
};

const OURS: &str = "9f8e7d6000000000000000000000000000000000";
const LATER: &str = "1a2b3c4000000000000000000000000000000000";
const REPLACING: &str = "5e5e5e5000000000000000000000000000000000";
pub(super) const OLD: &str = "0d0d0d0000000000000000000000000000000000";
const NEVER_SEEN: &str = "7777777000000000000000000000000000000000";

pub(super) fn wanted() -> WantedApplication<'static> {
    WantedApplication {
        commit: Some(OURS),
        path: Some("vms/in-cluster/team-a/web01"),
        machine: ("team-a", "web01"),
        stopped: false,
        reconciled_before: "2026-11-21T06:00:00Z",
        relation: &|revision| match revision {
            LATER => Some(Relation::Contains),
            REPLACING => Some(Relation::Replaced),
            OLD => Some(Relation::Lacks),
            _ => None,
        },
    }
}

/// As Argo CD 3.5 writes one that shows our commit; health of resources is not kept there.
pub(super) fn synced() -> Value {
    json!({
        "metadata": {"name": "in-cluster.team-a.web01", "namespace": "argocd"},
        "spec": {
            "source": {"repoURL": "https://git.example/vms.git", "path": "vms/in-cluster/team-a/web01", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "team-a"},
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}}
        },
        "status": {
            "sync": {
                "status": "Synced",
                "revision": OURS,
                "comparedTo": {
                    "source": {"repoURL": "https://git.example/vms.git", "path": "vms/in-cluster/team-a/web01", "targetRevision": "main"},
                    "destination": {"server": "https://kubernetes.default.svc", "namespace": "team-a"}
                }
            },
            "health": {"status": "Healthy"},
            "reconciledAt": "2026-11-21T06:00:09Z",
            "resourceHealthSource": "appTree",
            "resources": [
                {"group": "cdi.kubevirt.io", "version": "v1beta1", "kind": "DataVolume", "namespace": "team-a", "name": "web01-data", "status": "Synced"},
                {"group": "kubevirt.io", "version": "v1", "kind": "VirtualMachine", "namespace": "team-a", "name": "web01", "status": "Synced"}
            ],
            "operationState": {
                "phase": "Succeeded",
                "message": "successfully synced (all tasks run)",
                "startedAt": "2026-11-21T06:00:07Z",
                "finishedAt": "2026-11-21T06:00:08Z",
                "operation": {"sync": {"revision": OURS}, "retry": {"limit": 5}},
                "syncResult": {"revision": OURS, "resources": []}
            }
        }
    })
}

#[track_caller]
fn check(what: &str, patch: &Value, expected: &State) {
    assert_eq!(&application_state(Some(&merged(synced(), patch)), &wanted()), expected, "{what}");
}

#[test]
fn live_is_compared_since_we_came_at_our_commit_or_a_later_one_and_applied() {
    for (what, patch) in [
        ("as it is", json!({})),
        ("a later commit", json!({"status": {"sync": {"revision": LATER}}})),
        (
            "nothing had to be synced: the operation is an old one",
            json!({"status": {"operationState": {"syncResult": {"revision": OLD}}}}),
        ),
        ("never synced by an operation", json!({"status": {"operationState": null}})),
        ("what failed was mended by hand", json!({"status": {"operationState": {"phase": "Failed"}}})),
        (
            "reconciled in the second in which the operation ended",
            json!({"status": {"reconciledAt": "2026-11-21T06:00:08Z"}}),
        ),
        ("a stopped machine in older releases", json!({"status": {"health": {"status": "Suspended"}}})),
        ("a machine that still starts", json!({"status": {"health": {"status": "Progressing"}}})),
        (
            "several sources, ours second",
            json!({
                "spec": {"source": null, "sources": [{"path": "other"}, {"path": "vms/in-cluster"}]},
                "status": {"sync": {"revision": null, "revisions": [OLD, LATER], "comparedTo": {"source": null, "sources": [{"path": "other"}, {"path": "vms/in-cluster"}]}}}
            }),
        ),
        (
            "fields of a future release",
            json!({"status": {"sync": {"novel": [1]}, "conditions": [{"type": "OrphanedResourceWarning"}]}}),
        ),
    ] {
        check(what, &patch, &State::Ready);
    }
}

#[test]
fn anything_less_is_waited_for() {
    let revision = |r: &str| json!({"status": {"sync": {"revision": r}}});
    for (what, patch, expected) in [
        (
            "the Synced that stood there when we came",
            json!({"status": {"reconciledAt": "2026-11-21T06:00:00Z"}}),
            pending("NotRefreshed", "was not compared with Git since this wait began"),
        ),
        (
            "never compared",
            json!({"status": null}),
            pending("NotRefreshed", "was not compared with Git since this wait began"),
        ),
        ("an old commit", revision(OLD), pending("OtherRevision", "is Synced at 0d0d0d0 (want 9f8e7d6)")),
        (
            "a commit that Git was not asked about yet",
            revision(NEVER_SEEN),
            pending("OtherRevision", "is Synced at 7777777 (want 9f8e7d6)"),
        ),
        (
            "a branch name for a commit",
            merged(revision("main"), &json!({"status": {"sync": {"status": "Unknown"}}})),
            pending("OtherRevision", "is Unknown at main (want 9f8e7d6)"),
        ),
        ("no revision", revision(""), pending("OtherRevision", "is Synced at no revision (want 9f8e7d6)")),
        (
            "out of sync",
            json!({"status": {"sync": {"status": "OutOfSync"}}}),
            pending("OutOfSync", "is OutOfSync at 9f8e7d6"),
        ),
        (
            "out of sync, and nobody syncs",
            json!({"spec": {"syncPolicy": {"automated": null}}, "status": {"sync": {"status": "OutOfSync"}}}),
            pending("OutOfSync", "is OutOfSync at 9f8e7d6, and its sync is not automated"),
        ),
        (
            "an operation asked for",
            json!({"operation": {"sync": {"revision": OURS}}}),
            pending("Syncing", "is syncing at 9f8e7d6: successfully synced (all tasks run)"),
        ),
        (
            "an operation under way",
            json!({"status": {"operationState": {"phase": "Running", "finishedAt": null, "message": "waiting for deletion of x"}}}),
            pending("Syncing", "is syncing at 9f8e7d6: waiting for deletion of x"),
        ),
        (
            "compared before the operation ended",
            json!({"status": {"reconciledAt": "2026-11-21T06:00:07Z"}}),
            pending("NotCompared", "was not compared since it synced 9f8e7d6"),
        ),
        (
            "the spec was changed since",
            json!({"spec": {"source": {"targetRevision": "next"}}}),
            pending("SpecChanged", "was compared with another source or destination than it now has"),
        ),
        (
            "the destination was changed since",
            json!({"spec": {"destination": {"namespace": "team-b"}}}),
            pending("SpecChanged", "was compared with another source or destination than it now has"),
        ),
        (
            "another's resources",
            json!({"status": {"resources": []}}),
            patient("MachineUnlisted", "does not list virtual machine `team-a/web01`", 60),
        ),
        (
            "the machine is to be pruned",
            json!({"status": {"resources": [{"group": "kubevirt.io", "kind": "VirtualMachine", "namespace": "team-a", "name": "web01", "status": "OutOfSync", "requiresPruning": true}]}}),
            patient("MachineUnlisted", "wants to prune virtual machine `team-a/web01`", 60),
        ),
        (
            "the machine is out of sync",
            json!({"status": {"resources": [{"group": "kubevirt.io", "kind": "VirtualMachine", "namespace": "team-a", "name": "web01", "status": "OutOfSync"}]}}),
            pending("OutOfSync", "says that virtual machine `team-a/web01` is OutOfSync"),
        ),
        (
            "being deleted",
            json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z"}}),
            patient("Deleting", "is being deleted", 60),
        ),
    ] {
        check(what, &patch, &expected);
    }
    assert_eq!(application_state(None, &wanted()), pending("ApplicationMissing", "does not exist"));
}

#[test]
fn a_bad_sync_fails_in_the_controllers_words() {
    let denied = "one or more objects failed to apply, reason: admission webhook \"vm.kubevirt.io\" denied the request: spec.x is not valid";
    let failing = |phase: &str, revision: &str| {
        json!({"status": {
            "sync": {"status": "OutOfSync"},
            "operationState": {"phase": phase, "message": denied, "syncResult": {"revision": revision}}
        }})
    };
    let words = format!("failed to sync: {denied}");
    for (what, patch, expected) in [
        ("of our commit", failing("Failed", OURS), failed("SyncFailed", &words)),
        ("of a later commit that holds ours", failing("Error", LATER), failed("SyncError", &words)),
        ("of an old commit", failing("Failed", OLD), pending("OutOfSync", "is OutOfSync at 9f8e7d6")),
        (
            "of an old commit, Argo CD is still there",
            merged(failing("Failed", OLD), &json!({"status": {"sync": {"revision": OLD}}})),
            pending("OtherRevision", "is OutOfSync at 0d0d0d0 (want 9f8e7d6)"),
        ),
        (
            "before it got to a result",
            json!({"status": {"sync": {"status": "OutOfSync"}, "operationState": {"phase": "Error", "message": "no project", "syncResult": null}}}),
            failed("SyncError", "failed to sync: no project"),
        ),
        (
            "and the next is asked for",
            merged(failing("Failed", OURS), &json!({"operation": {"sync": {}}})),
            pending("Syncing", &format!("is syncing at 9f8e7d6: {denied}")),
        ),
        (
            "and tried again",
            merged(
                failing("Running", OURS),
                &json!({"status": {"operationState": {"finishedAt": "2026-11-21T06:00:08Z"}}}),
            ),
            patient("SyncRetry", &format!("failed to sync, and Argo CD tries again: {denied}"), 45),
        ),
        (
            "and tried again, for a reason that may pass",
            merged(
                failing("Running", OURS),
                &json!({"status": {"operationState": {"finishedAt": "2026-11-21T06:00:08Z", "message": "failed calling webhook"}}}),
            ),
            pending("SyncRetry", "failed to sync, and Argo CD tries again: failed calling webhook"),
        ),
        (
            "and the next attempt has begun",
            merged(
                failing("Running", OURS),
                &json!({"status": {"operationState": {"retryCount": 2, "message": "Retrying operation. Attempt #2"}}}),
            ),
            pending("SyncRetry", "failed to sync, and Argo CD tries again: Retrying operation. Attempt #2"),
        ),
        (
            "with the words of each resource",
            json!({"status": {"sync": {"status": "OutOfSync"}, "operationState": {"phase": "Failed", "message": "one or more objects failed to apply", "syncResult": {"resources": [
                {"kind": "DataVolume", "name": "web01-data", "status": "SyncFailed", "message": "exceeded quota"},
                {"kind": "VirtualMachine", "name": "web01", "status": "Synced", "message": "created"}]}}}}),
            failed(
                "SyncFailed",
                "failed to sync: one or more objects failed to apply; DataVolume `web01-data`: exceeded quota",
            ),
        ),
        (
            "manifests that cannot be generated",
            json!({"status": {"sync": {"status": "Unknown", "revision": "main"}, "conditions": [{"type": "ComparisonError", "message": "Failed to load target state: app path does not exist"}]}}),
            patient(
                "ComparisonError",
                "cannot be compared: Failed to load target state: app path does not exist",
                60,
            ),
        ),
        (
            "a project that does not allow it",
            json!({"status": {"sync": {"status": "Unknown", "revision": ""}, "conditions": [{"type": "InvalidSpecError", "message": "application destination is not permitted"}]}}),
            patient("InvalidSpecError", "cannot be compared: application destination is not permitted", 60),
        ),
        (
            "everything would be pruned",
            json!({"status": {"sync": {"status": "OutOfSync"}, "conditions": [{"type": "SyncError", "message": "auto-sync will wipe out all resources"}]}}),
            patient("SyncError", "is not synced: auto-sync will wipe out all resources", 60),
        ),
    ] {
        check(what, &patch, &expected);
    }
}

#[test]
fn a_later_commit_with_another_folder_supersedes_ours() {
    check(
        "synced or not",
        &json!({"status": {"sync": {"revision": REPLACING, "status": "OutOfSync"}}}),
        &State::Superseded("is at 5e5e5e5, which holds another state of this machine".to_owned()),
    );
}

#[test]
fn point_09_a_sync_that_waits_for_a_stopped_machine_never_ends() {
    let waits = |health: &str| {
        let operation = json!({"phase": "Running", "finishedAt": null, "message": "waiting for healthy state of kubevirt.io/VirtualMachine/web01"});
        merged(synced(), &json!({"status": {"health": {"status": health}, "operationState": operation}}))
    };
    let words = "waiting for healthy state of kubevirt.io/VirtualMachine/web01";
    let stopped = WantedApplication { stopped: true, ..wanted() };
    assert_eq!(
        application_state(Some(&waits("Suspended")), &stopped),
        patient(
            "SuspendedDeadlock",
            &format!(
                "waits for a stopped machine to become healthy, which never happens (argo-cd#29663): {words}"
            ),
            30
        )
    );
    assert_eq!(
        application_state(Some(&waits("Progressing")), &stopped),
        pending("Syncing", &format!("is syncing: {words}"))
    );
    assert_eq!(
        application_state(Some(&waits("Progressing")), &wanted()),
        pending("Syncing", &format!("is syncing at 9f8e7d6: {words}"))
    );
    // the machine is to start by our commit, which an older sync keeps from being applied
    let older =
        json!({"status": {"sync": {"revision": OLD}, "operationState": {"syncResult": {"revision": OLD}}}});
    assert_eq!(
        application_state(Some(&merged(waits("Suspended"), &older)), &wanted()),
        application_state(Some(&waits("Suspended")), &stopped),
    );
}

#[test]
fn a_parent_says_why_there_is_no_leaf() {
    let leaf = ("argocd", "in-cluster.team-a.web01");
    let parent = |patch: &Value| merged(synced(), patch);
    let resource = |status: &str| {
        json!({"status": {"operationState": {"phase": "Failed", "message": "one or more objects failed", "syncResult": {"resources": [
            {"group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": "in-cluster.team-a.web01", "status": status, "message": "namespaces \"argocd\" not found"}]}}}})
    };
    for (what, patch, expected) in [
        (
            "it is late",
            json!({"status": {"sync": {"revision": OLD}}}),
            pending("ApplicationMissing", "has not made it yet: it is Synced at 0d0d0d0"),
        ),
        (
            "our leaf failed",
            resource("SyncFailed"),
            failed(
                "SyncFailed",
                "failed to sync application `in-cluster.team-a.web01`: namespaces \"argocd\" not found",
            ),
        ),
        (
            "another's failed",
            resource("Synced"),
            patient("SyncFailed", "failed to sync: one or more objects failed", 60),
        ),
        (
            "it cannot be compared",
            json!({"status": {"conditions": [{"type": "ComparisonError", "message": "no such host"}]}}),
            patient("ComparisonError", "cannot be compared: no such host", 60),
        ),
    ] {
        assert_eq!(parent_state(Some(&parent(&patch)), leaf, &wanted()), expected, "{what}");
    }
    assert_eq!(parent_state(None, leaf, &wanted()), patient("ParentMissing", "does not exist", 60));
}

#[test]
fn revisions_to_ask_git_about_have_the_form_of_a_commit() {
    let ask = |patch: Value| {
        compared_revisions(&merged(synced(), &patch), None)
            .iter()
            .map(|r| (*r).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ask(json!({})), [OURS]);
    assert_eq!(
        ask(
            json!({"status": {"sync": {"revision": "main"}, "operationState": {"syncResult": {"revision": OLD}}}})
        ),
        [OLD]
    );
    for (text, yes) in [
        (OURS, true),
        (&"a".repeat(64), true),
        ("main", false),
        ("", false),
        (&"A".repeat(40), false),
        (&"a".repeat(41), false),
    ] {
        assert_eq!(is_commit(text), yes, "{text}");
    }
}
