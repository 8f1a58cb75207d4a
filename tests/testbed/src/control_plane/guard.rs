//! Child processes that end when this process does, however it ends.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// The shell waits for the program; a reader beside it kills the program once our end of the pipe on its standard input is
/// closed, which the kernel does even when this process is killed. `$1` is a folder to remove afterwards (empty: none),
/// unless a file `keep` lies in it.
const SCRIPT: &str = r#"folder=$1; shift
exec 3<&0
"$@" 3<&- </dev/null &
program=$!
{ read -r _ <&3; kill -9 "$program"; } 2>/dev/null &
reader=$!
wait "$program"; code=$?
kill "$reader" 2>/dev/null
[ -z "$folder" ] || [ -e "$folder/keep" ] || rm -rf "$folder"
exit "$code""#;

/// A running program; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    /// Start `command` with its output added to `log`; `folder` is removed after it has ended.
    pub(super) fn start(command: &Command, log: &Path, folder: Option<&Path>) -> Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let output = open().with_context(|| format!("cannot write `{}`", log.display()))?;
        let errors = output.try_clone()?;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SCRIPT).arg("sh").arg(folder.unwrap_or(Path::new("")));
        shell.arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::piped()).stdout(output).stderr(errors);
        // A Ctrl-C at the terminal is for us; the program ends when we do.
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let shell = shell.spawn().context("cannot start `sh`")?;
        Ok(Self { shell })
    }

    /// How the program ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.shell.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Nothing is left to do about a shell that cannot be waited for.
        let _ = self.shell.wait();
    }
}
