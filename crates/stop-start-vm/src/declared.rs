//! Machines whose power Git declares: followed until they are what is declared.

use std::collections::BTreeSet;

use serde_json::Value;
use step::{Done, Failure, Kind};
use vm::conditions::{Until, claims, is_halted, restart_required};
use wait::Wait;

use crate::eyes::{Eyes, Look};
use crate::force::Then;
use crate::task::{Task, is_going, is_over, strategy, text, uid, wishes};
use crate::{api, force, restart};

/// Changes of a running guest that are under way (kubevirt `core/v1`, `VirtualMachineInstanceConditionType`).
const UNDER_WAY: [&str; 3] = ["HotVCPUChange", "HotMemoryChange", "VolumesChange"];

/// Stopped, and proven to be.
pub(crate) async fn off(task: &Task) -> Result<Done, Failure> {
    if !task.follows_git() {
        // whoever applies it takes what time it takes; from there on a strategy that is not ours is drift
        let halted = |vm: Option<&Value>, _: Option<&Value>| match vm {
            None => Look::Wait("does not exist".to_owned()),
            Some(vm) if is_halted(vm) => Look::Done(()),
            Some(vm) => {
                Look::Wait(format!("has run strategy `{}`, so it is not declared stopped", strategy(vm)))
            }
        };
        Eyes::on(task).until(halted).await?;
    }
    ended(task, &mut task.wait(task.wanted(Until::Stopped))?, Then::StayDown).await
}

/// Ready.
pub(crate) async fn on(task: &Task) -> Result<Done, Failure> {
    let mut wait = task.wait(task.wanted(Until::Ready))?;
    if task.follows_git() {
        wait.live().await?;
    }
    // whoever applies it takes what time it takes; from there on a strategy that is not ours is drift
    let runs = |vm: Option<&Value>, vmi: Option<&Value>| match next(vm, vmi) {
        Look::Done(Next::Stop) => Look::Wait("is declared stopped".to_owned()),
        Look::Done(Next::Idle(strategy)) => {
            let what = format!("has run strategy `{strategy}`, which does not start it by itself");
            Look::Failed(task.refused(&what).hint("use `--via api`, or declare another run strategy"))
        }
        Look::Done(Next::Run | Next::Restart(..)) => Look::Done(()),
        Look::Wait(words) => Look::Wait(words),
        Look::Failed(failure) => Look::Failed(failure),
    };
    Eyes::on(task).sure(runs).await?;
    wait.run().await
}

/// The end of a wait, with guests that do not stop in time cut off.
pub(crate) async fn ended(task: &Task, wait: &mut Wait, then: Then<'_>) -> Result<Done, Failure> {
    let done = tokio::select! {
        done = wait.run() => done?,
        failure = force::cut(task, then) => return Err(failure),
    };
    if task.args.force_after.is_some() {
        force::settle(task).await?;
    }
    Ok(done)
}

/// What a machine declares, and what there is to do.
enum Next {
    Stop,
    Run,
    /// KubeVirt's own verbs decide whether it runs, and it does not.
    Idle(String),
    /// This instance runs what was declared before; why, in a predicate.
    Restart(String, String),
}

/// Whatever is declared: stopped, or ready and running what is declared.
pub(crate) async fn as_declared(task: &Task) -> Result<Done, Failure> {
    let wanted = task.wanted(Until::Ready);
    wanted.witnessed()?;
    let eyes = Eyes::on(task);
    force::finish(task, &eyes).await?;
    let mut wait = task.wait(wanted)?;
    wait.live().await?;
    let mut due = eyes.sure(next).await?;
    if matches!(due, Next::Run) {
        due = tokio::select! {
            done = settled(&eyes, &mut wait) => return done,
            due = other_than_run(task) => due,
        };
    }
    let (old, why) = match due {
        Next::Restart(old, why) => (old, why),
        Next::Idle(strategy) => {
            return Ok(Done::new(format!("{} is declared `{strategy}` and does not run", task.vm())));
        }
        Next::Stop | Next::Run => {
            return ended(task, &mut task.wait(task.wanted(Until::Stopped))?, Then::StayDown).await;
        }
    };
    if !task.args.allow_restart {
        return Err(task.refused(&why).hint(
            "`--allow-restart` restarts it; or restart it at a time that suits its users, with `--power restart`",
        ));
    }
    tracing::info!("{} {why}: it is restarted", task.vm());
    // the waits below look at the cluster themselves
    drop(wait);
    let strategy = eyes.until(|vm, _| Look::Done(vm.map(strategy).unwrap_or_default().to_owned())).await?;
    match strategy.as_str() {
        "Manual" | "RerunOnFailure" => {
            restart::usable(task, &eyes).await?;
            api::replace(task, &eyes, old).await
        }
        "Once" => Err(task.refused(&format!("{why}; its run strategy is `Once`")).hint("declare `Always`")),
        _ => restart::replace(task, &eyes, &old).await,
    }
}

/// What there is to do once it is not to wait for a machine that runs: an instance has to be replaced, or the machine is stopped,
/// which was declared and is seen only now. What goes wrong is told by the wait beside this.
async fn other_than_run(task: &Task) -> Next {
    let due = |vm: Option<&Value>, vmi: Option<&Value>| match next(vm, vmi) {
        Look::Done(due @ (Next::Restart(..) | Next::Stop)) => Look::Done(due),
        _ => Look::Wait(String::new()),
    };
    match Eyes::on(task).until(due).await {
        Ok(due) => due,
        Err(_) => std::future::pending().await,
    }
}

/// Ready, and no change of the running guest under way.
async fn settled(eyes: &Eyes<'_>, wait: &mut Wait) -> Result<Done, Failure> {
    loop {
        let done = wait.run().await?;
        let mut waited = false;
        eyes.until(|_, vmi| match vmi.and_then(under_way) {
            Some((kind, words)) => {
                waited = true;
                Look::Wait(format!("is being changed while it runs ({kind}): {words}"))
            }
            None => Look::Done(()),
        })
        .await?;
        if !waited {
            return Ok(done);
        }
    }
}

fn under_way(vmi: &Value) -> Option<(&str, &str)> {
    let conditions = vmi.pointer("/status/conditions")?.as_array()?;
    let holds = |c: &&Value| text(c, "/status") == "True" && UNDER_WAY.contains(&text(c, "/type"));
    conditions.iter().find(holds).map(|c| (text(c, "/type"), text(c, "/message")))
}

fn next(vm: Option<&Value>, vmi: Option<&Value>) -> Look<Next> {
    let Some(vm) = vm else { return Look::Wait("does not exist".to_owned()) };
    let number = |pointer: &str| vm.pointer(pointer).and_then(Value::as_i64);
    if number("/status/desiredGeneration").is_some_and(|seen| Some(seen) != number("/metadata/generation")) {
        return Look::Wait("has changed, and KubeVirt has not seen it yet".to_owned());
    }
    let strategy = strategy(vm);
    if strategy == "Halted" {
        return Look::Done(Next::Stop);
    }
    let Some(vmi) = vmi else {
        let created = vm.pointer("/status/created") == Some(&Value::Bool(true));
        // coming from another strategy, `RerunOnFailure` starts it once (kubevirt `syncRunStrategy`)
        let idle = strategy == "Manual"
            || (strategy == "RerunOnFailure" && text(vm, "/status/runStrategy") == "RerunOnFailure");
        if idle && (created || !wishes(vm).is_empty()) {
            return Look::Wait("has a request to start or stop under way".to_owned());
        }
        return Look::Done(if idle { Next::Idle(strategy.to_owned()) } else { Next::Run });
    };
    if is_going(vmi) || is_over(vmi) {
        return Look::Done(Next::Run);
    }
    if let Some(words) = restart_required(vm) {
        let why = format!("still runs what was declared before and has to be restarted: {words}");
        return Look::Done(Next::Restart(uid(vmi).to_owned(), why));
    }
    if let Some(claim) = missing_claim(vm, vmi) {
        let why =
            format!("still runs without disk `{claim}`, which is declared now, and has to be restarted");
        return Look::Done(Next::Restart(uid(vmi).to_owned(), why));
    }
    Look::Done(Next::Run)
}

/// A claim that is declared and that the instance was started without; not one that KubeVirt brings to a running guest.
fn missing_claim<'v>(vm: &'v Value, vmi: &Value) -> Option<&'v str> {
    if text(vm, "/spec/updateVolumesStrategy") == "Migration" {
        return None;
    }
    let volumes = |object: &'v Value, pointer| {
        object.pointer(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
    };
    let hot: BTreeSet<&str> = volumes(vm, "/spec/template/spec/volumes")
        .iter()
        .flat_map(|v| ["/persistentVolumeClaim", "/dataVolume"].into_iter().filter_map(|p| v.pointer(p)))
        .filter(|source| source["hotpluggable"] == true)
        .map(|source| text(source, "/claimName").max(text(source, "/name")))
        .collect();
    let running =
        serde_json::json!({"spec": {"template": {"spec": {"volumes": vmi.pointer("/spec/volumes")}}}});
    let running = claims(&running);
    claims(vm).into_iter().find(|claim| !running.contains(claim) && !hot.contains(claim))
}

/// A failure that is not about power: the machine is not there.
pub(crate) fn missing(task: &Task) -> Failure {
    Failure::new(Kind::Failed, format!("{} does not exist", task.vm()))
}
