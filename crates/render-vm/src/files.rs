//! Which files one request becomes, and what stands in them (design.md 5). Every composed name is made here, whole; the
//! templates only place it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vm::layout::{BASE, KUSTOMIZATION_FILE, MACHINE_FILE, REQUEST_FILE, ROOT};
use vm::request::{Accepted, Architecture, Disk, Image, Propagation, Reference, Request, Role};

use crate::access;
use crate::chart;
use crate::disk::{self, Storage};
use crate::layout::{self, Layout};
use crate::lock::{Broken, Expected};
use crate::network;
use crate::site::Site;
use crate::template::{Template, Templates};

/// The volume that holds the cloud-init data; a data disk may not be called so.
const CLOUD_INIT: &str = "cloud-init";
/// The volume that holds the answer files of Windows setup, likewise.
const SYSPREP: &str = "sysprep";

/// Under this key the template of a site finds what the request gives it.
pub(crate) const PARAMETERS: &str = "parameters";

/// Files by their path relative to the root of the repository, `/` between the parts.
pub type Files = BTreeMap<String, String>;

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The request asks for what cannot be rendered; `validate-request` lets none of these pass.
    #[error("{0}")]
    Request(String),
    /// A template broke the lock: a bug of this program.
    #[error("template for `{0}`: {1}")]
    Template(String, Broken),
    /// What was written is not what is read back: a bug of this program.
    #[error("`{0}` does not read back as it was written")]
    ReadBack(String),
}

/// Render all files of a request. The same request and site give the same bytes.
///
/// # Errors
///
/// See [`Refused`].
pub fn render(templates: &Templates, request: &Request, site: &Site) -> Result<Files, Refused> {
    layout::packed(manifests(templates, request, site)?, request, site)
}

/// All files, each object in its own.
pub(crate) fn manifests(templates: &Templates, request: &Request, site: &Site) -> Result<Files, Refused> {
    let wanted = wanted(request, site)?;
    let mut files = Files::new();
    for one in &wanted {
        files.insert(one.path.clone(), one.render(templates)?);
    }
    files.insert(format!("{}/{REQUEST_FILE}", request.spec.target.path()), request_file(request)?);
    Ok(files)
}

/// One file to render.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where it goes.
    pub path: String,
    /// By which template.
    pub template: Template,
    /// What the template may place.
    pub context: Value,
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
}

impl Wanted {
    /// Render it under the structure lock.
    pub(crate) fn render(&self, templates: &Templates) -> Result<String, Refused> {
        templates
            .lock(self.template, &self.context)
            .and_then(|lock| lock.render(templates, &self.context, &self.expected()))
            .map_err(|broken| Refused::Template(self.path.clone(), broken))
    }

    /// What it has to be in the end.
    pub fn expected(&self) -> Expected<'_> {
        Expected { name: self.name.as_deref(), namespace: self.namespace.as_deref() }
    }
}

/// The files to render for a request, the machine's disks first.
///
/// # Errors
///
/// [`Refused::Request`].
pub fn wanted(request: &Request, site: &Site) -> Result<Vec<Wanted>, Refused> {
    let target = &request.spec.target;
    let folder = match site.layout {
        Layout::Kustomize { .. } => format!("{}/{BASE}", target.path()),
        Layout::Manifests | Layout::HelmValues => target.path(),
    };
    let (name, namespace) = (target.name.to_string(), target.namespace.to_string());
    let in_namespace = |path: String, template, context: Value, name: String| Wanted {
        path,
        template,
        context,
        name: Some(name),
        namespace: Some(namespace.clone()),
    };

    let mut own = Vec::new();
    for disk in &request.spec.disks {
        let (file, volume) = match disk.role {
            Role::Root => (disk::root_file(&request.generation()), request.volume(ROOT)),
            Role::Data => (format!("disk-{}.yaml", disk.name), request.volume(disk.name.as_str())),
        };
        own.push((file, Template::DataVolume, data_volume(request, disk, &volume, site)?, volume));
    }
    own.push((MACHINE_FILE.to_owned(), Template::VirtualMachine, machine(request)?, name));
    refuse_doubles("file", own.iter().map(|(file, ..)| file.as_str()))?;

    let resources: Vec<&str> = own.iter().map(|(file, ..)| file.as_str()).collect();
    let kustomization = Wanted {
        path: format!("{folder}/{KUSTOMIZATION_FILE}"),
        template: Template::Kustomization,
        context: json!({ "resources": resources, "configurations": site.layout.configurations() }),
        name: None,
        namespace: None,
    };
    let namespace_file = Wanted {
        path: target.namespace_path(),
        template: Template::Namespace,
        context: json!({ "name": target.namespace }),
        name: Some(namespace.clone()),
        namespace: None,
    };
    let application = Wanted {
        path: target.application_path(),
        template: Template::Application,
        context: application(request, site),
        name: Some(target.application()),
        namespace: Some(site.application_namespace.clone()),
    };
    let mut wanted: Vec<Wanted> = own
        .into_iter()
        .map(|(file, template, context, name)| {
            in_namespace(format!("{folder}/{file}"), template, context, name)
        })
        .collect();
    wanted.extend([namespace_file, application]);
    match &site.layout {
        Layout::Manifests => wanted.push(kustomization),
        Layout::Kustomize { environment } => {
            wanted.push(kustomization);
            wanted.extend(layout::overlay(request, environment));
        }
        // a folder that has one is none of Helm's to Argo CD
        Layout::HelmValues => {}
    }
    Ok(wanted)
}

/// The context of the `VirtualMachine`. Keys that do not apply are `null`: the templates branch on nothing else.
fn machine(request: &Request) -> Result<Value, Refused> {
    let spec = &request.spec;
    let uuid = request.firmware_uuid();
    let data_disks: Vec<Value> = spec
        .disks
        .iter()
        .filter(|disk| disk.role == Role::Data)
        .map(|disk| json!({ "name": disk.name, "claim": request.volume(disk.name.as_str()) }))
        .collect();
    let config_disks: Vec<Value> = spec
        .config_disks
        .iter()
        .map(|disk| {
            let mut context = reference(disk.name.as_str(), &disk.source);
            context["serial"] = json!(disk.serial);
            context
        })
        .collect();
    let interfaces: Vec<Value> =
        spec.networks.iter().map(|network| network::context(request, network)).collect::<Result<_, _>>()?;
    let cloud_init = cloud_init(request)?;
    let sysprep = &spec.customization.sysprep;
    if sysprep.is_some() && cloud_init.is_object() {
        return Err(refused("`/spec/customization/sysprep` stands beside what makes a cloud-config"));
    }
    let names = spec.disks.iter().filter(|disk| disk.role == Role::Data).map(|disk| disk.name.as_str());
    let own =
        cloud_init.is_object().then_some(CLOUD_INIT).into_iter().chain(sysprep.as_ref().map(|_| SYSPREP));
    let shown = spec.config_disks.iter().map(|disk| disk.name.as_str());
    refuse_doubles("disk", names.chain(["root"]).chain(own).chain(shown))?;
    refuse_doubles("network", spec.networks.iter().map(|network| network.name.as_str()))?;
    network::one_primary(&spec.networks)?;
    let devices = &spec.devices;
    refuse_doubles("GPU", devices.gpus.iter().map(|device| device.name.as_str()))?;
    refuse_doubles("host device", devices.host_devices.iter().map(|device| device.name.as_str()))?;
    if let Some(key) = spec.labels.keys().chain(spec.annotations.keys()).find(|key| key.platform().is_some())
    {
        return Err(refused(format!("the key `{key}` belongs to the platform")));
    }
    let mut values = json!({
        "name": spec.target.name,
        "namespace": spec.target.namespace,
        "labels": spec.labels,
        "annotations": spec.annotations,
        "digest": request.digest(),
        "request_id": request.metadata.request_id,
        "protected": spec.lifecycle.protected,
        "environment": spec.lifecycle.environment,
        "owner": spec.lifecycle.owner,
        "cost_center": spec.lifecycle.cost_center,
        "expires_at": spec.lifecycle.expires_at,
        "maintenance_window": spec.lifecycle.maintenance_window,
        "run_strategy": spec.power.run_strategy(),
        "instance_type": spec.compute.instance_type,
        "preference": spec.compute.preference,
        "architecture": spec.compute.architecture,
        "hostname": spec.customization.hostname,
        "grace_period_seconds": spec.lifecycle.grace_period_seconds,
        "firmware_uuid": uuid,
        "firmware_serial": uuid,
        "size": size(request)?,
        "boot": boot(request)?,
        "data_disks": data_disks,
        "config_disks": config_disks,
        "interfaces": interfaces,
        "node_selector": spec.node_selector,
        "gpus": devices.gpus,
        "host_devices": devices.host_devices,
        "cloud_init": cloud_init,
        "ssh_keys": access::ssh_keys(request)?,
        "password_secret": spec.access.password_secret,
        "sysprep": sysprep.as_ref().map(|files| reference(SYSPREP, files)),
    });
    // the built-in template takes none, and a value that is not placed is refused
    if let Some(template) = &spec.template {
        values[PARAMETERS] = json!(template.parameters);
    }
    Ok(values)
}

/// CPU and memory, or `null` where an instance type brings them: KubeVirt refuses both.
fn size(request: &Request) -> Result<Value, Refused> {
    let compute = &request.spec.compute;
    match (&compute.instance_type, compute.cpu, compute.memory) {
        (Some(_), None, None) => Ok(Value::Null),
        (None, Some(cpu), Some(memory)) if cpu > 0 => Ok(json!({ "sockets": cpu, "memory": memory })),
        _ => Err(refused("`/spec/compute` needs either `instanceType` or both `cpu` and `memory`")),
    }
}

/// The boot volume: a container disk, the claim of the boot disk's `DataVolume`, or a claim that is there already.
fn boot(request: &Request) -> Result<Value, Refused> {
    let roots = request.spec.disks.iter().filter(|disk| disk.role == Role::Root).count();
    if roots != usize::from(request.spec.image.has_root_disk()) {
        return Err(refused(format!(
            "`/spec/disks` holds {roots} disks of role `root`, but the image needs {}",
            usize::from(request.spec.image.has_root_disk())
        )));
    }
    let (image, claim) = match &request.spec.image {
        Image::ContainerDisk { reference } => (Some(reference.to_string()), None),
        Image::Pvc { claim } => (None, Some(claim.to_string())),
        Image::DataSource { .. } | Image::Registry { .. } | Image::Http { .. } | Image::Snapshot { .. } => {
            (None, Some(request.volume(ROOT)))
        }
    };
    Ok(json!({ "name": ROOT, "image": image, "claim": claim }))
}

fn cloud_init(request: &Request) -> Result<Value, Refused> {
    let secret = &request.spec.customization.user_data_secret;
    let at_boot = access::at_boot(request)?;
    // keys travel beside the user data, and KubeVirt takes no volume without any
    let alone = || (secret.is_none() && at_boot.is_some()).then(|| format!("{}\n", vm::cloud_init::HEADER));
    let user_data = vm::cloud_init::user_data(request).or_else(alone);
    if secret.is_none() && user_data.is_none() {
        return Ok(Value::Null);
    }
    let length = user_data.as_ref().map_or(0, String::len);
    if length > vm::cloud_init::MAX_BYTES {
        return Err(refused(format!(
            "cloud-init user data is {length} bytes, KubeVirt takes at most {} inline; `/spec/customization/userDataSecret` has no such limit",
            vm::cloud_init::MAX_BYTES
        )));
    }
    // Kustomize, which Argo CD runs, writes a string raw before it reads it again, and YAML has no such characters raw
    let unreadable =
        |c: &char| c.is_control() && !matches!(c, '\n' | '\t' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}');
    if let Some(c) = user_data.iter().flat_map(|text| text.chars()).find(unreadable) {
        return Err(refused(format!(
            "cloud-init user data holds the character U+{:04X}, which Kustomize cannot read",
            u32::from(c)
        )));
    }
    let drive = at_boot == Some(Propagation::ConfigDrive);
    Ok(json!({ "name": CLOUD_INIT, "secret": secret, "user_data": user_data, "config_drive": drive }))
}

/// The context of a volume with what the cluster has already.
fn reference(name: &str, reference: &Reference) -> Value {
    json!({ "name": name, "config_map": reference.config_map(), "secret": reference.secret() })
}

/// The context of a disk's `DataVolume`.
fn data_volume(request: &Request, disk: &Disk, name: &str, site: &Site) -> Result<Value, Refused> {
    let source = match (disk.role, &disk.source) {
        (Role::Root, None) => {
            let image = &request.spec.image;
            let architecture = request.spec.compute.architecture.map(Architecture::word);
            disk::Content::new(image, &request.spec.target, architecture, site.image_source.as_ref())
                .map_err(refused)?
        }
        (Role::Root, Some(_)) => return Err(refused("the boot disk has a `source` beside the image")),
        (Role::Data, None) => disk::Content::Blank,
        (Role::Data, Some(source)) => disk::Content::Snapshot(source.snapshot.to_string()),
    };
    let storage = Storage {
        size: disk.size.to_string(),
        class: disk.storage_class.as_ref().map(ToString::to_string),
        ..Storage::default()
    };
    let keep = disk.role == Role::Data;
    Ok(disk::context(name, &request.spec.target, keep, &source, &storage))
}

fn application(request: &Request, site: &Site) -> Value {
    let target = &request.spec.target;
    let (path, release) = match &site.layout {
        Layout::Manifests => (target.path(), None),
        Layout::Kustomize { environment } => (target.overlay_path(environment), None),
        Layout::HelmValues => (target.path(), Some(chart::RELEASE)),
    };
    let cluster = if site.destination_server.is_some() { None } else { Some(&target.cluster) };
    json!({
        "name": target.application(),
        "namespace": site.application_namespace,
        "project": site.project,
        "repo_url": site.repo_url,
        "branch": site.branch,
        "path": path,
        "release": release,
        "server": site.destination_server,
        "cluster": cluster,
        "target_namespace": target.namespace,
    })
}

/// The accepted request as YAML. It is read back before it is let out, by the reader of every later operation.
fn request_file(request: &Request) -> Result<String, Refused> {
    let read_back = || Refused::ReadBack(REQUEST_FILE.to_owned());
    let value = serde_json::to_value(request).map_err(|_| read_back())?;
    let text = vm::yaml::document(&value);
    match Accepted::parse(&text) {
        Ok(Accepted::Provision(read)) if read == *request => Ok(text),
        _ => Err(read_back()),
    }
}

fn refuse_doubles<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Refused> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(refused(format!("two {what}s would be called `{name}`")));
        }
    }
    Ok(())
}

pub(crate) fn refused(why: impl Into<String>) -> Refused {
    Refused::Request(why.into())
}
