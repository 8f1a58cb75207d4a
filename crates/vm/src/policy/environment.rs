//! What holds for the machines of one environment, such as `prod`, besides what holds for all.

use serde::{Deserialize, Serialize};

use super::{RequiredField, Wildcard, holds_word, listed};
use crate::name::Label;

/// What holds for the machines of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Environment {
    /// The namespaces whose machines may be of it; empty means all.
    pub namespaces: Vec<Wildcard>,
    /// Operations that may be asked for, by their words, of those that [`super::Policy::operations`] allows; empty means all.
    pub operations: Vec<Label>,
    /// Fields that have to be filled, besides [`super::Policy::required`].
    pub required: Vec<RequiredField>,
    /// Whether all of its machines are protected: a request to remove one has to name it once more.
    pub protected: bool,
}

impl Environment {
    /// Whether this operation may be asked for.
    pub fn allows_operation(&self, word: &str) -> bool {
        holds_word(&self.operations, word)
    }

    /// Whether a machine in this namespace may be of it.
    pub fn allows_namespace(&self, namespace: &str) -> bool {
        listed(&self.namespaces, namespace)
    }
}
