//! What Git holds for a machine, from a folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use step::{Failure, Kind};
use vm::definition::Definition;
use vm::policy::Policy;
use vm::problem::Problem;
use vm::request::Accepted;
use vm::rules;

/// A machine has at most this many files, its archive included.
const FILES: usize = 10_000;
/// Folders are nested at most this deep: an archived record is eight below the root.
const DEPTH: usize = 16;

/// Every reason why the request cannot be carried out on what is in the folder.
pub(crate) fn problems(folder: &Path, request: &Accepted, policy: &Policy) -> Result<Vec<Problem>, Failure> {
    let mut files = BTreeMap::new();
    read(folder, "", 0, &mut files).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot read `{}`: {error}", folder.display()))
            .hint("`--definition` is the folder that `fetch-vm` wrote")
    })?;
    Ok(match Definition::read(&files, request.target()) {
        Ok(definition) => rules::against(request, &definition, policy),
        Err(unreadable) => vec![unreadable.problem(request.target())],
    })
}

fn read(folder: &Path, prefix: &str, depth: usize, files: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    let refuse = |what: String| Err(io::Error::other(what));
    if depth > DEPTH {
        return refuse(format!("folders are nested deeper than {DEPTH}"));
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            return refuse(format!("a name that is not UTF-8 in `{prefix}`"));
        };
        let (path, kind) = (format!("{prefix}{name}"), entry.file_type()?);
        if kind.is_dir() {
            read(&entry.path(), &format!("{path}/"), depth + 1, files)?;
        } else if kind.is_file() {
            let limit = vm::yaml::MAX_BYTES as u64;
            let mut bytes = Vec::new();
            fs::File::open(entry.path())?.take(limit + 1).read_to_end(&mut bytes)?;
            files.insert(path, bytes);
            if files.len() > FILES {
                return refuse(format!("more than {FILES} files"));
            }
        } else {
            return refuse(format!("`{path}` is neither file nor folder"));
        }
    }
    Ok(())
}
