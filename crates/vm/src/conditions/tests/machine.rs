use serde_json::{Value, json};

use super::{failed, merged, patient, pending};
use crate::conditions::{Machine, State, Until, WantedMachine, machine_state};

pub(super) const DIGEST: &str = "sha256:aa";

pub(super) const READY: WantedMachine<'static> = WantedMachine {
    until: Until::Ready,
    digest: Some(DIGEST),
    guest_agent: false,
    ip: false,
    crashed_before: "",
};
pub(super) const STOPPED: WantedMachine<'static> = WantedMachine { until: Until::Stopped, ..READY };

/// As KubeVirt 1.8 writes a machine that runs.
pub(super) fn vm() -> Value {
    json!({
        "metadata": {"name": "web01", "namespace": "team-a", "generation": 2, "annotations": {"vmlifecycle.dev/request-digest": DIGEST}},
        "spec": {"runStrategy": "Always", "template": {"spec": {"volumes": [
            {"name": "root", "persistentVolumeClaim": {"claimName": "web01-root-a1b2c3"}},
            {"name": "old", "dataVolume": {"name": "web01-data"}},
            {"name": "cloud-init", "cloudInitNoCloud": {"userData": "x"}}
        ]}}},
        "status": {
            "created": true, "ready": true, "printableStatus": "Running", "runStrategy": "Always",
            "desiredGeneration": 2, "observedGeneration": 2,
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "LiveMigratable", "status": "False", "reason": "DisksNotLiveMigratable"},
                {"type": "AgentConnected", "status": "True"}
            ]
        }
    })
}

pub(super) fn vmi() -> Value {
    json!({
        "metadata": {"name": "web01", "namespace": "team-a"},
        "status": {
            "phase": "Running", "nodeName": "node1",
            "interfaces": [{"name": "default"}, {"name": "net1", "ipAddress": "10.1.2.3"}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "AgentConnected", "status": "True"}]
        }
    })
}

pub(super) fn disk(phase: &str) -> Value {
    json!({"status": {"phase": phase, "progress": "100.0%"}})
}

/// Patches to the running machine; a null stands for no such object.
#[derive(Default)]
pub(super) struct Case {
    pub(super) vm: Value,
    pub(super) vmi: Option<Value>,
    pub(super) disk: Option<Value>,
}

#[track_caller]
pub(super) fn check(what: &str, wanted: &WantedMachine<'_>, case: Case, expected: &State) {
    let vm = if case.vm.is_null() { vm() } else { merged(vm(), &case.vm) };
    let vmi = match case.vmi {
        Some(Value::Null) => None,
        Some(patch) => Some(merged(vmi(), &patch)),
        None => Some(vmi()),
    };
    let disk = case.disk.unwrap_or_else(|| disk("Succeeded"));
    let machine = Machine {
        vm: Some(&vm),
        vmi: vmi.as_ref(),
        disks: [("web01-data", None), ("web01-root-a1b2c3", (!disk.is_null()).then_some(&disk))].into(),
    };
    assert_eq!(&machine_state(&machine, wanted), expected, "{what}");
}

/// A machine that has not got as far as running.
pub(super) fn starting(status: &str, phase: &str, condition: &Value) -> Case {
    Case {
        vm: json!({"status": {"printableStatus": status, "ready": false, "conditions": [
            {"type": "Ready", "status": "False", "reason": "GuestNotRunning", "message": "Guest VM is not reported as running"}, condition]}}),
        vmi: Some(json!({"status": {"phase": phase, "nodeName": null, "interfaces": null, "conditions": [
            {"type": "Ready", "status": "False", "reason": "GuestNotRunning", "message": "Guest VM is not reported as running"}, condition]}})),
        disk: None,
    }
}

#[test]
fn ready_is_running_what_was_declared() {
    let agent = WantedMachine { guest_agent: true, ip: true, ..READY };
    check("as it is", &agent, Case::default(), &State::Ready);
    for (what, vm_patch) in [
        (
            "told to restart though built from what is declared",
            json!({"status": {"conditions": [{"type": "Ready", "status": "True"},
                {"type": "RestartRequired", "status": "True", "message": "Reduction of CPU socket count requires a restart"}]}}),
        ),
        ("while it moves to another node", json!({"status": {"printableStatus": "Migrating"}})),
        ("observedGeneration lags after a hotplug", json!({"status": {"observedGeneration": 1}})),
        (
            "an older KubeVirt without generations",
            json!({"status": {"desiredGeneration": null, "observedGeneration": null}}),
        ),
        (
            "unknown words",
            json!({"status": {"printableStatus": "Novel", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Novel", "status": "True"}]}}),
        ),
    ] {
        check(what, &READY, Case { vm: vm_patch, ..Case::default() }, &State::Ready);
    }
    for phase in ["Succeeded", "WaitForFirstConsumer", "PendingPopulation"] {
        check(phase, &READY, Case { disk: Some(disk(phase)), ..Case::default() }, &State::Ready);
    }
    check(
        "claims without DataVolumes",
        &READY,
        Case { disk: Some(Value::Null), ..Case::default() },
        &State::Ready,
    );
}

#[test]
fn anything_less_is_waited_for() {
    let condition = |kind: &str, message: &str| json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": kind, "status": "True", "message": message}]}});
    for (what, vm_patch, expected) in [
        (
            "an older request's",
            json!({"metadata": {"annotations": {"vmlifecycle.dev/request-digest": "sha256:bb"}}}),
            patient("OtherDigest", "carries the request digest `sha256:bb` (want `sha256:aa`)", 120),
        ),
        (
            "nobody's",
            json!({"metadata": {"annotations": null}}),
            patient("OtherDigest", "carries no request digest (want `sha256:aa`)", 120),
        ),
        (
            "old hardware",
            merged(
                condition("RestartRequired", "a non-live-updatable field was changed in the template spec"),
                &json!({"status": {"observedGeneration": 1}}),
            ),
            patient(
                "RestartRequired",
                "still runs what was declared before and has to be restarted: a non-live-updatable field was changed in the template spec",
                120,
            ),
        ),
        (
            "another instance type",
            merged(
                condition("RestartRequired", "Reduction of CPU socket count requires a restart"),
                &json!({"spec": {"instancetype": {"name": "small"}}}),
            ),
            patient(
                "RestartRequired",
                "still runs what was declared before and has to be restarted: Reduction of CPU socket count requires a restart",
                120,
            ),
        ),
        (
            "paused",
            condition("Paused", "VMI was paused, low-level IO error detected"),
            patient("Paused", "is paused: VMI was paused, low-level IO error detected", 120),
        ),
        (
            "not acted on yet",
            json!({"metadata": {"generation": 3}}),
            pending("NotObserved", "is ready as generation 2, KubeVirt has not seen the newest"),
        ),
        (
            "somebody stopped it",
            json!({"spec": {"runStrategy": "Halted"}}),
            patient("Halted", "is declared stopped, so it never becomes ready", 60),
        ),
        (
            "being deleted",
            json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z"}}),
            patient("Terminating", "is being deleted", 60),
        ),
        (
            "its probe fails",
            json!({"status": {"conditions": [{"type": "Ready", "status": "False", "message": "Guest agent is not responding"}]}}),
            pending("NotReady", "runs and is not ready: Guest agent is not responding"),
        ),
    ] {
        check(what, &READY, Case { vm: vm_patch, ..Case::default() }, &expected);
    }
}

#[test]
fn an_instance_that_is_not_there_yet_is_waited_for() {
    let none = || Case {
        vm: json!({"status": {"printableStatus": "Stopped", "created": false, "conditions": [{"type": "Ready", "status": "False", "reason": "VMINotExists", "message": "VMI does not exist"}]}}),
        vmi: Some(Value::Null),
        disk: None,
    };
    check("not begun", &READY, none(), &pending("Stopped", "is Stopped: VMI does not exist"));
    check(
        "its instance is replaced",
        &READY,
        Case {
            vmi: Some(json!({"metadata": {"deletionTimestamp": "2026-11-21T06:00:00Z"}})),
            ..Case::default()
        },
        &pending("Stopping", "has an instance that is being deleted"),
    );
    check(
        "no agent",
        &WantedMachine { guest_agent: true, ..READY },
        Case { vmi: Some(json!({"status": {"conditions": []}})), ..Case::default() },
        &pending("GuestAgent", "runs, and its guest agent is not connected"),
    );
    check(
        "no address",
        &WantedMachine { ip: true, ..READY },
        Case { vmi: Some(json!({"status": {"interfaces": null}})), ..Case::default() },
        &pending("NoIp", "runs, and has no IP address"),
    );
    let stuck = json!({"type": "Synchronized", "status": "False", "reason": "Synchronizing with the Domain failed.", "message": "containerdisk d still not ready after one minute"});
    check(
        "KubeVirt cannot write its own status",
        &READY,
        starting("Starting", "Scheduled", &stuck),
        &pending(
            "Starting",
            "is Starting, its instance is Scheduled: containerdisk d still not ready after one minute",
        ),
    );
    assert_eq!(machine_state(&Machine::default(), &READY), patient("Missing", "does not exist", 60));
}

#[test]
fn what_waiting_does_not_mend_fails_in_the_controllers_words() {
    let synchronized = |reason: &str, message: &str| json!({"type": "Synchronized", "status": "False", "reason": reason, "message": message});
    let pull = "Back-off pulling image \"registry.local/nothing:1\": ErrImagePull: no such host";
    check(
        "image missing",
        &READY,
        starting("ImagePullBackOff", "Scheduling", &synchronized("ImagePullBackOff", pull)),
        &failed("ImagePullBackOff", &format!("cannot pull an image: {pull}")),
    );
    check(
        "image missing, first try",
        &READY,
        starting("ErrImagePull", "Scheduling", &synchronized("ErrImagePull", "not found")),
        &failed("ErrImagePull", "cannot pull an image: not found"),
    );

    let missing = |claim: &str| {
        synchronized(
            "FailedPvcNotFound",
            &format!("PVC team-a/{claim} does not exist, waiting for it to appear"),
        )
    };
    check(
        "PVC missing, and nobody makes it",
        &READY,
        starting("ErrorPvcNotFound", "Pending", &missing("web01-data")),
        &patient(
            "ErrorPvcNotFound",
            "misses a volume: PVC team-a/web01-data does not exist, waiting for it to appear",
            5,
        ),
    );
    check(
        "PVC missing, CDI makes it",
        &READY,
        starting("ErrorPvcNotFound", "Pending", &missing("web01-root-a1b2c3")),
        &pending(
            "ErrorPvcNotFound",
            "waits for a volume: PVC team-a/web01-root-a1b2c3 does not exist, waiting for it to appear",
        ),
    );

    let crash = |uid: &str| Case {
        vm: json!({"status": {"printableStatus": "CrashLoopBackOff", "created": false, "conditions": [{"type": "Ready", "status": "False"}],
            "startFailure": {"consecutiveFailCount": 2, "lastFailedVMIUID": uid, "retryAfterTimestamp": "2026-11-21T06:05:57Z"}}}),
        vmi: Some(Value::Null),
        disk: None,
    };
    check(
        "crash loop",
        &READY,
        crash("new"),
        &failed("CrashLoopBackOff", "crashed 2 times before it ever ran"),
    );
    let since = WantedMachine { crashed_before: "old", ..READY };
    check(
        "crash loop since our change",
        &since,
        crash("new"),
        &failed("CrashLoopBackOff", "crashed 2 times before it ever ran"),
    );
    check(
        "crash loop before our change",
        &since,
        crash("old"),
        &pending(
            "CrashLoopBackOff",
            "crashed 2 times before it ever ran, as it was before this change, and will be started again",
        ),
    );

    let scheduler = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient memory."});
    check(
        "unschedulable",
        &READY,
        starting("ErrorUnschedulable", "Scheduling", &scheduler),
        &patient("ErrorUnschedulable", "finds no node: 0/1 nodes are available: 1 Insufficient memory.", 120),
    );
    let quota = json!({"type": "Failure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: team-a"});
    check(
        "virt-controller is refused",
        &READY,
        Case { vmi: Some(Value::Null), ..starting("Stopped", "", &quota) },
        &patient("FailedCreate", "cannot be started: exceeded quota: team-a", 60),
    );
    let once = Case {
        vm: json!({"spec": {"runStrategy": "Once"}}),
        vmi: Some(
            json!({"status": {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False", "message": "Guest VM is not reported as running"}]}}),
        ),
        disk: None,
    };
    check(
        "nobody starts it again",
        &READY,
        once,
        &failed("Failed", "has an instance that failed: Guest VM is not reported as running"),
    );
}
