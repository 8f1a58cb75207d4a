//! What is there after the restore, put right where KubeVirt leaves it wrong.

use std::time::Duration;

use cluster::{DATA_VOLUME, Object, PERSISTENT_VOLUME_CLAIM, VIRTUAL_MACHINE_SNAPSHOT_CONTENT};
use serde_json::{Value, json};
use snapshots::{Work, text};
use step::{CHANGED, Failure, Kind};
use tokio::time::sleep;
use vm::conditions::restore::{
    Backup, backups, last_restore, not_off, other_disks, other_owners, owned_by_a_machine, restored_by,
    templates,
};
use vm::conditions::snapshot::{disk_volumes, listed};

use crate::run::beside;
use crate::wanted::{Stop, Wanted, pinned};

/// The pause before an object that changed under our hands is read again.
const AGAIN: Duration = Duration::from_millis(500);

/// A restore that is complete.
#[derive(Debug)]
pub(crate) struct Restored {
    /// `<name>-<uid>`, which KubeVirt writes on all that it has restored.
    pub(crate) stamp: String,
    /// Its uid, where it is still there.
    pub(crate) uid: Option<String>,
    /// Which of `instancetype` and `preference` followed their name before.
    pub(crate) followed: Vec<String>,
    /// What the machine has to be.
    pub(crate) power: Power,
}

/// Whether the machine has to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    /// It was restored just now.
    Off,
    /// It was restored by an earlier run that said so; the flow may have started it since.
    Any,
}

impl Power {
    /// Why the machine is not what it has to be, as a predicate.
    pub(crate) fn missed(self, vm: &Value, vmi: Option<&Value>) -> Option<String> {
        match self {
            Self::Off => not_off(vm, vmi),
            Self::Any => None,
        }
    }
}

/// A disk that is the snapshot's now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) volume: String,
    pub(crate) claim: Object,
    pub(crate) uid: String,
}

fn wrong(what: String) -> Stop {
    Stop::new(
        "NotRestored",
        Failure::new(Kind::Failed, what).hint("do not start the machine before its disks were looked at"),
    )
}

/// See that the disks are the restored ones, under their old names, and owned by no machine.
pub(crate) async fn verify(work: &Work, wanted: &Wanted, restored: &Restored) -> Result<Vec<Disk>, Stop> {
    let vm = machine(work, wanted).await?;
    if last_restore(&vm) != restored.stamp {
        let what = format!(
            "{} is complete, and {} says that its last restore was `{}`",
            wanted.restore,
            wanted.vm,
            last_restore(&vm)
        );
        return Err(wrong(what));
    }
    let content = content(work, wanted).await?;
    let disks = match (&content, restored.power) {
        (Some(content), _) => same_disks(work, wanted, &vm, &backups(content), restored).await?,
        // pruned since; that the disks were right is known
        (None, Power::Any) => Vec::new(),
        (None, Power::Off) => {
            return Err(wrong(format!("{} is gone: it cannot be seen what was restored", wanted.snapshot)));
        }
    };
    unowned(work, wanted, &vm).await?;
    unpinned(work, wanted, &vm, &restored.followed).await?;
    if let Some(uid) = &restored.uid {
        mark(work, wanted, uid).await?;
    }
    Ok(disks)
}

/// The machine as the server has it now.
pub(crate) async fn machine(work: &Work, wanted: &Wanted) -> Result<Value, Failure> {
    let gone = || Failure::new(Kind::Failed, format!("{} is gone", wanted.vm));
    work.read(&wanted.vm).await?.ok_or_else(gone)
}

/// What the snapshot holds, if it is still there.
async fn content(work: &Work, wanted: &Wanted) -> Result<Option<Value>, Failure> {
    let Some(snapshot) = work.read(&wanted.snapshot).await? else { return Ok(None) };
    let name = text(&snapshot, "/status/virtualMachineSnapshotContentName");
    work.read(&beside(wanted, VIRTUAL_MACHINE_SNAPSHOT_CONTENT, name)?).await
}

/// The machine names the claims that it named before, and each is the one that this restore has made.
async fn same_disks(
    work: &Work,
    wanted: &Wanted,
    vm: &Value,
    backups: &[Backup<'_>],
    restored: &Restored,
) -> Result<Vec<Disk>, Stop> {
    if let Some(why) = other_disks(vm, backups) {
        return Err(wrong(format!("{} is restored, but {} {why}", wanted.vm, wanted.snapshot)));
    }
    let vmi = work.read(&wanted.vmi).await?;
    if let Some(why) = restored.power.missed(vm, vmi.as_ref()) {
        return Err(wrong(format!("{} {why} after its restore", wanted.vm)));
    }
    let mut disks = Vec::new();
    for backup in backups {
        let object = beside(wanted, PERSISTENT_VOLUME_CLAIM, backup.claim)?;
        let claim = work.read(&object).await?;
        let claim = claim.ok_or_else(|| wrong(format!("{object} is missing after the restore")))?;
        // a claim of a storage that waits for its first consumer is Pending until the machine starts
        if last_restore(&claim) != restored.stamp
            || !matches!(text(&claim, "/status/phase"), "Bound" | "Pending")
        {
            let phase = text(&claim, "/status/phase");
            return Err(wrong(format!(
                "{object} is not the restored one: it is {phase}, last restored by `{}`",
                last_restore(&claim)
            )));
        }
        disks.push(Disk {
            volume: backup.volume.to_owned(),
            claim: object,
            uid: text(&claim, "/metadata/uid").to_owned(),
        });
    }
    Ok(disks)
}

/// No disk of the machine is deleted with it, but those that it makes itself from its templates.
async fn unowned(work: &Work, wanted: &Wanted, vm: &Value) -> Result<(), Stop> {
    let own = templates(vm);
    for claim in disk_volumes(vm).into_values().filter(|claim| !own.contains(claim)) {
        for kind in [DATA_VOLUME, PERSISTENT_VOLUME_CLAIM] {
            let object = beside(wanted, kind, claim)?;
            disown(work, &object).await?;
        }
    }
    Ok(())
}

/// Take the machine from the owners of an object, and see it gone. Fine where there is no such object, or no such kind.
async fn disown(work: &Work, object: &Object) -> Result<(), Failure> {
    let get = async || match work.cluster.get(object).await {
        Err(error) if error.not_served() => Ok(None),
        answer => answer,
    };
    loop {
        let Some(found) = work.ask(&format!("read {object}"), get).await? else { return Ok(()) };
        if !owned_by_a_machine(&found) {
            return Ok(());
        }
        work.check()?;
        tracing::info!("{object} is owned by a machine: that is taken away");
        let owners = match other_owners(&found) {
            owners if owners.is_empty() => Value::Null,
            owners => json!(owners),
        };
        // the version makes it a lost race, not a lost owner, if somebody else writes
        let patch = json!({"metadata": {"ownerReferences": owners, "resourceVersion": text(&found, "/metadata/resourceVersion")}});
        match work.cluster.merge_patch(object, &patch).await {
            Ok(_) => work.context.result(CHANGED, "true"),
            Err(error) if error.kind() == Kind::Transient && !work.context.left().is_zero() => {
                sleep(AGAIN).await;
            }
            Err(error) => return Err(error.failure(&format!("cannot take {object} from the machine"))),
        }
    }
}

/// A snapshot of a machine that runs holds the revisions of its instance type and preference, and its restore writes them into
/// `spec`: from then on KubeVirt refuses another instance type from Git. What followed its name before does so again.
async fn unpinned(work: &Work, wanted: &Wanted, vm: &Value, followed: &[String]) -> Result<(), Stop> {
    let held = followed.iter().filter(|matcher| !pinned(vm, matcher).is_empty());
    let spec: serde_json::Map<String, Value> =
        held.map(|m| (m.clone(), json!({"revisionName": null}))).collect();
    if spec.is_empty() {
        return Ok(());
    }
    work.check()?;
    let patch = json!({"spec": spec});
    let what = format!("let {} follow its instance type again", wanted.vm);
    work.ask(&what, async || work.cluster.merge_patch(&wanted.vm, &patch).await).await?;
    Ok(())
}

/// Write on the snapshot and in the Lease that this restore is complete: its own object goes next.
async fn mark(work: &Work, wanted: &Wanted, uid: &str) -> Result<(), Stop> {
    work.check()?;
    let patch = json!({"metadata": {"annotations": {wanted.mark(): uid}}});
    let what = format!("note the restore on {}", wanted.snapshot);
    work.ask(&what, async || work.cluster.merge_patch(&wanted.snapshot, &patch).await).await?;
    if let Some(hold) = &work.hold {
        hold.note(&wanted.note(), uid).await?;
    }
    Ok(())
}

/// Whether every disk is what it was before, or every disk is the snapshot's; else what is wrong.
pub(crate) async fn whole(work: &Work, wanted: &Wanted) -> Result<Option<String>, Failure> {
    let vm = machine(work, wanted).await?;
    let content = content(work, wanted).await?;
    let claims: Vec<String> = match &content {
        Some(content) => backups(content).into_iter().map(|b| b.claim.to_owned()).collect(),
        None => disk_volumes(&vm).into_values().map(str::to_owned).collect(),
    };
    let (mut missing, mut new, mut old) = (Vec::new(), Vec::new(), Vec::new());
    for claim in &claims {
        let found = work.read(&beside(wanted, PERSISTENT_VOLUME_CLAIM, claim)?).await?;
        let found = found.filter(|c| text(c, "/metadata/deletionTimestamp").is_empty());
        match found {
            None => missing.push(claim.as_str()),
            Some(c) if restored_by(&c, wanted.restore.name.name()) => new.push(claim.as_str()),
            Some(_) => old.push(claim.as_str()),
        }
    }
    Ok(if !missing.is_empty() {
        Some(format!("claim {} is missing", listed(&missing)))
    } else if !new.is_empty() && !old.is_empty() {
        Some(format!("{} is the snapshot's and {} is not", listed(&new), listed(&old)))
    } else {
        None
    })
}
