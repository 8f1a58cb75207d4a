//! Everything that is compared, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use testbed::pipeline::model::{Object, Pipeline, StepAction, Task};

use crate::binaries::{self, Binary};

/// The repository as far as it is compared.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) binaries: Vec<Binary>,
    pub(crate) actions: BTreeMap<String, Object<StepAction>>,
    pub(crate) tasks: BTreeMap<String, Object<Task>>,
    pub(crate) pipelines: BTreeMap<String, Object<Pipeline>>,
}

impl World {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned();
        Self {
            binaries: binaries::all(),
            actions: objects(&root.join("tekton/stepactions")),
            tasks: objects(&root.join("tekton/tasks")),
            pipelines: objects(&root.join("pipelines")),
            root,
        }
    }

    pub(crate) fn binary(&self, name: &str) -> Option<&Binary> {
        self.binaries.iter().find(|b| b.name == name)
    }

    /// Any other document, as it is.
    pub(crate) fn document(&self, path: &str) -> serde_json::Value {
        let text = fs::read_to_string(self.root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Every document of a file that holds several.
    pub(crate) fn documents(&self, path: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        text.split("\n---\n")
            .map(|d| serde_saphyr::from_str(d).unwrap_or_else(|e| panic!("{path}: {e}")))
            .collect()
    }
}

/// The names of the YAML files of a folder, without its kustomization.
pub(crate) fn yaml_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| Path::new(n).extension() == Some("yaml".as_ref()) && n != "kustomization.yaml");
    names.sort();
    names
}

/// Each file is one object, and named like it.
fn objects<S: DeserializeOwned>(folder: &Path) -> BTreeMap<String, Object<S>> {
    let read = |file: String| {
        let object: Object<S> = Object::read(&folder.join(&file)).unwrap_or_else(|e| panic!("{e:#}"));
        assert_eq!(
            format!("{}.yaml", object.metadata.name),
            file,
            "{}: file and object differ in name",
            folder.display()
        );
        (object.metadata.name.clone(), object)
    };
    yaml_files(folder).into_iter().map(read).collect()
}
