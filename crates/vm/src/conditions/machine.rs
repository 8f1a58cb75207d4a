//! Whether a machine is in the state that was declared for it.
//!
//! Sources: kubevirt 1.8 `pkg/virt-controller/watch/vm/vm.go` (`setPrintableStatus`, `syncConditions`, `syncGenerationInfo`,
//! `syncStartFailureStatus`), `watch/vmi/lifecycle.go`; CDI 1.65 `core/v1beta1/types.go`; what a cluster was seen to do.

use std::time::Duration;

use serde_json::Value;

use super::disk::{Claims, Disks};
use super::view::View;
use super::{DIGEST_ANNOTATION, State, or_word, with_words};

/// Nodes come up, device plugins register and old machines free their room within this; a cluster autoscaler that needs
/// longer is rare where nodes carry virtual machines. While disks are still filled the scheduler waits for them, and
/// this does not count.
const UNSCHEDULABLE: Duration = Duration::from_mins(2);
/// A claim that was applied together with its machine may be made a moment after the machine was looked at.
const CLAIM: Duration = Duration::from_secs(5);
/// What virt-controller could not do (quota, a missing Secret or instance type) it tries again with growing pauses.
const FAILURE: Duration = Duration::from_mins(1);
/// A power state other than the declared one is put right by Argo CD's self-heal within seconds, or by nobody.
const DRIFT: Duration = Duration::from_mins(1);
/// A paused machine may be in the middle of a migration or a snapshot.
const PAUSED: Duration = Duration::from_mins(2);
/// A restart may be under way.
const RESTART: Duration = Duration::from_mins(2);
/// Argo CD's self-heal puts back what somebody changed.
const DIGEST: Duration = Duration::from_mins(2);

/// The state that a machine shall reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Runs what was declared, and says it is ready.
    Ready,
    /// Declared stopped, and no instance of it is left.
    Stopped,
    /// Neither the machine nor an instance of it is left.
    Absent,
}

/// The objects of one machine as last read.
#[derive(Debug, Clone, Default)]
pub struct Machine<'a> {
    /// The `VirtualMachine`.
    pub vm: Option<&'a Value>,
    /// The `VirtualMachineInstance` of the same name.
    pub vmi: Option<&'a Value>,
    /// The disks that [`claims`] names.
    pub disks: Claims<'a>,
}

/// What is wanted of a machine.
#[derive(Debug, Clone, Copy)]
pub struct WantedMachine<'a> {
    /// The state to reach.
    pub until: Until,
    /// Digest of the request that it has to carry, where one is given.
    pub digest: Option<&'a str>,
    /// Its guest agent has to answer.
    pub guest_agent: bool,
    /// It has to have an IP address.
    pub ip: bool,
    /// The instance that had crashed last before our change was live (`startFailure.lastFailedVMIUID`): its crash says
    /// nothing of our change. Empty if there was none.
    pub crashed_before: &'a str,
}

/// The digest of the request that a machine was rendered from.
pub fn digest_of(vm: &Value) -> Option<&str> {
    vm.get("metadata")?.get("annotations")?.get(DIGEST_ANNOTATION)?.as_str()
}

/// The uid of the instance that crashed last before it ever ran, or empty.
pub fn last_crash(vm: &Value) -> &str {
    View(vm).text("/status/startFailure/lastFailedVMIUID")
}

/// KubeVirt's one word for a machine, or empty.
pub fn vm_status(vm: &Value) -> &str {
    View(vm).text("/status/printableStatus")
}

/// The node that an instance runs on, or empty.
pub fn node_of(vmi: &Value) -> &str {
    View(vmi).text("/status/nodeName")
}

/// The first IP address of an instance, or empty.
pub fn ip_of(vmi: &Value) -> &str {
    View(vmi)
        .list("/status/interfaces")
        .map(|i| i.text("/ipAddress"))
        .find(|ip| !ip.is_empty())
        .unwrap_or_default()
}

/// The claims that a machine's volumes name, whether as claim or as DataVolume.
pub fn claims(vm: &Value) -> Vec<&str> {
    let volumes = View(vm).list("/spec/template/spec/volumes");
    let mut claims: Vec<&str> = volumes
        .map(|v| match v.text("/persistentVolumeClaim/claimName") {
            "" => v.text("/dataVolume/name"),
            claim => claim,
        })
        .filter(|c| !c.is_empty())
        .collect();
    claims.sort_unstable();
    claims.dedup();
    claims
}

/// Why a machine has to be restarted to run what is declared, in KubeVirt's words; none if it need not be.
pub fn restart_required(vm: &Value) -> Option<&str> {
    let condition = View(vm).holds("RestartRequired").filter(|_| !built_from_newest(View(vm)))?;
    Some(condition.text("/message"))
}

/// Whether a machine is declared stopped, either way of saying it.
pub fn is_halted(vm: &Value) -> bool {
    halted(View(vm))
}

/// Whether the machine is as wanted.
pub fn machine_state(machine: &Machine<'_>, wanted: &WantedMachine<'_>) -> State {
    let (vm, vmi) = (machine.vm.map(View), machine.vmi.map(View));
    if wanted.until == Until::Absent {
        return gone(vm, vmi);
    }
    let Some(vm) = vm else {
        return State::patient("Missing", "does not exist", DRIFT);
    };
    if vm.deleting() {
        return State::patient("Terminating", "is being deleted", DRIFT);
    }
    if let Some(wrong) = wanted.digest.and_then(|digest| other_digest(vm, digest)) {
        return wrong;
    }
    let disks = Disks::of(&machine.disks);
    let state = match wanted.until {
        Until::Stopped => stopped(vm, vmi),
        _ => running(vm, vmi, wanted, &disks),
    };
    match (state, disks.verdict) {
        // what a disk says is nearer to the cause than what the machine says of it
        (state @ State::Failed(_), _) | (state, None) => state,
        (_, Some(disk)) => disk,
    }
}

fn gone(vm: Option<View<'_>>, vmi: Option<View<'_>>) -> State {
    match (vm, vmi) {
        (None, None) => State::Ready,
        (Some(vm), _) if vm.deleting() => {
            State::pending("Terminating", format!("is being deleted (finalizers: {})", vm.finalizers()))
        }
        (Some(_), _) => State::pending("StillThere", "still exists"),
        (None, Some(_)) => State::pending("Stopping", "is gone, its instance still exists"),
    }
}

fn other_digest(vm: View<'_>, digest: &str) -> Option<State> {
    let message = match digest_of(vm.0) {
        Some(live) if live == digest => return None,
        Some(live) => format!("carries the request digest `{live}` (want `{digest}`)"),
        None => format!("carries no request digest (want `{digest}`)"),
    };
    Some(State::patient("OtherDigest", message, DIGEST))
}

/// Declared stopped, either way of saying it.
fn halted(vm: View<'_>) -> bool {
    vm.text("/spec/runStrategy") == "Halted"
        || vm.at("/spec/running").is_some_and(|r| r.0 == &Value::Bool(false))
}

/// printableStatus `Stopped` proves nothing: it is the default and is passed through while starting.
fn stopped(vm: View<'_>, vmi: Option<View<'_>>) -> State {
    if !halted(vm) {
        let strategy = vm.text("/spec/runStrategy");
        return State::patient(
            "NotHalted",
            format!("has run strategy `{strategy}`, so it is not declared stopped"),
            DRIFT,
        );
    }
    if let Some(vmi) = vmi {
        let phase = vmi.text("/status/phase");
        return State::pending("Stopping", format!("is {}, its instance is {phase}", vm_status(vm.0)));
    }
    if vm.flag("/status/created") {
        return State::pending("Stopping", "still counts its instance as created");
    }
    if vm.list("/status/stateChangeRequests").next().is_some() {
        return State::pending("StateChangeRequest", "has a request to start or stop under way");
    }
    State::Ready
}

fn running(vm: View<'_>, vmi: Option<View<'_>>, wanted: &WantedMachine<'_>, disks: &Disks<'_>) -> State {
    if halted(vm) {
        return State::patient("Halted", "is declared stopped, so it never becomes ready", DRIFT);
    }
    if let Some(bad) = bad_start(vm, vmi, wanted, disks) {
        return bad;
    }
    let status = vm_status(vm.0);
    let Some(vmi) = vmi else {
        return State::pending(or_word(status, "Starting"), with_words(&is(status), ready_words(vm)));
    };
    if vmi.deleting() {
        return State::pending("Stopping", "has an instance that is being deleted");
    }
    let phase = vmi.text("/status/phase");
    if phase != "Running" {
        let words =
            vmi.denies("Synchronized").or_else(|| vmi.denies("Ready")).map_or("", |c| c.text("/message"));
        let phase = or_word(phase, "Pending");
        return State::pending(
            or_word(status, "Starting"),
            with_words(&format!("{}, its instance is {phase}", is(status)), words),
        );
    }
    if let Some(paused) = vm.holds("Paused").or_else(|| vmi.holds("Paused")) {
        return State::patient("Paused", with_words("is paused", paused.text("/message")), PAUSED);
    }
    if let Some(restart) = vm.holds("RestartRequired").filter(|_| !built_from_newest(vm)) {
        let what = "still runs what was declared before and has to be restarted";
        return State::patient("RestartRequired", with_words(what, restart.text("/message")), RESTART);
    }
    if vm.holds("Ready").is_none() {
        return State::pending("NotReady", with_words("runs and is not ready", ready_words(vm)));
    }
    // desiredGeneration is the generation that virt-controller has acted on; observedGeneration lags after a hotplug
    if let Some(seen) =
        vm.number("/status/desiredGeneration").filter(|g| Some(*g) != vm.number("/metadata/generation"))
    {
        return State::pending(
            "NotObserved",
            format!("is ready as generation {seen}, KubeVirt has not seen the newest"),
        );
    }
    if wanted.guest_agent && vmi.holds("AgentConnected").is_none() {
        return State::pending("GuestAgent", "runs, and its guest agent is not connected");
    }
    if wanted.ip && ip_of(vmi.0).is_empty() {
        return State::pending("NoIp", "runs, and has no IP address");
    }
    State::Ready
}

/// What keeps an instance from starting, and is known not to pass, or not to pass soon.
fn bad_start(
    vm: View<'_>,
    vmi: Option<View<'_>>,
    wanted: &WantedMachine<'_>,
    disks: &Disks<'_>,
) -> Option<State> {
    let unsynchronized = vmi.and_then(|v| v.denies("Synchronized"));
    let (reason, words) = unsynchronized.map_or(("", ""), |c| (c.text("/reason"), c.text("/message")));
    match reason {
        "ErrImagePull" | "ImagePullBackOff" => {
            return Some(State::failed(reason, with_words("cannot pull an image", words)));
        }
        // a claim whose DataVolume is there will be made by CDI
        "FailedPvcNotFound" if !disks.nobody_makes_one_of(words) => {
            return Some(State::pending("ErrorPvcNotFound", with_words("waits for a volume", words)));
        }
        "FailedPvcNotFound" => {
            return Some(State::patient("ErrorPvcNotFound", with_words("misses a volume", words), CLAIM));
        }
        _ => {}
    }
    if let Some(failure) = vm.at("/status/startFailure").filter(|_| vm_status(vm.0) == "CrashLoopBackOff") {
        let count = failure.number("/consecutiveFailCount").unwrap_or(1);
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let what = format!("crashed {times} before it ever ran");
        let words = vmi.map_or("", |v| v.condition("Ready").map_or("", |c| c.text("/message")));
        return Some(if !wanted.crashed_before.is_empty() && last_crash(vm.0) == wanted.crashed_before {
            State::pending(
                "CrashLoopBackOff",
                format!("{what}, as it was before this change, and will be started again"),
            )
        } else {
            State::failed("CrashLoopBackOff", with_words(&what, words))
        });
    }
    if let Some(instance) = vmi.filter(|v| v.text("/status/phase") == "Failed" && !v.deleting()) {
        let words = instance.condition("Ready").map_or("", |c| c.text("/message"));
        if matches!(vm.text("/spec/runStrategy"), "Once" | "Manual") {
            return Some(State::failed("Failed", with_words("has an instance that failed", words)));
        }
    }
    let unscheduled =
        vmi.and_then(|v| v.denies("PodScheduled")).filter(|c| c.text("/reason") == "Unschedulable");
    if let Some(condition) = unscheduled.filter(|_| vmi.is_some_and(|v| v.text("/status/phase") != "Running"))
    {
        let message = with_words("finds no node", condition.text("/message"));
        return Some(match disks.verdict {
            None => State::patient("ErrorUnschedulable", message, UNSCHEDULABLE),
            Some(_) => State::pending("ErrorUnschedulable", message),
        });
    }
    let failure = vm.holds("Failure")?;
    let reason = or_word(failure.text("/reason"), "Failure");
    Some(State::patient(reason, with_words("cannot be started", failure.text("/message")), FAILURE))
}

/// observedGeneration is the generation whose template the instance was built from. KubeVirt 1.8 says `RestartRequired` of a
/// machine that has just started where `cpu` is given without sockets, and goes on saying so when a change was taken back
/// (kubevirt#17610). What an instance type holds is not in the template, so there its word stands.
fn built_from_newest(vm: View<'_>) -> bool {
    let generation = vm.number("/metadata/generation");
    let typed = vm.at("/spec/instancetype").is_some() || vm.at("/spec/preference").is_some();
    generation.is_some() && vm.number("/status/observedGeneration") == generation && !typed
}

fn ready_words(vm: View<'_>) -> &str {
    vm.denies("Ready").map_or("", |c| c.text("/message"))
}

fn is(status: &str) -> String {
    if status.is_empty() { "has no status".to_owned() } else { format!("is {status}") }
}
