//! What has to hold before anything is touched: the old disks are gone the moment the restore begins.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::{Object, POD, VIRTUAL_MACHINE_RESTORE, VIRTUAL_MACHINE_SNAPSHOT_CONTENT, VOLUME_SNAPSHOT};
use serde_json::Value;
use snapshots::{Ended, Follow, Look, Work, remove, text, wait_until_free};
use step::{Failure, Kind};
use tokio::time::Instant;
use vm::conditions::State;
use vm::conditions::pod::{claim_kept, spent_pod_of_ours};
use vm::conditions::restore::{backups, not_off, other_disks, restore_state};
use vm::conditions::snapshot::{Holder, WantedSnapshot, disk_volumes, listed, snapshot_state};

use crate::wanted::{Stop, Wanted};

/// The launcher pod of a machine that was stopped just now goes within this.
const POD_GOES: Duration = Duration::from_mins(1);

/// What the restore will be.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whether the cluster can be told that the machine shall not own its disks.
    pub(crate) ownership: bool,
    /// The volumes, with the claim of each.
    pub(crate) disks: Vec<(String, String)>,
}

fn stop(reason: &'static str, kind: Kind, what: String, way_out: &str) -> Stop {
    Stop::new(reason, Failure::new(kind, what).hint(way_out))
}

/// Check everything, and wait for what ends by itself.
pub(crate) async fn check(work: &Work, wanted: &Wanted) -> Result<Plan, Stop> {
    let vm = free(work, wanted).await?;
    off(work, wanted, &vm).await?;
    let plan = plan(work, wanted, &vm).await?;
    unused(work, wanted, &plan.disks).await?;
    Ok(plan)
}

/// Check what can be known of a machine that still runs: all but that it is off, and that nobody has its disks.
pub(crate) async fn possible(work: &Work, wanted: &Wanted) -> Result<Plan, Stop> {
    let vm = free(work, wanted).await?;
    plan(work, wanted, &vm).await
}

/// The machine, when no snapshot and no other restore holds it.
async fn free(work: &Work, wanted: &Wanted) -> Result<Value, Failure> {
    wait_until_free(work, &wanted.vm.name, Holder::Restore(wanted.restore.name.name())).await
}

/// What does not depend on whether the machine runs.
async fn plan(work: &Work, wanted: &Wanted, vm: &Value) -> Result<Plan, Stop> {
    let ownership = gates(work).await?;
    no_other_restore(work, wanted).await?;
    let disks = disks(work, wanted, vm).await?;
    Ok(Plan { ownership, disks })
}

/// The machine is off and will stay so.
pub(crate) async fn off(work: &Work, wanted: &Wanted, vm: &Value) -> Result<(), Stop> {
    let vmi = work.read(&wanted.vmi).await?;
    not_off(vm, vmi.as_ref()).map_or(Ok(()), |why| {
        let what = format!("{} {why}", wanted.vm);
        Err(stop(
            "NotStopped",
            Kind::Conflict,
            what,
            "stop it by Git first: stop-start-vm with `--power off`",
        ))
    })
}

/// What this cluster's KubeVirt can do: whether it can leave the disks unowned. In place it has to be.
async fn gates(work: &Work) -> Result<bool, Stop> {
    let has = async |field: &str, value: &str| {
        let what = "read the cluster's OpenAPI description of restores";
        work.ask(what, async || work.cluster.has_field(VIRTUAL_MACHINE_RESTORE, field, Some(value)).await)
            .await
    };
    if !has("spec/volumeRestorePolicy", "InPlace").await? {
        let what = "this cluster's KubeVirt cannot restore in place: its VirtualMachineRestore has no `volumeRestorePolicy`";
        return Err(stop(
            "InPlaceMissing",
            Kind::Refused,
            what.to_owned(),
            "upgrade KubeVirt to 1.6 or later, or provision a machine from what `snapshot-vm --action sources` prints",
        ));
    }
    Ok(has("spec/volumeOwnershipPolicy", "None").await?)
}

/// KubeVirt admits one restore of a machine that is not complete, and a failed one never is.
async fn no_other_restore(work: &Work, wanted: &Wanted) -> Result<(), Stop> {
    let all = work.list(VIRTUAL_MACHINE_RESTORE, wanted.vm.name.namespace()).await?;
    let other = all.iter().find(|r| {
        text(r, "/spec/target/name") == wanted.vm.name.name()
            && text(r, "/metadata/name") != wanted.restore.name.name()
            && restore_state(r) != State::Ready
    });
    let Some(other) = other else { return Ok(()) };
    let name = text(other, "/metadata/name");
    let said = match restore_state(other) {
        State::Failed(failed) => failed.message,
        State::Pending(pending) => pending.message,
        State::Ready | State::Superseded(_) => String::new(),
    };
    let what = format!("{} is held by restore `{name}`, which {said}", wanted.vm);
    Err(stop(
        "Busy",
        Kind::Conflict,
        what,
        "run it again when that restore is over; remove it if it has failed",
    ))
}

/// The disks that the snapshot holds, all there and all the machine's own.
async fn disks(work: &Work, wanted: &Wanted, vm: &Value) -> Result<Vec<(String, String)>, Stop> {
    let snapshot = &wanted.snapshot;
    let unusable = |why: String| {
        let what = format!("{snapshot} {why}");
        stop(
            "SnapshotUnusable",
            Kind::Failed,
            what,
            "name another snapshot: snapshot-vm with `--action list` prints them",
        )
    };
    let named = |kind, name: &str| {
        let name = snapshot.name.sibling(name).map_err(|why| unusable(format!("names no object: {why}")))?;
        Ok::<_, Stop>(Object { kind, name })
    };
    let found = work.read(snapshot).await?.ok_or_else(|| unusable("does not exist".to_owned()))?;
    let any = BTreeSet::new();
    let state = WantedSnapshot { machine_uid: text(vm, "/metadata/uid"), volumes: &any, quiesced: false };
    match snapshot_state(&found, &state) {
        State::Ready => {}
        State::Failed(failed) => return Err(unusable(failed.message)),
        State::Pending(pending) => return Err(unusable(pending.message)),
        State::Superseded(why) => return Err(unusable(why)),
    }
    let content =
        named(VIRTUAL_MACHINE_SNAPSHOT_CONTENT, text(&found, "/status/virtualMachineSnapshotContentName"))?;
    let content = work.read(&content).await?.ok_or_else(|| unusable(format!("has lost {content}")))?;
    let backups = backups(&content);
    if backups.is_empty() {
        return Err(unusable("holds no disk".to_owned()));
    }
    let machine = content.pointer("/spec/source/virtualMachine").unwrap_or(&Value::Null);
    let left_out: Vec<&str> =
        disk_volumes(machine).into_keys().filter(|v| backups.iter().all(|b| b.volume != *v)).collect();
    if !left_out.is_empty() {
        return Err(unusable(format!("does not hold {}, which the machine had then", listed(&left_out))));
    }
    if let Some(why) = other_disks(vm, &backups) {
        let what = format!("{snapshot} {why}");
        return Err(stop(
            "OtherDisks",
            Kind::Conflict,
            what,
            "put the machine's disks back in Git as they were when it was taken, and run it again",
        ));
    }
    for backup in &backups {
        let object = named(VOLUME_SNAPSHOT, backup.volume_snapshot)?;
        let volume = work.read(&object).await?.ok_or_else(|| unusable(format!("has lost {object}")))?;
        if volume.pointer("/status/readyToUse") != Some(&Value::Bool(true)) {
            return Err(unusable(format!("needs {object}, which is not ready to use")));
        }
    }
    Ok(backups.iter().map(|b| (b.volume.to_owned(), b.claim.to_owned())).collect())
}

/// No pod has one of the claims: KubeVirt deletes a claim, and waits for ever for the pod that keeps it. So does the pod of a patch
/// after its end, for as long as Tekton's `TaskRun` is kept: it is deleted, and its log with it.
async fn unused(work: &Work, wanted: &Wanted, disks: &[(String, String)]) -> Result<(), Stop> {
    let claims: BTreeSet<&str> = disks.iter().map(|(_, claim)| claim.as_str()).collect();
    let limit = Instant::now() + POD_GOES;
    loop {
        let pods = work.list(POD, wanted.vm.name.namespace()).await?;
        let user = pods.iter().find_map(|pod| Some((pod, claim_kept(pod, &claims)?)));
        let Some((pod, claim)) = user else { return Ok(()) };
        let name = wanted.vm.name.sibling(text(pod, "/metadata/name"));
        let name = name.map_err(|why| Failure::new(Kind::Internal, why))?;
        let object = Object { kind: POD, name };
        let uid = text(pod, "/metadata/uid");
        if spent_pod_of_ours(pod) {
            tracing::info!(
                "{object} has ended, and still keeps claim `{claim}` of {}: it is deleted",
                wanted.vm
            );
            remove(work, &object, uid, limit).await?;
            continue;
        }
        let follow = Follow::new([(&work.cluster, object.clone())]);
        let gone = follow.until(work, limit, |sights| match sights.first().and_then(|s| s.object()) {
            // one of ours that ends meanwhile is looked at again
            Some(pod) if text(pod, "/metadata/uid") == uid && !spent_pod_of_ours(pod) => {
                Look::Wait(format!("{object} to go, which has claim `{claim}`"))
            }
            _ => Look::Over(()),
        });
        match gone.await {
            Ok(()) => {}
            Err(Ended::Late(_)) => {
                let what = format!("claim `{claim}` of {} is used by {object}", wanted.vm);
                return Err(stop("InUse", Kind::Conflict, what, "delete that pod, and run it again"));
            }
            Err(ended) => return Err(ended.failure("the disks are not free").into()),
        }
    }
}
