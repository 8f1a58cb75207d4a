//! What a question about files needs of the repository, brought here before it is asked.
//!
//! One request a level: folders name what is in them, so those of all paths and commits on one level are asked for together.

use std::collections::BTreeSet;
use std::time::Instant;

use git2::{Error, ObjectType, Odb, Oid, Repository};

use crate::remote::{FOLDER, Remote};
use crate::tree::DEEPEST;
use crate::trouble::{Class, Trouble};

/// What is to be here of some commits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs<'a> {
    /// The folders that lead to these.
    pub(crate) paths: &'a [&'a str],
    /// The same, and the files there.
    pub(crate) files: &'a [&'a str],
    /// The same, and everything below these.
    pub(crate) below: &'a [&'a str],
}

impl Remote {
    /// Bring what is needed of these commits and is not here. Commits that are not here themselves are passed over.
    pub(crate) fn bring(&self, commits: &[Oid], needs: &Needs<'_>, until: Instant) -> Result<(), Trouble> {
        let mut before = Vec::new();
        loop {
            let missing = missing(&self.repository, commits, needs);
            let missing: Vec<_> =
                missing.map_err(|error| Trouble::of(&error, &self.link.secrets))?.into_iter().collect();
            if missing.is_empty() {
                return Ok(());
            }
            if missing == before {
                return Err(Trouble::new(Class::Passing, "the server does not send all that it has"));
            }
            self.link.objects(&self.repository, &missing, commits, until)?;
            before = missing;
        }
    }
}

/// The next objects that have to be fetched, those of one level on each path.
fn missing(repository: &Repository, commits: &[Oid], needs: &Needs<'_>) -> Result<BTreeSet<Oid>, Error> {
    let odb = repository.odb()?;
    let mut walk = Walk { repository, odb, missing: BTreeSet::new() };
    for commit in commits {
        if !walk.odb.exists(*commit) {
            continue;
        }
        let root = repository.find_commit(*commit)?.tree_id();
        for path in needs.paths {
            walk.to(root, path)?;
        }
        for path in needs.files {
            if let Some((id, ObjectType::Blob)) = walk.to(root, path)? {
                walk.is_here(id);
            }
        }
        for path in needs.below {
            if let Some((id, ObjectType::Tree)) = walk.to(root, path)? {
                walk.below(id)?;
            }
        }
    }
    Ok(walk.missing)
}

struct Walk<'a> {
    repository: &'a Repository,
    odb: Odb<'a>,
    missing: BTreeSet<Oid>,
}

impl Walk<'_> {
    /// Whether the object is here; otherwise it is missing.
    fn is_here(&mut self, id: Oid) -> bool {
        if self.missing.contains(&id) {
            return false;
        }
        let here = self.odb.exists(id);
        if !here {
            self.missing.insert(id);
        }
        here
    }

    /// What is at a path, as far as the folders on the way are here.
    fn to(&mut self, root: Oid, path: &str) -> Result<Option<(Oid, ObjectType)>, Error> {
        let (mut at, mut kind) = (root, ObjectType::Tree);
        for part in path.split('/') {
            if kind != ObjectType::Tree || !self.is_here(at) {
                return Ok(None);
            }
            let tree = self.repository.find_tree(at)?;
            let Some(entry) = tree.get_name(part) else { return Ok(None) };
            (at, kind) = (entry.id(), entry.kind().unwrap_or(ObjectType::Any));
        }
        Ok(Some((at, kind)))
    }

    /// Everything below a folder, up to what is read of one.
    fn below(&mut self, folder: Oid) -> Result<(), Error> {
        let (mut folders, mut seen) = (vec![(folder, 0)], 0);
        while let Some((id, depth)) = folders.pop() {
            if !self.is_here(id) {
                continue;
            }
            for entry in &self.repository.find_tree(id)? {
                seen += 1;
                // one more, so that who reads sees that it is too much
                if seen > FOLDER.0 + 1 {
                    return Ok(());
                }
                match entry.kind() {
                    Some(ObjectType::Tree) if depth < DEEPEST => folders.push((entry.id(), depth + 1)),
                    Some(ObjectType::Blob) => {
                        self.is_here(entry.id());
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
