//! What KubeVirt does.

use serde_json::json;

use super::{SHORT, Scenario, Turn, Wrong, off};
use crate::kubevirt::Fault;

/// The scheduler's words where a node has no vhost-net (measured.md).
const NO_DEVICE: &str = "0/1 nodes are available: 1 Insufficient devices.kubevirt.io/vhost-net. no new claims to deallocate, \
                         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
/// KubeVirt's words (pkg/virt-controller/watch/vm/vm.go, `syncRestartRequired`).
const RESTART: &str = "a non-live-updatable field was changed in the template spec";
const SETTER: &str = "kubevirt 1.8 pkg/virt-controller/watch/vm/vm.go `setPrintableStatus`";

pub(super) const ALL: [Scenario; 14] = [
    Scenario::new("kubevirt-running", "run strategy Always: Stopped, Starting, Running", SETTER),
    Scenario {
        request: off,
        ..Scenario::new("kubevirt-halted", "run strategy Halted: Stopped, and no instance ever", SETTER)
    },
    Scenario {
        wrong: || vec![Wrong::Machine(Fault::Unschedulable(NO_DEVICE.to_owned()))],
        shown: Some(("VirtualMachine", "printableStatus", "ErrorUnschedulable")),
        timeout: SHORT,
        ..Scenario::new(
            "kubevirt-unschedulable",
            "ErrorUnschedulable: no node has what the machine needs",
            "measured.md (no vhost-net)",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Machine(Fault::Unschedulable(NO_DEVICE.to_owned()))],
        turn: Some(("finds no node", Turn::Heal)),
        ..Scenario::new(
            "kubevirt-unschedulable-for-a-while",
            "ErrorUnschedulable until the device appears: an Error… alone is no verdict",
            "measured.md (no vhost-net; applied together with its volumes)",
        )
    },
    Scenario {
        request: |spec| spec["image"] = json!({"source": "pvc", "claim": "absent"}),
        ..Scenario::new(
            "kubevirt-claim-missing",
            "ErrorPvcNotFound: nobody makes the claim that the machine boots from",
            SETTER,
        )
    },
    Scenario {
        request: |spec| spec["image"]["reference"] = "quay.io/containerdisks/missing:1".into(),
        ..Scenario::new(
            "kubevirt-image-missing",
            "ErrImagePull, then ImagePullBackOff: the container disk cannot be pulled",
            SETTER,
        )
    },
    Scenario {
        request: |spec| spec["image"]["reference"] = "quay.io/containerdisks/crash:1".into(),
        ..Scenario::new(
            "kubevirt-crash-loop",
            "CrashLoopBackOff: the guest ends at each start, and the pause before the next grows",
            "kubevirt 1.8 pkg/virt-controller/watch/vm/vm.go `syncStartFailureStatus`",
        )
    },
    Scenario {
        wrong: || {
            let words = "failed to create virtual machine pod: pods \"virt-launcher-web-\" is forbidden: exceeded quota: machines";
            vec![Wrong::Machine(Fault::NotMade("FailedCreate", words.to_owned()))]
        },
        ..Scenario::new(
            "kubevirt-not-made",
            "Stopped, and the condition Failure: the instance cannot be made",
            "domain-semantics.md 1.4 (condition `Failure`)",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Machine(Fault::Wedged)],
        shown: Some(("VirtualMachineInstance", "phase", "Scheduled")),
        timeout: SHORT,
        ..Scenario::new(
            "kubevirt-wedged",
            "Starting for good: the guest runs, and its instance stays Scheduled",
            "measured.md (a container disk's crc32 ≥ 2³¹)",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Machine(Fault::Paused)],
        shown: Some(("VirtualMachine", "Paused", "True")),
        timeout: SHORT,
        ..Scenario::new("kubevirt-paused", "Paused: somebody pauses the guest as soon as it runs", SETTER)
    },
    Scenario {
        wrong: || vec![Wrong::Machine(Fault::Migrating)],
        ..Scenario::new(
            "kubevirt-migrating",
            "Migrating outranks Running, and the machine is ready all the same",
            SETTER,
        )
    },
    Scenario {
        wrong: || vec![Wrong::Machine(Fault::RestartRequired(RESTART.to_owned()))],
        ..Scenario::new(
            "kubevirt-restart-required-untrue",
            "RestartRequired of a machine that has just started from what is declared",
            "kubevirt#17610",
        )
    },
    Scenario {
        request: |spec| spec["compute"] = json!({"instanceType": "u1.small"}),
        wrong: || vec![Wrong::Machine(Fault::RestartRequired(RESTART.to_owned()))],
        shown: Some(("VirtualMachine", "Ready", "True")),
        timeout: SHORT,
        ..Scenario::new(
            "kubevirt-restart-required",
            "RestartRequired of a machine with an instance type, of which nothing shows that it is untrue",
            "domain-semantics.md 1.6",
        )
    },
    Scenario {
        request: |spec| spec["checks"] = json!({"guestAgent": true}),
        shown: Some(("VirtualMachine", "Ready", "True")),
        timeout: SHORT,
        ..Scenario::new(
            "kubevirt-no-guest-agent",
            "Running and ready, without the guest agent that is asked for",
            "domain-semantics.md 1.4 (condition `AgentConnected`)",
        )
    },
];
