//! The one value in a repository that says whether a machine runs, wherever people have put it.
//!
//! That is `spec.runStrategy`, or `spec.running` in older files, of the machine's own document; or the same in one overlay of
//! Kustomize: a strategic merge patch, a JSON patch, in a file or inside `kustomization.yaml`. A value is changed only where it
//! is: nothing is ever changed in a base because an overlay is silent.

mod overlay;

use serde_json::Value;

use super::fault::{Fault, Sort};
use super::{Document, Object, Step, path};
pub use overlay::{Found, KUSTOMIZATIONS, Overlay, is_kustomization};

/// `apiVersion`'s group and `kind` of a machine.
const GROUP: &str = "kubevirt.io";
const KIND: &str = "VirtualMachine";
/// The strategy of a machine that is declared stopped.
pub const HALTED: &str = "Halted";
/// The strategy of a machine that always runs, and what `running: true` means.
pub const ALWAYS: &str = "Always";
/// Every strategy that KubeVirt knows (`kubevirt.io/api/core/v1`, `VirtualMachineRunStrategy`).
const STRATEGIES: [&str; 6] = [ALWAYS, HALTED, "Manual", "RerunOnFailure", "Once", "WaitAsReceiver"];

/// Which machine, as it is called in its cluster.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// What a file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// `runStrategy`.
    Strategy(String),
    /// `running`, which KubeVirt still reads.
    Running(bool),
}

impl Declared {
    /// The strategy, as KubeVirt understands it.
    pub fn strategy(&self) -> &str {
        match self {
            Self::Strategy(strategy) => strategy,
            Self::Running(true) => ALWAYS,
            Self::Running(false) => HALTED,
        }
    }

    /// Whether the machine is declared stopped.
    pub fn is_off(&self) -> bool {
        self.strategy() == HALTED
    }
}

/// The value in one file.
#[derive(Debug, Clone)]
pub struct Power {
    text: String,
    /// Where in the file the YAML with the value is written as text, if it is.
    inside: Option<Vec<Step>>,
    /// The document in it, counted without empty ones.
    document: usize,
    path: Vec<Step>,
    declared: Declared,
}

impl Power {
    /// What the file declares.
    pub const fn declared(&self) -> &Declared {
        &self.declared
    }

    /// The file with the machine declared stopped; `None` if it is already.
    pub fn off(&self) -> Result<Option<String>, Fault> {
        self.turned(&match self.declared {
            Declared::Strategy(_) => Value::from(HALTED),
            Declared::Running(_) => Value::from(false),
        })
    }

    /// The file with the machine declared to run, by the strategy that it had before where that is known; `None` if it is
    /// declared to run already, by whatever strategy.
    pub fn on(&self, before: Option<&str>) -> Result<Option<String>, Fault> {
        if !self.declared.is_off() {
            return Ok(None);
        }
        self.turned(&match self.declared {
            Declared::Strategy(_) => {
                let known = before.filter(|strategy| STRATEGIES.contains(strategy) && *strategy != HALTED);
                Value::from(known.unwrap_or(ALWAYS))
            }
            Declared::Running(_) => Value::from(true),
        })
    }

    fn turned(&self, value: &Value) -> Result<Option<String>, Fault> {
        let same = match &self.declared {
            Declared::Strategy(strategy) => value == strategy.as_str(),
            Declared::Running(running) => *value == *running,
        };
        if same {
            return Ok(None);
        }
        let set = |text: &str| nth(text, self.document)?.set(&self.path, value);
        match &self.inside {
            None => set(&self.text),
            Some(inside) => Document::only(&self.text)?.set_in(inside, set),
        }
        .map(Some)
    }
}

/// The value in the machine's own document; the text may hold other documents. Beside a machine that stands in the values of a
/// chart it is [`crate::chart::RUN_STRATEGY`].
pub fn in_base(text: &str, machine: Machine<'_>) -> Result<Power, Fault> {
    let object = Object { group: GROUP, kind: KIND, namespace: Some(machine.namespace), name: machine.name };
    let document = Document::object(text, &object)?;
    let index = document_index(text, &document)?;
    if document.is_in_values() {
        return in_values(text);
    }
    in_spec(text, &document, index, &[])?.ok_or_else(|| {
        Fault::new(Sort::Missing, "it has neither `spec.runStrategy` nor `spec.running`")
            .hint(format!("add `runStrategy: {ALWAYS}` to its `spec`"))
    })
}

/// The value in a file of values for the chart that [`crate::chart`] is about.
pub fn in_values(text: &str) -> Result<Power, Fault> {
    declared(text, &Document::only(text)?, 0, &path(crate::chart::RUN_STRATEGY), true)
}

/// The value in a patch for the machine: a strategic merge patch with its name, or a JSON patch, which has no name; `None` if
/// the patch leaves the power alone.
pub fn in_patch(text: &str, machine: Machine<'_>) -> Result<Option<Power>, Fault> {
    patch(text, &|value| is_for(value, &[machine.name], Some(machine.namespace)))
}

/// A patch of either kind; `fits` says of a strategic merge patch whether it is for the machine.
fn patch(text: &str, fits: &dyn Fn(&Value) -> bool) -> Result<Option<Power>, Fault> {
    let mut found = None;
    for (index, document) in Document::all(text)?.into_iter().enumerate() {
        let power = match document.value() {
            Value::Array(_) => in_operations(text, &document, index)?,
            value if fits(value) => in_spec(text, &document, index, &[])?,
            _ => None,
        };
        if let Some(power) = power
            && found.replace(power).is_some()
        {
            return Err(Fault::new(Sort::Several, "it sets the power of the machine in several documents"));
        }
    }
    Ok(found)
}

/// Whether this is (a patch of) the machine by one of these names; a patch may leave its namespace out.
fn is_for(value: &Value, names: &[&str], namespace: Option<&str>) -> bool {
    names.iter().any(|name| Object { group: GROUP, kind: KIND, namespace, name }.fits(value))
}

/// A JSON patch (RFC 6902): the last operation that sets the value counts.
fn in_operations(text: &str, document: &Document<'_>, index: usize) -> Result<Option<Power>, Fault> {
    let mut found = None;
    let operations = document.value().as_array().map_or(0, Vec::len);
    for operation in 0..operations {
        let member = |key: &str| {
            document.get(&[operation.into(), key.into()]).and_then(Value::as_str).unwrap_or_default()
        };
        let (op, target) = (member("op"), member("path"));
        match (op, target) {
            ("add" | "replace", "/spec/runStrategy" | "/spec/running") => {
                let path = [operation.into(), "value".into()];
                let is_strategy = target.ends_with("/runStrategy");
                found = Some(declared(text, document, index, &path, is_strategy)?);
            }
            ("remove" | "move" | "copy", "/spec/runStrategy" | "/spec/running") | (_, "" | "/spec")
                if op != "test" =>
            {
                if op == "remove" && target.starts_with("/spec/") {
                    // the other of the two may be set beside it
                    continue;
                }
                let message = format!("its operation {} changes more than the power", operation + 1);
                return Err(Fault::new(Sort::Shape, message)
                    .hint("set `/spec/runStrategy` in an operation of its own"));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The value in the `spec` below `base`.
fn in_spec(text: &str, document: &Document<'_>, index: usize, base: &[Step]) -> Result<Option<Power>, Fault> {
    let at = |key: &str| [base, &path("spec"), &path(key)].concat();
    let (strategy, running) = (at("runStrategy"), at("running"));
    match (document.get(&strategy), document.get(&running)) {
        (Some(strategy), Some(running)) if !strategy.is_null() && !running.is_null() => {
            Err(Fault::new(Sort::Several, "it has both `spec.runStrategy` and `spec.running`")
                .hint("KubeVirt takes one of the two: keep `runStrategy`"))
        }
        // a patch takes a value away with `null`
        (Some(value), _) if !value.is_null() => declared(text, document, index, &strategy, true).map(Some),
        (_, Some(value)) if !value.is_null() => declared(text, document, index, &running, false).map(Some),
        _ => Ok(None),
    }
}

fn declared(
    text: &str,
    document: &Document<'_>,
    index: usize,
    path: &[Step],
    is_strategy: bool,
) -> Result<Power, Fault> {
    let name = if is_strategy { "runStrategy" } else { "running" };
    let scalar = document
        .scalar(path)?
        .ok_or_else(|| Fault::new(Sort::Missing, format!("its `{name}` has no value")))?;
    let declared = match &scalar.value {
        Value::String(word) if is_strategy && STRATEGIES.contains(&word.as_str()) => {
            Declared::Strategy(word.clone())
        }
        Value::Bool(running) if !is_strategy => Declared::Running(*running),
        _ if scalar.is_ambiguous => {
            let message = format!("YAML readers differ about the value of its `{name}`");
            return Err(Fault::new(Sort::Yaml, message).hint(if is_strategy {
                "write a run strategy"
            } else {
                "write `true` or `false`"
            }));
        }
        _ => {
            let (what, hint) = if is_strategy {
                ("a run strategy", "KubeVirt knows `Always`, `Halted`, `Manual`, `RerunOnFailure` and `Once`")
            } else {
                ("`true` or `false`", "write it without quotes")
            };
            let message = format!("the value of its `{name}` is not {what}");
            return Err(Fault::new(Sort::Shape, message).hint(hint));
        }
    };
    Ok(Power { text: text.to_owned(), inside: None, document: index, path: path.to_vec(), declared })
}

fn nth(text: &str, index: usize) -> Result<Document<'_>, Fault> {
    let missing = || Fault::new(Sort::Missing, "it has no such document");
    Document::all(text)?.into_iter().nth(index).ok_or_else(missing)
}

/// The number of a document among those of the text.
fn document_index(text: &str, document: &Document<'_>) -> Result<usize, Fault> {
    let missing = || Fault::new(Sort::Missing, "it has no such document");
    Document::all(text)?.iter().position(|other| other.index == document.index).ok_or_else(missing)
}

#[cfg(test)]
mod tests;
