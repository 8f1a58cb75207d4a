//! Files and standard input and output.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use step::{Failure, Kind};
use vm::request::MAX_BYTES;

/// Whether the path stands for standard input or output.
pub(crate) fn is_stdio(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Read a file, or standard input for `-`: one byte more than a document may have, never more. On a thread of its own,
/// since a pipe that nobody writes to must not hold up the deadline and signals.
pub(crate) async fn read(path: PathBuf) -> Result<Vec<u8>, Failure> {
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || {
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        if is_stdio(&path) {
            io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
        } else {
            File::open(&path)?.take(limit).read_to_end(&mut bytes)?;
        }
        Ok::<_, io::Error>(bytes)
    });
    let read = read
        .await
        .map_err(|error| Failure::new(Kind::Internal, format!("reading `{shown}` broke off: {error}")))?;
    read.map_err(|error| Failure::new(Kind::Usage, format!("cannot read `{shown}`: {error}")))
}

/// Write a whole file or none: beside it first, then renamed. `-` is standard output.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if is_stdio(path) {
        return write_out(text);
    }
    let failed = |error: io::Error| {
        Failure::new(Kind::Usage, format!("cannot write `{}`: {error}", path.display()))
            .hint("it must be in a folder that this step may write to")
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // not synced to the disk: what a step hands to the next one does not outlive their node
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // what was begun is of no use to anybody; that it cannot be removed either is not the news
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

/// Write to standard output.
pub(crate) fn write_out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::new(Kind::Usage, format!("cannot write to standard output: {error}")))
}
