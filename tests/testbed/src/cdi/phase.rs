//! The phases of a `DataVolume`, one after the other, and what goes wrong in them.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Filler, import, not_ready, pending};
use crate::standin::{instances, items, key, text};

/// Every phase of a `DataVolume` but the empty one of a new one (CDI 1.65 `core/v1beta1/types.go`).
pub const PHASES: [&str; 22] = [
    "Pending",
    "PVCBound",
    "ImportScheduled",
    "ImportInProgress",
    "CloneScheduled",
    "CloneInProgress",
    "SnapshotForSmartCloneInProgress",
    "CloneFromSnapshotSourceInProgress",
    "SmartClonePVCInProgress",
    "CSICloneInProgress",
    "ExpansionInProgress",
    "NamespaceTransferInProgress",
    "PrepClaimInProgress",
    "RebindInProgress",
    "UploadScheduled",
    "UploadReady",
    "WaitForFirstConsumer",
    "PendingPopulation",
    "Succeeded",
    "Failed",
    "Unknown",
    "Paused",
];

/// What happens to a volume in place of an import or a smart clone that succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The importer ends with an error, again and again: condition Running False with this reason (its pod's: `Error`,
    /// `ImagePullFailed`) and these words.
    Import(&'static str, String),
    /// Its claim cannot be made: condition Bound with this reason (`ErrExceededQuota`, `ErrClaimNotValid`) and these words.
    NoClaim(&'static str, String),
    /// It goes through these phases, and then succeeds.
    Through(&'static [&'static str]),
    /// It goes through these phases, and stays in the last one.
    Stays(&'static [&'static str]),
}

/// Nobody works on the disk in these.
const IDLE: [&str; 8] = [
    "Pending",
    "PVCBound",
    "ImportScheduled",
    "CloneScheduled",
    "SnapshotForSmartCloneInProgress",
    "UploadScheduled",
    "Unknown",
    "Paused",
];
/// In these it waits for an instance that has the claim.
const FOR_CONSUMER: [&str; 2] = ["WaitForFirstConsumer", "PendingPopulation"];

/// A clone by a snapshot of the storage.
const CLONE: [&str; 2] = ["SnapshotForSmartCloneInProgress", "CloneFromSnapshotSourceInProgress"];

/// What a volume says of itself in a phase: the phase, and its condition Running as status and reason.
pub(super) type Step = (&'static str, &'static str, &'static str);

fn step(phase: &'static str) -> Step {
    match phase {
        "Failed" => (phase, "False", "Error"),
        _ if IDLE.contains(&phase) || FOR_CONSUMER.contains(&phase) => (phase, "False", ""),
        _ => (phase, "True", import::RUNNING),
    }
}

impl Filler {
    /// Bring a volume that has its claim into its next phase; true if there is more to do.
    pub(super) async fn next(
        &self,
        volume: &Value,
        claim: &str,
        claim_seen: &Value,
        fault: Option<&Fault>,
    ) -> Result<bool> {
        let plan = match fault {
            Some(Fault::Through(phases) | Fault::Stays(phases)) => phases.iter().copied().map(step).collect(),
            Some(Fault::Import(..)) => import::FIRST_POD.to_vec(),
            None | Some(Fault::NoClaim(..)) if clone_source(volume) => CLONE.map(step).to_vec(),
            None | Some(Fault::NoClaim(..)) => import::plan(volume),
        };
        let phase = text(volume, "/status/phase");
        let next = match import::at(&plan, volume, claim_seen) {
            Some(at) => at + 1,
            // a claim that was deleted under a volume that had Succeeded: that phase stays until the next import runs
            None if phase == "Succeeded" => plan.len() - 1,
            None => 0,
        };
        let bound = ("Bound", "False", "Pending", pending(volume));
        if FOR_CONSUMER.contains(&phase) && !self.consumed(volume).await? {
            return Ok(true);
        }
        if let Some(&(next, state, reason)) = plan.get(next) {
            if reason == import::SCRATCH {
                self.objects.merge(claim, &import::with_scratch()).await?;
            }
            let words = if next == "Failed" { "the transfer pod failed" } else { "" };
            let running = ("Running", state, reason, words.to_owned());
            let ready = match state {
                "True" => ("Ready", "False", "TransferRunning", String::new()),
                _ => not_ready(),
            };
            self.write(volume, next, "N/A", &[bound, ready, running]).await?;
            return Ok(true);
        }
        if let Some(Fault::Import(reason, words)) = fault {
            let conditions = [bound, not_ready(), ("Running", "False", *reason, words.clone())];
            self.write(volume, phase, "N/A", &conditions).await?;
            return Ok(true);
        }
        if matches!(fault, Some(Fault::Stays(_))) {
            return Ok(false);
        }
        if self.fill(volume, claim, claim_seen).await? {
            let conditions = [
                ("Bound", "True", "Bound", format!("PVC {} Bound", text(volume, "/metadata/name"))),
                ("Ready", "True", "", String::new()),
                ("Running", "False", "Completed", "Import Complete".to_owned()),
            ];
            self.write(volume, "Succeeded", "100.0%", &conditions).await?;
        }
        Ok(true)
    }

    /// Whether an instance has the claim of a volume: where it runs, the storage knows where to put the disk.
    async fn consumed(&self, volume: &Value) -> Result<bool> {
        let (namespace, name) = key(volume);
        let has = |instance: &Value| {
            text(instance, "/metadata/namespace") == namespace
                && items(instance, "/spec/volumes").iter().any(|one| {
                    one["persistentVolumeClaim"]["claimName"] == json!(name)
                        || one["dataVolume"]["name"] == json!(name)
                })
        };
        Ok(self.objects.list(&instances()).await?.iter().any(has))
    }
}

fn clone_source(volume: &Value) -> bool {
    ["/spec/sourceRef", "/spec/source/pvc", "/spec/source/snapshot"]
        .iter()
        .any(|at| volume.pointer(at).is_some())
}
