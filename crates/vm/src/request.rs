//! The request as everything after `validate-request` sees it: every default explicit, every value right by its type.
//!
//! The published schema is `crates/vm/schema/vmrequest.v1alpha1.json`; a test holds it and these types together.
//!
//! [`Request`] is the request for a new machine; those about a machine that is there are [`crate::day_two::Request`], and
//! [`Accepted`] is either.

mod accepted;
mod access;
mod hardware;
mod lifecycle;
mod network;
mod reference;
mod template;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{
    HttpUrl, ImageReference, Label, LabelKey, LabelValue, Line, Package, RequestId, Subdomain, TimeZone,
};
use crate::quantity::Quantity;

pub use accepted::Accepted;
pub use access::{Access, Propagation, SshKeySecret};
pub use hardware::{Device, Devices};
pub use lifecycle::Lifecycle;
pub use network::{Binding, Network, NetworkKind, NetworkModel};
pub use reference::{ConfigDisk, Reference};
pub use template::{Parameter, Template};

/// The one `apiVersion`.
pub const API_VERSION: &str = "vmlifecycle.dev/v1alpha1";
/// The one `kind`.
pub const KIND: &str = "VMRequest";
/// A request is at most this many bytes: it travels as one Tekton param.
pub const MAX_BYTES: usize = 64 * 1024;

/// One accepted request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Always [`API_VERSION`].
    pub api_version: ApiVersion,
    /// Always [`KIND`].
    pub kind: Kind,
    /// Who asks, why, and under which id.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: Spec,
}

/// [`API_VERSION`] as a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// The first version.
    #[serde(rename = "vmlifecycle.dev/v1alpha1")]
    V1Alpha1,
}

/// [`KIND`] as a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The only kind.
    #[serde(rename = "VMRequest")]
    VmRequest,
}

/// Who asks, why, and under which id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The idempotency key: the same id with the same content is done once, with other content it is a conflict.
    pub request_id: RequestId,
    /// The person or system that asks.
    pub requested_by: Line,
    /// The team it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Line>,
    /// The change or ticket it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Line>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Line>,
    /// When, RFC 3339; becomes the time of the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<jiff::Timestamp>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The operation.
    pub operation: Operation,
    /// Which machine.
    pub target: Target,
    /// How large it is.
    pub compute: Compute,
    /// What it boots from.
    pub image: Image,
    /// Its disks.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Its disks with what a ConfigMap or a Secret holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_disks: Vec<ConfigDisk>,
    /// Its network interfaces.
    #[serde(default = "Network::pod_only")]
    pub networks: Vec<Network>,
    /// Who may log in.
    #[serde(default)]
    pub access: Access,
    /// What cloud-init does at first boot.
    #[serde(default)]
    pub customization: Customization,
    /// Labels of the machine and of its pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Annotations of the machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<LabelKey, Line>,
    /// Labels that its node has to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<LabelKey, LabelValue>,
    /// Devices of its node.
    #[serde(default, skip_serializing_if = "Devices::is_empty")]
    pub devices: Devices,
    /// A template of the site's own. Not written when absent, so that digests stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Whether it runs.
    #[serde(default)]
    pub power: Power,
    /// How it is shut down, whose it is and until when.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// What has to hold before the flow reports it ready.
    #[serde(default)]
    pub checks: Checks,
}

/// The operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A new machine.
    Provision,
}

impl Operation {
    /// The word in the request, in commits and in events.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Provision => "provision",
        }
    }
}

/// Which machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// The name of the `VirtualMachine`.
    pub name: Label,
    /// Its namespace.
    pub namespace: Label,
    /// Its cluster, by the name that Argo CD has for it; `in-cluster` is Argo CD's own.
    #[serde(default = "Target::in_cluster")]
    pub cluster: Label,
}

/// How large the machine is: an instance type, or CPUs and memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compute {
    /// A `VirtualMachineClusterInstancetype`, such as `u1.medium`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<Subdomain>,
    /// A `VirtualMachineClusterPreference`, such as `rhel.9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference: Option<Subdomain>,
    /// Of which kind its CPUs are, and its boot disk, where an image has several; else as KubeVirt has it by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// Virtual CPUs, 1 to 512; rendered as sockets, which can grow while the machine runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
    /// Guest memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// A kind of CPU that KubeVirt runs machines on (KubeVirt v1.8 `pkg/virt-api/webhooks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
    /// IBM Z.
    S390x,
}

impl Architecture {
    /// As Kubernetes writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::S390x => "s390x",
        }
    }
}

/// What the machine boots from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Image {
    /// A container disk: what the guest writes is lost at each stop.
    ContainerDisk {
        /// The image that holds the disk.
        reference: ImageReference,
    },
    /// A golden image that CDI keeps: a `DataSource`, cloned to the boot disk.
    DataSource {
        /// Its name.
        name: Subdomain,
        /// Its namespace; the site's image namespace by policy, else the machine's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<Label>,
    },
    /// A disk in a container registry, imported to the boot disk.
    Registry {
        /// The image that holds the disk.
        reference: ImageReference,
    },
    /// A disk file on a web server, imported to the boot disk.
    Http {
        /// Where it is.
        url: HttpUrl,
    },
    /// A `PersistentVolumeClaim` that exists in the machine's namespace; used as it is, not copied.
    Pvc {
        /// Its name.
        claim: Subdomain,
    },
    /// A `VolumeSnapshot` in the machine's namespace, such as one of a `VirtualMachineSnapshot`, copied to the boot disk.
    Snapshot {
        /// Its name. Never one of another namespace: who may make machines here may use what is kept here.
        name: Subdomain,
    },
}

/// A disk with a `DataVolume` of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disk {
    /// Its name within the machine; the boot disk is called `root`.
    pub name: Label,
    /// Boot disk or data disk.
    #[serde(default)]
    pub role: Role,
    /// Its size.
    pub size: Quantity,
    /// The storage tier; the site's policy maps it to a storage class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Label>,
    /// The storage class; absent means the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<Subdomain>,
    /// What a data disk starts with; absent means that it starts empty, and is not written, so that digests stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DiskSource>,
}

/// What a data disk starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskSource {
    /// The name of a `VolumeSnapshot` in the machine's namespace, copied to the disk.
    pub snapshot: Subdomain,
}

/// What a disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The machine boots from it.
    Root,
    /// It holds data, starts empty unless it has a `source`, and outlives the machine.
    #[default]
    Data,
}

/// What cloud-init does at first boot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Customization {
    /// The guest's host name; the machine's name unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Label>,
    /// An IANA time zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<TimeZone>,
    /// Packages to install.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// A whole cloud-config, where the policy allows it; excludes everything else that makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// A Secret in the machine's namespace with the key `userdata`, where the policy allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data_secret: Option<Subdomain>,
    /// The answer files of Windows setup, where the policy allows it; excludes whatever makes a cloud-config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysprep: Option<Reference>,
}

/// Whether the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// `runStrategy: Always`.
    #[default]
    On,
    /// `runStrategy: Halted`.
    Off,
}

impl Power {
    /// KubeVirt's word.
    pub const fn run_strategy(self) -> &'static str {
        match self {
            Self::On => "Always",
            Self::Off => "Halted",
        }
    }
}

/// What has to hold, besides Running and Ready, before the flow reports the machine ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checks {
    /// The guest agent is connected.
    #[serde(default)]
    pub guest_agent: bool,
    /// The machine has an address.
    #[serde(default)]
    pub ip: bool,
    /// This TCP port of the machine's address accepts connections, 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_port: Option<u16>,
}

impl Target {
    fn in_cluster() -> Label {
        crate::layout::in_cluster()
    }
}

impl Image {
    /// Whether the boot disk is a `DataVolume` of the machine's own, so that `disks` must hold a `root`.
    pub const fn has_root_disk(&self) -> bool {
        matches!(
            self,
            Self::DataSource { .. } | Self::Registry { .. } | Self::Http { .. } | Self::Snapshot { .. }
        )
    }
}
