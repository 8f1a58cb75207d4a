//! What stands in the cluster already, and a machine only refers to.

use serde::{Deserialize, Serialize};

use crate::name::{Label, Serial, Subdomain};

/// A ConfigMap or a Secret of the machine's namespace. What is in it never passes through a request, Git or a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reference {
    /// The name of a ConfigMap.
    ConfigMap(Subdomain),
    /// The name of a Secret.
    Secret(Subdomain),
}

impl Reference {
    /// The ConfigMap, if it is one.
    pub const fn config_map(&self) -> Option<&Subdomain> {
        match self {
            Self::ConfigMap(name) => Some(name),
            Self::Secret(_) => None,
        }
    }

    /// The Secret, if it is one.
    pub const fn secret(&self) -> Option<&Subdomain> {
        match self {
            Self::Secret(name) => Some(name),
            Self::ConfigMap(_) => None,
        }
    }
}

/// A disk that shows what a ConfigMap or a Secret holds, each key as a file; read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigDisk {
    /// Its name within the machine.
    pub name: Label,
    /// What it shows.
    pub source: Reference,
    /// What the guest finds it by; accepted as its name where the request has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
}
