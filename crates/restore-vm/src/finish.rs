//! After the disks are right: the restore goes, Argo CD comes back, and is seen to leave them alone.

use std::time::Duration;

use cluster::Object;
use serde_json::Value;
use snapshots::{Follow, Look, Work, remove, text};
use step::{Done, Failure, Kind};
use tokio::time::Instant;
use vm::conditions::snapshot::{disk_volumes, listed};

use crate::after::{Disk, Power, Restored, machine};
use crate::pause::{Pause, operating};
use crate::wanted::{Stop, Wanted};
use crate::{REASON, RESTORED_VOLUMES};

/// How long a complete restore may take to go.
const REMOVAL: Duration = Duration::from_mins(2);
/// Released versions of Argo CD lose a refresh that comes while they compare (argoproj/argo-cd#28392): it is asked for again.
const REFRESH: Duration = Duration::from_secs(10);

/// Remove the restore, resume Argo CD, and see the disks through its next comparison.
pub(crate) async fn finish(
    work: &Work,
    wanted: &Wanted,
    pause: &Pause<'_>,
    restored: &Restored,
    disks: &[Disk],
) -> Result<Done, Stop> {
    let volumes: Vec<&str> = disks.iter().map(|d| d.volume.as_str()).collect();
    work.context.result(RESTORED_VOLUMES, volumes.join(","));
    let done = format!("{} has {} as in {}", wanted.vm, listed(&volumes), wanted.snapshot);
    if let Some(left) = work.read(&wanted.restore).await?.filter(|r| wanted.owns(r)) {
        work.check()?;
        remove(work, &wanted.restore, text(&left, "/metadata/uid"), Instant::now() + REMOVAL).await?;
    }
    let after = |failure: Failure| {
        let message = format!("{done}, but {}", failure.message());
        let hint = failure.hint_text().map(str::to_owned);
        Stop::new("NotCompared", hint.into_iter().fold(Failure::new(failure.kind(), message), Failure::hint))
    };
    let compared = pause.lift(work).await.map_err(after)?;
    let with = match (pause.application, compared) {
        (Some(application), Some(before)) => {
            compare(work, wanted, application, &before, restored, disks).await.map_err(after)?;
            format!("; {application} leaves it so")
        }
        (Some(application), None) => format!("; {application} is paused by somebody else and stays so"),
        (None, _) => String::new(),
    };
    unchanged(work, wanted, restored, disks).await.map_err(after)?;
    work.context.result(REASON, "");
    let power = if restored.power == Power::Off { ", and is stopped" } else { "" };
    Ok(Done::new(format!("{done}{power}{with}")))
}

/// Wait until Argo CD has compared since `before`, with nothing left to do.
async fn compare(
    work: &Work,
    wanted: &Wanted,
    application: &Object,
    before: &str,
    restored: &Restored,
    disks: &[Disk],
) -> Result<(), Failure> {
    let follow = Follow::new([(&work.home, application.clone()), (&work.cluster, wanted.vm.clone())]);
    let deadline = Instant::from_std(work.context.deadline());
    loop {
        work.ask(&format!("refresh {application}"), async || work.home.refresh(application).await).await?;
        let again = (Instant::now() + REFRESH).min(deadline);
        let seen = follow.until(work, again, |sights| {
            let mut objects = sights.iter().map(|s| s.object());
            match (objects.next().flatten(), objects.next().flatten()) {
                (Some(app), Some(vm)) => judge(wanted, application, app, vm, before, restored, disks),
                (None, _) => Look::Over(Err(Failure::new(Kind::Failed, format!("{application} is gone")))),
                (_, None) => Look::Over(Err(Failure::new(Kind::Failed, format!("{} is gone", wanted.vm)))),
            }
        });
        match seen.await {
            Ok(verdict) => return verdict,
            Err(snapshots::Ended::Late(_)) if Instant::now() < deadline => {}
            Err(ended) => return Err(ended.failure("Argo CD has not compared")),
        }
    }
}

fn judge(
    wanted: &Wanted,
    object: &Object,
    application: &Value,
    vm: &Value,
    before: &str,
    restored: &Restored,
    disks: &[Disk],
) -> Look<Result<(), Failure>> {
    if let Some(failure) = astray(wanted, vm, restored, disks) {
        return Look::Over(Err(failure));
    }
    // RFC 3339 in UTC, to the second: in the order of the alphabet
    if text(application, "/status/reconciledAt") <= before {
        return Look::Wait(format!("{object} to be compared"));
    }
    let status = text(application, "/status/sync/status");
    let message = text(application, "/status/operationState/message");
    if operating(application) {
        return Look::Wait(format!("{object}, which is syncing: {message}"));
    }
    let automated = application.pointer("/spec/syncPolicy/automated").is_some_and(|a| !a.is_null());
    if status == "Synced" || (status == "OutOfSync" && !automated) {
        return Look::Over(Ok(()));
    }
    let phase = text(application, "/status/operationState/phase");
    let words = if matches!(phase, "Failed" | "Error") { message } else { "" };
    Look::Wait(format!("{object}, which is {status} {words}").trim_end().to_owned())
}

/// The machine has other disks than those that were restored, or is no longer declared off.
fn astray(wanted: &Wanted, vm: &Value, restored: &Restored, disks: &[Disk]) -> Option<Failure> {
    let now = disk_volumes(vm);
    let other = disks.iter().find(|d| now.get(d.volume.as_str()) != Some(&d.claim.name.name()));
    let what = match other {
        Some(disk) => format!("volume `{}` of {} is no longer {}", disk.volume, wanted.vm, disk.claim),
        None => format!("{} {}", wanted.vm, restored.power.missed(vm, None)?),
    };
    Some(Failure::new(Kind::Failed, what).hint(
        "somebody changed it in Git or beside it: look at the machine's file, and do not start it before",
    ))
}

/// The machine and each disk are still those that were restored. Read anew: Argo CD's word and the machine come by two watches, and
/// the one may say that all is applied before the other tells what.
async fn unchanged(work: &Work, wanted: &Wanted, restored: &Restored, disks: &[Disk]) -> Result<(), Failure> {
    if let Some(failure) = astray(wanted, &machine(work, wanted).await?, restored, disks) {
        return Err(failure);
    }
    for disk in disks {
        let now = work.read(&disk.claim).await?;
        if now.is_none_or(|claim| text(&claim, "/metadata/uid") != disk.uid) {
            return Err(Failure::new(Kind::Failed, format!("{} of {} was made anew", disk.claim, wanted.vm))
                .hint("restore it once more with a new request: the snapshot still holds the data"));
        }
    }
    Ok(())
}
