//! The branch as git tells it, oldest commit first.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::super::Repository;

/// A commit and what it changed in its first parent.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) id: String,
    /// How many commits are before it.
    pub(super) place: usize,
    pub(super) parents: usize,
    /// The trailer `Request-Id`; empty without one.
    pub(super) request: String,
    pub(super) changes: Vec<Change>,
}

/// A path before and after: mode and blob, as [`blob`] writes them; `None` is nothing there.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// The history of `main`.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) commits: Vec<Commit>,
    places: BTreeMap<String, usize>,
    /// Each path with every place where it changed, and to what.
    paths: BTreeMap<String, Vec<(usize, Option<String>)>>,
}

/// A plain file as a tree has it. Its id is computed here, so that no content has to be read from the repository; that its
/// objects have the ids that they are called by is for `git fsck` to say.
pub(super) fn blob(bytes: &[u8]) -> String {
    let object = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
    let id = openssl::sha::sha1(&object).map(|byte| format!("{byte:02x}")).concat();
    format!("100644 {id}")
}

impl Log {
    pub(super) fn read(repository: &Repository) -> Result<Self> {
        let format = "--format=commit %H %P|%(trailers:key=Request-Id,valueonly,separator=%x2C)";
        let flags =
            ["log", "--reverse", "--first-parent", "-m", "--root", "--raw", "--no-abbrev", "--no-renames"];
        let text = repository.git(&[&flags[..], &[format, "main"]].concat())?;
        let mut log = Self { commits: Vec::new(), places: BTreeMap::new(), paths: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(change) = line.strip_prefix(':') {
                log.changed(change)?;
                continue;
            }
            let commit = line.strip_prefix("commit ").and_then(|commit| commit.split_once('|'));
            let (ids, request) = commit.with_context(|| format!("git log says `{line}`"))?;
            let mut ids = ids.split_whitespace();
            let id = ids.next().context("a commit without an id")?.to_owned();
            let place = log.commits.len();
            log.places.insert(id.clone(), place);
            let (parents, request) = (ids.count(), request.to_owned());
            log.commits.push(Commit { id, place, parents, request, changes: Vec::new() });
        }
        Ok(log)
    }

    /// `<mode> <mode> <id> <id> <letter>\t<path>`
    fn changed(&mut self, line: &str) -> Result<()> {
        let (words, path) = line.split_once('\t').context("a change without a path")?;
        let words: Vec<_> = words.split(' ').collect();
        let [before, after, before_id, after_id, _] = words[..] else { bail!("git log says `{line}`") };
        let entry = |mode: &str, id: &str| (mode != "000000").then(|| format!("{mode} {id}"));
        let (before, after) = (entry(before, before_id), entry(after, after_id));
        let commit = self.commits.last_mut().context("a change before a commit")?;
        self.paths.entry(path.to_owned()).or_default().push((commit.place, after.clone()));
        commit.changes.push(Change { path: path.to_owned(), before, after });
        Ok(())
    }

    pub(super) fn has(&self, commit: &str) -> bool {
        self.places.contains_key(commit)
    }

    /// What is at a path, at a commit; nothing at a commit that is not on the branch.
    pub(super) fn at(&self, commit: &str, path: &str) -> Option<&str> {
        let (place, changes) = (self.places.get(commit)?, self.paths.get(path)?);
        changes.iter().rfind(|(changed, _)| changed <= place)?.1.as_deref()
    }
}
