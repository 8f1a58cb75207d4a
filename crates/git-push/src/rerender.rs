//! What a flow needs to render its request again where somebody else was there first.
//!
//! Two changes of one machine are never merged as text: that the lines of two files go together says nothing of the machine that they
//! make. Only `render-vm` knows what a request means for what is there, so it is given what is there.

use std::path::PathBuf;

use fetch_vm::Definition;
use gitops::Remote;
use step::{Failure, Kind};
use vm::request::Target;

/// What follows a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnConflict {
    /// Nothing.
    Fail,
    /// What Git holds of the machine by then is written down.
    Rerender,
}

/// Where it is written to, and of which machine.
#[derive(Debug)]
pub(crate) struct Rerender {
    pub(crate) target: Target,
    pub(crate) folder: PathBuf,
}

impl Rerender {
    /// A conflict stays one, once the files are written: who reads its exit code finds them. Where they cannot be, that is the
    /// failure.
    pub(crate) fn after(&self, failure: Failure, remote: &Remote) -> Failure {
        if failure.kind() != Kind::Conflict {
            return failure;
        }
        let written = Definition::read(remote, remote.last_tip(), &self.target)
            .and_then(|definition| definition.write(&self.folder, "--rerender-to"));
        match written {
            Ok(()) => failure.hint(format!(
                "what Git holds of the machine now is in `{}`: render the request on it, and push again",
                self.folder.display()
            )),
            Err(other) => {
                tracing::warn!("{}", failure.message());
                other
            }
        }
    }
}
