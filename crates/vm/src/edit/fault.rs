//! Why a file is not edited.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::Step;

/// Which sort of obstacle it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// The text is no YAML that every reader takes for the same.
    Yaml,
    /// What was asked for is not there.
    Missing,
    /// It is there several times.
    Several,
    /// It is written in a way in which one value cannot be changed alone.
    Shared,
    /// It is there, but not as the kind of value that was asked for.
    Shape,
}

/// Why a file is not edited: what is in the way, and at most one way out. It never holds a value of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    sort: Sort,
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(sort: Sort, message: impl Into<String>) -> Self {
        Self { sort, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, said of this file.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.message = format!("`{file}`: {}", self.message);
        self
    }

    /// Which sort of obstacle it is.
    pub const fn sort(&self) -> Sort {
        self.sort
    }

    /// What is in the way: a lower-case fragment without a full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What could be done about it.
    pub fn way_out(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(super) fn scan(error: &ScanError) -> Self {
        let mark = error.marker();
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return Self::new(Sort::Yaml, "nested too deeply");
        }
        // the parser's words may hold a piece of the text
        let what: String = error
            .info()
            .chars()
            .filter(|c| !crate::name::is_unprintable(*c) && *c != '\n')
            .take(100)
            .collect();
        Self::new(Sort::Yaml, format!("line {}, column {}: {what}", mark.line(), mark.col() + 1))
    }
}

/// A path as messages show it: `spec.template.spec.volumes[root].dataVolume.name`.
pub(super) fn shown(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Index(index) => text.extend(["[", &index.to_string(), "]"]),
            Step::Named(name) => text.extend(["[", name, "]"]),
        }
    }
    if text.is_empty() { "the document".to_owned() } else { format!("`{text}`") }
}
