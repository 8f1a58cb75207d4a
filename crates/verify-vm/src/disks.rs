//! Whether a machine's disks are there, and whether its data disks outlive it.
//!
//! Whatever happens to a machine, its data disks may not go with it: not through an owner reference (a restore leaves one
//! behind, so does a template), not through Argo CD when it prunes or deletes the Application.

use serde_json::Value;

use crate::checks::Check;
use crate::facts::{list, text};
use crate::wanted::Wanted;

/// The annotation by which Argo CD is told how to treat an object, and the one by which it knows its own.
const SYNC_OPTIONS: &str = "/metadata/annotations/argocd.argoproj.io~1sync-options";
const TRACKING: &str = "/metadata/annotations/argocd.argoproj.io~1tracking-id";
/// Both are needed: the first for a file that is removed from Git, the second for an Application that is deleted.
const KEPT: [&str; 2] = ["Prune=false", "Delete=false"];

/// A claim of the machine with what makes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Disk {
    pub(crate) claim: String,
    /// The machine does not boot from it.
    pub(crate) data: bool,
    pub(crate) volume_claim: Option<Value>,
    pub(crate) data_volume: Option<Value>,
}

/// One disk: there, bound, and, if `guarded`, not to be deleted with its machine.
pub(crate) fn check(disk: &Disk, wanted: &Wanted, guarded: bool) -> Check {
    let Disk { claim, data, volume_claim, data_volume } = disk;
    let name = format!("disk {claim}");
    let failed = |reason: &str, what: String| {
        Check::failed(name.clone(), reason, format!("has a disk `{claim}` that {what}"))
    };
    if guarded && *data {
        for (what, object) in [("", volume_claim), ("'s data volume", data_volume)] {
            if let Some(owner) = object.as_ref().and_then(owner) {
                let what = format!(
                    "has a data disk `{claim}` that would be deleted with its machine: `{owner}` owns the claim{what}"
                );
                return Check::failed(name, "DiskOwned", what);
            }
        }
        // what Git does not hold, Argo CD does not delete
        let managed = |object: &&Value| !text(object, TRACKING).is_empty();
        let held = data_volume.as_ref().or_else(|| volume_claim.as_ref().filter(managed));
        if let Some(missing) = held.map(missing_options).filter(|m| !m.is_empty()) {
            let what = format!(
                "has a data disk `{claim}` that Argo CD may delete: it lacks the sync option `{}`",
                missing.join("` and `")
            );
            return Check::failed(name, "DiskPrunable", what);
        }
    }
    let phase = data_volume.as_ref().map_or("", |dv| text(dv, "/status/phase"));
    let Some(volume_claim) = volume_claim else {
        return match data_volume {
            _ if wanted.allow_delete => Check::passed(name, format!("has no disk `{claim}` any more")),
            Some(_) if phase != "Failed" => {
                Check::pending(name, "DiskMissing", format!("has a disk `{claim}` that is not made yet"))
            }
            _ => failed("DiskMissing", "does not exist".to_owned()),
        };
    };
    if !text(volume_claim, "/metadata/deletionTimestamp").is_empty() && !wanted.allow_delete {
        return failed("DiskDeleted", "is being deleted".to_owned());
    }
    match text(volume_claim, "/status/phase") {
        "Bound" => Check::passed(name, format!("has disk `{claim}`, bound")),
        "Lost" => failed("DiskLost", "lost its volume".to_owned()),
        // a volume is made where its first pod runs: a machine that is off has none
        _ if (wanted.stopped || wanted.disks_only)
            && matches!(phase, "WaitForFirstConsumer" | "PendingPopulation") =>
        {
            Check::passed(name, format!("has disk `{claim}`, which is made when the machine starts"))
        }
        other => {
            let other = if other.is_empty() { "Pending" } else { other };
            Check::pending(name, "DiskUnbound", format!("has a disk `{claim}` that is {other}, not bound"))
        }
    }
}

/// The machine that owns an object, as `VirtualMachine x`.
fn owner(object: &Value) -> Option<String> {
    let machine = |owner: &&Value| {
        text(owner, "/apiVersion").starts_with("kubevirt.io/")
            && matches!(text(owner, "/kind"), "VirtualMachine" | "VirtualMachineInstance")
    };
    let owner = list(object, "/metadata/ownerReferences").find(machine)?;
    Some(format!("{} {}", text(owner, "/kind"), text(owner, "/name")))
}

fn missing_options(object: &Value) -> Vec<&'static str> {
    let options: Vec<&str> = text(object, SYNC_OPTIONS).split(',').map(str::trim).collect();
    KEPT.into_iter().filter(|kept| !options.contains(kept)).collect()
}
