//! The list of a machine's files.

use serde_json::Value;
use step::Failure;
use vm::edit::{Document, path};
use vm::layout::KUSTOMIZATION_FILE;

use crate::edits::{Edits, cannot_edit};

/// The names that Kustomize takes (kustomize `konfig.RecognizedKustomizationFileNames`).
const NAMES: [&str; 3] = [KUSTOMIZATION_FILE, "kustomization.yml", "Kustomization"];

/// List a file of the machine's folder. Without a kustomization Argo CD applies every file in the folder.
pub(super) fn add(edits: &mut Edits<'_>, file: &str) -> Result<(), Failure> {
    let Some(place) = place(edits) else { return Ok(()) };
    edits.edit(&place, |text| Document::only(text)?.append(&path("resources"), &Value::from(file)).map(Some))
}

/// Take a file of the machine's folder off the list.
pub(super) fn remove(edits: &mut Edits<'_>, file: &str) -> Result<(), Failure> {
    let Some(place) = place(edits) else { return Ok(()) };
    let mut listed = true;
    edits.edit(&place, |text| {
        let document = Document::only(text)?;
        let resources = document.get(&path("resources")).and_then(Value::as_array);
        let is_file =
            |item: &Value| item.as_str().is_some_and(|item| item.strip_prefix("./").unwrap_or(item) == file);
        let Some(index) = resources.and_then(|list| list.iter().position(is_file)) else {
            listed = false;
            return Ok(None);
        };
        document.remove_item(&["resources".into(), index.into()]).map(Some)
    })?;
    if listed {
        return Ok(());
    }
    Err(cannot_edit(&place, &format!("it does not list `{file}`")).hint("list it under `resources`"))
}

fn place(edits: &Edits<'_>) -> Option<String> {
    let folder = edits.definition.target.path();
    NAMES.iter().map(|name| format!("{folder}/{name}")).find(|path| edits.definition.files.contains_key(path))
}
