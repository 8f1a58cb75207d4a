//! The right to patch a disk once, handed from the step that checked to the step that patches, and what came of it handed on.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use step::{Failure, Kind};

use crate::VolumeMode;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It may be patched.
    Granted,
    /// An earlier run of the same request patched it: nothing to do.
    Already,
    /// virt-customize was started.
    Begun,
    /// virt-customize ended well.
    Patched,
}

/// What the steps hand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Permit {
    pub(crate) state: State,
    /// The claim that was checked.
    pub(crate) claim: String,
    /// What it is.
    pub(crate) volume_mode: String,
}

impl Permit {
    pub(crate) fn is_block(&self) -> bool {
        self.volume_mode == VolumeMode::Block.word()
    }

    /// What was handed on; none if nothing was.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let failed = |why: String| {
            Failure::new(Kind::Usage, format!("cannot read permit `{}`: {why}", path.display()))
        };
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| failed(e.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Hand it on: whole, and on the disk before anything else is done.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let write = || -> io::Result<()> {
            let mut temporary = path.as_os_str().to_owned();
            temporary.push(".part");
            // a structure of strings cannot fail to serialise
            let text = serde_json::to_string(self).unwrap_or_default();
            fs::write(&temporary, text)?;
            fs::File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, path)
        };
        write().map_err(|error| {
            Failure::new(Kind::Usage, format!("cannot write permit `{}`: {error}", path.display()))
                .hint("`--permit` must be in a folder that the steps of this pod share and may write to")
        })
    }
}
