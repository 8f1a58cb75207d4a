//! Edits of YAML that people wrote: one value changes, every other byte stays.
//!
//! A [`Document`] is one document of a text, found by what it is. Each edit gives the whole new text. Comments, anchors,
//! quotes, line endings, a byte order mark, blank lines and the other documents are not touched; after every edit the text is
//! parsed again and must differ from the old one in exactly the place that was meant, else nothing is given.
//!
//! Refused rather than guessed: duplicate keys, values that are shared through an anchor or a merge key, values with a tag,
//! and places where a line cannot be put in or taken out alone.

mod change;
mod fault;
pub mod power;
mod tree;
mod write;

use std::collections::HashSet;

use serde_json::Value;
use serde_saphyr::granit_parser::ScalarStyle;

use fault::shown;
pub use fault::{Fault, Sort};
use tree::{Data, Node};
pub(crate) use write::is_plain;

/// One step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a sequence, from 0.
    Index(usize),
    /// The item of a sequence of mappings whose `name` is this.
    Named(String),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The path of keys that dots separate: `spec.runStrategy`. A key with a dot in it needs [`Step::Key`].
pub fn path(dotted: &str) -> Vec<Step> {
    dotted.split('.').map(Step::from).collect()
}

/// Which Kubernetes object a document describes.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// The group of `apiVersion`, empty for the core; the version may be any.
    pub group: &'a str,
    /// `kind`.
    pub kind: &'a str,
    /// `metadata.namespace`; a document that leaves it out fits too, as Kustomize and Argo CD fill it in.
    pub namespace: Option<&'a str>,
    /// `metadata.name`.
    pub name: &'a str,
}

impl Object<'_> {
    /// Whether this value describes the object.
    pub fn fits(&self, value: &Value) -> bool {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let group =
            text("/apiVersion").map(|version| version.rsplit_once('/').map_or("", |(group, _)| group));
        let elsewhere = match (self.namespace, value.pointer("/metadata/namespace")) {
            (Some(wanted), Some(given)) => given.as_str() != Some(wanted),
            _ => false,
        };
        group == Some(self.group)
            && text("/kind") == Some(self.kind)
            && text("/metadata/name") == Some(self.name)
            && !elsewhere
    }

    fn is_exact(&self, value: &Value) -> bool {
        value.pointer("/metadata/namespace").and_then(Value::as_str) == self.namespace
    }

    fn shown(&self) -> String {
        match self.namespace {
            Some(namespace) => format!("{} `{namespace}/{}`", self.kind, self.name),
            None => format!("{} `{}`", self.kind, self.name),
        }
    }
}

/// A scalar as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Its value by YAML 1.2's core schema.
    pub value: Value,
    /// The bytes of the text that it takes, quotes included.
    pub span: std::ops::Range<usize>,
    /// Plain words that readers of YAML differ about: `yes`, `on`, `0777`. Such a value is text here.
    pub is_ambiguous: bool,
}

/// One document of a text.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    text: &'a str,
    documents: Vec<Node>,
    index: usize,
    /// Of the whole document.
    value: Value,
    /// Where in the document the object is, if that is the values of a chart.
    root: Vec<Step>,
    /// Numbers of the anchors that some alias names.
    shared: HashSet<usize>,
}

impl<'a> Document<'a> {
    /// The one document of the text that fits.
    pub fn find(text: &'a str, fits: impl Fn(&Value) -> bool) -> Result<Self, Fault> {
        let mut found = Self::all(text)?;
        found.retain(|document| fits(&document.value));
        match found.len() {
            0 => Err(Fault::new(Sort::Missing, "it has no such document")),
            1 => Ok(found.remove(0)),
            n => Err(Fault::new(Sort::Several, format!("it has {n} such documents"))),
        }
    }

    /// The one document that describes this object, or the place in the values of a chart that does; one with its namespace
    /// written out goes before one without.
    pub fn object(text: &'a str, object: &Object<'_>) -> Result<Self, Fault> {
        let mut found: Vec<_> = Self::all(text)?.into_iter().flat_map(Self::objects).collect();
        found.retain(|document| object.fits(document.value()));
        if found.iter().filter(|document| object.is_exact(document.value())).count() == 1 {
            found.retain(|document| object.is_exact(document.value()));
        }
        match found.len() {
            0 => Err(Fault::new(Sort::Missing, format!("it has no {}", object.shown()))),
            1 => Ok(found.remove(0)),
            n => Err(Fault::new(Sort::Several, format!("it has {} {n} times", object.shown()))),
        }
    }

    /// The text's only document.
    pub fn only(text: &'a str) -> Result<Self, Fault> {
        Self::find(text, |_| true)
    }

    /// Every document of the text, in order; empty ones are left out.
    pub fn all(text: &'a str) -> Result<Vec<Self>, Fault> {
        let documents = tree::parse(text)?;
        let mut found = Vec::new();
        for (index, node) in documents.iter().enumerate() {
            let value = node.value()?;
            if value.is_null() {
                continue;
            }
            let mut shared = HashSet::new();
            node.aliases(&mut shared);
            found.push(Self { text, documents: documents.clone(), index, value, root: Vec::new(), shared });
        }
        Ok(found)
    }

    /// The objects that it holds: itself, or those in the values of a chart ([`crate::chart`]).
    fn objects(self) -> Vec<Self> {
        let places = crate::chart::places(&self.value);
        if places.is_empty() {
            return vec![self];
        }
        let steps = |place: Vec<String>| place.into_iter().map(Step::Key).collect();
        places.into_iter().map(|place| Self { root: steps(place), ..self.clone() }).collect()
    }

    /// Whether it is an object in the values of a chart: every path begins there.
    pub const fn is_in_values(&self) -> bool {
        !self.root.is_empty()
    }

    /// The document's value, aliases and merge keys written out.
    pub fn value(&self) -> &Value {
        self.get(&[]).unwrap_or(&Value::Null)
    }

    /// The value at the path, aliases and merge keys written out.
    pub fn get(&self, path: &[Step]) -> Option<&Value> {
        self.reached(&self.full(path))
    }

    /// The path in the whole document.
    fn full(&self, path: &[Step]) -> Vec<Step> {
        [&self.root, path].concat()
    }

    /// As [`Document::get`], for a full path; so are the paths of all that is not public.
    fn reached(&self, path: &[Step]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, step| match step {
            Step::Key(key) => value.as_object()?.get(key),
            Step::Index(index) => value.as_array()?.get(*index),
            Step::Named(name) => value.as_array()?.iter().find(|item| item["name"] == name.as_str()),
        })
    }

    /// The scalar that is written at the path; `None` where there is nothing.
    ///
    /// # Errors
    ///
    /// A mapping or a sequence there; a value that is shared through an alias or a merge key.
    pub fn scalar(&self, path: &[Step]) -> Result<Option<Scalar>, Fault> {
        let path = &self.full(path);
        if self.reached(path).is_none() {
            return Ok(None);
        }
        let node = self.node(path)?;
        match &node.data {
            Data::Scalar { value, style } => Ok(Some(Scalar {
                value: value.clone(),
                span: node.span.clone(),
                is_ambiguous: *style == ScalarStyle::Plain
                    && value.as_str().is_some_and(crate::document::is_ambiguous),
            })),
            Data::Alias(_) => Err(alias(path)),
            _ => Err(Fault::new(Sort::Shape, format!("{} is no single value", shown(path)))),
        }
    }

    /// The node that is written at the path, by way of no alias.
    fn node(&self, path: &[Step]) -> Result<&Node, Fault> {
        let missing = || Fault::new(Sort::Missing, "it has no such document");
        let mut node = self.documents.get(self.index).ok_or_else(missing)?;
        for (depth, step) in path.iter().enumerate() {
            let here = || path.get(..=depth).unwrap_or(path);
            if matches!(node.data, Data::Alias(_)) {
                return Err(alias(path.get(..depth).unwrap_or(path)));
            }
            let next = child_index(node, step).and_then(|index| node.children().nth(index));
            node = next.ok_or_else(|| {
                if self.reached(here()).is_some() {
                    Fault::new(Sort::Shared, format!("{} comes from a merge key (`<<`)", shown(here())))
                        .hint("write the value out where it belongs")
                } else {
                    Fault::new(Sort::Missing, format!("it has no {}", shown(here())))
                }
            })?;
        }
        Ok(node)
    }

    /// Refuse what would change other places too: an anchor with aliases on the way, or the value itself an alias.
    fn unshared(&self, path: &[Step]) -> Result<(), Fault> {
        for depth in 0..=path.len() {
            let here = path.get(..depth).unwrap_or(path);
            let node = self.node(here)?;
            if matches!(node.data, Data::Alias(_)) {
                return Err(alias(here));
            }
            if self.shared.contains(&node.anchor) {
                let message = format!(
                    "{} has an anchor (`&`) that is used elsewhere, so a change would change other places too",
                    shown(here)
                );
                return Err(Fault::new(Sort::Shared, message).hint("write the value out at each place"));
            }
        }
        Ok(())
    }
}

/// Which child of the node the step leads to.
fn child_index(node: &Node, step: &Step) -> Option<usize> {
    match (&node.data, step) {
        (Data::Mapping { entries, .. }, Step::Key(key)) => entries.iter().position(|e| e.key == *key),
        (Data::Sequence { items, .. }, Step::Index(index)) => (*index < items.len()).then_some(*index),
        (Data::Sequence { items, .. }, Step::Named(name)) => items.iter().position(|item| {
            let Data::Mapping { entries, .. } = &item.data else { return false };
            entries.iter().any(|entry| {
                entry.key == "name"
                    && matches!(&entry.value.data, Data::Scalar { value, .. } if value == name.as_str())
            })
        }),
        _ => None,
    }
}

fn alias(path: &[Step]) -> Fault {
    Fault::new(Sort::Shared, format!("{} is an alias (`*`) of another value", shown(path)))
        .hint("write the value out where it belongs")
}

#[cfg(test)]
mod tests;
