//! More or less CPU and memory; disks that grow.

use serde_json::Value;
use step::{Failure, Kind};
use vm::chart;
use vm::day_two::{NewCompute, Operation, Resize};
use vm::definition::{Definition, Disk, Machine};
use vm::edit::{Document, path};
use vm::operation::{Before, OldSize, Phase};
use vm::quantity::Quantity;

use crate::edits::Edits;

use super::{machine, no};

/// Set the new sizes where they are written. A `DataVolume` is immutable, so the growth of a disk is on the record alone, and
/// carried out on its claim by another step.
pub(super) fn resize(edits: &mut Edits<'_>, spec: &Resize) -> Result<Before, Failure> {
    let definition = edits.definition;
    let machine = machine(definition)?;
    let mut before = Before::default();
    if let Some(compute) = &spec.compute {
        if let Some(instance_type) = &compute.instance_type {
            before.instance_type = Some(set_instance_type(edits, machine, instance_type.as_str())?);
        }
        set_size(edits, machine, compute, &mut before)?;
    }
    for new in &spec.disks {
        let name = new.name.as_str();
        let disk = machine.disk(name).ok_or_else(|| no(&format!("the machine has no disk `{name}`")))?;
        let size = grown(definition, disk).or_else(|| disk.size.as_ref()?.parse().ok());
        if let Some(has) = size.filter(|has| *has > new.size) {
            let what = format!("disk `{name}` has grown to `{has}`, and `{}` is less", new.size);
            return Err(Failure::new(Kind::Invalid, what).hint("disks only grow"));
        }
        before.disks.extend(size.map(|size| OldSize { name: new.name.clone(), size }));
    }
    Ok(before)
}

/// The claims that grow, and to which size.
pub(crate) fn growth(definition: &Definition, spec: &Resize) -> Vec<(String, Quantity)> {
    let disks = spec.disks.iter();
    disks
        .filter_map(|new| {
            let disk = definition.machine.as_ref()?.disk(new.name.as_str())?;
            Some((disk.claim.clone(), new.size))
        })
        .collect()
}

/// The size that a disk was given by the last operation that let it grow.
pub(super) fn grown(definition: &Definition, disk: &Disk) -> Option<Quantity> {
    let sizes = definition.records.iter().rev().filter(|record| record.phase == Phase::Resize);
    let sizes = sizes.filter_map(|record| match &record.request.spec.operation {
        Operation::Resize(spec) => Some(&spec.disks),
        _ => None,
    });
    let is_it =
        |name: &str| definition.machine.as_ref().and_then(|m| m.disk(name)).is_some_and(|d| d == disk);
    sizes.flatten().find(|new| is_it(new.name.as_str())).map(|new| new.size)
}

fn set_instance_type(edits: &mut Edits<'_>, machine: &Machine, name: &str) -> Result<String, Failure> {
    let old = machine.instance_type().ok_or_else(|| {
        Failure::new(Kind::Invalid, "the machine has no instance type, its CPUs and memory are its own")
            .hint("`/spec/operationSpec/compute` takes `cpu` and `memory`")
    })?;
    edits
        .machine(machine, |document| document.set(&path("spec.instancetype.name"), &name.into()).map(Some))?;
    // KubeVirt refuses another name beside the revision of the old one (pkg/instancetype/revision)
    edits.machine(machine, |document| {
        let revision = path("spec.instancetype.revisionName");
        if document.get(&revision).is_none() { Ok(None) } else { document.remove_key(&revision).map(Some) }
    })?;
    Ok(old.to_owned())
}

fn set_size(
    edits: &mut Edits<'_>,
    machine: &Machine,
    compute: &NewCompute,
    before: &mut Before,
) -> Result<(), Failure> {
    if (compute.cpu.is_some() || compute.memory.is_some()) && machine.instance_type().is_some() {
        let what = "the machine has an instance type, which brings its CPUs and memory";
        return Err(
            Failure::new(Kind::Invalid, what).hint("`/spec/operationSpec/compute` takes `instanceType`")
        );
    }
    let domain = "/spec/template/spec/domain";
    if let Some(wanted) = compute.cpu {
        let cpu = machine.document.pointer(&format!("{domain}/cpu"));
        let cpu = cpu.ok_or_else(|| no("the machine's CPUs are not in `spec.template.spec.domain.cpu`"))?;
        let number = |key: &str| cpu.get(key).and_then(Value::as_u64).unwrap_or(1).max(1);
        let per_socket = number("cores").saturating_mul(number("threads"));
        if u64::from(wanted) % per_socket != 0 {
            let what = format!("{wanted} CPUs are no whole number of sockets of {per_socket} CPUs");
            return Err(Failure::new(Kind::Invalid, what)
                .hint("CPUs grow by sockets, which can be added while the machine runs"));
        }
        before.cpu = u16::try_from(number("sockets").saturating_mul(per_socket)).ok();
        let sockets = Value::from(u64::from(wanted) / per_socket);
        let at = path("spec.template.spec.domain.cpu");
        let has_sockets = cpu.get("sockets").is_some();
        edits.machine(machine, |document| {
            let new = if has_sockets {
                document.set(&[at, path("sockets")].concat(), &sockets)
            } else {
                document.insert_key(&at, "sockets", &sockets)
            };
            new.map(Some)
        })?;
    }
    if let Some(wanted) = compute.memory {
        let guest = machine.document.pointer(&format!("{domain}/memory/guest"));
        let guest = guest
            .and_then(Value::as_str)
            .ok_or_else(|| no("the machine's memory is not in `spec.template.spec.domain.memory.guest`"))?;
        before.memory = Some(guest.to_owned());
        let at = path("spec.template.spec.domain.memory.guest");
        let wanted = wanted.to_string().into();
        if machine.is_in_values() {
            edits.edit(&machine.memory_path, |text| {
                Document::only(text)?.set(&path(chart::MEMORY), &wanted).map(Some)
            })?;
        } else {
            edits.machine_in(&machine.memory_path, |document| document.set(&at, &wanted).map(Some))?;
        }
    }
    Ok(())
}
