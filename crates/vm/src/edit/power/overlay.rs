//! An overlay of Kustomize: which of its patches sets the power of a machine.
//!
//! Kustomize applies `patchesStrategicMerge`, then `patches`, then `patchesJson6902` (kustomize, `kusttarget_configplugin.go`).
//! Targets of `patches` may be regular expressions and may fit several machines; a patch is changed only when it is for this
//! machine alone.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::fault::{Fault, Sort};
use super::super::{Document, Step};
use super::{KIND, Machine, Power, in_base, is_for, patch};

/// The names under which Kustomize looks for its file (kustomize, `konfig.RecognizedKustomizationFileNames`).
pub const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether a file of this name is the one that makes a folder an overlay.
pub fn is_kustomization(name: &str) -> bool {
    KUSTOMIZATIONS.contains(&name)
}

/// One `kustomization.yaml` as far as a machine's power is concerned.
#[derive(Debug)]
pub struct Overlay<'a> {
    text: &'a str,
    machine: Machine<'a>,
    /// The machine's name with and without the prefix and suffix that this overlay gives it.
    names: Vec<&'a str>,
    /// The overlay sets the namespace itself, so that its patches may name another one or none.
    sets_namespace: bool,
    patches: Vec<Patch>,
    resources: Vec<String>,
}

#[derive(Debug)]
struct Patch {
    source: Source,
    target: Target,
}

#[derive(Debug)]
enum Source {
    /// A file, from the overlay's folder.
    File(String),
    /// Text at a path in `kustomization.yaml`.
    Inline(Vec<Step>, String),
}

/// Which machines a patch says that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// It has no target: its own name tells.
    Own,
    This,
    Other,
    /// A pattern or a selector: it may be for this one and for others.
    Many,
}

/// The value that an overlay sets.
#[derive(Debug, Clone)]
pub struct Found {
    /// The file that has it, from the overlay's folder; `None` for `kustomization.yaml` itself.
    pub file: Option<String>,
    /// The value in it.
    pub power: Power,
}

impl<'a> Overlay<'a> {
    /// Read the text of an overlay's `kustomization.yaml`.
    pub fn read(text: &'a str, machine: Machine<'a>) -> Result<Self, Fault> {
        let document = Document::only(text)?;
        let root = document.value();
        let word = |key: &str| root.get(key).and_then(Value::as_str).unwrap_or_default();
        if let Some(namespace) = root.get("namespace").and_then(Value::as_str)
            && namespace != machine.namespace
        {
            let message = format!("it puts everything into namespace `{namespace}`");
            return Err(
                Fault::new(Sort::Missing, message).hint("name the overlay of the machine's namespace")
            );
        }
        let mut names = vec![machine.name];
        let bare =
            machine.name.strip_prefix(word("namePrefix")).and_then(|n| n.strip_suffix(word("nameSuffix")));
        names.extend(bare.filter(|bare| *bare != machine.name));
        let mut overlay = Self {
            text,
            machine,
            names,
            sets_namespace: root.get("namespace").is_some(),
            patches: Vec::new(),
            resources: Vec::new(),
        };
        for list in ["patchesStrategicMerge", "patches", "patchesJson6902"] {
            for (index, item) in root.get(list).and_then(Value::as_array).into_iter().flatten().enumerate() {
                overlay.patches.extend(overlay.patch(list, index, item));
            }
        }
        let resources = root.get("resources").and_then(Value::as_array).into_iter().flatten();
        let local = |file: &&str| is_yaml(file) && !file.contains("..") && !file.contains("://");
        overlay.resources = resources.filter_map(Value::as_str).filter(local).map(str::to_owned).collect();
        Ok(overlay)
    }

    /// The files to read for [`Overlay::find`], from the overlay's folder; some may lead out of it by `..`.
    pub fn files(&self) -> Vec<&str> {
        let patches = self.patches.iter().filter_map(|patch| match &patch.source {
            Source::File(file) => Some(file.as_str()),
            Source::Inline(..) => None,
        });
        patches.chain(self.resources.iter().map(String::as_str)).collect()
    }

    /// The value that the overlay sets, given its files; files that are not there are left out.
    pub fn find(&self, files: &BTreeMap<String, String>) -> Result<Found, Fault> {
        let mut found: Vec<Found> = Vec::new();
        for each in &self.patches {
            let (file, text) = match &each.source {
                Source::File(file) => (Some(file), files.get(file)),
                Source::Inline(_, text) => (None, Some(text)),
            };
            let Some(text) = text else { continue };
            let named = |fault: Fault| file.map_or(fault.clone(), |file| fault.in_file(file));
            let Some(mut power) = self.power(text, each.target).map_err(named)? else { continue };
            if each.target == Target::Many {
                let message = "a patch that sets the power may be for other machines too".to_owned();
                return Err(Fault::new(Sort::Shared, message)
                    .hint(format!("give it a `target` with `name: {}`", self.names.last().unwrap_or(&""))));
            }
            if let Some(file) =
                file.filter(|file| file.starts_with('/') || file.split('/').any(|part| part == ".."))
            {
                let message =
                    format!("the patch `{file}` that sets the power is outside of the overlay's folder");
                return Err(Fault::new(Sort::Shared, message)
                    .hint("other overlays may use it: give this one its own"));
            }
            if let Source::Inline(path, _) = &each.source {
                power.inside = Some(path.clone());
                self.text.clone_into(&mut power.text);
            }
            found.push(Found { file: file.cloned(), power });
        }
        match found.len() {
            0 => self.in_resources(files),
            1 => Ok(found.remove(0)),
            n => Err(Fault::new(Sort::Several, format!("{n} of its patches set the power of the machine"))
                .hint("keep one of them")),
        }
    }

    /// A machine whose own file lies in the overlay's folder.
    fn in_resources(&self, files: &BTreeMap<String, String>) -> Result<Found, Fault> {
        for file in &self.resources {
            let Some(text) = files.get(file) else { continue };
            let Some(name) = self.names.iter().find(|name| self.holds(text, name)) else { continue };
            let machine = Machine { name, ..self.machine };
            let power = in_base(text, machine).map_err(|fault| fault.in_file(file))?;
            return Ok(Found { file: Some(file.clone()), power });
        }
        let Machine { namespace, name } = self.machine;
        Err(Fault::new(Sort::Missing, format!("it does not set the power of `{namespace}/{name}`")).hint(
            format!(
                "add a patch with `spec.runStrategy` for {KIND} `{}` to it",
                self.names.last().unwrap_or(&name)
            ),
        ))
    }

    fn holds(&self, text: &str, name: &str) -> bool {
        let namespace = (!self.sets_namespace).then_some(self.machine.namespace);
        Document::all(text).is_ok_and(|all| all.iter().any(|d| is_for(d.value(), &[name], namespace)))
    }

    fn power(&self, text: &str, target: Target) -> Result<Option<Power>, Fault> {
        let namespace = (!self.sets_namespace).then_some(self.machine.namespace);
        match target {
            Target::Other => Ok(None),
            // without a target a JSON patch is for nothing, and Kustomize says so
            Target::Own => patch(text, &|value| is_for(value, &self.names, namespace)),
            // the target decides, whatever names the patch itself has
            Target::This | Target::Many => patch(text, &|value| value.is_object()),
        }
    }

    fn patch(&self, list: &str, index: usize, item: &Value) -> Option<Patch> {
        let at = |key: &str| vec![Step::from(list), index.into(), key.into()];
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let source = match (item, text("path"), text("patch")) {
            // a file name has no line break and no colon; a patch in YAML has at least one of them
            (Value::String(inline), ..) if inline.contains(['\n', ':', '{']) => {
                Source::Inline(vec![Step::from(list), index.into()], inline.clone())
            }
            (Value::String(file), ..) => Source::File(file.clone()),
            (_, Some(file), _) => Source::File(file.to_owned()),
            (_, None, Some(inline)) => Source::Inline(at("patch"), inline.to_owned()),
            _ => return None,
        };
        Some(Patch { source, target: self.target(item.get("target")) })
    }

    /// `target` of a patch: each field is a regular expression for the whole value, an absent one fits everything.
    fn target(&self, target: Option<&Value>) -> Target {
        let Some(target) = target else { return Target::Own };
        let field = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
        let fits = |pattern: &str, value: &str| {
            pattern.is_empty()
                || regex::Regex::new(&format!("^(?:{pattern})$")).map_or(true, |regex| regex.is_match(value))
        };
        let elsewhere = !self.sets_namespace && !fits(field("namespace"), self.machine.namespace);
        if !fits(field("kind"), KIND)
            || !fits(field("group"), super::GROUP)
            || !self.names.iter().any(|name| fits(field("name"), name))
            || elsewhere
        {
            return Target::Other;
        }
        if self.names.contains(&field("name")) { Target::This } else { Target::Many }
    }
}

fn is_yaml(file: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| file.ends_with(end))
}
