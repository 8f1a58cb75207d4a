//! Files in the tree of a commit: what is there, what a change makes of it.

use std::collections::BTreeMap;
use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{Error, ErrorCode, FileMode, ObjectType, Oid, Repository, Tree};

use crate::change::{Change, File, FilePath};

/// One file that a change writes or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub path: FilePath,
    /// What the tip holds; `None` where there is no such file yet.
    pub before: Option<Vec<u8>>,
    /// What it will hold; `None` where it will be gone.
    pub after: Option<Vec<u8>>,
}

/// What a push would do to the tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing: this commit made the change already.
    Done(String),
    /// These files would be written or removed.
    Write(Vec<Edit>),
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    Absent,
    Blob(Oid),
    /// Something that is never written over or through: where, and what it is.
    Odd(String, &'static str),
}

/// Something at a path that no file of ours may replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clash {
    pub(crate) path: String,
    pub(crate) why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The tip's content is neither ours nor the one that the change was made against.
    Other,
    /// What is there is no plain file in a plain folder.
    Odd(&'static str),
    /// A folder, or a file that is only looked at, is not as it was at the base.
    Changed,
}

/// What the tip says to a change.
#[derive(Debug)]
pub(crate) enum Verdict {
    Done,
    /// The marker carries our request id and other content.
    OtherContent,
    Clashes(Vec<Clash>),
    Write(Vec<Write>),
}

#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) path: FilePath,
    pub(crate) before: Option<Oid>,
    /// `None` removes it.
    pub(crate) bytes: Option<Vec<u8>>,
}

/// The tree of a commit; `None` without a commit.
pub(crate) fn of(repository: &Repository, commit: Option<Oid>) -> Result<Option<Tree<'_>>, Error> {
    commit.map(|commit| repository.find_commit(commit)?.tree()).transpose()
}

/// What is at `path`. Every folder on the way has to be a folder.
pub(crate) fn at(repository: &Repository, tree: Option<&Tree<'_>>, path: &str) -> Result<At, Error> {
    let Some(tree) = tree else { return Ok(At::Absent) };
    let mut tree = tree.clone();
    let mut walked = String::new();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        walked.push_str(if walked.is_empty() { "" } else { "/" });
        walked.push_str(part);
        let (id, mode) = match tree.get_name(part) {
            None => return Ok(At::Absent),
            Some(entry) => (entry.id(), entry.filemode()),
        };
        let odd = match (mode, parts.peek().is_some()) {
            (0o100_644, false) => return Ok(At::Blob(id)),
            (0o040_000, true) => {
                tree = repository.find_tree(id)?;
                continue;
            }
            (0o040_000, false) => "a folder",
            (0o100_644 | 0o100_755 | 0o100_664, true) => "a file",
            (mode, _) => odd_file(mode),
        };
        return Ok(At::Odd(walked, odd));
    }
    Ok(At::Absent)
}

/// The plain files below the folder at `path`, by their paths from the root; `None` where it is absent, or the first thing
/// there that is never read. At most `files` of them, and `bytes` bytes in all.
pub(crate) fn below(
    repository: &Repository,
    tree: &Tree<'_>,
    path: &str,
    (files, bytes): (usize, usize),
) -> Result<Result<BTreeMap<String, Vec<u8>>, Clash>, Error> {
    let clash = |path: &str, what| Ok(Err(Clash { path: path.to_owned(), why: Why::Odd(what) }));
    let mut found = BTreeMap::new();
    let top = match at(repository, Some(tree), path)? {
        At::Absent => return Ok(Ok(found)),
        At::Blob(_) => return clash(path, "a file"),
        At::Odd(odd, what) if odd != path || what != "a folder" => return clash(&odd, what),
        At::Odd(..) => tree.get_path(Path::new(path))?.id(),
    };
    let (mut folders, mut room) = (vec![(path.to_owned(), top)], bytes);
    while let Some((folder, id)) = folders.pop() {
        for entry in &repository.find_tree(id)? {
            let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
            let path = format!("{folder}/{name}");
            if path.parse::<FilePath>().is_err() {
                return clash(&folder, "a folder with a name in it that is never written");
            }
            match entry.filemode() {
                0o040_000 if path.matches('/').count() > DEEPEST => return clash(&path, "too deep a folder"),
                0o040_000 => folders.push((path, entry.id())),
                0o100_644 => {
                    let blob = repository.find_blob(entry.id())?;
                    match room.checked_sub(blob.size()) {
                        Some(left) if found.len() < files => room = left,
                        _ => return clash(&path, "one file too many, or too large"),
                    }
                    found.insert(path, blob.content().to_owned());
                }
                mode => return clash(&path, odd_file(mode)),
            }
        }
    }
    Ok(Ok(found))
}

/// Folders are read to this depth: a machine's have five levels.
pub(crate) const DEEPEST: usize = 20;

/// What an entry is that is neither a plain file nor a folder.
const fn odd_file(mode: i32) -> &'static str {
    match mode {
        0o120_000 => "a symbolic link",
        0o160_000 => "a submodule",
        0o100_755 => "an executable file",
        _ => "of an unknown kind",
    }
}

/// The object at `path`, whatever it is: two trees hold the same there if and only if this is equal.
pub(crate) fn entry(tree: &Tree<'_>, path: &str) -> Result<Option<Oid>, Error> {
    match tree.get_path(Path::new(path)) {
        Ok(entry) => Ok(Some(entry.id())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the change is in this tree already.
pub(crate) fn is_done(repository: &Repository, tree: &Tree<'_>, change: &Change) -> Result<bool, Error> {
    let telling = |file: &&File| change.marker.as_ref().is_none_or(|m| m.path == file.path);
    for file in change.files.iter().filter(telling) {
        let there = at(repository, Some(tree), file.path.as_str())?;
        let same = there == At::Blob(blob_id(&file.bytes)?);
        if !same && (!change.keeps(&file.path) || there == At::Absent) {
            return Ok(false);
        }
    }
    if change.marker.is_none() {
        for path in &change.remove {
            if at(repository, Some(tree), path.as_str())? != At::Absent {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Hold each file of the change against the tip, and against what it was made against.
pub(crate) fn compare(
    repository: &Repository,
    change: &Change,
    tip: Option<&Tree<'_>>,
    base: Option<&Tree<'_>>,
) -> Result<Verdict, Error> {
    if let Some(tip) = tip
        && is_done(repository, tip, change)?
    {
        return Ok(Verdict::Done);
    }
    if let Some(marker) = &change.marker
        && let At::Blob(id) = at(repository, tip, marker.path.as_str())?
        && (marker.read_id)(repository.find_blob(id)?.content()).as_ref() == Some(&marker.request_id)
    {
        return Ok(Verdict::OtherContent);
    }
    let (mut clashes, mut writes) = (Vec::new(), Vec::new());
    for file in &change.files {
        let there = at(repository, tip, file.path.as_str())?;
        let write = |before| Write { path: file.path.clone(), before, bytes: Some(file.bytes.clone()) };
        match &there {
            At::Odd(path, what) => clashes.push(Clash { path: path.clone(), why: Why::Odd(what) }),
            At::Blob(id) if *id == blob_id(&file.bytes)? || change.keeps(&file.path) => {}
            At::Absent if change.keeps(&file.path) => writes.push(write(None)),
            At::Absent | At::Blob(_) => {
                if at(repository, base, file.path.as_str())? == there {
                    let before = if let At::Blob(id) = there { Some(id) } else { None };
                    writes.push(write(before));
                } else {
                    clashes.push(Clash { path: file.path.to_string(), why: Why::Other });
                }
            }
        }
    }
    for path in &change.remove {
        match at(repository, tip, path.as_str())? {
            At::Absent => {}
            At::Odd(path, what) => clashes.push(Clash { path, why: Why::Odd(what) }),
            there @ At::Blob(id) if at(repository, base, path.as_str())? == there => {
                writes.push(Write { path: path.clone(), before: Some(id), bytes: None });
            }
            At::Blob(_) => clashes.push(Clash { path: path.to_string(), why: Why::Other }),
        }
    }
    for path in &change.unchanged {
        let entry = |tree: Option<&Tree<'_>>| tree.map_or(Ok(None), |tree| entry(tree, path.as_str()));
        if entry(tip)? != entry(base)? && clashes.is_empty() {
            clashes.push(Clash { path: path.to_string(), why: Why::Changed });
        }
    }
    Ok(if clashes.is_empty() { Verdict::Write(writes) } else { Verdict::Clashes(clashes) })
}

/// The tree with these files written and removed.
pub(crate) fn write(repository: &Repository, tip: Option<&Tree<'_>>, writes: &[Write]) -> Result<Oid, Error> {
    let mut update = TreeUpdateBuilder::new();
    for Write { path, bytes, .. } in writes {
        // a folder that becomes empty goes with its last file
        match bytes {
            Some(bytes) => update.upsert(path.as_str(), repository.blob(bytes)?, FileMode::Blob),
            None => update.remove(path.as_str()),
        };
    }
    if let Some(tip) = tip {
        return update.create_updated(repository, tip);
    }
    let empty = repository.find_tree(repository.treebuilder(None)?.write()?)?;
    update.create_updated(repository, &empty)
}

pub(crate) fn blob_id(bytes: &[u8]) -> Result<Oid, Error> {
    Oid::hash_object(ObjectType::Blob, bytes)
}

impl Change {
    /// Whether what is there stays.
    fn keeps(&self, path: &FilePath) -> bool {
        self.keep.iter().any(|folder| {
            path.as_str().strip_prefix(folder.as_str()).is_some_and(|p| p.is_empty() || p.starts_with('/'))
        })
    }
}
