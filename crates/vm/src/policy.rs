//! What a site allows in requests and what it fills in: `policy.yaml`, written by the platform team, never by a request.
//!
//! The published schema is `crates/vm/schema/vmpolicy.v1alpha1.json`; a test holds it and these types together.

mod check;
mod environment;
mod name_template;
mod node;

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::name::{Label, NetworkName, Subdomain};
use crate::quantity::Quantity;
use crate::request::ApiVersion;

pub use check::{Finding, Rule, check};
pub use environment::Environment;
pub use name_template::NameTemplate;
pub use node::{NodeDevice, NodeLabel};

/// One policy. [`Policy::default`] is what holds where a site has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyFile {
    /// Always [`crate::request::API_VERSION`].
    pub api_version: ApiVersion,
    /// Always `VMPolicy`.
    pub kind: PolicyKind,
    /// What is allowed and filled in.
    pub spec: Policy,
}

/// `VMPolicy` as a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyKind {
    /// The only kind.
    #[serde(rename = "VMPolicy")]
    VmPolicy,
}

/// What is allowed and filled in. A list that is absent or empty does not limit, unless its field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Operations that may be asked for, by their words.
    pub operations: Vec<Label>,
    /// Clusters that machines may be made on.
    pub clusters: Vec<Wildcard>,
    /// Namespaces that machines may be made in; empty means all but [`PLATFORM`].
    pub namespaces: Vec<Wildcard>,
    /// What the whole name of a machine has to match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_pattern: Option<NamePattern>,
    /// What the names of machines are made of whose requests give none; none means that each has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_template: Option<NameTemplate>,
    /// How large a machine may be.
    pub limits: Limits,
    /// Instance types that may be named.
    pub instance_types: Vec<Wildcard>,
    /// Where machines may boot from.
    pub images: Images,
    /// Networks besides the pod network: `<name>` of the machine's own namespace, or `<namespace>/<name>`; empty means none.
    pub networks: Vec<Wildcard>,
    /// Files of commands that patches may name.
    pub patch_profiles: Vec<Wildcard>,
    /// The storage class behind each tier.
    pub storage_tiers: BTreeMap<Label, Subdomain>,
    /// Storage classes that requests may name directly; empty means none.
    pub storage_classes: Vec<Wildcard>,
    /// Keys of labels that requests may give; empty means none.
    pub labels: Vec<Wildcard>,
    /// Keys of annotations that requests may give; empty means none.
    pub annotations: Vec<Wildcard>,
    /// Labels of nodes that requests may select by; empty means none.
    pub node_selector: Vec<NodeLabel>,
    /// Devices of nodes that requests may name; empty means none.
    pub devices: Vec<NodeDevice>,
    /// What else requests may do.
    pub allow: Allow,
    /// Fields that have to be filled.
    pub required: Vec<RequiredField>,
    /// The environments that machines may be of, by their names; empty means any, with nothing that holds for it alone.
    pub environments: BTreeMap<Label, Environment>,
    /// What is filled in where a request is silent.
    pub defaults: Defaults,
}

/// How large a machine may be; absent does not limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// The most virtual CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
    /// The most guest memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// The largest size of one disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<Quantity>,
    /// The most disks, the boot disk included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disks: Option<u16>,
    /// The most graphics cards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u16>,
    /// The most other devices of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_devices: Option<u16>,
    /// The most days between a request and the last day of its machine. That there is a last day is for [`Policy::required`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_days: Option<u16>,
}

/// Where machines may boot from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Images {
    /// Registries, or paths in them: `quay.io/containerdisks`. Listed ones may also be inside of the cluster.
    pub registries: Vec<String>,
    /// Addresses of disk files, or their beginnings if they end in `/`. Only listed ones may be without TLS or inside of
    /// the cluster.
    pub url_prefixes: Vec<String>,
    /// Golden images.
    pub data_sources: DataSources,
}

/// Whose golden images may be used, besides those in the machine's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DataSources {
    /// The namespace of a `DataSource` whose request names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Label>,
    /// Further namespaces; empty means none.
    pub namespaces: Vec<Wildcard>,
}

/// What else requests may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the file format")]
pub struct Allow {
    /// Bring a cloud-config of their own.
    pub user_data: bool,
    /// Name a Secret that holds the cloud-config.
    pub user_data_secret: bool,
    /// Give CPUs and memory in place of an instance type.
    pub cpu_and_memory: bool,
    /// Name another cluster than the default.
    pub cluster_by_requester: bool,
    /// Choose the addresses of network interfaces.
    pub mac_address: bool,
    /// Name a ConfigMap or a Secret that holds the answer files of Windows setup.
    pub sysprep: bool,
    /// Name Secrets that hold public keys and passwords.
    pub access_credentials: bool,
    /// Have disks with what a ConfigMap or a Secret holds.
    pub config_disks: bool,
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            user_data: false,
            user_data_secret: false,
            cpu_and_memory: true,
            cluster_by_requester: false,
            mac_address: false,
            sysprep: false,
            access_credentials: false,
            config_disks: false,
        }
    }
}

/// A field of `metadata` or, for a new machine, of `lifecycle` that a policy can require.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RequiredField {
    /// The team it is for.
    OnBehalfOf,
    /// The change or ticket.
    Ticket,
    /// Why.
    Reason,
    /// When.
    RequestedAt,
    /// Whose machine it is.
    Owner,
    /// Who pays for it.
    CostCenter,
    /// Its last day.
    ExpiresAt,
    /// When it may be worked on.
    MaintenanceWindow,
    /// What it is for, such as `prod`.
    Environment,
}

impl RequiredField {
    /// The field's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OnBehalfOf => "onBehalfOf",
            Self::Ticket => "ticket",
            Self::Reason => "reason",
            Self::RequestedAt => "requestedAt",
            Self::Owner => "owner",
            Self::CostCenter => "costCenter",
            Self::ExpiresAt => "expiresAt",
            Self::MaintenanceWindow => "maintenanceWindow",
            Self::Environment => "environment",
        }
    }

    /// Whether it belongs to a new machine, in place of every request.
    pub const fn is_of_a_machine(self) -> bool {
        !matches!(self, Self::OnBehalfOf | Self::Ticket | Self::Reason | Self::RequestedAt)
    }

    /// Where it is in a request, a JSON pointer.
    pub fn pointer(self) -> String {
        let parent = if self.is_of_a_machine() { "/spec/lifecycle" } else { "/metadata" };
        format!("{parent}/{}", self.word())
    }
}

/// What is filled in where a request is silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Defaults {
    /// The cluster.
    pub cluster: Label,
    /// The storage tier of disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<Label>,
    /// Seconds between asking the guest to shut down and pulling the plug.
    pub grace_period_seconds: u16,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            cluster: crate::layout::in_cluster(),
            tier: None,
            grace_period_seconds: crate::request::Lifecycle::default().grace_period_seconds,
        }
    }
}

/// A name, or its beginning and `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wildcard(String);

impl Wildcard {
    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        self.0.strip_suffix('*').map_or(name == self.0, |beginning| name.starts_with(beginning))
    }

    /// As it is written in the policy.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A regular expression that a whole name has to match. Rust syntax: linear time, no look-around.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern {
    text: String,
    whole: Regex,
}

impl NamePattern {
    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        self.whole.is_match(name)
    }

    /// As it is written in the policy.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for NamePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // on its own first: `a)(b` is whole only between our brackets
        let compile = |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
        compile(&text)
            .and_then(|_| compile(&format!(r"\A(?:{text})\z")))
            .map(|whole| Self { text, whole })
            .map_err(|error| {
                error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            })
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.text
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

/// Namespaces of the platform itself: no machine goes there unless the policy lists them.
pub const PLATFORM: [&str; 6] = ["kube-*", "openshift", "openshift-*", "argocd", "kubevirt", "cdi"];

impl Policy {
    /// Whether this operation may be asked for.
    pub fn allows_operation(&self, word: &str) -> bool {
        holds_word(&self.operations, word)
    }

    /// What holds for the machines of this environment.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|(known, _)| known.as_str() == name).map(|(_, environment)| environment)
    }

    /// Whether machines may be made in this namespace.
    pub fn allows_namespace(&self, namespace: &str) -> bool {
        if self.namespaces.is_empty() {
            !PLATFORM.iter().any(|name| Wildcard((*name).to_owned()).matches(namespace))
        } else {
            self.namespaces.iter().any(|name| name.matches(namespace))
        }
    }

    /// Whether golden images of this namespace may be used by a machine in `own`.
    pub fn allows_data_source(&self, namespace: &str, own: &str) -> bool {
        let sources = &self.images.data_sources;
        namespace == own
            || sources.default.as_ref().is_some_and(|name| name.as_str() == namespace)
            || sources.namespaces.iter().any(|name| name.matches(namespace))
    }

    /// Whether a machine in `own` may hang on this network. What has no namespace in the list is of the machine's own.
    pub fn allows_network(&self, network: &NetworkName, own: &str) -> bool {
        let (namespace, name) = (network.namespace().unwrap_or(own), network.name());
        self.networks.iter().any(|item| {
            if item.as_str().contains('/') {
                item.matches(&format!("{namespace}/{name}"))
            } else {
                namespace == own && item.matches(name)
            }
        })
    }

    /// Whether the list of registries names this image's place.
    pub fn lists_image(&self, reference: &str) -> bool {
        let within = |listed: &String| {
            reference.strip_prefix(listed.as_str()).is_some_and(|rest| rest.starts_with(['/', ':', '@']))
                // `corp` must not stand for `corp:5000/…`, another registry
                && (listed.contains('/') || reference.split('/').next() == Some(listed))
        };
        self.images.registries.iter().any(within)
    }

    /// Whether the list of addresses names this one.
    pub fn lists_url(&self, url: &str) -> bool {
        self.images.url_prefixes.iter().any(|listed| {
            if listed.ends_with('/') { url.starts_with(listed.as_str()) } else { url == listed }
        })
    }
}

/// Whether a wildcard of the list matches; an empty list does not limit.
pub(crate) fn listed(list: &[Wildcard], name: &str) -> bool {
    list.is_empty() || list.iter().any(|item| item.matches(name))
}

/// Whether the word is in the list; an empty list does not limit.
fn holds_word(list: &[Label], word: &str) -> bool {
    list.is_empty() || list.iter().any(|item| item.as_str() == word)
}

#[cfg(test)]
mod tests;
