//! Disks, and machines that are stopped or gone.

use serde_json::{Value, json};

use super::machine::{Case, READY, STOPPED, check, disk, starting, vm, vmi};
use super::{failed, merged, patient, pending};
use crate::conditions::{Machine, State, Until, WantedMachine, claims, ip_of, machine_state, node_of};

#[test]
fn disks_are_judged_by_what_comes_of_them() {
    let refused = "Unable to connect to http data source: connection refused";
    let importing = |running: &Value, restarts: i64, progress: &str| {
        json!({"status": {"phase": "ImportInProgress", "progress": progress, "restartCount": restarts, "conditions": [
        {"type": "Bound", "status": "False", "reason": "Pending", "message": format!("target PVC Pending: {refused}")}, running]}})
    };
    let crashed = json!({"type": "Running", "status": "False", "reason": "Error", "message": refused});
    let runs = json!({"type": "Running", "status": "True", "reason": "Pod is running"});
    let unmade = |reason: &str, message: &str| json!({"conditions": [{"type": "Bound", "status": "False", "reason": reason, "message": message}, {"type": "Running", "status": "False"}]});
    let root = "has a disk `web01-root-a1b2c3`";
    let scheduler = || json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "pod has unbound immediate PersistentVolumeClaims"});
    for (what, disk, expected) in [
        (
            "on its way",
            importing(&runs, 0, "12.50%"),
            pending("DataVolumePending", &format!("{root} that is ImportInProgress (12.50%)")),
        ),
        (
            "interrupted once, comes",
            importing(&runs, 1, "12.50%"),
            pending("DataVolumePending", &format!("{root} that is ImportInProgress (12.50%)")),
        ),
        (
            "importer crashed",
            importing(&crashed, 3, "N/A"),
            patient("DataVolumeError", &format!("{root} that cannot be filled: {refused}"), 120),
        ),
        (
            "importer runs again, nothing came yet",
            importing(&runs, 3, "N/A"),
            patient(
                "DataVolumeError",
                &format!("{root} that cannot be filled: target PVC Pending: {refused}"),
                120,
            ),
        ),
        (
            "failed",
            json!({"status": {"phase": "Failed", "conditions": [crashed]}}),
            failed("DataVolumeFailed", &format!("{root} that failed: {refused}")),
        ),
        (
            "never begun",
            json!({"status": {"conditions": [{"type": "Bound", "status": "False", "reason": "ErrClaimNotValid", "message": "no accessMode specified in StorageProfile folder"}, {"type": "Running", "status": "False"}]}}),
            patient(
                "ErrClaimNotValid",
                &format!("{root} that cannot be made: no accessMode specified in StorageProfile folder"),
                60,
            ),
        ),
        (
            "over quota",
            json!({"status": {"phase": "Pending", "conditions": [{"type": "Bound", "status": "Unknown", "reason": "ErrExceededQuota", "message": "exceeded quota"}]}}),
            patient("ErrExceededQuota", &format!("{root} that cannot be made: exceeded quota"), 60),
        ),
        (
            "a snapshot that is not there",
            json!({"spec": {"source": {"snapshot": {"namespace": "team-a", "name": "s"}}}, "status": unmade("CloneWithoutSource", "The source snapshot s doesn't exist")}),
            patient(
                "CloneWithoutSource",
                &format!("{root} that cannot be made: The source snapshot s doesn't exist"),
                60,
            ),
        ),
        (
            "a golden image that is not there yet",
            json!({"spec": {"sourceRef": {"kind": "DataSource", "name": "s"}}, "status": unmade("CloneWithoutSource", "The source pvc s doesn't exist")}),
            pending(
                "CloneWithoutSource",
                &format!("{root} that cannot be made: The source pvc s doesn't exist"),
            ),
        ),
        ("just made", json!({}), pending("DataVolumePending", &format!("{root} that is new"))),
    ] {
        // the scheduler waits for the disk: what it says is not what is wrong
        check(
            what,
            &READY,
            Case { disk: Some(disk.clone()), ..starting("ErrorUnschedulable", "Scheduling", &scheduler()) },
            &expected,
        );
        let halted = Case {
            vm: json!({"spec": {"runStrategy": "Halted"}, "status": {"created": null}}),
            vmi: Some(Value::Null),
            disk: Some(disk),
        };
        check(what, &STOPPED, halted, &expected);
    }
}

#[test]
fn point_17_stopped_is_declared_and_proved() {
    let halted = || json!({"spec": {"runStrategy": "Halted"}, "status": {"created": null, "printableStatus": "Stopped"}});
    let gone = |vm: Value| Case { vm, vmi: Some(Value::Null), disk: None };
    check("as declared", &STOPPED, gone(halted()), &State::Ready);
    check(
        "declared the old way",
        &STOPPED,
        gone(merged(halted(), &json!({"spec": {"runStrategy": null, "running": false}}))),
        &State::Ready,
    );
    check(
        "a disk that waits for its first start",
        &STOPPED,
        Case { disk: Some(disk("WaitForFirstConsumer")), ..gone(halted()) },
        &State::Ready,
    );
    for (what, case, expected) in [
        (
            "says Stopped while starting",
            gone(json!({"status": {"created": null, "printableStatus": "Stopped"}})),
            patient("NotHalted", "has run strategy `Always`, so it is not declared stopped", 60),
        ),
        (
            "an instance is left",
            Case {
                vm: merged(halted(), &json!({"status": {"printableStatus": "Stopping"}})),
                vmi: Some(json!({"status": {"phase": "Running"}})),
                disk: None,
            },
            pending("Stopping", "is Stopping, its instance is Running"),
        ),
        (
            "created lags",
            gone(merged(halted(), &json!({"status": {"created": true}}))),
            pending("Stopping", "still counts its instance as created"),
        ),
        (
            "a start is under way",
            gone(merged(halted(), &json!({"status": {"stateChangeRequests": [{"action": "Start"}]}}))),
            pending("StateChangeRequest", "has a request to start or stop under way"),
        ),
    ] {
        check(what, &STOPPED, case, &expected);
    }
}

#[test]
fn point_08_absent_is_neither_machine_nor_instance() {
    let absent = WantedMachine { until: Until::Absent, ..READY };
    let (vm, vmi) = (vm(), vmi());
    let deleting = merged(
        vm.clone(),
        &json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z", "finalizers": ["kubevirt.io/virtualMachineControllerFinalize"]}}),
    );
    for (machine, expected) in [
        (Machine::default(), State::Ready),
        (Machine { vm: Some(&vm), ..Machine::default() }, pending("StillThere", "still exists")),
        (
            Machine { vm: Some(&deleting), ..Machine::default() },
            pending(
                "Terminating",
                "is being deleted (finalizers: kubevirt.io/virtualMachineControllerFinalize)",
            ),
        ),
        (
            Machine { vmi: Some(&vmi), ..Machine::default() },
            pending("Stopping", "is gone, its instance still exists"),
        ),
    ] {
        assert_eq!(machine_state(&machine, &absent), expected);
    }
}

#[test]
fn what_a_machine_names() {
    assert_eq!(claims(&vm()), ["web01-data", "web01-root-a1b2c3"]);
    assert_eq!((node_of(&vmi()), ip_of(&vmi())), ("node1", "10.1.2.3"));
    assert_eq!((node_of(&json!({})), ip_of(&json!({"status": {"interfaces": "odd"}}))), ("", ""));
}
