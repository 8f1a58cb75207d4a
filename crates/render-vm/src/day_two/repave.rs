//! A new boot disk in the same machine: nothing else changes, and the old disk stays until the new one has proven itself.

use serde_json::Value;
use step::{Failure, Kind};
use vm::day_two::{Repave, Request};
use vm::definition::{Definition, Disk, Machine, Source};
use vm::edit::{Step, path};
use vm::layout::{KUSTOMIZATION_FILE, ROOT};
use vm::operation::{Before, Phase};
use vm::quantity::Quantity;
use vm::request::Role;

use crate::disk::{self, Content, Storage};
use crate::edits::Edits;
use crate::files::{Refused, Wanted};
use crate::site::Site;
use crate::template::{Template, Templates};

use super::{earlier, kustomization, machine, no, resize, values};

/// Put a new boot disk beside the old one, and let the machine boot from it.
pub(super) fn repave(
    edits: &mut Edits<'_>,
    request: &Request,
    spec: &Repave,
    templates: &Templates,
    site: &Site,
) -> Result<Before, Failure> {
    let definition = edits.definition;
    let (target, machine) = (&definition.target, machine(definition)?);
    let old = machine.boot_disk().filter(|disk| !disk.template);
    let old = old.ok_or_else(|| no("the machine boots from no disk with a file of its own"))?;
    let image = spec.image.as_ref().or_else(|| definition.request.as_ref().map(|r| &r.spec.image));
    let image = image.filter(|image| image.has_root_disk()).ok_or_else(|| {
        Failure::new(Kind::Invalid, "cannot make a boot disk: no image to make it from is known")
            .hint("`/spec/operationSpec/image` names one of the source `data-source`, `registry`, `http` or `snapshot`")
    })?;
    if !spec.keep_old_disk {
        proves_itself(machine)?;
        alone(definition, old)?;
    }

    let (claim, file) = (request.volume(ROOT), disk::root_file(&request.generation()));
    let place = place(definition, &file)?;
    if !machine.is_in_values() && definition.files.contains_key(&place) {
        return Err(no(&format!("`{place}` is there already")));
    }
    let content = Content::new(image, target, machine.architecture(), site.image_source.as_ref());
    let content = content.map_err(|why| Failure::new(Kind::Usage, why).hint("leave out `--image-source`"))?;
    let wanted = Wanted {
        path: place.clone(),
        template: Template::DataVolume,
        context: disk::context(&claim, target, false, &content, &storage(definition, old)?),
        name: Some(claim.clone()),
        namespace: Some(target.namespace.to_string()),
    };
    let text = wanted.render(templates).map_err(|error: Refused| {
        Failure::new(Kind::Internal, error.to_string()).hint("this is a bug; report it with the request")
    })?;
    if machine.is_in_values() {
        values::add(edits, machine, &claim, &text)?;
    } else {
        edits.write(place.clone(), text);
        kustomization::add(edits, &place)?;
    }
    boot_from(edits, machine, &claim)?;
    Ok(before(definition, old))
}

/// Let the machine boot from the old disk again, and take the new one away.
pub(super) fn rollback(edits: &mut Edits<'_>, request: &Request) -> Result<Before, Failure> {
    let (now, before_repave) = begun(edits, request, Phase::Cleanup)?;
    let claim = before_repave.boot_claim.as_deref().ok_or_else(|| no("the record names no old boot disk"))?;
    boot_from(edits, machine(edits.definition)?, claim)?;
    let place = place(edits.definition, &disk::root_file(&request.generation()))?;
    take_away(edits, &place, &request.volume(ROOT))?;
    Ok(now)
}

/// Take the old disk away, unless it is to be kept.
pub(super) fn cleanup(edits: &mut Edits<'_>, request: &Request, spec: &Repave) -> Result<Before, Failure> {
    let (now, before_repave) = begun(edits, request, Phase::Rollback)?;
    let (Some(file), Some(claim)) = (&before_repave.boot_file, &before_repave.boot_claim) else {
        return Ok(now);
    };
    let place = format!("{}/{file}", edits.definition.target.path());
    if spec.keep_old_disk || !edits.definition.files.contains_key(&place) {
        return Ok(now);
    }
    let machine = machine(edits.definition)?;
    if machine.disks.iter().any(|disk| disk.claim == *claim) {
        return Err(no(&format!("the machine still has the old boot disk `{claim}`")));
    }
    proves_itself(machine)?;
    take_away(edits, &place, claim)?;
    Ok(now)
}

/// Where the file of one of the machine's disks lies: beside the machine where its folder lists its files, as that of a base does;
/// in values it is the same.
fn place(definition: &Definition, file: &str) -> Result<String, Failure> {
    let machine = machine(definition)?;
    if machine.is_in_values() {
        return Ok(machine.path.clone());
    }
    let beside = machine.folder();
    let listed = definition.files.contains_key(&format!("{beside}/{KUSTOMIZATION_FILE}"));
    Ok(if listed { format!("{beside}/{file}") } else { format!("{}/{file}", definition.target.path()) })
}

/// Remove what makes the claim: a file of its own, or its place in the values.
fn take_away(edits: &mut Edits<'_>, place: &str, claim: &str) -> Result<(), Failure> {
    let machine = machine(edits.definition)?;
    if machine.is_in_values() {
        return values::remove(edits, machine, claim);
    }
    edits.remove(place);
    kustomization::remove(edits, place)
}

/// The old disk goes when the machine came up on the new one. One that is off never does, and its new disk may not even be made:
/// volumes that wait for their first consumer are filled when it starts.
fn proves_itself(machine: &Machine) -> Result<(), Failure> {
    if machine.is_on() {
        return Ok(());
    }
    Err(no("the machine is off, so nothing shows that it comes up on the new boot disk")
        .hint("`start` it before, or ask for `keepOldDisk`"))
}

/// The boot disk now, which has to be the one that the request made, and what was there before it.
fn begun(edits: &Edits<'_>, request: &Request, excluded: Phase) -> Result<(Before, Before), Failure> {
    let (definition, id) = (edits.definition, &request.metadata.request_id);
    let record = earlier(definition, id, Phase::Repave)?;
    if definition.record(id, excluded).is_some() {
        return Err(no(&format!("phase `{excluded}` of request `{id}` is done, it excludes this one")));
    }
    let boot = machine(definition)?.boot_disk();
    match boot {
        Some(disk) if disk.claim == request.volume(ROOT) => {
            Ok((before(definition, disk), record.before.clone()))
        }
        _ => Err(no(&format!("the machine does not boot from `{}` any more", request.volume(ROOT)))
            .hint("a later operation gave it another boot disk")),
    }
}

fn before(definition: &Definition, disk: &Disk) -> Before {
    let folder = format!("{}/", definition.target.path());
    let file = disk.file.as_deref().and_then(|file| file.strip_prefix(&folder));
    Before { boot_claim: Some(disk.claim.clone()), boot_file: file.map(str::to_owned), ..Before::default() }
}

/// The old disk's file has to hold nothing else: it is removed in the end.
fn alone(definition: &Definition, disk: &Disk) -> Result<(), Failure> {
    let Some(file) = disk.file.as_ref().filter(|file| !vm::chart::is_values(file)) else { return Ok(()) };
    let documents = definition.files.get(file).map(|bytes| vm::yaml::documents(bytes));
    match documents {
        Some(Ok(documents)) if documents.len() == 1 => Ok(()),
        _ => Err(no(&format!("`{file}` holds more than the boot disk, so it cannot be removed later"))
            .hint("give each disk a file of its own, or ask for `keepOldDisk`")),
    }
}

/// Let the volume that the machine boots from be this claim.
fn boot_from(edits: &mut Edits<'_>, machine: &Machine, claim: &str) -> Result<(), Failure> {
    let volume = machine.boot().ok_or_else(|| no("the machine has no volume to boot from"))?;
    let (kind, key) = match volume.source {
        Source::DataVolume(_) => ("dataVolume", "name"),
        _ => ("persistentVolumeClaim", "claimName"),
    };
    let mut at = path("spec.template.spec.volumes");
    at.extend([Step::Named(volume.name.clone()), kind.into(), key.into()]);
    edits.machine(machine, |document| document.set(&at, &Value::from(claim)).map(Some))
}

/// How the new disk is stored: as the old one, as large as it has grown.
fn storage(definition: &Definition, old: &Disk) -> Result<Storage, Failure> {
    let document = old.file.as_ref().and_then(|file| {
        let documents = vm::chart::objects(file, definition.files.get(file)?).ok()?;
        documents.into_iter().find(|d| d.pointer("/metadata/name").is_some_and(|name| *name == old.claim))
    });
    let place = document.as_ref().and_then(|document| {
        ["/spec/storage", "/spec/pvc"].iter().find_map(|at| document.pointer(at)).or(document.get("spec"))
    });
    let text = |key: &str| place.and_then(|place| place.get(key)?.as_str()).map(str::to_owned);
    let modes = place.and_then(|place| place.get("accessModes")?.as_array());
    let mut asked = definition.request.iter().flat_map(|request| &request.spec.disks);
    let asked = asked.find(|disk| disk.role == Role::Root);
    let grown = resize::grown(definition, old);
    let size = match (&old.size, grown) {
        (Some(size), Some(grown)) if size.parse::<Quantity>().is_ok_and(|size| size >= grown) => size.clone(),
        (_, Some(grown)) => grown.to_string(),
        (Some(size), None) => size.clone(),
        (None, None) => asked.map(|disk| disk.size.to_string()).ok_or_else(|| {
            no(&format!("how large the boot disk `{}` is cannot be told from Git", old.claim))
        })?,
    };
    let class = match place {
        Some(_) => text("storageClassName"),
        None => asked.and_then(|disk| disk.storage_class.as_ref()).map(ToString::to_string),
    };
    Ok(Storage {
        size,
        class,
        access_modes: modes.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        volume_mode: text("volumeMode"),
    })
}
