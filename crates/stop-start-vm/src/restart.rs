//! A restart: the instance is deleted, and another one has to become ready.
//!
//! KubeVirt makes a new instance at once for `Always`. The deletion names the instance by its uid, which is noted in the
//! machine's Lease before: however often a request is run again, one instance is deleted.

use cluster::{DATA_VOLUME, Deleted, Object, PERSISTENT_VOLUME_CLAIM};
use serde_json::Value;
use step::{Done, Failure, Kind, human};
use tokio::time::{Duration, sleep};
use vm::conditions::{Until, claims};

use crate::declared::{ended, missing};
use crate::eyes::{Eyes, Look};
use crate::force::{self, Then};
use crate::task::{Task, is_going, strategy, text, uid, wishes};
use crate::{RESTARTED, api};

/// Noted in place of an instance where there was none: whichever comes is new enough, and a later run leaves it alone.
const NONE_YET: &str = "none";
/// Disks are looked at again after this.
const DISKS: Duration = Duration::from_secs(2);
/// The pause before a request is made again that got no answer.
const AGAIN: Duration = Duration::from_secs(1);

/// `--power restart` of a machine whose power Git declares.
pub(crate) async fn asked_for(task: &Task) -> Result<Done, Failure> {
    let eyes = Eyes::on(task);
    force::finish(task, &eyes).await?;
    if task.follows_git() {
        task.wait(task.wanted(Until::Ready))?.live().await?;
    }
    let old = eyes.sure(|vm, vmi| instance(task, vm, vmi)).await?;
    let noted = api::noted(task, "restart").await?;
    match (noted, old) {
        (Some(noted), _) if noted == NONE_YET => task.wait(task.wanted(Until::Ready))?.run().await,
        (Some(noted), _) => replace(task, &eyes, &noted).await,
        (None, Some(old)) => {
            // nothing is noted of an instance that is then not replaced because its disks are not there
            usable(task, &eyes).await?;
            api::note(task, "restart", &old).await?;
            replace(task, &eyes, &old).await
        }
        // no instance is there to replace: one is being made
        (None, None) => {
            api::note(task, "restart", NONE_YET).await?;
            task.wait(task.wanted(Until::Ready))?.run().await
        }
    }
}

/// The instance that is to be replaced; none if there is none.
fn instance(task: &Task, vm: Option<&Value>, vmi: Option<&Value>) -> Look<Option<String>> {
    let Some(vm) = vm else { return Look::Failed(missing(task)) };
    match strategy(vm) {
        "Always" => Look::Done(vmi.map(|vmi| uid(vmi).to_owned())),
        "Halted" => Look::Failed(
            task.refused("is declared stopped: there is nothing to restart").hint("`--power on` starts it"),
        ),
        other => {
            let what = format!("has run strategy `{other}`: it would not be started again by itself");
            Look::Failed(task.refused(&what).hint("use `--via api`"))
        }
    }
}

/// Delete this instance, if it is there, and wait until another one is ready.
pub(crate) async fn replace(task: &Task, eyes: &Eyes<'_>, old: &str) -> Result<Done, Failure> {
    let there = eyes.until(|_, vmi| Look::Done(vmi.is_some_and(|v| uid(v) == old && !is_going(v)))).await?;
    if there {
        eyes.until(free).await?;
        usable(task, eyes).await?;
        delete(task, old).await?;
    }
    let mut wanted = task.wanted(Until::Ready);
    wanted.not_instance = Some(old.to_owned());
    ended(task, &mut task.wait(wanted)?, Then::Start(old)).await
}

async fn delete(task: &Task, old: &str) -> Result<(), Failure> {
    loop {
        task.held()?;
        match task.machine.delete(&task.vmi(), Some(old)).await {
            Ok(Deleted::Asked) => {
                tracing::info!("deleted {}: a new one is made", task.vmi());
                task.context.result(step::CHANGED, "true");
                task.context.result(RESTARTED, "true");
                return Ok(());
            }
            Ok(Deleted::Gone | Deleted::Other) => return Ok(()),
            Err(error) if error.kind() == Kind::Transient && !over(task) => {
                tracing::debug!("cannot delete {}: {error}", task.vmi());
                sleep(AGAIN).await;
            }
            Err(error) => return Err(error.failure(&format!("cannot delete {}", task.vmi()))),
        }
    }
}

/// No other operation is at work on the machine, by its own locks.
pub(crate) fn free(vm: Option<&Value>, _: Option<&Value>) -> Look<()> {
    let Some(vm) = vm else { return Look::Wait("does not exist".to_owned()) };
    let snapshot = text(vm, "/status/snapshotInProgress");
    let restore = text(vm, "/status/restoreInProgress");
    if !snapshot.is_empty() {
        return Look::Wait(format!("is busy with snapshot `{snapshot}`"));
    }
    if !restore.is_empty() {
        return Look::Wait(format!("is busy with restore `{restore}`"));
    }
    if wishes(vm).is_empty() {
        Look::Done(())
    } else {
        Look::Wait("has a request to start or stop under way".to_owned())
    }
}

/// Every disk that is declared can be used by an instance that starts now.
pub(crate) async fn usable(task: &Task, eyes: &Eyes<'_>) -> Result<(), Failure> {
    let declared = |vm: Option<&Value>, _: Option<&Value>| match vm {
        Some(vm) => Look::Done(claims(vm).into_iter().map(str::to_owned).collect::<Vec<_>>()),
        None => Look::Failed(missing(task)),
    };
    let mut said = String::new();
    for claim in eyes.until(declared).await? {
        loop {
            let waits_for = match disk(task, &claim).await {
                Ok(None) => break,
                Ok(Some(words)) => words,
                Err(failure) if failure.kind() == Kind::Transient => failure.message().to_owned(),
                Err(failure) => return Err(failure),
            };
            task.held()?;
            let line = format!("{} needs disk `{claim}`, which {waits_for}", task.vm());
            if over(task) {
                let what = format!("not done after {}: {line}", human(task.context.timeout()));
                return Err(Failure::new(Kind::Timeout, what).hint("nothing was restarted; run it again"));
            }
            if said != line {
                tracing::info!("waiting for cdi: {line}");
                said = line;
            }
            tokio::select! {
                () = sleep(DISKS.min(task.context.left())) => {}
                () = task.context.stopped() => {}
            }
        }
    }
    Ok(())
}

fn over(task: &Task) -> bool {
    task.context.stopping() || task.context.left().is_zero()
}

/// What a disk still lacks.
async fn disk(task: &Task, claim: &str) -> Result<Option<String>, Failure> {
    let name = task.args.change.vm.sibling(claim).map_err(|why| {
        Failure::new(Kind::Failed, format!("{} names a disk `{claim}` that cannot be: {why}", task.vm()))
    })?;
    let get = async |kind| {
        let object = Object { kind, name: name.clone() };
        match task.machine.get(&object).await {
            // a cluster without CDI has claims alone
            Err(error) if kind == DATA_VOLUME && error.not_served() => Ok(None),
            read => read.map_err(|error| error.failure(&format!("cannot read {object}"))),
        }
    };
    if let Some(volume) = get(DATA_VOLUME).await? {
        return match text(&volume, "/status/phase") {
            "Succeeded" | "WaitForFirstConsumer" | "PendingPopulation" => Ok(None),
            "Failed" => {
                Err(Failure::new(Kind::Failed, format!("{} has a disk `{claim}` that failed", task.vm()))
                    .hint("nothing was restarted; the events of the DataVolume say why it failed"))
            }
            "" => Ok(Some("is new".to_owned())),
            phase => Ok(Some(format!("is {phase}"))),
        };
    }
    let claim = get(PERSISTENT_VOLUME_CLAIM).await?;
    Ok(claim.is_none().then(|| "does not exist".to_owned()))
}
