//! What operations ask of a machine's disks.

use crate::day_two::{DataDisks, NewSize};
use crate::definition::{Definition, Disk, Machine, Source};
use crate::problem::{Code, Problem, nearest};
use crate::quantity;

use super::SPEC;

/// Where problems of an operation as a whole are.
const OPERATION: &str = "/spec/operation";

/// The machine has a disk that outlives its stop.
pub(super) fn any(machine: &Machine, what: &str) -> Option<Problem> {
    if !machine.disks.is_empty() {
        return None;
    }
    let message = format!("the machine has no disk with a claim, so {what}");
    Some(Problem::new(OPERATION, Code::NoDisk, message).hint("provision it with a boot disk, or a data disk"))
}

/// The boot disk outlives the machine's stop.
pub(super) fn boot(machine: &Machine) -> Option<Problem> {
    if machine.boot_disk().is_some() {
        return None;
    }
    Some(match machine.boot().map(|volume| &volume.source) {
        Some(Source::ContainerDisk(_)) => {
            let message =
                "the machine boots from a container disk, and forgets at each stop what was changed";
            Problem::new(OPERATION, Code::NoDisk, message).hint("provision it from a newer image")
        }
        _ => Problem::new(OPERATION, Code::NoDisk, "the machine has no boot disk with a claim"),
    })
}

/// Disks are mounted by their claims: KubeVirt's restore gives any other a new name, which Argo CD undoes by making a fresh
/// disk of the old name (kubevirt v1.8.0 `pkg/storage/snapshot/restore.go`).
pub(super) fn by_claim(machine: &Machine) -> Vec<Problem> {
    let mounted = |name: &str| {
        machine.volumes.iter().any(|v| v.name == name && matches!(v.source, Source::DataVolume(_)))
    };
    let refuse = |disk: &Disk| {
        let why = if disk.template {
            "is made by the machine itself (`dataVolumeTemplates`)"
        } else if mounted(&disk.name) {
            "is mounted as `dataVolume`"
        } else {
            return None;
        };
        let message = format!("disk `{}` {why}, so a restore would rename it", disk.name);
        Some(
            Problem::new(OPERATION, Code::DiskFile, message)
                .hint("mount its claim itself, or `provision` from the snapshot"),
        )
    };
    machine.disks.iter().filter_map(refuse).collect()
}

/// The boot disk has a file of its own, which another can stand beside.
pub(super) fn own_boot(machine: &Machine) -> Option<Problem> {
    let Some(disk) = machine.boot_disk() else {
        return Some(match machine.boot().map(|volume| &volume.source) {
            Some(Source::ContainerDisk(_)) => {
                let message = "the machine boots from a container disk, which is new at each start";
                Problem::new(OPERATION, Code::RootDisk, message).hint("`restart` it")
            }
            _ => Problem::new(OPERATION, Code::RootDisk, "the machine has no boot disk of its own"),
        });
    };
    if disk.template {
        let message =
            format!("boot disk `{}` is made by the machine itself (`dataVolumeTemplates`)", disk.name);
        return Some(
            Problem::new(OPERATION, Code::RootDisk, message)
                .hint("give it a `DataVolume` in a file of its own"),
        );
    }
    if disk.file.is_none() {
        let message =
            format!("no file in the machine's folder makes its boot disk, the claim `{}`", disk.claim);
        return Some(
            Problem::new(OPERATION, Code::RootDisk, message)
                .hint("only a boot disk made from an image can be made again"),
        );
    }
    None
}

/// No data disk goes when something else does: none is the machine's own, and Argo CD is told to leave each.
pub(super) fn safe(machine: &Machine) -> Vec<Problem> {
    let refuse = |disk: &Disk| {
        if disk.template {
            let message = format!(
                "data disk `{}` is made by the machine itself (`dataVolumeTemplates`) and goes with it",
                disk.name
            );
            return Some(
                Problem::new(OPERATION, Code::DiskFile, message)
                    .hint("give it a `DataVolume` in a file of its own"),
            );
        }
        let file = disk.file.as_ref().filter(|_| !disk.kept)?;
        let file = file.rsplit('/').next().unwrap_or_default();
        let message = format!("Argo CD would remove data disk `{}` with its file, `{file}`", disk.name);
        Some(
            Problem::new(OPERATION, Code::DiskFile, message)
                .hint("annotate it with the sync options `Prune=false,Delete=false`"),
        )
    };
    machine.data_disks().filter_map(refuse).collect()
}

/// What is to stay can stay, and what is to go can go.
pub(super) fn leaving(wanted: DataDisks, machine: &Machine) -> Vec<Problem> {
    if wanted == DataDisks::Retain {
        return safe(machine);
    }
    let elsewhere = |disk: &&Disk| disk.file.is_none() && !disk.template;
    let refuse = |disk: &Disk| {
        let message = format!(
            "no file in the machine's folder makes data disk `{}`, the claim `{}`",
            disk.name, disk.claim
        );
        Problem::new(format!("{SPEC}/disks"), Code::DiskFile, message)
            .hint("`retain`, and remove it where it is made")
    };
    machine.data_disks().filter(elsewhere).map(refuse).collect()
}

/// A disk that grows.
pub(super) fn grow(
    pointer: &str,
    wanted: &NewSize,
    machine: &Machine,
    definition: &Definition,
) -> Option<Problem> {
    let (name, size) = (wanted.name.as_str(), wanted.size);
    let Some(disk) = machine.disk(name) else {
        let pointer = format!("{pointer}/name");
        if machine.volumes.iter().any(|volume| volume.name == name) {
            let message = format!("`{name}` is no disk with a claim, so it has no size");
            return Some(Problem::new(pointer, Code::NoDisk, message).hint("remove it"));
        }
        let names: Vec<&str> = machine.disks.iter().map(|disk| disk.name.as_str()).collect();
        let problem = Problem::new(pointer, Code::NoDisk, format!("the machine has no disk `{name}`"));
        return Some(match nearest(name, names.iter().copied()) {
            Some(near) => problem.hint(format!("did you mean `{near}`")),
            None if names.is_empty() => problem.hint("it has none with a claim"),
            None => {
                let names: Vec<String> = names.iter().take(8).map(|name| format!("`{name}`")).collect();
                problem.hint(format!("it has {}", names.join(", ")))
            }
        });
    };
    if let Some(file) = disk.file.as_ref().filter(|_| disk.claim_file) {
        let file = file.rsplit('/').next().unwrap_or_default();
        let message = format!("`{file}` makes the claim itself, and Argo CD would hold it to the size there");
        return Some(
            Problem::new(format!("{pointer}/name"), Code::DiskFile, message).hint("change the size there"),
        );
    }
    let written = disk.size.as_ref().and_then(|size| Some((quantity::bytes(size)?, size.clone())));
    let grown = definition.grown(disk).map(|size| (size.mebibytes() << 20, size.to_string()));
    let (bytes, has) = written.max(grown)?;
    (bytes > size.mebibytes() << 20).then(|| {
        let message = format!("`{size}` is less than the `{has}` that it has");
        Problem::new(format!("{pointer}/size"), Code::DiskSize, message).hint("disks only grow")
    })
}
