//! One operation at a time: what KubeVirt itself holds a machine with.

use cluster::{Name, Object, VIRTUAL_MACHINE};
use serde_json::Value;
use step::{Failure, Kind};
use tokio::time::Instant;
use vm::conditions::snapshot::{Holder, held_by};

use crate::follow::{Follow, Look};
use crate::work::Work;

/// Wait until no snapshot and no restore but `ours` holds the machine; the machine as it is then.
/// They end by themselves: snapshots have a deadline.
pub async fn wait_until_free(work: &Work, vm: &Name, ours: Holder<'_>) -> Result<Value, Failure> {
    let object = Object { kind: VIRTUAL_MACHINE, name: vm.clone() };
    let gone = || {
        Failure::new(Kind::Failed, format!("{object} does not exist"))
            .hint("name the machine by `--vm`, and its own cluster by `--machine-kubeconfig`")
    };
    let read = work.read(&object).await?.ok_or_else(gone)?;
    if held_by(&read, ours).is_none() {
        return Ok(read);
    }
    let follow = Follow::new([(&work.cluster, object.clone())]);
    let limit = Instant::from_std(work.context.deadline());
    let seen = follow.until(work, limit, |sights| match sights.first().and_then(|s| s.object()) {
        None => Look::Over(Err(gone())),
        Some(vm) => match held_by(vm, ours) {
            None => Look::Over(Ok(vm.clone())),
            Some(holder) => Look::Wait(format!("{object}, which is held by {holder}")),
        },
    });
    match seen.await {
        Ok(vm) => vm,
        Err(ended) => {
            let failure = ended.failure(&format!("{object} was not free"));
            // nothing was changed, and somebody else stands where we would
            Err(match failure.kind() {
                Kind::Timeout if !work.context.stopping() => {
                    Failure::new(Kind::Conflict, failure.message()).hint("run it again when that one is over")
                }
                _ => failure,
            })
        }
    }
}
