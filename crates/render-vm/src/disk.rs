//! A disk's `DataVolume`: from what it is filled, and how it is stored.

use serde_json::{Value, json};
use vm::name::{Label, Subdomain};
use vm::request::{Image, Target};

/// What a golden image was resolved to: the boot disk is cloned from exactly this, whatever the `DataSource` names later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// Its namespace.
    pub namespace: Label,
    /// Its name.
    pub name: Subdomain,
    /// What it is.
    pub kind: ImageKind,
}

/// What a golden image is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ImageKind {
    /// A `PersistentVolumeClaim`
    Pvc,
    /// A `VolumeSnapshot`
    Snapshot,
}

/// From what a disk is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Blank,
    DataSource {
        namespace: String,
        name: String,
    },
    /// A golden image that was resolved, and the `DataSource` that named it.
    Clone {
        source: ImageSource,
        data_source: String,
    },
    Registry {
        url: String,
        /// For which CPUs, where the image is for several.
        architecture: Option<String>,
    },
    Http(String),
    /// A `VolumeSnapshot` beside the disk.
    Snapshot(String),
}

impl Content {
    /// What the image says of the boot disk of a machine with these CPUs.
    pub(crate) fn new(
        image: &Image,
        target: &Target,
        architecture: Option<&str>,
        resolved: Option<&ImageSource>,
    ) -> Result<Self, String> {
        Ok(match (image, resolved) {
            (Image::DataSource { name, namespace }, resolved) => {
                let namespace = namespace.as_ref().unwrap_or(&target.namespace);
                match resolved {
                    Some(source) => {
                        Self::Clone { source: source.clone(), data_source: format!("{namespace}/{name}") }
                    }
                    None => Self::DataSource { namespace: namespace.to_string(), name: name.to_string() },
                }
            }
            (_, Some(_)) => return Err("only an image of the source `data-source` is resolved".to_owned()),
            (Image::Registry { reference }, None) => Self::Registry {
                url: format!("docker://{reference}"),
                architecture: architecture.map(str::to_owned),
            },
            (Image::Http { url }, None) => Self::Http(url.to_string()),
            (Image::Snapshot { name }, None) => Self::Snapshot(name.to_string()),
            (Image::ContainerDisk { .. } | Image::Pvc { .. }, None) => Self::Blank,
        })
    }
}

/// How a disk is stored; what is absent is the cluster's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Storage {
    pub(crate) size: String,
    pub(crate) class: Option<String>,
    pub(crate) access_modes: Vec<String>,
    pub(crate) volume_mode: Option<String>,
}

/// The file of a boot disk in its machine's folder, by the generation of the request that made it.
pub(crate) fn root_file(generation: &str) -> String {
    format!("disk-root-{generation}.yaml")
}

/// What the template of a `DataVolume` may place. Keys that do not apply are `null`: it branches on nothing else.
///
/// It never asks for immediate binding (`cdi.kubevirt.io/storage.bind.immediate.requested`): on storage that waits for its
/// first consumer that would pin the volume to a node, or a zone, where the machine may not fit. KubeVirt itself is
/// the consumer when the machine starts; a machine born stopped gets its disk at its first start.
pub(crate) fn context(
    name: &str,
    target: &Target,
    keep: bool,
    content: &Content,
    storage: &Storage,
) -> Value {
    let mut values = json!({
        "name": name,
        "namespace": target.namespace,
        "keep": keep,
        "cloned_for": null,
        "clone_pvc": null,
        "clone_snapshot": null,
        "data_source": null,
        "registry": null,
        "http_url": null,
        "size": storage.size,
        "storage_class": storage.class,
        "access_modes": storage.access_modes,
        "volume_mode": storage.volume_mode,
    });
    let place = |namespace: &dyn ToString, name: &dyn ToString| json!({ "namespace": namespace.to_string(), "name": name.to_string() });
    let mut set = |key: &str, value: Value| {
        values[key] = value;
    };
    match content {
        Content::Blank => {}
        Content::DataSource { namespace, name } => set("data_source", place(namespace, name)),
        Content::Clone { source, data_source } => {
            let key = match source.kind {
                ImageKind::Pvc => "clone_pvc",
                ImageKind::Snapshot => "clone_snapshot",
            };
            set(key, place(&source.namespace, &source.name));
            set("cloned_for", Value::from(data_source.as_str()));
        }
        Content::Registry { url, architecture } => {
            set("registry", json!({ "url": url, "architecture": architecture }));
        }
        Content::Http(url) => set("http_url", Value::from(url.as_str())),
        // the namespace is never the request's to say
        Content::Snapshot(name) => set("clone_snapshot", place(&target.namespace, name)),
    }
    values
}
