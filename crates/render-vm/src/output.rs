//! Files written as one, or shown as a difference.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use similar::TextDiff;

use vm::plan::Plan;

/// A file to compare with is read up to this many bytes: no rendered one is longer.
const READ: u64 = crate::template::OUTPUT as u64;

/// How a folder ended up holding the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was absent or empty.
    New,
    /// It held exactly these files already.
    Already,
}

/// Why a folder was left as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotWritten {
    /// It holds something else.
    #[error("`{folder}` holds other files already, such as `{example}`")]
    Other {
        /// The folder.
        folder: PathBuf,
        /// One path in it that is not as it would be written.
        example: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot write `{0}`: {1}")]
    Io(PathBuf, io::Error),
}

/// Write the files below `folder`: to a folder beside it first, which then takes its name, so that whoever looks sees all
/// of them or none.
///
/// # Errors
///
/// See [`NotWritten`]; the folder is as it was.
pub fn write(files: &BTreeMap<String, impl AsRef<[u8]>>, folder: &Path) -> Result<Written, NotWritten> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| NotWritten::Io(path, error)
    };
    let there = list(folder).map_err(at(folder))?;
    if !there.is_empty() {
        let same = |path: &Path| {
            let file = path.to_str().and_then(|path| files.get(path));
            file.is_some_and(|text| {
                read(&folder.join(path)).is_ok_and(|found| found.as_deref() == Some(text.as_ref()))
            })
        };
        let absent = || files.keys().map(PathBuf::from).find(|path| !there.contains(path));
        return match there.iter().find(|path| !same(path)).cloned().or_else(absent) {
            None => Ok(Written::Already),
            Some(example) => Err(NotWritten::Other { folder: folder.to_owned(), example }),
        };
    }
    // `.` or a name that ends in `..` has no name of its own to be taken
    let name = folder.file_name().ok_or_else(|| at(folder)(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(at(parent))?;
    let beside = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    // what a killed run left: in a container every process may have the same number
    let _ = fs::remove_dir_all(&beside);
    let moved = fill(files, &beside).and_then(|()| fs::rename(&beside, folder));
    if let Err(error) = moved {
        // the first error is the one to tell
        let _ = fs::remove_dir_all(&beside);
        return Err(at(folder)(error));
    }
    Ok(Written::New)
}

/// As [`write`], in place of what an earlier run left there.
pub(crate) fn write_over(
    files: &BTreeMap<String, impl AsRef<[u8]>>,
    folder: &Path,
) -> Result<Written, NotWritten> {
    let at = |error| NotWritten::Io(folder.to_owned(), error);
    let name = folder.file_name().ok_or_else(|| at(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let old = folder.with_file_name(format!(".{}.old.{}", name.to_string_lossy(), std::process::id()));
    // what a killed run left; the first error is the one to tell
    let _ = fs::remove_dir_all(&old);
    fs::rename(folder, &old).map_err(at)?;
    let written = write(files, folder);
    let _ = fs::remove_dir_all(&old);
    written
}

fn fill(files: &BTreeMap<String, impl AsRef<[u8]>>, folder: &Path) -> io::Result<()> {
    for (path, text) in files {
        let path = folder.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::File::create_new(path)?.write_all(text.as_ref())?;
    }
    Ok(())
}

/// Everything below a folder that is not a folder itself, relative to it; nothing if it is not there.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        let entries = match fs::read_dir(folder.join(&inner)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && inner.as_os_str().is_empty() => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            // a symlink counts as a file: what it leads to is not ours to walk
            if entry.file_type()?.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// A file, if it is there.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(READ + 1).read_to_end(&mut bytes)?,
    };
    Ok(Some(bytes))
}

/// Write a plan: to a file beside it first, which then takes its name and the place of what an earlier run left there.
pub(crate) fn write_plan(plan: &Plan, path: &Path) -> Result<(), NotWritten> {
    let at = |error| NotWritten::Io(path.to_owned(), error);
    let mut text = serde_json::to_string_pretty(plan).map_err(|error| at(io::Error::other(error)))?;
    text.push('\n');
    let name = path.file_name().ok_or_else(|| at(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(&beside, text));
    written.and_then(|()| fs::rename(&beside, path)).map_err(at)
}

/// Write what would change in `folder` as a unified diff: the files to write, and those to remove. Others in it are left out:
/// rendering does not touch them. Returns how many files differ.
///
/// # Errors
///
/// A file cannot be read, or the difference not be written.
pub fn diff(
    files: &BTreeMap<String, impl AsRef<[u8]>>,
    remove: &[String],
    folder: &Path,
    out: &mut impl Write,
) -> io::Result<usize> {
    let written = files.iter().map(|(path, new)| (path, Some(new.as_ref())));
    let mut changed = 0;
    for (path, new) in written.chain(remove.iter().map(|path| (path, None))) {
        let old = read(&folder.join(path)).map_err(|error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", folder.join(path).display()))
        })?;
        if old.as_deref() == new {
            continue;
        }
        changed += 1;
        let name = |side: &str, there: bool| {
            if there { format!("{side}/{path}") } else { "/dev/null".to_owned() }
        };
        let header = (name("a", old.is_some()), name("b", new.is_some()));
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (old, new) = (text(old.as_deref()), text(new));
        let diff = TextDiff::from_lines(old.as_str(), new.as_str());
        let text = diff.unified_diff().header(&header.0, &header.1).to_string();
        out.write_all(printable(&text).as_bytes())?;
    }
    Ok(changed)
}

/// What lies in the folder may come from anybody, and a terminal must not act on it. What we write ourselves is ASCII.
fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if matches!(c, '\n' | '\t' | ' '..='~') {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
        out
    })
}
