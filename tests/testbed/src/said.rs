//! What a process says where nobody reads while it runs: into files, for a pipe would fill.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::{Command, ExitStatus, Output, Stdio};

/// Its standard output and error.
pub(crate) struct Said([File; 2]);

impl Said {
    /// Have the command write there, and read nothing.
    pub(crate) fn of(command: &mut Command) -> io::Result<Self> {
        let files = [tempfile::tempfile()?, tempfile::tempfile()?];
        command.stdin(Stdio::null()).stdout(files[0].try_clone()?).stderr(files[1].try_clone()?);
        Ok(Self(files))
    }

    /// Once it has ended.
    pub(crate) fn output(self, status: ExitStatus) -> io::Result<Output> {
        let written = |mut file: File| {
            let mut bytes = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        let [stdout, stderr] = self.0;
        Ok(Output { status, stdout: written(stdout)?, stderr: written(stderr)? })
    }
}
