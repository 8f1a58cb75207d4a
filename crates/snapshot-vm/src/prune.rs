//! Removing snapshots: one by name, or those that are too many or too old.

use std::collections::BTreeSet;

use cluster::{Object, VIRTUAL_MACHINE, VIRTUAL_MACHINE_RESTORE, VIRTUAL_MACHINE_SNAPSHOT};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use snapshots::{Removed, Work, remove, text};
use step::{CHANGED, Done, Failure, Kind};
use tokio::time::Instant;
use vm::layout::PROTECTED_LABEL;

use crate::wanted::{Keep, OPERATION_LABEL, VM_LABEL, Wanted, is_of, label, label_of};
use crate::{REMOVAL, SNAPSHOT_NAME, SNAPSHOT_UID};

/// The operation that changes a disk in place.
const PATCH: &str = "patch";

/// Remove the one snapshot that was named.
pub(crate) async fn delete(work: &Work, wanted: &Wanted) -> Result<Done, Failure> {
    let object = wanted.one()?;
    work.context.result(SNAPSHOT_NAME, object.name.name());
    let Some(found) = work.read(object).await? else {
        return Ok(Done::new(format!("{object} is not there")));
    };
    if !is_of(&found, wanted.vm.name()) {
        let source = text(&found, "/spec/source/name");
        return Err(Failure::new(Kind::Conflict, format!("{object} is of virtual machine `{source}`"))
            .hint("name that machine by `--vm` if this snapshot is meant"));
    }
    let uid = text(&found, "/metadata/uid");
    work.context.result(SNAPSHOT_UID, uid);
    if in_use(work, wanted).await?.contains(object.name.name()) {
        return Err(Failure::new(
            Kind::Conflict,
            format!("{object} is used by a restore that is not complete"),
        )
        .hint("run it again when that restore is over, or remove the restore"));
    }
    work.check()?;
    let removed = remove(work, object, uid, Instant::now() + REMOVAL).await?;
    if removed == Removed::Now {
        work.context.result(CHANGED, "true");
    }
    Ok(Done::new(format!("{object} is removed")))
}

/// Remove those that are too many or too old.
pub(crate) async fn prune(work: &Work, wanted: &Wanted) -> Result<Done, Failure> {
    let machine = Object { kind: VIRTUAL_MACHINE, name: wanted.vm.clone() };
    let vm = work.read(&machine).await?.ok_or_else(|| {
        Failure::new(Kind::Failed, format!("{machine} does not exist"))
            .hint("the snapshots of a machine that is gone are the last of its data: remove each by `--action delete`")
    })?;
    prune_those(work, wanted, &vm).await.map(Done::new)
}

/// Remove those of this machine; what was done, for people.
pub(crate) async fn prune_those(work: &Work, wanted: &Wanted, vm: &Value) -> Result<String, Failure> {
    let all = work.list(VIRTUAL_MACHINE_SNAPSHOT, wanted.vm.namespace()).await?;
    let used = in_use(work, wanted).await?;
    let machine = (wanted.vm.name(), text(vm, "/metadata/uid"));
    let mine = pruned(&all, machine);
    if wanted.snapshot.is_none()
        && let Some(newest) = mine.iter().find(|s| is_ready(s))
    {
        work.context.result(SNAPSHOT_NAME, text(newest, "/metadata/name"));
        work.context.result(SNAPSHOT_UID, text(newest, "/metadata/uid"));
    }
    let chosen = removable(&mine, &used, wanted.keep, Timestamp::now());
    for snapshot in &chosen {
        let name = text(snapshot, "/metadata/name");
        let name = wanted.vm.sibling(name).map_err(|why| Failure::new(Kind::Internal, why))?;
        let object = Object { kind: VIRTUAL_MACHINE_SNAPSHOT, name };
        work.check()?;
        remove(work, &object, text(snapshot, "/metadata/uid"), Instant::now() + REMOVAL).await?;
        tracing::info!("{object} is removed");
        work.context.result(CHANGED, "true");
    }
    Ok(format!("{} of {} pruned", chosen.len(), mine.len()))
}

/// The snapshots that restores of this namespace still need.
async fn in_use(work: &Work, wanted: &Wanted) -> Result<BTreeSet<String>, Failure> {
    let restores = work.list(VIRTUAL_MACHINE_RESTORE, wanted.vm.namespace()).await?;
    let open = restores.iter().filter(|r| r.pointer("/status/complete") != Some(&Value::Bool(true)));
    Ok(open.map(|r| text(r, "/spec/virtualMachineSnapshotName").to_owned()).collect())
}

fn is_ready(snapshot: &Value) -> bool {
    text(snapshot, "/status/phase") == "Succeeded"
        && snapshot.pointer("/status/readyToUse") == Some(&Value::Bool(true))
}

/// When it was taken; the far future where it does not say, so that it is never too old.
fn taken(snapshot: &Value) -> Timestamp {
    let time = [text(snapshot, "/status/creationTime"), text(snapshot, "/metadata/creationTimestamp")];
    time.iter().find_map(|t| t.parse().ok()).unwrap_or(Timestamp::MAX)
}

/// The snapshots that this program took of this very machine, the newest first.
fn pruned<'a>(all: &'a [Value], (name, uid): (&str, &str)) -> Vec<&'a Value> {
    let ours = |s: &&Value| {
        label(s, VM_LABEL) == Some(label_of(name)) && is_of(s, name) && text(s, "/status/sourceUID") == uid
    };
    let mut mine: Vec<&Value> = all.iter().filter(ours).collect();
    mine.sort_by_key(|s| std::cmp::Reverse((taken(s), text(s, "/metadata/name"))));
    mine
}

/// Those to remove, of `mine`, the newest first: what failed, and of those that succeeded what is over the count or the age. The
/// newest that is ready stays whatever is said, the newest that a patch took stays because only that takes its disk back, and so do
/// those that are protected, used, or under way.
fn removable<'a>(mine: &[&'a Value], used: &BTreeSet<String>, keep: Keep, now: Timestamp) -> Vec<&'a Value> {
    let ready = || mine.iter().filter(|s| is_ready(s));
    let newest = [ready().next(), ready().find(|s| label(s, OPERATION_LABEL) == Some(PATCH))];
    let newest = newest.map(|s| s.map(|s| text(s, "/metadata/uid")));
    let mut kept = 0;
    let mut chosen = Vec::new();
    for snapshot in mine {
        if label(snapshot, PROTECTED_LABEL) == Some("true") {
            continue;
        }
        let phase = text(snapshot, "/status/phase");
        let ready = is_ready(snapshot);
        let goes = match phase {
            "Failed" => true,
            "Succeeded" => {
                let many = ready && keep.count.is_some_and(|count| kept >= count);
                let age = now.duration_since(taken(snapshot));
                let old =
                    keep.days.is_some_and(|days| age > SignedDuration::from_hours(i64::from(days) * 24));
                kept += u16::from(ready);
                many || old
            }
            _ => false,
        };
        let stays = newest.contains(&Some(text(snapshot, "/metadata/uid")))
            || used.contains(text(snapshot, "/metadata/name"));
        if goes && !stays {
            chosen.push(*snapshot);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::{pruned, removable};
    use crate::wanted::Keep;

    /// Taken on this day of November, at noon.
    fn snapshot(name: &str, day: u8) -> Value {
        json!({
            "metadata": {"name": name, "uid": format!("u-{name}"), "labels": {"vmlifecycle.dev/vm": "web01"}},
            "spec": {"source": {"kind": "VirtualMachine", "name": "web01"}},
            "status": {"phase": "Succeeded", "readyToUse": true, "sourceUID": "vm-1",
                "creationTime": format!("2026-11-{day:02}T12:00:00Z")}
        })
    }

    fn set(mut snapshot: Value, pointer: &str, value: Value) -> Value {
        *snapshot.pointer_mut(pointer).unwrap() = value;
        snapshot
    }

    /// The names that go, at noon of the 21st.
    fn goers(all: &[Value], used: &[&str], count: Option<u16>, days: Option<u16>) -> Vec<String> {
        let used: BTreeSet<String> = used.iter().map(|s| (*s).to_owned()).collect();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let mine = pruned(all, ("web01", "vm-1"));
        let chosen = removable(&mine, &used, Keep { count, days }, now);
        chosen.iter().map(|s| s["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn point_26_pruning_keeps_the_newest_by_count_and_by_age() {
        let all: Vec<Value> = [("a", 20), ("b", 15), ("c", 10), ("d", 1)].map(|(n, d)| snapshot(n, d)).into();
        assert_eq!(goers(&all, &[], None, None), Vec::<String>::new());
        assert_eq!(goers(&all, &[], Some(2), None), ["c", "d"]);
        assert_eq!(goers(&all, &[], None, Some(7)), ["c", "d"]);
        assert_eq!(goers(&all, &[], Some(3), Some(6)), ["c", "d"]);
        assert_eq!(goers(&all, &[], Some(1), Some(30)), ["b", "c", "d"]);
        let old: Vec<Value> = [("a", 3), ("b", 2)].map(|(n, d)| snapshot(n, d)).into();
        assert_eq!(goers(&old, &[], None, Some(1)), ["b"], "the newest ready one stays, however old");
    }

    #[test]
    fn point_26_pruning_leaves_what_is_not_its_own() {
        let protected = json!({"vmlifecycle.dev/vm": "web01", "vmlifecycle.dev/protected": "true"});
        let all = [
            snapshot("newest", 20),
            snapshot("used", 9),
            set(snapshot("protected", 8), "/metadata/labels", protected),
            set(snapshot("foreign", 7), "/metadata/labels", json!({})),
            set(snapshot("earlier-machine", 6), "/status/sourceUID", json!("vm-0")),
            set(snapshot("other-machine", 5), "/spec/source/name", json!("web02")),
            set(snapshot("under-way", 4), "/status/phase", json!("InProgress")),
            set(snapshot("undated", 3), "/status/creationTime", json!("soon")),
            snapshot("old", 2),
        ];
        assert_eq!(goers(&all, &["used"], None, Some(1)), ["old"]);
    }

    #[test]
    fn point_26_the_newest_that_a_patch_took_stays() {
        let patch = json!({"vmlifecycle.dev/vm": "web01", "vmlifecycle.dev/operation": "patch"});
        let taken = |name: &str, day: u8| set(snapshot(name, day), "/metadata/labels", patch.clone());
        let all = [
            snapshot("a", 20),
            set(taken("not-ready", 19), "/status/readyToUse", json!(false)),
            snapshot("b", 15),
            taken("c", 10),
            taken("d", 9),
            snapshot("e", 8),
        ];
        assert_eq!(goers(&all, &[], Some(1), None), ["b", "d", "e"]);
        assert_eq!(goers(&all, &[], None, Some(1)), ["not-ready", "b", "d", "e"]);
    }

    #[test]
    fn point_26_a_snapshot_that_cannot_be_used_neither_counts_nor_stays_as_the_newest() {
        let all = [
            set(snapshot("lost-a-volume", 20), "/status/readyToUse", json!(false)),
            set(snapshot("failed", 19), "/status/phase", json!("Failed")),
            snapshot("good", 18),
            snapshot("second", 17),
        ];
        assert_eq!(goers(&all, &[], Some(1), None), ["failed", "second"]);
    }
}
