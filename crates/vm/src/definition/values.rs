//! The values that the Argo CD Application gives a machine's chart besides the chart's own, where `render-vm --layout helm-values`
//! gave it one.
//!
//! Helm takes the last file that has a value. Only power and memory are read of such files; what else people set there is not.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Machine, Unreadable};
use crate::chart::{self, MEMORY, RUN_STRATEGY};
use crate::request::Target;
use crate::yaml;

/// What goes before every file, and is no file that an operation could edit (Argo CD, `ApplicationSourceHelm`).
const INLINE: [&str; 4] = ["parameters", "fileParameters", "values", "valuesObject"];

/// The machine as those values make it, and where they are.
pub(super) fn valued(
    mut machine: Machine,
    files: &BTreeMap<String, Vec<u8>>,
    target: &Target,
) -> Result<Machine, Unreadable> {
    let application = target.application_path();
    let unreadable = |why: String| Unreadable { path: application.clone(), why };
    let read = |bytes| yaml::documents(bytes).map(|mut all| all.drain(..).next());
    let document =
        files.get(&application).map(|bytes| read(bytes)).transpose().map_err(unreadable)?.flatten();
    let Some(helm) = document.as_ref().and_then(|document| document.pointer("/spec/source/helm")) else {
        return Ok(machine);
    };
    if let Some(inline) = INLINE.iter().find(|inline| helm.get(**inline).is_some_and(|set| !is_empty(set))) {
        let why = format!("`spec.source.helm.{inline}` goes before every file that an operation could edit");
        return Err(unreadable(why));
    }
    let folder = machine.folder().to_owned();
    for file in helm.get("valueFiles").and_then(Value::as_array).into_iter().flatten() {
        let file = file.as_str().unwrap_or_default();
        let path = format!("{folder}/{}", file.strip_prefix("./").unwrap_or(file));
        let Some(bytes) = files.get(&path) else {
            return Err(unreadable(format!(
                "`spec.source.helm.valueFiles` names `{file}`, which is not in the machine's folder"
            )));
        };
        let values = read(bytes).map_err(|why| Unreadable { path: path.clone(), why })?.unwrap_or_default();
        let (strategy, memory) = (values.get(RUN_STRATEGY), values.get(MEMORY));
        chart::set(&mut machine.document, strategy, memory);
        if let Some(strategy) = strategy {
            let why = || format!("the value of its `{RUN_STRATEGY}` is not a run strategy");
            let strategy = strategy.as_str().ok_or_else(|| Unreadable { path: path.clone(), why: why() })?;
            strategy.clone_into(&mut machine.run_strategy);
            machine.power_path.clone_from(&path);
        }
        if memory.is_some() {
            machine.memory_path = path;
        }
    }
    Ok(machine)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
