//! The pods that keep a claim which is to go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cluster::{Cluster, Error, Name, Object, POD};
use serde_json::Value;
use step::Kind;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vm::conditions::pod::{claim_kept, spent_pod_of_ours, waits_for_pods};
use vm::conditions::{Pending, State};

use super::Wait;
use crate::judge::Verdict;
use crate::sights::Snapshot;

/// A claim that is not in use is gone before that. Pods are looked at no sooner, and no more often.
const LINGERS: Duration = Duration::from_secs(3);

/// The pods that keep claims, by claim.
type Keepers = BTreeMap<String, Name>;

/// What is known of the pods, and a look at them under way.
#[derive(Debug, Default)]
pub(super) struct Release {
    work: Option<JoinHandle<Result<Keepers, Error>>>,
    due: Option<Instant>,
    keepers: Keepers,
    /// Why the pods could not be looked at, or not be deleted.
    refused: Option<String>,
}

impl Release {
    /// Resolves when the pods were looked at; never if no look is under way.
    pub(super) async fn answered(&mut self) -> Result<Keepers, Error> {
        match &mut self.work {
            // a task that panicked has seen nothing
            Some(work) => work.await.unwrap_or_else(|_| Ok(Keepers::new())),
            None => std::future::pending().await,
        }
    }

    pub(super) fn learn(&mut self, answer: Result<Keepers, Error>) {
        self.work = None;
        match answer {
            Ok(keepers) => (self.keepers, self.refused) = (keepers, None),
            Err(error) if error.kind() == Kind::Permission => self.refused = Some(error.to_string()),
            // asked again
            Err(_) => {}
        }
    }
}

impl Wait {
    /// Where a claim that is to go waits for a pod: delete the pod if it is one of our Tasks that has ended, as that of a patch,
    /// which Tekton keeps with its `TaskRun`; its log goes with it. Any other is named. Only with the machine's Lease in hand is
    /// one deleted. Returns when that is due.
    pub(super) fn release(&mut self, seen: &Snapshot) -> Option<Instant> {
        let waits =
            |name: &&String| seen.claims.get(*name).and_then(|[c, _]| c.object()).is_some_and(waits_for_pods);
        let claims: BTreeSet<String> = self.wanted.gone_claims.iter().filter(waits).cloned().collect();
        if claims.is_empty() {
            self.release = Release::default();
            return None;
        }
        if self.release.work.is_some() {
            return None;
        }
        let now = Instant::now();
        let due = *self.release.due.get_or_insert(now + LINGERS);
        if due > now {
            return Some(due);
        }
        self.release.due = Some(now + LINGERS);
        let held = self.hold.as_ref().is_some_and(|hold| hold.check().is_ok());
        let (cluster, vm) = (self.sights.machine_cluster().clone(), self.wanted.vm.clone());
        self.release.work = Some(tokio::spawn(async move { free(&cluster, &vm, &claims, held).await }));
        None
    }

    /// The verdict, with the pod that keeps a claim, or with why none can be seen: an Application that is being deleted waits for it too.
    pub(super) fn with_keeper(&self, mut verdict: Verdict) -> Verdict {
        if let State::Pending(Pending { reason, message, .. }) = &mut verdict.state
            && reason == "Deleting"
        {
            let why = match (self.release.keepers.first_key_value(), &self.release.refused) {
                (Some((claim, pod)), _) => {
                    format!(", and pod `{pod}` keeps claim `{claim}`: delete that pod")
                }
                (None, Some(refused)) => {
                    format!(", and whether a pod keeps a claim cannot be seen: {refused}")
                }
                (None, None) => String::new(),
            };
            message.push_str(&why);
        }
        verdict
    }

    /// What stands in the way may be a pod that may not be seen, or not be deleted.
    pub(super) fn may_not_release(&self, verdict: &Verdict) -> bool {
        self.release.refused.is_some()
            && matches!(&verdict.state, State::Pending(pending) if pending.reason == "Deleting")
    }
}

/// Delete the pods of ours that have ended and keep one of these claims; the others, by claim.
async fn free(cluster: &Cluster, vm: &Name, claims: &BTreeSet<String>, held: bool) -> Result<Keepers, Error> {
    let claims: BTreeSet<&str> = claims.iter().map(String::as_str).collect();
    let mut keepers = Keepers::new();
    for pod in cluster.list(POD, vm.namespace(), None).await? {
        let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let Some(claim) = claim_kept(&pod, &claims) else { continue };
        let Ok(name) = vm.sibling(text("/metadata/name")) else { continue };
        if held && spent_pod_of_ours(&pod) {
            tracing::info!("pod `{name}` has ended, and still keeps claim `{claim}`: it is deleted");
            cluster.delete(&Object { kind: POD, name }, Some(text("/metadata/uid"))).await?;
        } else {
            keepers.insert(claim.to_owned(), name);
        }
    }
    Ok(keepers)
}
