//! The checks, each answered by what was read; pure.

use serde_json::Value;
use vm::conditions::{Machine, State, WantedMachine, digest_of, ip_of, machine_state, node_of, vm_status};

use crate::facts::{self, text};
use crate::look::Looked;
use crate::wanted::Wanted;

/// How a check was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// It holds.
    Passed,
    /// It does not hold and may still come to.
    Pending,
    /// It does not hold and will not.
    Failed,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Check {
    /// Its name, such as `memory` or `disk web01-data`.
    pub(crate) name: String,
    pub(crate) answer: Answer,
    /// One word for why it does not hold.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) reason: String,
    /// What was found, as a predicate of the machine.
    pub(crate) message: String,
}

impl Check {
    pub(crate) fn passed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), answer: Answer::Passed, reason: String::new(), message: message.into() }
    }

    pub(crate) fn pending(name: impl Into<String>, reason: &str, message: impl Into<String>) -> Self {
        Self { name: name.into(), answer: Answer::Pending, reason: reason.into(), message: message.into() }
    }

    pub(crate) fn failed(name: impl Into<String>, reason: &str, message: impl Into<String>) -> Self {
        Self { name: name.into(), answer: Answer::Failed, reason: reason.into(), message: message.into() }
    }
}

/// All checks but those that need the network, in the order of the report.
pub(crate) fn checks(looked: &Looked, wanted: &Wanted) -> Vec<Check> {
    let Some(vm) = &looked.vm else {
        return vec![Check::failed("exists", "Missing", "does not exist")];
    };
    let mut all = Vec::new();
    if !wanted.disks_only {
        all.push(power(looked, wanted));
        if wanted.stopped {
            declared(vm, wanted, &mut all);
        } else {
            // without an instance there is nothing to measure, and each check says so
            let none = Value::Null;
            effective(looked.vmi.as_ref().unwrap_or(&none), vm, looked, wanted, &mut all);
        }
    }
    // the disks of machines that these flows rendered have to outlive them at any time; others are held to that on demand
    let guarded = (wanted.disks_only || digest_of(vm).is_some()) && !wanted.allow_delete;
    all.extend(looked.disks.iter().map(|disk| crate::disks::check(disk, wanted, guarded)));
    all
}

/// Ready or stopped, as the machine's own conditions say.
fn power(looked: &Looked, wanted: &Wanted) -> Check {
    let name = if wanted.stopped { "stopped" } else { "ready" };
    let disks = looked.disks.iter().map(|d| (d.claim.as_str(), d.data_volume.as_ref()));
    let machine = Machine { vm: looked.vm.as_ref(), vmi: looked.vmi.as_ref(), disks: disks.collect() };
    let until = if wanted.stopped { vm::conditions::Until::Stopped } else { vm::conditions::Until::Ready };
    // agent and address have checks of their own
    let wanted = WantedMachine { until, digest: None, guest_agent: false, ip: false, crashed_before: "" };
    match machine_state(&machine, &wanted) {
        State::Ready => Check::passed(name, format!("is {name}")),
        State::Pending(pending) if pending.reason == "RestartRequired" => {
            Check::failed(name, &pending.reason, pending.message)
        }
        State::Pending(pending) => Check::pending(name, &pending.reason, pending.message),
        State::Failed(failed) => Check::failed(name, &failed.reason, failed.message),
        State::Superseded(by) => Check::failed(name, "Superseded", by),
    }
}

/// Of a stopped machine: what it will start with.
fn declared(vm: &Value, wanted: &Wanted, all: &mut Vec<Check>) {
    let spec = "/spec/template/spec";
    boot_claim(facts::boot_claim(vm, spec), wanted, all);
    claims(&vm::conditions::claims(vm), wanted, all);
}

/// Of a machine that runs: what its instance has.
fn effective(vmi: &Value, vm: &Value, looked: &Looked, wanted: &Wanted, all: &mut Vec<Check>) {
    let live = looked.vmi.is_some();
    let old = facts::restart_required(vm);
    let mut compare = |name: &str, reason: &str, have: String, want: String| {
        all.push(if have == want {
            Check::passed(name, format!("has {name} `{have}`"))
        } else if !live {
            Check::pending(
                name,
                reason,
                format!("has no instance whose {name} could be read (want `{want}`)"),
            )
        } else if let Some(words) = old.filter(|_| name != "node") {
            let words = if words.is_empty() { String::new() } else { format!(": {words}") };
            Check::failed(
                name,
                "RestartRequired",
                format!("still runs with {name} `{have}` (want `{want}`) and has to be restarted{words}"),
            )
        } else if name == "node" && !have.is_empty() {
            Check::failed(name, reason, format!("runs on node `{have}` (want `{want}`)"))
        } else {
            Check::pending(name, reason, format!("has {name} `{have}` (want `{want}`)"))
        });
    };
    if let Some(want) = &wanted.instance_type {
        let have = facts::instance_type(vmi).to_owned();
        compare("instance-type", "WrongInstanceType", have, want.to_string());
    }
    if let Some(want) = wanted.cpu {
        compare("cpu", "WrongCpu", facts::cpus(vmi).to_string(), want.to_string());
    }
    if let Some(want) = wanted.memory {
        let have = facts::memory(vmi);
        let bytes = want.mebibytes() << 20;
        let shown =
            if have == Some(bytes) { want.to_string() } else { have.map_or_else(String::new, amount) };
        compare("memory", "WrongMemory", shown, want.to_string());
    }
    if let Some(want) = &wanted.node {
        compare("node", "WrongNode", node_of(vmi).to_owned(), want.to_string());
    }
    if live {
        let (boot, mounted) = (facts::boot_claim(vmi, "/spec"), facts::mounted(vmi));
        boot_claim(boot, wanted, all);
        claims(&mounted, wanted, all);
    }
    if let Some(want) = &wanted.hostname {
        all.push(hostname(vmi, looked, want.as_str()));
    }
    if wanted.guest_agent {
        all.push(if agent(vmi) {
            Check::passed("guest-agent", "has a guest agent that answers")
        } else {
            Check::pending("guest-agent", "GuestAgent", "has no guest agent that answers")
        });
    }
    if needs_ip(wanted) {
        all.push(match ip_of(vmi) {
            "" => Check::pending("ip", "NoIp", "has no IP address"),
            ip => Check::passed("ip", format!("has address `{ip}`")),
        });
    }
}

/// An address is needed for itself or for what answers at it.
pub(crate) const fn needs_ip(wanted: &Wanted) -> bool {
    wanted.ip || wanted.tcp_port.is_some() || wanted.ssh_port.is_some() || wanted.http.is_some()
}

/// The guest agent is connected.
pub(crate) fn agent(vmi: &Value) -> bool {
    facts::holds(vmi, "AgentConnected").is_some()
}

fn boot_claim(have: &str, wanted: &Wanted, all: &mut Vec<Check>) {
    let Some(want) = &wanted.boot_claim else { return };
    all.push(if have == want.as_str() {
        Check::passed("boot-claim", format!("boots from claim `{have}`"))
    } else {
        let from = if have.is_empty() { "no claim".to_owned() } else { format!("claim `{have}`") };
        Check::failed("boot-claim", "WrongBootClaim", format!("boots from {from} (want `{want}`)"))
    });
}

fn claims(have: &[&str], wanted: &Wanted, all: &mut Vec<Check>) {
    if wanted.claims.is_empty() {
        return;
    }
    let missing: Vec<&str> = wanted.claims.iter().map(String::as_str).filter(|c| !have.contains(c)).collect();
    all.push(if missing.is_empty() {
        Check::passed("claims", "has all claims among its disks")
    } else {
        Check::failed("claims", "MissingClaim", format!("has no disk of claim `{}`", missing.join("`, `")))
    });
}

/// The declared name; and the guest's own, where an agent tells it. A guest may tell its name with its domain.
fn hostname(vmi: &Value, looked: &Looked, want: &str) -> Check {
    let have = facts::hostname(vmi);
    if looked.vmi.is_none() {
        return Check::pending(
            "hostname",
            "WrongHostname",
            format!("has no instance (want hostname `{want}`)"),
        );
    }
    if have != want {
        return Check::failed(
            "hostname",
            "WrongHostname",
            format!("gives its guest the hostname `{have}` (want `{want}`)"),
        );
    }
    let declared = format!("gives its guest the hostname `{have}`");
    let own = match &looked.guest {
        None => {
            return Check::passed("hostname", format!("{declared}; no guest agent tells the guest's own"));
        }
        Some(Err(why)) => {
            return Check::pending(
                "hostname",
                "GuestAgent",
                format!("{declared}; the guest's own cannot be read: {why}"),
            );
        }
        Some(Ok(guest)) => text(guest, "/hostname"),
    };
    if own.split('.').next() == Some(want) {
        Check::passed("hostname", format!("has hostname `{own}`"))
    } else {
        // cloud-init sets it some time after the agent is up
        Check::pending(
            "hostname",
            "WrongHostname",
            format!("calls itself `{own}` in the guest (want `{want}`)"),
        )
    }
}

/// Bytes in the largest unit that leaves no rest.
pub(crate) fn amount(bytes: u64) -> String {
    ["", "Ki", "Mi", "Gi", "Ti"]
        .iter()
        .enumerate()
        .rev()
        .find(|(power, _)| bytes.is_multiple_of(1 << (10 * power)))
        .map_or_else(|| bytes.to_string(), |(power, unit)| format!("{}{unit}", bytes >> (10 * power)))
}

/// KubeVirt's word for the machine, or empty.
pub(crate) fn status(looked: &Looked) -> &str {
    looked.vm.as_ref().map_or("", vm_status)
}
