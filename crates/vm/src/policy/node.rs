//! What of the nodes a site lets requests choose: where a machine runs, and what it has of the node to itself.

use serde::{Deserialize, Serialize};

use super::{Wildcard, listed};
use crate::name::LabelKey;

/// A label of nodes that requests may select by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeLabel {
    /// Its key.
    pub key: LabelKey,
    /// Its values; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Wildcard>,
    /// The namespaces whose machines may; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Wildcard>,
}

/// Devices of nodes that requests may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeDevice {
    /// The resource.
    pub device_name: Wildcard,
    /// The namespaces whose machines may have it; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Wildcard>,
}

impl NodeLabel {
    /// Whether machines in this namespace may select by it. Without a namespace nothing is refused: that it is wrong is told
    /// already.
    pub fn is_for(&self, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|name| listed(&self.namespaces, name))
    }

    /// Whether the value is one of those.
    pub fn takes(&self, value: &str) -> bool {
        listed(&self.values, value)
    }
}

impl NodeDevice {
    /// As [`NodeLabel::is_for`].
    pub fn is_for(&self, namespace: Option<&str>) -> bool {
        namespace.is_none_or(|name| listed(&self.namespaces, name))
    }
}
