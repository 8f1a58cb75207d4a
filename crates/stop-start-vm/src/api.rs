//! Machines whose power Git leaves open: KubeVirt's own verbs.
//!
//! A verb's answer (202) says that the wish is noted, 409 that the machine's state does not fit it or has just changed, 500
//! that another wish is under way (kubevirt 1.8 `pkg/virt-api/rest/lifecycle.go`). None of them says what state the machine is in:
//! that is looked at, and decides whether the verb is said (again) at all.

use serde_json::{Value, json};
use step::{Done, Failure, Kind};
use tokio::time::{Duration, sleep};
use vm::conditions::Until;

use crate::declared::{ended, missing};
use crate::eyes::{Eyes, Look};
use crate::force::{self, Then};
use crate::task::{Task, is_going, is_over, strategy, text, uid, wishes};
use crate::{Power, RESTARTED};

/// The pause before the state is looked at again that a verb did not fit.
const AGAIN: Duration = Duration::from_secs(1);

/// Off, on or restarted by verbs.
pub(crate) async fn power(task: &Task, power: Power) -> Result<Done, Failure> {
    let eyes = Eyes::on(task);
    match power {
        Power::Off => {
            tokio::select! {
                done = off(task, &eyes) => done,
                failure = force::cut(task, Then::StayDown) => Err(failure),
            }
        }
        Power::Restart => restart(task, &eyes).await,
        Power::On | Power::AsDeclared => {
            insist(task, &eyes, "start", |vm, vmi| match vmi {
                Some(vmi) if !is_over(vmi) && !is_going(vmi) => Next::Done,
                Some(vmi) if is_going(vmi) => Next::Wait("has an instance that is being deleted"),
                _ if wished(vm, "Start", None) => Next::Wait("was asked to start"),
                // it is started again without a wish
                Some(vmi) if strategy(vm) == "RerunOnFailure" && text(vmi, "/status/phase") == "Failed" => {
                    Next::Wait("is started again after a failure")
                }
                _ => Next::Say,
            })
            .await?;
            ready(task, None).await
        }
    }
}

async fn off(task: &Task, eyes: &Eyes<'_>) -> Result<Done, Failure> {
    insist(task, eyes, "stop", |vm, vmi| match vmi {
        // a guest that ended by itself leaves its instance behind
        Some(vmi) if is_over(vmi) && !is_going(vmi) && strategy(vm) == "Manual" => Next::Done,
        Some(vmi) if is_going(vmi) => Next::Wait("has an instance that is being deleted"),
        Some(vmi) if wished(vm, "Stop", Some(uid(vmi))) => Next::Wait("was asked to stop"),
        Some(vmi) if is_over(vmi) => Next::Wait("has an instance that ended"),
        Some(_) => Next::Say,
        None if !wishes(vm).is_empty() => Next::Wait("has a request to start or stop under way"),
        None if vm.pointer("/status/created") == Some(&Value::Bool(true)) => {
            Next::Wait("still counts its instance as created")
        }
        None => Next::Done,
    })
    .await?;
    task.context.result(wait::VM_STATUS, "Stopped");
    Ok(Done::new(format!("{} is stopped", task.vm())))
}

async fn restart(task: &Task, eyes: &Eyes<'_>) -> Result<Done, Failure> {
    force::finish(task, eyes).await?;
    if let Some(old) = noted(task, "restart").await? {
        return replace(task, eyes, old).await;
    }
    let running = |vm: Option<&Value>, vmi: Option<&Value>| match (vm, vmi) {
        (None, _) => Look::Failed(missing(task)),
        (Some(vm), _) if !is_open(vm) => Look::Failed(not_open(task, vm)),
        (_, Some(vmi)) if !is_over(vmi) => Look::Done(uid(vmi).to_owned()),
        _ => Look::Failed(
            task.refused("is stopped: there is nothing to restart").hint("`--power on` starts it"),
        ),
    };
    let old = eyes.until(running).await?;
    note(task, "restart", &old).await?;
    replace(task, eyes, old).await
}

/// Restart by the verb, as long as this instance is there, and wait until another one is ready.
pub(crate) async fn replace(task: &Task, eyes: &Eyes<'_>, old: String) -> Result<Done, Failure> {
    let said = insist(task, eyes, "restart", |vm, vmi| match vmi {
        Some(vmi) if uid(vmi) == old && !is_going(vmi) && !wished(vm, "Stop", Some(&old)) => Next::Say,
        _ => Next::Done,
    })
    .await?;
    if said {
        task.context.result(RESTARTED, "true");
    }
    ready(task, Some(&old)).await
}

/// The machine itself is the witness: nothing of it is in Git.
async fn ready(task: &Task, old: Option<&str>) -> Result<Done, Failure> {
    let mut wanted = task.wanted(Until::Ready);
    (wanted.application, wanted.parent_application) = (None, None);
    (wanted.commit, wanted.digest) = (None, None);
    wanted.not_instance = old.map(str::to_owned);
    let mut wait = task.wait(wanted)?;
    match old {
        Some(old) => ended(task, &mut wait, Then::Start(old)).await,
        None => wait.run().await,
    }
}

/// What a look at the machine says of a verb.
enum Next {
    /// It is as the verb would have it, or is on its way there.
    Done,
    Wait(&'static str),
    /// The verb has to be said.
    Say,
}

/// Say a verb until the machine shows it; whether it was ever said.
async fn insist(
    task: &Task,
    eyes: &Eyes<'_>,
    verb: &str,
    mut judge: impl FnMut(&Value, Option<&Value>) -> Next,
) -> Result<bool, Failure> {
    let mut said = false;
    loop {
        let say = eyes
            .sure(|vm, vmi| {
                let Some(vm) = vm else { return Look::Failed(missing(task)) };
                if !is_open(vm) {
                    return Look::Failed(not_open(task, vm));
                }
                match judge(vm, vmi) {
                    Next::Done => Look::Done(false),
                    Next::Wait(words) => Look::Wait(words.to_owned()),
                    Next::Say => Look::Done(true),
                }
            })
            .await?;
        if !say {
            return Ok(said);
        }
        task.held()?;
        match task.machine.subresource(&task.vm(), verb, &json!({})).await {
            Ok(()) => {
                tracing::info!("{} was told to {verb}", task.vm());
                task.context.result(step::CHANGED, "true");
                said = true;
            }
            Err(error) if error.status() == 409 || error.kind() == Kind::Transient => {
                tracing::info!("{} cannot be told to {verb} yet: {error}", task.vm());
            }
            Err(error) => {
                let failure = error.failure(&format!("cannot {verb} {}", task.vm()));
                return Err(if failure.kind() == Kind::Permission {
                    failure.hint(format!(
                        "it needs `update` on `virtualmachines/{verb}` of `subresources.kubevirt.io`"
                    ))
                } else {
                    failure
                });
            }
        }
        // it takes a moment, and what is there then decides whether it is said again: said twice it may be one restart more
        sleep(AGAIN.min(task.context.left())).await;
    }
}

/// Whether a wish of this kind is noted, of this instance where one is named.
pub(crate) fn wished(vm: &Value, action: &str, instance: Option<&str>) -> bool {
    let fits = |wish: &Value| {
        text(wish, "/action") == action && instance.is_none_or(|instance| text(wish, "/uid") == instance)
    };
    wishes(vm).iter().any(fits)
}

fn is_open(vm: &Value) -> bool {
    matches!(strategy(vm), "Manual" | "RerunOnFailure")
}

fn not_open(task: &Task, vm: &Value) -> Failure {
    let what =
        format!("has run strategy `{}`: Git owns its power, and would undo what is done here", strategy(vm));
    task.refused(&what).hint("use `--via git`")
}

/// The instance that was noted for this request, by this run or an earlier one; none without a Lease.
pub(crate) async fn noted(task: &Task, action: &str) -> Result<Option<String>, Failure> {
    match &task.hold {
        Some(hold) => hold.noted(&key(hold.holder(), action)).await,
        None => Ok(None),
    }
}

pub(crate) async fn note(task: &Task, action: &str, instance: &str) -> Result<(), Failure> {
    match &task.hold {
        Some(hold) => hold.note(&key(hold.holder(), action), instance).await,
        None => Ok(()),
    }
}

fn key(holder: &str, action: &str) -> String {
    format!("{action}/{holder}")
}
