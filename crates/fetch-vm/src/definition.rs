//! What Git holds of one machine at one commit.

use std::collections::BTreeMap;
use std::path::Path;

use gitops::Remote;
use step::Failure;
use vm::request::Target;

use crate::output;

/// The machine's folder, its Application and what is archived of machines of its name, and the commit that they are of.
#[derive(Debug)]
pub struct Definition {
    commit: String,
    /// By their paths in the repository.
    files: BTreeMap<String, Vec<u8>>,
}

impl Definition {
    /// Read them at a commit that was fetched; nothing where the branch does not exist yet.
    ///
    /// # Errors
    ///
    /// `refused` for what is no plain file in Git.
    pub fn read(remote: &Remote, commit: Option<String>, target: &Target) -> Result<Self, Failure> {
        let Some(commit) = commit else { return Ok(Self { commit: String::new(), files: BTreeMap::new() }) };
        let mut files = remote.folder(&commit, &target.path())?;
        files.extend(remote.folder(&commit, &target.archives_path())?);
        let application = target.application_path();
        if let Some(bytes) = remote.read(&commit, &application)? {
            files.insert(application, bytes);
        }
        Ok(Self { commit, files })
    }

    /// Write them, all or none, to a folder that is absent, empty, or was written so before; `flag` is what names it.
    ///
    /// # Errors
    ///
    /// `usage` for a folder with other files in it, and for one that cannot be written.
    pub fn write(&self, folder: &Path, flag: &str) -> Result<(), Failure> {
        output::write(&self.files, &self.commit, folder, flag)
    }

    /// 40 hex digits; empty where the branch does not exist yet.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    pub(crate) const fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Whether anything is in this folder of the repository.
    pub(crate) fn holds(&self, folder: &str) -> bool {
        self.files.keys().any(|path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
    }
}
