//! The folder that `fetch-vm` wrote.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use step::{Failure, Kind, refuse};
use vm::definition::Definition;
use vm::problem::{Code, Problem};
use vm::request::Target;

/// The file that names the commit that the others are of, as `fetch-vm` writes it: 40 hex digits, or nothing where there was
/// no branch yet.
const COMMIT_FILE: &str = ".commit";
/// As much as `fetch-vm` writes: three folders of the repository.
const FILES: usize = 10_001;
const BYTES: u64 = 17 * 1024 * 1024;

/// What Git holds of a machine, and the commit that it is of; none where there was no branch yet.
pub(crate) fn read(folder: &Path, target: &Target) -> Result<(Definition, Option<String>), Failure> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("cannot read `{}`: {why}", folder.display()))
            .hint("`--definition` is the folder that `fetch-vm` wrote")
    };
    let mut files = files(folder).map_err(|error| unreadable(&error))?;
    let commit = files.remove(COMMIT_FILE).ok_or_else(|| unreadable(&"there is no file `.commit`"))?;
    let commit = String::from_utf8(commit).map_err(|error| unreadable(&error))?;
    let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    if !commit.is_empty() && (commit.len() != 40 || !commit.bytes().all(hex)) {
        return Err(unreadable(&"`.commit` is not 40 hex digits"));
    }
    let definition = match Definition::read(&files, target) {
        Ok(definition) => definition,
        Err(why) => {
            refuse(&[Problem::new("/spec/target", Code::Definition, why.to_string())])?;
            return Err(unreadable(&why));
        }
    };
    Ok((definition, Some(commit).filter(|commit| !commit.is_empty())))
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let refused = |why: &str| Err(io::Error::other(why.to_owned()));
    let (mut found, mut room) = (BTreeMap::new(), BYTES);
    let mut open = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { return refused("a name is not UTF-8") };
            let (path, kind) = (format!("{prefix}{name}"), entry.file_type()?);
            if kind.is_dir() {
                open.push((entry.path(), format!("{path}/")));
                continue;
            }
            if !kind.is_file() {
                return refused(&format!("`{path}` is neither a file nor a folder"));
            }
            room = match room.checked_sub(entry.metadata()?.len()) {
                Some(left) if found.len() < FILES => left,
                _ => return refused("there is too much in it"),
            };
            found.insert(path, fs::read(entry.path())?);
        }
    }
    Ok(found)
}
