//! The files on disk, all of them or none.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use step::{Failure, Kind};

/// The file in the output folder that names the commit: 40 hex digits, or nothing where the branch does not exist yet.
/// Beginning with a dot it is no file of the repository's machines.
pub const COMMIT_FILE: &str = ".commit";

/// Write the files and the commit that they are of to a folder beside `folder`, which then takes its name and the place of
/// what an earlier run left there.
pub(crate) fn write(
    files: &BTreeMap<String, Vec<u8>>,
    commit: &str,
    folder: &Path,
    flag: &str,
) -> Result<(), Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("cannot write `{}`: {why}", folder.display()))
            .hint(format!("`{flag}` needs a folder beside which this step may write, so not a mount itself"))
    };
    if is_others(folder).map_err(|error| cannot(&error))? {
        let what = format!("cannot write `{}`: it holds other files already", folder.display());
        return Err(Failure::new(Kind::Usage, what)
            .hint(format!("`{flag}` has to be absent, empty, or what an earlier run wrote")));
    }
    let name = folder.file_name().ok_or_else(|| cannot(&io::Error::from(io::ErrorKind::InvalidInput)))?;
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = |what: &str| -> PathBuf {
        parent.join(format!(".{}.{what}.{}", name.to_string_lossy(), std::process::id()))
    };
    let (new, old) = (beside("new"), beside("old"));
    // an absent folder and one that is left from before are nothing to speak of; the first error is the one to tell
    let _ = fs::remove_dir_all(&old);
    let moved = fs::create_dir_all(parent).and_then(|()| fill(files, commit, &new)).and_then(|()| {
        match fs::rename(folder, &old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&new, folder),
        }
    });
    for left in [&new, &old] {
        let _ = fs::remove_dir_all(left);
    }
    moved.map_err(|error| cannot(&error))
}

/// Whether there is something in the folder that no run of this step wrote.
fn is_others(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(mut entries) => Ok(entries.next().is_some() && !folder.join(COMMIT_FILE).is_file()),
    }
}

fn fill(files: &BTreeMap<String, Vec<u8>>, commit: &str, folder: &Path) -> io::Result<()> {
    // what a killed run left; in a container every process may have the same number
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir(folder)?,
    }
    for (path, bytes) in files {
        let path = folder.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::File::create_new(path)?.write_all(bytes)?;
    }
    fs::File::create_new(folder.join(COMMIT_FILE))?.write_all(commit.as_bytes())
}
