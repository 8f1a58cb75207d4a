//! A template of the site's own, and what it is given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{Label, Line, ParameterName};

/// A template of the site's own, in place of the built-in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// Its name in the site's folder of templates.
    pub name: Label,
    /// What it takes, by the schema that stands beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<ParameterName, Parameter>,
}

impl Template {
    /// What the names of the files end in, after the template's own.
    pub const ENDING: &str = ".yaml.j2";
}

/// What a parameter may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parameter {
    /// `true` or `false`.
    Switch(bool),
    /// A whole number.
    Number(i64),
    /// Text; it is placed, and never decided by.
    Text(Line),
    /// A list of texts.
    List(Vec<Line>),
}
