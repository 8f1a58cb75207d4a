//! The `VirtualMachine` in a machine's folder, and its disks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Unreadable, overlay};
use crate::chart;
use crate::layout::{DELETE_PROTECTION_LABEL, ENVIRONMENT_LABEL, OPERATIONS, PROTECTED_LABEL, ROOT};
use crate::quantity;
use crate::request::Target;

/// A machine as Git has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The file that holds it, by path in the repository.
    pub path: String,
    /// The file that says whether it runs: the same, one of the overlay that it is applied by, or further values of its chart.
    pub power_path: String,
    /// The file that says how much memory it has, likewise.
    pub memory_path: String,
    /// Which of the file's objects it is, from 0; empty documents do not count.
    pub index: usize,
    /// The `VirtualMachine`, with what the overlay sets.
    pub document: Value,
    /// The run strategy in KubeVirt's words, `Always` and `Halted` where the file has `running`.
    pub run_strategy: String,
    /// Its volumes, in their order.
    pub volumes: Vec<Volume>,
    /// Its disks with a claim, in the order of the volumes.
    pub disks: Vec<Disk>,
}

/// The virtual CPUs of a machine: sockets × cores × threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// Sockets; the one number that can change while the machine runs.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
}

/// A volume of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name within the machine.
    pub name: String,
    /// What it is.
    pub source: Source,
    /// Whether the machine boots from it.
    pub boot: bool,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A `PersistentVolumeClaim`.
    Claim(String),
    /// A `DataVolume`, whose claim has the same name.
    DataVolume(String),
    /// A container disk, by its image: what the guest writes is lost at each stop.
    ContainerDisk(String),
    /// Anything else, by the field's name: `cloudInitNoCloud`, `secret`, ….
    Other(String),
}

/// A disk with a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Disk {
    /// Its name within the machine: that of the volume.
    pub name: String,
    /// Its claim.
    pub claim: String,
    /// Whether the machine boots from it.
    pub boot: bool,
    /// The file in the machine's folder that makes the claim, by path in the repository; none if it is made elsewhere, or
    /// by the machine itself.
    pub file: Option<String>,
    /// Whether the machine itself makes it (`dataVolumeTemplates`), so that it dies with the machine.
    pub template: bool,
    /// The size that is asked for, as it is written; the largest if several files ask.
    pub size: Option<String>,
    /// Whether a file in the folder makes the claim itself, rather than a `DataVolume` that makes it: Argo CD holds such a claim
    /// to the size in the file.
    pub claim_file: bool,
    /// Whether Argo CD leaves it when its file, or the Application, goes: `Prune=false` and `Delete=false`.
    pub kept: bool,
}

impl Machine {
    /// The machine of this name among the files of its folder.
    pub(super) fn find(
        files: &BTreeMap<String, Vec<u8>>,
        target: &Target,
    ) -> Result<Option<Self>, Unreadable> {
        let folder = format!("{}/", target.path());
        let (mut machines, mut makers, mut unreadable) = (Vec::new(), Vec::new(), None);
        for (path, bytes) in files {
            let within = path.strip_prefix(&folder).unwrap_or_default();
            let manifest = [".yaml", ".yml", ".json"].iter().any(|form| within.ends_with(form));
            if !manifest || within.starts_with(&format!("{OPERATIONS}/")) || overlay::is_patch(within) {
                continue;
            }
            match chart::objects(path, bytes) {
                Ok(documents) => {
                    for (index, document) in documents.into_iter().enumerate() {
                        match kind(&document) {
                            ("kubevirt.io", "VirtualMachine") => machines.push((path, index, document)),
                            ("cdi.kubevirt.io", "DataVolume") | ("", "PersistentVolumeClaim") => {
                                makers.push((path.as_str(), document));
                            }
                            _ => {}
                        }
                    }
                }
                Err(why) => {
                    unreadable.get_or_insert(Unreadable { path: path.clone(), why });
                }
            }
        }
        // what an overlay patches looks like a machine
        let patched = |path: &str| overlay::is_in_one(path.strip_prefix(&folder).unwrap_or_default());
        if machines.iter().any(|(path, ..)| !patched(path)) {
            machines.retain(|(path, ..)| !patched(path));
        }
        let named = |document: &Value| text(document, "/metadata/name") == Some(target.name.as_str());
        let other =
            machines.iter().find(|(_, _, document)| !named(document)).map(|(path, ..)| (*path).clone());
        machines.retain(|(_, _, document)| named(document));
        match (machines.pop(), machines.pop()) {
            (Some((path, ..)), Some(_)) => Err(Unreadable {
                path: path.clone(),
                why: format!("a second `VirtualMachine` with the name `{}`", target.name),
            }),
            (Some((path, index, document)), None) => Self::new(path, index, document, &makers).map(Some),
            (None, _) => match (unreadable, other) {
                (Some(unreadable), _) => Err(unreadable),
                (None, Some(path)) => Err(Unreadable {
                    path,
                    why: format!("a `VirtualMachine` with another name than its folder, `{}`", target.name),
                }),
                (None, None) => Ok(None),
            },
        }
    }

    fn new(path: &str, index: usize, document: Value, makers: &[(&str, Value)]) -> Result<Self, Unreadable> {
        let run_strategy = match (document.pointer("/spec/runStrategy"), document.pointer("/spec/running")) {
            (Some(Value::String(strategy)), None) => strategy.clone(),
            (None, Some(Value::Bool(true))) => "Always".to_owned(),
            (None, Some(Value::Bool(false))) => "Halted".to_owned(),
            _ => {
                return Err(Unreadable {
                    path: path.to_owned(),
                    why: "the `VirtualMachine` needs either `spec.runStrategy` or `spec.running`".to_owned(),
                });
            }
        };
        let volumes = volumes(&document);
        let disks = volumes.iter().filter_map(|volume| Disk::new(volume, &document, makers)).collect();
        let path = path.to_owned();
        Ok(Self {
            power_path: path.clone(),
            memory_path: path.clone(),
            path,
            index,
            document,
            run_strategy,
            volumes,
            disks,
        })
    }

    /// The folder of the file that holds it, by path in the repository.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The name of the file that holds it.
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it stands in the values of a chart.
    pub fn is_in_values(&self) -> bool {
        chart::is_values(&self.path)
    }

    /// Whether Git wants it to run: all strategies but `Halted`.
    pub fn is_on(&self) -> bool {
        self.run_strategy != "Halted"
    }

    /// The volume that it boots from.
    pub fn boot(&self) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.boot)
    }

    /// The disk with a claim that it boots from.
    pub fn boot_disk(&self) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.boot)
    }

    /// The disk of this name within the machine; `root` is also the boot disk, whatever its volume is called.
    pub fn disk(&self, name: &str) -> Option<&Disk> {
        let named = self.disks.iter().find(|disk| disk.name == name);
        named.or_else(|| self.boot_disk().filter(|_| name == ROOT))
    }

    /// The disks that it does not boot from.
    pub fn data_disks(&self) -> impl Iterator<Item = &Disk> {
        self.disks.iter().filter(|disk| !disk.boot)
    }

    /// Its virtual CPUs; none if the file says nothing of them, as with an instance type.
    pub fn cpu(&self) -> Option<Cpu> {
        let cpu = self.document.pointer("/spec/template/spec/domain/cpu")?;
        // KubeVirt takes 1 for what is absent (pkg/vcpu, GetRequestedResources)
        let number = |field: &str| match cpu.get(field) {
            None => Some(1),
            Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        Some(Cpu { sockets: number("sockets")?, cores: number("cores")?, threads: number("threads")? })
    }

    /// Its guest memory as it is written; none if the file says nothing of it, as with an instance type.
    pub fn memory(&self) -> Option<&str> {
        text(&self.document, "/spec/template/spec/domain/memory/guest")
    }

    /// The instance type, if it has one.
    pub fn instance_type(&self) -> Option<&str> {
        text(&self.document, "/spec/instancetype/name")
    }

    /// The kind of its CPUs, if its file says one.
    pub fn architecture(&self) -> Option<&str> {
        text(&self.document, "/spec/template/spec/architecture")
    }

    /// The environment that its label names.
    pub fn labelled_environment(&self) -> Option<&str> {
        self.label(ENVIRONMENT_LABEL).and_then(Value::as_str)
    }

    fn label(&self, key: &str) -> Option<&Value> {
        self.document.pointer("/metadata/labels")?.get(key)
    }

    /// Whether a label protects it.
    pub fn labelled_protected(&self) -> bool {
        [PROTECTED_LABEL, DELETE_PROTECTION_LABEL].iter().any(|label| match self.label(label) {
            Some(Value::String(text)) => text == "true" || text == "True",
            Some(Value::Bool(is)) => *is,
            _ => false,
        })
    }
}

impl Disk {
    fn new(volume: &Volume, machine: &Value, makers: &[(&str, Value)]) -> Option<Self> {
        let (Source::Claim(claim) | Source::DataVolume(claim)) = &volume.source else { return None };
        let named = |document: &Value| text(document, "/metadata/name") == Some(claim);
        // a claim may be declared beside its DataVolume, which itself cannot change
        let of_it = || makers.iter().filter(|(_, document)| named(document));
        let maker = of_it().find(|(_, document)| kind(document).1 == "DataVolume").or_else(|| of_it().next());
        let sizes = of_it().filter_map(|(_, document)| size(document));
        let templates = machine.pointer("/spec/dataVolumeTemplates").and_then(Value::as_array);
        let template = templates.into_iter().flatten().find(|document| named(document));
        Some(Self {
            name: volume.name.clone(),
            claim: claim.clone(),
            boot: volume.boot,
            file: maker.map(|(path, _)| (*path).to_owned()),
            template: template.is_some(),
            size: sizes.max_by_key(|size| quantity::bytes(size)).or_else(|| template.and_then(size)),
            claim_file: of_it().any(|(_, document)| kind(document).1 == "PersistentVolumeClaim"),
            kept: maker.is_some_and(|(_, document)| kept(document)),
        })
    }
}

/// The API group and the kind of an object.
fn kind(document: &Value) -> (&str, &str) {
    let version = text(document, "/apiVersion").unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    (group, text(document, "/kind").unwrap_or_default())
}

fn volumes(machine: &Value) -> Vec<Volume> {
    let list = |pointer: &str| machine.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    // KubeVirt boots from the lowest bootOrder, else from the first disk in the list (user guide, boot order)
    let name = |item: &Value| text(item, "/name").map(str::to_owned);
    let order = |disk: &&Value| disk.get("bootOrder").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let boot = list("/spec/template/spec/domain/devices/disks").min_by_key(order).and_then(name);
    let named: Vec<(String, Source)> = list("/spec/template/spec/volumes")
        .filter_map(|volume| Some((name(volume)?, source(volume))))
        .collect();
    // a volume without a disk is given one by KubeVirt, in the order of the volumes
    let boot = boot.or_else(|| named.first().map(|(name, _)| name.clone()));
    named
        .into_iter()
        .map(|(name, source)| Volume { boot: boot.as_deref() == Some(&name), name, source })
        .collect()
}

fn source(volume: &Value) -> Source {
    let at = |pointer: &str| text(volume, pointer).map(str::to_owned);
    if let Some(claim) = at("/persistentVolumeClaim/claimName") {
        return Source::Claim(claim);
    }
    if let Some(name) = at("/dataVolume/name") {
        return Source::DataVolume(name);
    }
    if let Some(image) = at("/containerDisk/image") {
        return Source::ContainerDisk(image);
    }
    let fields = volume.as_object().into_iter().flatten();
    Source::Other(fields.map(|(field, _)| field.clone()).find(|field| field != "name").unwrap_or_default())
}

fn size(document: &Value) -> Option<String> {
    let places = ["/spec/storage", "/spec/pvc", "/spec"];
    let found =
        places.iter().find_map(|place| document.pointer(&format!("{place}/resources/requests/storage")))?;
    found.as_str().map(str::to_owned).or_else(|| found.as_u64().map(|bytes| bytes.to_string()))
}

fn kept(document: &Value) -> bool {
    let annotations = document.pointer("/metadata/annotations");
    let options = annotations.and_then(|all| all.get("argocd.argoproj.io/sync-options")?.as_str());
    let has =
        |wanted: &str| options.is_some_and(|text| text.split(',').any(|option| option.trim() == wanted));
    has("Prune=false") && has("Delete=false")
}

fn text<'a>(document: &'a Value, pointer: &str) -> Option<&'a str> {
    document.pointer(pointer).and_then(Value::as_str)
}
