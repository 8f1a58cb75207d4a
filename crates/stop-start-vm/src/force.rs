//! A guest that does not stop in time loses its power.
//!
//! Only `stop` with a grace period of 0 does that once a stop is under way: it shortens the grace period of the instance
//! (kubevirt 1.8 `pkg/virt-api/rest/lifecycle.go`, `StopVMRequestHandler`). `restart` with a grace period of 0 shortens that of the pod, and a
//! kubelet that has begun to stop its containers goes on with the time it had (seen on Kubernetes 1.36).
//!
//! On a machine that is declared to run, `stop` writes `Halted` into the live spec, and it puts itself in place of a start that was
//! asked for. A restart therefore says `start` as soon as the old instance is gone, which writes `Always` again, unless Argo CD
//! has put it back before. That a start is owed is noted in the Lease, so that a run that is killed in between is finished by
//! the next. The verb names no instance: between our last look and the request the old one may end by itself and a new
//! one begin, a window of one request, not more.

use serde_json::{Value, json};
use step::{Failure, Kind};
use tokio::time::{Duration, Instant, sleep, sleep_until};
use vm::conditions::is_halted;

use crate::api;
use crate::eyes::{Eyes, Look};
use crate::task::{Task, is_going, is_over, strategy, uid};

/// The note of an instance that was cut off and in whose place another one has to be started; empty once that is done.
const OWED: &str = "start-after";
/// The pause before a request is made again that got no answer.
const AGAIN: Duration = Duration::from_secs(2);

/// What the machine is to do when its old instance is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then<'a> {
    StayDown,
    /// Run as another instance than this one.
    Start(&'a str),
}

/// Cut the power of each instance that is still there when the time of `--force-after` has passed since it was seen to
/// stop. Ends only by a failure.
pub(crate) async fn cut(task: &Task, then: Then<'_>) -> Failure {
    let Some(after) = task.args.force_after else { return std::future::pending().await };
    let eyes = Eyes::on(task);
    let mut cut = String::new();
    loop {
        let stopping = eyes.until(|vm, vmi| stopping(vm, vmi, then, &cut)).await;
        // the wait beside us tells better what goes wrong
        let Ok(id) = stopping else { return std::future::pending().await };
        sleep_until(Instant::now() + after.get()).await;
        let done = async {
            if force(task, &id, then).await? && then != Then::StayDown {
                start_again(task, &eyes, &id).await?;
            }
            Ok(())
        };
        match done.await {
            Ok(()) => cut = id,
            Err(failure) => return failure,
        }
    }
}

/// The instance that is on its way out, other than the one that was dealt with.
fn stopping(vm: Option<&Value>, vmi: Option<&Value>, then: Then<'_>, cut: &str) -> Look<String> {
    let wait = || Look::Wait(String::new());
    let (Some(vm), Some(vmi)) = (vm, vmi) else { return wait() };
    let ours = match then {
        Then::StayDown => is_going(vmi) || is_halted(vm),
        Then::Start(old) => is_going(vmi) && uid(vmi) == old,
    };
    if ours && !is_over(vmi) && uid(vmi) != cut { Look::Done(uid(vmi).to_owned()) } else { wait() }
}

/// Cut the power of this instance, if it is still there and still stopping; whether that was done.
async fn force(task: &Task, id: &str, then: Then<'_>) -> Result<bool, Failure> {
    loop {
        task.held()?;
        let read = async { Ok((task.machine.get(&task.vm()).await?, task.machine.get(&task.vmi()).await?)) };
        let error: cluster::Error = match read.await {
            Ok((vm, vmi)) => {
                let Look::Done(seen) = stopping(vm.as_ref(), vmi.as_ref(), then, "") else {
                    return Ok(false);
                };
                let runs = vm.as_ref().is_some_and(|vm| matches!(strategy(vm), "Always" | "Once"));
                // of a machine that is to run again somebody else may have stopped the instance: that is not ours to hurry
                if seen != id || (runs && then == Then::StayDown) {
                    return Ok(false);
                }
                if then != Then::StayDown {
                    owe(task, id).await?;
                }
                match task.machine.subresource(&task.vm(), "stop", &json!({"gracePeriod": 0})).await {
                    Ok(()) => {
                        tracing::warn!("{} did not stop in time: its power is cut", task.vm());
                        return Ok(true);
                    }
                    // it is gone, or has no grace left that could be shorter
                    Err(error) if error.status() == 409 => {
                        tracing::info!("{} cannot be cut off: {error}", task.vm());
                        return Ok(true);
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if matches!(error.kind(), Kind::Permission | Kind::Refused | Kind::Failed) {
            return Err(error.failure(&format!("cannot cut the power of {}", task.vm())).hint(
                "`--force-after` needs `update` on `virtualmachines/stop` of `subresources.kubevirt.io`, and for restarts on `/start`",
            ));
        }
        tracing::debug!("cannot cut the power of {}: {error}", task.vm());
        sleep(AGAIN).await;
    }
}

/// Finish what a run that was killed has left: a machine that was cut off to be restarted, and not started again.
pub(crate) async fn finish(task: &Task, eyes: &Eyes<'_>) -> Result<(), Failure> {
    match api::noted(task, OWED).await? {
        Some(id) if !id.is_empty() => start_again(task, eyes, &id).await,
        _ => Ok(()),
    }
}

/// The machine is as it has to be: nothing is owed any more.
pub(crate) async fn settle(task: &Task) -> Result<(), Failure> {
    match api::noted(task, OWED).await? {
        Some(id) if !id.is_empty() => owe(task, "").await,
        _ => Ok(()),
    }
}

async fn owe(task: &Task, id: &str) -> Result<(), Failure> {
    api::note(task, OWED, id).await
}

/// When this instance is gone, have another one started.
async fn start_again(task: &Task, eyes: &Eyes<'_>, id: &str) -> Result<(), Failure> {
    loop {
        let say = |vm: Option<&Value>, vmi: Option<&Value>| match (vm, vmi) {
            (_, Some(vmi)) if uid(vmi) == id => Look::Wait(String::new()),
            (Some(vm), None) => Look::Done(strategy(vm) != "Always" && !api::wished(vm, "Start", None)),
            _ => Look::Done(false),
        };
        if !eyes.sure(say).await? {
            return owe(task, "").await;
        }
        task.held()?;
        match task.machine.subresource(&task.vm(), "start", &json!({})).await {
            Ok(()) => tracing::info!("{} was told to start again", task.vm()),
            Err(error) if error.status() == 409 || error.kind() == Kind::Transient => {
                tracing::debug!("{} cannot be told to start yet: {error}", task.vm());
            }
            Err(error) => {
                return Err(error.failure(&format!("cannot start {} again", task.vm())).hint("run it again"));
            }
        }
        sleep(AGAIN.min(task.context.left())).await;
    }
}
