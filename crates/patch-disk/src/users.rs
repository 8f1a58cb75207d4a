//! Who uses a disk; pure.

use serde_json::Value;
use vm::conditions::{Machine, State, Until, WantedMachine, claims, machine_state};

use crate::VolumeMode;

/// Everything that could use a machine's disk, as last read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    pub(crate) vm: Option<Value>,
    pub(crate) vmi: Option<Value>,
    pub(crate) claim: Option<Value>,
    /// All pods of the namespace.
    pub(crate) pods: Vec<Value>,
}

/// Whether the disk may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing but our own pod has it.
    Free(VolumeMode),
    /// Somebody has it, and may let it go.
    Busy(&'static str, String),
    /// It may not be written to.
    Never(&'static str, String),
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The pod that looks, and what it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) claim: &'a str,
    pub(crate) pod: &'a str,
    /// The Lease and its holder.
    pub(crate) lease: Option<(&'a str, &'a str)>,
}

impl Own<'_> {
    /// Whether a pod is one of another run of the same request under the same Lease, as its arguments say. Which of the two may
    /// write is not told by who is there, but by what the Lease notes.
    fn is_twin(&self, pod: &Value) -> bool {
        let Some((lease, holder)) = self.lease else { return false };
        let wanted = ["--check=before".to_owned(), format!("--lease={lease}"), format!("--holder={holder}")];
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
        containers.into_iter().flatten().filter_map(|container| container.get("args")?.as_array()).any(
            |args| wanted.iter().all(|wanted| args.iter().any(|arg| arg.as_str() == Some(wanted.as_str()))),
        )
    }
}

/// Whether this pod is there, has the claim and has not ended.
pub(crate) fn has_it(pods: &[Value], claim: &str, name: &str) -> bool {
    pods.iter().any(|pod| text(pod, "/metadata/name") == name && mounts(pod, claim) && !ended(pod))
}

fn mounts(pod: &Value, claim: &str) -> bool {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    volumes.is_some_and(|v| v.iter().any(|v| text(v, "/persistentVolumeClaim/claimName") == claim))
}

fn ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Judge for this claim, seen from this pod.
pub(crate) fn judge(sight: &Sight, own: Own<'_>) -> Verdict {
    let claim = own.claim;
    let Sight { vm, vmi, claim: volume, pods } = sight;
    let never = |reason, why: String| Verdict::Never(reason, why);
    let Some(machine) = vm else { return never("Missing", "its virtual machine does not exist".to_owned()) };
    if !claims(machine).contains(&claim) {
        return never("NotItsDisk", "it is not a disk of the virtual machine".to_owned());
    }
    let Some(volume) = volume else { return never("DiskMissing", "the claim does not exist".to_owned()) };
    let wanted = WantedMachine {
        until: Until::Stopped,
        digest: None,
        guest_agent: false,
        ip: false,
        crashed_before: "",
    };
    let seen = Machine { vm: vm.as_ref(), vmi: vmi.as_ref(), ..Machine::default() };
    match machine_state(&seen, &wanted) {
        State::Ready => {}
        // Argo CD, or KubeVirt itself, would start it at any moment
        State::Pending(p) if p.reason == "NotHalted" => {
            return never("NotHalted", format!("its virtual machine {}", p.message));
        }
        State::Pending(p) => return Verdict::Busy("Running", format!("its virtual machine {}", p.message)),
        State::Failed(f) => return never("Failed", format!("its virtual machine {}", f.message)),
        State::Superseded(by) => return never("Superseded", by),
    }
    for (field, what) in [("snapshotInProgress", "snapshot"), ("restoreInProgress", "restore")] {
        let name = text(machine, &format!("/status/{field}"));
        if !name.is_empty() {
            return Verdict::Busy("Locked", format!("{what} `{name}` of its virtual machine is under way"));
        }
    }
    if text(volume, "/status/phase") != "Bound" || !text(volume, "/metadata/deletionTimestamp").is_empty() {
        return never("DiskUnbound", "the claim is not bound, or is being deleted".to_owned());
    }
    // That our own pod has the claim says that this is the cluster and the namespace whose disk the next step writes to.
    let having = || pods.iter().filter(|pod| mounts(pod, claim));
    let name = |pod: &Value| text(pod, "/metadata/name").to_owned();
    if !having().any(|pod| name(pod) == own.pod) {
        let why = format!(
            "no pod `{}` has it here: this is another cluster or namespace than that of the disk",
            own.pod
        );
        return never("OtherPod", why);
    }
    if let Some(other) = having().find(|pod| name(pod) != own.pod && !ended(pod) && !own.is_twin(pod)) {
        return Verdict::Busy("InUse", format!("pod `{}` has it", name(other)));
    }
    Verdict::Free(match text(volume, "/spec/volumeMode") {
        "Block" => VolumeMode::Block,
        _ => VolumeMode::Filesystem,
    })
}
