//! Whether a machine is in the state that was declared for it.
//!
//! Sources: kubevirt 1.8 `pkg/virt-controller/watch/vm/vm.go` (`setPrintableStatus`, `syncConditions`, `syncGenerationInfo`,
//! `syncStartFailureStatus`), `watch/vmi/lifecycle.go`; CDI 1.65 `core/v1beta1/types.go`; what a cluster was seen to do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::view::View;
use super::{DIGEST_ANNOTATION, State, with_words};

/// Nodes come up, device plugins register and old machines free their room within this; a cluster autoscaler that needs
/// longer is rare where nodes carry virtual machines. While disks are still filled the scheduler waits for them, and
/// this does not count.
const UNSCHEDULABLE: Duration = Duration::from_mins(2);
/// CDI starts a failed importer again after 10, 20, 40 and 80 s: four attempts.
const IMPORT: Duration = Duration::from_mins(2);
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

/// The disks of a machine by claim name, each with its DataVolume, or none where the claim has none.
pub type Claims<'a> = BTreeMap<&'a str, Option<&'a Value>>;

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
    if let Some(restart) = vm.holds("RestartRequired") {
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

fn ready_words(vm: View<'_>) -> &str {
    vm.denies("Ready").map_or("", |c| c.text("/message"))
}

fn is(status: &str) -> String {
    if status.is_empty() { "has no status".to_owned() } else { format!("is {status}") }
}

fn or_word<'a>(word: &'a str, other: &'a str) -> &'a str {
    if word.is_empty() { other } else { word }
}

/// What the disks say together.
struct Disks<'a> {
    /// The worst of them; none when all are done.
    verdict: Option<State>,
    /// The claims with a DataVolume, and those without.
    made: Vec<&'a str>,
    unmade: Vec<&'a str>,
}

impl<'a> Disks<'a> {
    /// Whether a claim that these words name has no DataVolume to make it; if they name none, whether any has none.
    fn nobody_makes_one_of(&self, words: &str) -> bool {
        let named = |claim: &&&str| words.split([' ', '/', ',']).any(|word| word == **claim);
        let other = self.made.iter().any(|c| named(&c));
        self.unmade.iter().any(|c| !other || named(&c))
    }

    fn of(claims: &Claims<'a>) -> Self {
        let (made, unmade): (Vec<_>, Vec<_>) = claims.iter().partition(|(_, dv)| dv.is_some());
        let names = |claims: Vec<(&&'a str, _)>| claims.into_iter().map(|(name, _)| *name).collect();
        let mut states: Vec<State> =
            claims.iter().filter_map(|(name, dv)| dv.and_then(|dv| disk_state(name, View(dv)))).collect();
        // failed before impatient before pending, in the order of names
        states.sort_by_key(|s| match s {
            State::Failed(_) => 0,
            State::Pending(p) if p.patience.is_some() => 1,
            _ => 2,
        });
        Self { verdict: states.into_iter().next(), made: names(made), unmade: names(unmade) }
    }
}

/// What a DataVolume still lacks. One that waits for its first consumer is done: its machine is what it waits for.
fn disk_state(name: &str, dv: View<'_>) -> Option<State> {
    let words = || {
        let said =
            ["Running", "Bound"].into_iter().filter_map(|kind| dv.denies(kind)).map(|c| c.text("/message"));
        said.into_iter().find(|words| !words.is_empty()).unwrap_or_default()
    };
    let phase = dv.text("/status/phase");
    match phase {
        "Succeeded" | "WaitForFirstConsumer" | "PendingPopulation" => return None,
        "Failed" => {
            return Some(State::failed(
                "DataVolumeFailed",
                with_words(&format!("has a disk `{name}` that failed"), words()),
            ));
        }
        _ => {}
    }
    // An importer that is started again and again runs for a moment each time: that nothing has come yet is what counts.
    let nothing =
        matches!(dv.text("/status/progress"), "" | "N/A") && dv.number("/status/restartCount") > Some(0);
    let stopped =
        dv.denies("Running").is_some_and(|c| matches!(c.text("/reason"), "Error" | "ImagePullFailed"));
    if stopped || nothing {
        let what = format!("has a disk `{name}` that cannot be filled");
        return Some(State::patient("DataVolumeError", with_words(&what, words()), IMPORT));
    }
    // such as ErrExceededQuota (which has status Unknown) and ErrClaimNotValid
    if let Some(bound) =
        dv.condition("Bound").filter(|c| c.text("/reason").starts_with("Err") && c.text("/status") != "True")
    {
        let what = format!("has a disk `{name}` that cannot be made");
        return Some(State::patient(
            bound.text("/reason"),
            with_words(&what, bound.text("/message")),
            FAILURE,
        ));
    }
    let progress = match dv.text("/status/progress") {
        "" | "N/A" => String::new(),
        progress => format!(" ({progress})"),
    };
    Some(State::pending(
        "DataVolumePending",
        format!("has a disk `{name}` that is {}{progress}", or_word(phase, "new")),
    ))
}
