//! A machine that comes, goes or changes.

use serde_json::Value;

use super::disks::{filled, makers, named};
use super::{Effect, Entry, Restart, Risk};
use crate::definition::{Cpu, Definition, Disk, Machine, Source};
use crate::quantity;

/// Where a machine's boot and data disks are named.
const VOLUMES: &str = "/spec/template/spec/volumes";
/// Values that have words of their own.
const TOLD: [&str; 5] = [
    "/spec/runStrategy",
    "/spec/running",
    "/spec/instancetype",
    "/spec/template/spec/domain/cpu",
    "/spec/template/spec/domain/memory/guest",
];

/// A new machine, or one that comes back from the archive.
pub(super) fn made(before: &Definition, after: &Definition, new: &Machine) -> Vec<Entry> {
    let target = &after.target;
    let power = if new.is_on() { "on" } else { "off" };
    let what = format!(
        "machine `{}/{}` on `{}`: {}, {power}",
        target.namespace,
        target.name,
        target.cluster,
        size(new)
    );
    let risk = if new.is_on() { Risk::Starts } else { Risk::Nothing };
    let mut entries = vec![Entry::new(Effect::Create, what, risk)];
    if let Some(image) = new.boot().and_then(|boot| container_disk(&boot.source)) {
        let what = format!("boot disk: image `{image}`, new at each start");
        entries.push(Entry::new(Effect::Create, what, Risk::Nothing));
    }
    // one that is back is in the archive no longer
    let mut lives = before.archived.iter().filter(|(id, _)| !after.archived.contains_key(*id));
    let tombstone = lives.next().map(|(_, life)| life.tombstone.as_ref());
    let stayed = |disk: &Disk| {
        let buried = tombstone.flatten().map_or(&[][..], |tombstone| &tombstone.disks);
        buried.iter().any(|buried| buried.claim == disk.claim && buried.kept)
    };
    for disk in &new.disks {
        let what = named(after, disk);
        entries.push(if disk.file.is_none() && !disk.template {
            Entry::new(Effect::Keep, format!("{what}, which is there"), Risk::Nothing)
        } else if stayed(disk) {
            Entry::new(Effect::Keep, format!("{what}, which was kept"), Risk::Nothing)
        } else if tombstone.is_some() {
            let what =
                format!("{what}{}: made anew, what was in it went with the machine", filled(after, disk));
            Entry::new(Effect::Create, what, Risk::Nothing)
        } else {
            Entry::new(Effect::Create, format!("{what}{}", filled(after, disk)), Risk::Nothing)
        });
    }
    entries
}

/// A machine that goes.
pub(super) fn removed(before: &Definition, old: &Machine) -> Vec<Entry> {
    let target = &before.target;
    let what = format!(
        "machine `{}/{}` on `{}`, `undelete` brings it back from the archive",
        target.namespace, target.name, target.cluster
    );
    let mut entries = vec![Entry::new(Effect::Remove, what, Risk::Nothing)];
    for disk in &old.disks {
        // as the tombstone has it: what neither a file of the machine nor the machine itself makes does not go with them
        let stays = disk.kept || (disk.file.is_none() && !disk.template);
        let (effect, risk) =
            if stays { (Effect::Keep, Risk::Nothing) } else { (Effect::Remove, Risk::DataLost) };
        entries.push(Entry::new(effect, named(before, disk), risk));
    }
    entries
}

/// The boot disk of a machine that boots from a container disk, where the machine stops or restarts: it is new at each start.
pub(super) fn forgets(machine: &Machine, entries: &[Entry]) -> Option<Entry> {
    let image = machine.boot().and_then(|boot| container_disk(&boot.source)).filter(|_| machine.is_on())?;
    let stops = |risk| {
        matches!(
            risk,
            Risk::Stops | Risk::Restarts | Risk::Restart(Restart::ByFlow) | Risk::Live(Restart::ByFlow)
        )
    };
    let what = format!("boot disk: image `{image}`, new at each start");
    entries.iter().any(|entry| stops(entry.risk)).then(|| Entry::new(Effect::Change, what, Risk::Forgotten))
}

/// A machine that was there and still is.
pub(super) fn changed(
    before: &Definition,
    after: &Definition,
    (old, new): (&Machine, &Machine),
    restart: Restart,
) -> Vec<Entry> {
    // what is off takes everything up when it starts
    let runs = |risk: Risk| if new.is_on() && old.is_on() { risk } else { Risk::Nothing };
    let mut entries = Vec::new();
    if old.run_strategy != new.run_strategy {
        let risk = match (old.is_on(), new.is_on()) {
            (false, true) => Risk::Starts,
            (true, false) => Risk::Stops,
            _ => Risk::Nothing,
        };
        entries.push(became("power", &old.run_strategy, &new.run_strategy, risk));
    }
    if let (Some(was), Some(is)) = (old.instance_type(), new.instance_type())
        && was != is
    {
        entries.push(became("instance type", was, is, runs(Risk::Live(restart))));
    }
    if let (Some(was), Some(is)) = (old.cpu().map(cpus), new.cpu().map(cpus))
        && was != is
    {
        let risk = if is > was { Risk::Live(restart) } else { Risk::Restart(restart) };
        entries.push(became("CPUs", &was.to_string(), &is.to_string(), runs(risk)));
    }
    if let (Some(was), Some(is)) = (old.memory(), new.memory())
        && was != is
    {
        let grows = quantity::bytes(is) > quantity::bytes(was);
        let risk = if grows { Risk::Live(restart) } else { Risk::Restart(restart) };
        entries.push(became("memory", was, is, runs(risk)));
    }
    let replaced = boots_from(&mut entries, after, (old, new));
    for pointer in differences(&old.document, &new.document) {
        let told = TOLD.iter().any(|known| below(&pointer, known)) || (replaced && below(&pointer, VOLUMES));
        if !told {
            let live = !below(&pointer, "/spec/template/spec");
            let risk = if live { Risk::Nothing } else { runs(Risk::Restart(restart)) };
            let what = format!("machine: `{}`", pointer.trim_start_matches('/').replace('/', "."));
            entries.push(Entry::new(Effect::Change, what, risk));
        }
    }
    disks(&mut entries, (before, after), (old, new));
    entries
}

/// The boot volume, if it is another.
fn boots_from(entries: &mut Vec<Entry>, after: &Definition, (old, new): (&Machine, &Machine)) -> bool {
    let (was, is) = (old.boot().map(|boot| &boot.source), new.boot().map(|boot| &boot.source));
    let (Some(was), Some(is)) = (was, is) else { return false };
    if was == is {
        return false;
    }
    let what = format!("boot disk: from {} to {}", shown(was), shown(is));
    let filled = new.boot_disk().map(|disk| filled(after, disk)).unwrap_or_default();
    entries.push(Entry::new(Effect::Change, format!("{what}{filled}"), Risk::DiskReplaced));
    true
}

fn disks(
    entries: &mut Vec<Entry>,
    (before, after): (&Definition, &Definition),
    (old, new): (&Machine, &Machine),
) {
    let same = |disks: &[Disk], disk: &Disk| disks.iter().find(|other| other.claim == disk.claim).cloned();
    for disk in &new.disks {
        let Some(was) = same(&old.disks, disk) else {
            let made = disk.file.is_some() || disk.template;
            let effect = if made { Effect::Create } else { Effect::Keep };
            entries.push(Entry::new(
                effect,
                format!("{}{}", named(after, disk), filled(after, disk)),
                Risk::Nothing,
            ));
            continue;
        };
        let size = |definition: &Definition, disk: &Disk| {
            definition.grown(disk).map(|size| size.to_string()).or_else(|| disk.size.clone())
        };
        let (had, has) = (size(before, &was), size(after, disk));
        if had != has {
            let (had, has) = (had.unwrap_or_default(), has.unwrap_or_default());
            entries.push(became(&format!("size of {}", named(before, &was)), &had, &has, Risk::OneWay));
        } else if was.kept && !disk.kept {
            let what = format!("{}: no longer kept when the machine is removed", named(after, disk));
            entries.push(Entry::new(Effect::Change, what, Risk::DataLost));
        } else {
            entries.push(Entry::new(Effect::Keep, named(after, disk), Risk::Nothing));
        }
    }
    let makers = makers(after);
    for disk in old.disks.iter().filter(|disk| same(&new.disks, disk).is_none()) {
        let stays = makers.contains_key(&disk.claim) || disk.kept || (disk.file.is_none() && !disk.template);
        let (effect, risk) =
            if stays { (Effect::Keep, Risk::Nothing) } else { (Effect::Remove, Risk::DataLost) };
        entries.push(Entry::new(effect, format!("{}, no longer the machine's", named(before, disk)), risk));
    }
    // a disk that the machine had let go of before, and whose file goes now
    let of_machine = |claim: &String| old.disks.iter().any(|disk| disk.claim == *claim);
    for claim in super::disks::makers(before)
        .into_keys()
        .filter(|claim| !of_machine(claim) && !makers.contains_key(claim))
    {
        entries.push(Entry::new(Effect::Remove, format!("old disk (claim `{claim}`)"), Risk::DataLost));
    }
}

fn became(what: &str, was: &str, is: &str, risk: Risk) -> Entry {
    Entry::new(Effect::Change, format!("{what}: from `{was}` to `{is}`"), risk)
}

fn size(machine: &Machine) -> String {
    match (machine.instance_type(), machine.cpu(), machine.memory()) {
        (Some(name), ..) => format!("instance type `{name}`"),
        (None, Some(cpu), Some(memory)) => format!("{} CPUs, {memory}", cpus(cpu)),
        _ => "of KubeVirt's own size".to_owned(),
    }
}

const fn cpus(cpu: Cpu) -> u32 {
    cpu.sockets.saturating_mul(cpu.cores).saturating_mul(cpu.threads)
}

fn container_disk(source: &Source) -> Option<&str> {
    match source {
        Source::ContainerDisk(image) => Some(image),
        _ => None,
    }
}

fn shown(source: &Source) -> String {
    match source {
        Source::Claim(name) | Source::DataVolume(name) => format!("claim `{name}`"),
        Source::ContainerDisk(image) => format!("image `{image}`"),
        Source::Other(field) => format!("`{field}`"),
    }
}

/// Whether a JSON pointer is the other, or leads below it.
fn below(pointer: &str, other: &str) -> bool {
    pointer.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The JSON pointers of what differs, as deep as mappings go; a list is one value unless both are as long.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    fn walk(old: &Value, new: &Value, pointer: &str, found: &mut Vec<String>) {
        match (old, new) {
            _ if old == new => {}
            (Value::Object(was), Value::Object(is)) => {
                for key in was.keys().chain(is.keys().filter(|key| !was.contains_key(*key))) {
                    let at = format!("{pointer}/{key}");
                    walk(
                        was.get(key).unwrap_or(&Value::Null),
                        is.get(key).unwrap_or(&Value::Null),
                        &at,
                        found,
                    );
                }
            }
            (Value::Array(was), Value::Array(is)) if was.len() == is.len() => {
                for (index, (was, is)) in was.iter().zip(is).enumerate() {
                    walk(was, is, &format!("{pointer}/{index}"), found);
                }
            }
            _ => found.push(pointer.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(old, new, "", &mut found);
    found
}
