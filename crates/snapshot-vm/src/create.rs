//! Taking a snapshot.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::{Created, Hold, Object, VIRTUAL_MACHINE};
use serde_json::{Value, json};
use snapshots::{Ended, Follow, Look, Removed, Work, remove, text, wait_until_free};
use step::{CHANGED, Done, Failure, Kind, human};
use tokio::time::Instant;
use vm::conditions::State;
use vm::conditions::snapshot::{
    Holder, WantedSnapshot, disk_volumes, included_volumes, indications, listed, refused_volumes,
    snapshot_state,
};
use vm::layout::PROTECTED_LABEL;

use crate::wanted::{Wanted, label};
use crate::{INCLUDED_VOLUMES, INDICATIONS, REMOVAL, SNAPSHOT_NAME, SNAPSHOT_UID, prune, sources};

/// KubeVirt says of a new machine's volumes within seconds whether they can be snapshotted.
const SAID: Duration = Duration::from_secs(30);
/// KubeVirt fails a snapshot at its deadline by itself; this much later we do, should it have stopped looking.
const SLACK: Duration = Duration::from_secs(15);
/// The pause before everything is looked at again, when a read said otherwise than the watch.
const AGAIN: Duration = Duration::from_secs(1);

/// Take the snapshot, unless it is there, wait until it is as wanted, and prune.
pub(crate) async fn create(work: &Work, wanted: &Wanted) -> Result<Done, Failure> {
    let object = wanted.one()?;
    work.context.result(SNAPSHOT_NAME, object.name.name());
    let vm = wait_until_free(work, &wanted.vm, Holder::Snapshot(object.name.name())).await?;
    wanted.permitted(&vm)?;
    let volumes = required(wanted, &vm)?;
    let state = WantedSnapshot {
        machine_uid: text(&vm, "/metadata/uid"),
        volumes: &volumes,
        quiesced: wanted.quiesced,
    };
    let before = noted(work, object).await?;
    let uid = find_or_take(work, wanted, object, &vm, &state, before.as_deref()).await?;
    work.context.result(SNAPSHOT_UID, uid.as_str());
    let snapshot = ready(work, wanted, object, &uid, &state, before.is_some()).await?;
    if let Some(hold) = &work.hold {
        hold.note(&note(hold, object), &uid).await?;
    }
    let how: Vec<String> = indications(&snapshot).into_iter().map(|(word, _)| word).collect();
    let holds = included_volumes(&snapshot);
    work.context.result(INDICATIONS, how.join(","));
    work.context.result(INCLUDED_VOLUMES, holds.join(","));
    if wanted.tell_sources {
        sources::tell(work, object, &snapshot).await?;
    }
    let how = if how.is_empty() { String::new() } else { format!(" ({})", how.join(", ")) };
    let done = format!("{object} is ready and holds {}{how}", listed(&holds));
    if wanted.keep.all() {
        return Ok(Done::new(done));
    }
    let pruned = prune::prune_those(work, wanted, &vm).await.map_err(|failure| {
        let message = format!("{done}, but older ones are not pruned: {}", failure.message());
        failure.hint_text().into_iter().fold(Failure::new(failure.kind(), message), Failure::hint)
    })?;
    Ok(Done::new(format!("{done}; {pruned}")))
}

/// Say whether a snapshot of every disk can be taken, of a machine that may still run, and change nothing. One that an earlier run
/// has taken is gone on with, so nothing is to be said against it.
pub(crate) async fn check(work: &Work, wanted: &Wanted) -> Result<Done, Failure> {
    let object = wanted.one()?;
    work.context.result(SNAPSHOT_NAME, object.name.name());
    let vm = wait_until_free(work, &wanted.vm, Holder::Snapshot(object.name.name())).await?;
    wanted.permitted(&vm)?;
    if noted(work, object).await?.is_some() {
        return Ok(Done::new(format!("{object} was taken already: it is gone on with")));
    }
    if work.read(object).await?.is_some_and(|found| wanted.owns(&found)) {
        return Ok(Done::new(format!("{object} is there already: it is gone on with")));
    }
    let volumes = required(wanted, &vm)?;
    can_be_taken(work, wanted, &vm, &volumes).await?;
    let volumes: Vec<&str> = volumes.iter().map(String::as_str).collect();
    Ok(Done::new(format!("virtual machine `{}` can be snapshotted: {}", wanted.vm, listed(&volumes))))
}

/// Under what the Lease notes that this request's snapshot was ready once. What came after it, such as a patch, counts on that: a
/// second one would hold disks of later.
fn note(hold: &Hold, object: &Object) -> String {
    format!("{}/snapshot-vm/{}", hold.holder(), object.name.name())
}

/// The uid of the snapshot that was ready once.
async fn noted(work: &Work, object: &Object) -> Result<Option<String>, Failure> {
    match &work.hold {
        Some(hold) => hold.noted(&note(hold, object)).await,
        None => Ok(None),
    }
}

/// The volumes that it has to hold. A snapshot of none would succeed and be worth nothing.
fn required(wanted: &Wanted, vm: &Value) -> Result<BTreeSet<String>, Failure> {
    let disks = disk_volumes(vm);
    let refuse = |what: String, way_out: &str| Err(Failure::new(Kind::Refused, what).hint(way_out));
    if disks.is_empty() {
        let what = format!("virtual machine `{}` has no disk that a snapshot could hold", wanted.vm);
        return refuse(what, "its disks are images or made anew at each start: provision it again instead");
    }
    let absent: Vec<&str> =
        wanted.volumes.iter().map(String::as_str).filter(|v| !disks.contains_key(v)).collect();
    if !absent.is_empty() {
        let names: Vec<&str> = disks.keys().copied().collect();
        let what = format!("virtual machine `{}` has no disk {}", wanted.vm, listed(&absent));
        return refuse(what, &format!("its disks are {}", listed(&names)));
    }
    if wanted.volumes.is_empty() {
        Ok(disks.keys().map(|v| (*v).to_owned()).collect())
    } else {
        Ok(wanted.volumes.clone())
    }
}

/// The uid of this request's snapshot: of one that is there, or of a new one.
async fn find_or_take(
    work: &Work,
    wanted: &Wanted,
    object: &Object,
    vm: &Value,
    state: &WantedSnapshot<'_>,
    before: Option<&str>,
) -> Result<String, Failure> {
    let once = |why: &str| {
        let what = format!("{object} was taken by this request already, and {why}");
        Err(Failure::new(Kind::Conflict, what).hint("to have another one taken, send a new request"))
    };
    loop {
        if let Some(found) = work.read(object).await? {
            if !wanted.owns(&found) {
                return Err(Failure::new(
                    Kind::Conflict,
                    format!("{object} is there already, and is another request's"),
                )
                .hint("give a new request id, or another `--snapshot-name`"));
            }
            let uid = text(&found, "/metadata/uid").to_owned();
            let discard = match snapshot_state(&found, state) {
                State::Failed(failed) if failed.reason == "OtherMachine" => {
                    return Err(Failure::new(Kind::Conflict, format!("{object} {}", failed.message))
                        .hint("the machine was made anew: send a new request"));
                }
                State::Failed(failed) => Some(failed.message),
                _ => None,
            };
            let Some(why) = discard else {
                if before.is_some_and(|before| before != uid) {
                    return once("this is another one of its name");
                }
                protect(work, wanted, object, &found).await?;
                return Ok(uid);
            };
            if before.is_some() {
                return once(&why);
            }
            tracing::info!("{object} of an earlier run {why}: it is removed and taken anew");
            work.check()?;
            remove(work, object, &uid, Instant::now() + REMOVAL).await?;
        }
        if before.is_some() {
            return once("is gone since");
        }
        can_be_taken(work, wanted, vm, state.volumes).await?;
        work.check()?;
        let created = work
            .ask(&format!("create {object}"), async || work.cluster.create(object, &wanted.body()).await)
            .await
            .map_err(with_way_out)?;
        if let Created::New(made) = created {
            work.context.result(CHANGED, "true");
            return Ok(text(&made, "/metadata/uid").to_owned());
        }
        // made by an earlier attempt whose answer was lost, or by somebody else: read whose it is
    }
}

/// A snapshot that was taken before it was to be protected.
async fn protect(work: &Work, wanted: &Wanted, object: &Object, found: &Value) -> Result<(), Failure> {
    if !wanted.protected || label(found, PROTECTED_LABEL) == Some("true") {
        return Ok(());
    }
    work.check()?;
    let patch = json!({"metadata": {"labels": {PROTECTED_LABEL: "true"}}});
    work.ask(&format!("label {object}"), async || work.cluster.merge_patch(object, &patch).await).await?;
    work.context.result(CHANGED, "true");
    Ok(())
}

fn with_way_out(failure: Failure) -> Failure {
    if failure.message().contains("feature gate not enabled") {
        return failure.hint("an administrator lists `Snapshot` among the feature gates of KubeVirt");
    }
    failure
}

/// Refuse at once what KubeVirt would leave out, or wait for in vain.
async fn can_be_taken(
    work: &Work,
    wanted: &Wanted,
    vm: &Value,
    volumes: &BTreeSet<String>,
) -> Result<(), Failure> {
    let mut refused = refused_volumes(vm, volumes);
    if refused.is_err() {
        let machine = Object { kind: VIRTUAL_MACHINE, name: wanted.vm.clone() };
        let follow = Follow::new([(&work.cluster, machine)]);
        let said = follow.until(work, Instant::now() + SAID, |sights| {
            match sights.first().and_then(|s| s.object()).map(|vm| refused_volumes(vm, volumes)) {
                Some(Err(volume)) => Look::Wait(format!(
                    "virtual machine `{}`, which does not say whether volume `{volume}` can be snapshotted",
                    wanted.vm
                )),
                said => Look::Over(said.unwrap_or_else(|| Ok(Vec::new()))),
            }
        });
        refused = said.await.map_err(|e| e.failure("the machine did not say what can be snapshotted"))?;
    }
    let refused = refused.unwrap_or_default();
    if !refused.is_empty() {
        let what = format!("virtual machine `{}` cannot be snapshotted: {}", wanted.vm, refused.join("; "));
        return Err(Failure::new(Kind::Refused, what)
            .hint("move the disk to a storage class that has a VolumeSnapshotClass"));
    }
    let holds = |kind: &str| {
        let conditions = vm.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
    };
    let runs = vm.pointer("/status/created") == Some(&Value::Bool(true));
    if wanted.quiesced && runs && !holds("AgentConnected") {
        let what =
            format!("virtual machine `{}` runs and has no guest agent that could quiesce it", wanted.vm);
        return Err(Failure::new(Kind::Refused, what)
            .hint("install or start qemu-guest-agent in the guest, or stop the machine first"));
    }
    Ok(())
}

/// Wait until it is as wanted, also when read once more. One that will not be is removed: it would count as a snapshot; but not
/// one that was, it may be the last of what the disks held.
async fn ready(
    work: &Work,
    wanted: &Wanted,
    object: &Object,
    uid: &str,
    state: &WantedSnapshot<'_>,
    stays: bool,
) -> Result<Value, Failure> {
    let judge = |snapshot: Option<&Value>| match snapshot {
        Some(snapshot) if text(snapshot, "/metadata/uid") == uid => match snapshot_state(snapshot, state) {
            State::Ready => Look::Over(Ok(snapshot.clone())),
            State::Failed(failed) => Look::Over(Err(failed.message)),
            State::Pending(pending) => Look::Wait(format!("{object}, which {}", pending.message)),
            State::Superseded(why) => Look::Over(Err(why)),
        },
        _ => Look::Over(Err("is gone: somebody has removed it".to_owned())),
    };
    let limit = Instant::now() + wanted.deadline + SLACK;
    let follow = Follow::new([(&work.cluster, object.clone())]);
    let why = loop {
        let seen = follow.until(work, limit, |sights| judge(sights.first().and_then(|s| s.object()))).await;
        match seen {
            Ok(Ok(_)) => match judge(work.read(object).await?.as_ref()) {
                Look::Over(Ok(snapshot)) => return same_machine(work, wanted, object, state, snapshot).await,
                Look::Over(Err(why)) => break why,
                Look::Wait(line) if Instant::now() >= limit => {
                    break format!("is not ready after {}: waited for {line}", human(wanted.deadline));
                }
                // the watch told of a moment that is over: look again
                Look::Wait(_) => {
                    work.check()?;
                    tokio::time::sleep(AGAIN).await;
                }
            },
            Ok(Err(why)) => break why,
            Err(Ended::Late(line)) => {
                break format!("is not ready after {}: waited for {line}", human(wanted.deadline));
            }
            Err(ended) => return Err(ended.failure(&format!("{object} is not ready"))),
        }
    };
    work.check()?;
    let removed =
        if stays { Ok(Removed::Already) } else { remove(work, object, uid, Instant::now() + REMOVAL).await };
    let left = removed.map_or_else(|f| format!("; it cannot be removed: {}", f.message()), |_| String::new());
    Err(Failure::new(Kind::Failed, format!("{object} {why}{left}")).hint(
        "the machine is as it was; what went wrong stands in the words above and in the namespace's events",
    ))
}

/// The machine may have been removed and made anew while its snapshot was taken.
async fn same_machine(
    work: &Work,
    wanted: &Wanted,
    object: &Object,
    state: &WantedSnapshot<'_>,
    snapshot: Value,
) -> Result<Value, Failure> {
    let machine = Object { kind: VIRTUAL_MACHINE, name: wanted.vm.clone() };
    let now = work.read(&machine).await?;
    if now.as_ref().is_some_and(|vm| text(vm, "/metadata/uid") == state.machine_uid) {
        return Ok(snapshot);
    }
    Err(Failure::new(Kind::Conflict, format!("{machine} was removed while {object} was taken of it"))
        .hint("the snapshot is kept: it is all that is left of that machine's disks"))
}
