//! Files of a machine with edits on top: what was not edited keeps its bytes.

use std::collections::BTreeMap;

use step::{Failure, Kind};
use vm::definition::{Definition, Machine};
use vm::edit::{Document, Fault, Object};

/// What one commit does to a machine's files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Files to write, by path in the repository.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files to remove.
    pub remove: Vec<String>,
    /// The file that marks the change; one of those to write.
    pub marker: String,
}

/// A change in the making.
#[derive(Debug)]
pub(crate) struct Edits<'a> {
    pub(crate) definition: &'a Definition,
    change: Change,
}

impl<'a> Edits<'a> {
    pub(crate) fn new(definition: &'a Definition) -> Self {
        Self { definition, change: Change::default() }
    }

    /// Edit a file of the machine; `None` from the edit leaves it as it is.
    pub(crate) fn edit(
        &mut self,
        path: &str,
        edit: impl FnOnce(&str) -> Result<Option<String>, Fault>,
    ) -> Result<(), Failure> {
        let bytes = self.change.files.get(path).or_else(|| self.definition.files.get(path));
        let text = bytes.and_then(|bytes| str::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| cannot_edit(path, "it is not there, or not UTF-8"))?;
        match edit(text) {
            Ok(Some(new)) => {
                self.change.files.insert(path.to_owned(), new.into_bytes());
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(fault) => {
                let failure = cannot_edit(path, fault.message());
                Err(if let Some(hint) = fault.way_out() { failure.hint(hint) } else { failure })
            }
        }
    }

    /// Edit the document of the machine itself.
    pub(crate) fn machine(
        &mut self,
        machine: &Machine,
        edit: impl FnOnce(&Document<'_>) -> Result<Option<String>, Fault>,
    ) -> Result<(), Failure> {
        self.machine_in(&machine.path, edit)
    }

    /// Edit the document of the machine in this file: its own, or what an overlay says of it.
    pub(crate) fn machine_in(
        &mut self,
        path: &str,
        edit: impl FnOnce(&Document<'_>) -> Result<Option<String>, Fault>,
    ) -> Result<(), Failure> {
        let target = &self.definition.target;
        let object = Object {
            group: "kubevirt.io",
            kind: "VirtualMachine",
            namespace: Some(target.namespace.as_str()),
            name: target.name.as_str(),
        };
        self.edit(path, |text| edit(&Document::object(text, &object)?))
    }

    pub(crate) fn write(&mut self, path: String, bytes: impl Into<Vec<u8>>) {
        self.change.files.insert(path, bytes.into());
    }

    /// Remove a file that is there.
    pub(crate) fn remove(&mut self, path: &str) {
        self.change.files.remove(path);
        self.change.remove.push(path.to_owned());
    }

    pub(crate) fn done(mut self, marker: String) -> Change {
        self.change.remove.sort();
        self.change.remove.dedup();
        self.change.marker = marker;
        self.change
    }
}

impl Change {
    /// The machine as it will be.
    ///
    /// # Errors
    ///
    /// What was made of the files cannot be read: they were odd before.
    pub(crate) fn applied(&self, definition: &Definition) -> Result<Definition, Failure> {
        let mut files = definition.files.clone();
        let application = definition.application.clone();
        files.extend(application.map(|bytes| (definition.target.application_path(), bytes)));
        for life in definition.archived.values() {
            files.extend(life.files.clone());
        }
        files.retain(|path, _| !self.remove.contains(path));
        files.extend(self.files.clone());
        Definition::read(&files, &definition.target).map_err(|unreadable| {
            Failure::new(Kind::Conflict, format!("cannot change the machine's files: {unreadable}"))
        })
    }
}

/// Somebody else's words stand where ours would go.
pub(crate) fn cannot_edit(path: &str, why: &str) -> Failure {
    Failure::new(Kind::Conflict, format!("cannot edit `{path}`: {why}"))
}
