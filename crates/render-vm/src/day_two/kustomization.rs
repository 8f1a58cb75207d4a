//! The list of a machine's files.

use serde_json::Value;
use step::Failure;
use vm::edit::{Document, path};
use vm::layout::KUSTOMIZATION_FILE;

use crate::edits::{Edits, cannot_edit};

/// The names that Kustomize takes (kustomize `konfig.RecognizedKustomizationFileNames`).
const NAMES: [&str; 3] = [KUSTOMIZATION_FILE, "kustomization.yml", "Kustomization"];

/// List a file, by its path in the repository. Without a kustomization Argo CD applies every file in the folder.
pub(super) fn add(edits: &mut Edits<'_>, path_of_file: &str) -> Result<(), Failure> {
    let Some((place, file)) = place(edits, path_of_file) else { return Ok(()) };
    edits.edit(&place, |text| Document::only(text)?.append(&path("resources"), &Value::from(file)).map(Some))
}

/// Take a file off the list.
pub(super) fn remove(edits: &mut Edits<'_>, path_of_file: &str) -> Result<(), Failure> {
    let Some((place, file)) = place(edits, path_of_file) else { return Ok(()) };
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

/// The nearest list above a file, and what the file is called there.
fn place<'f>(edits: &Edits<'_>, file: &'f str) -> Option<(String, &'f str)> {
    let folder = edits.definition.target.path();
    let parents = file.match_indices('/').rev().map(|(at, _)| file.split_at(at));
    parents.take_while(|(parent, _)| parent.starts_with(&folder)).find_map(|(parent, name)| {
        let list = NAMES.iter().map(|list| format!("{parent}/{list}"));
        Some((
            list.into_iter().find(|path| edits.definition.files.contains_key(path))?,
            name.strip_prefix('/')?,
        ))
    })
}
