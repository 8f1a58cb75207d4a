//! Questions about the history, as far as it is here.
//!
//! A shallow fetch leaves commits whose parents are not here. Parents are read from the commit's own bytes, not through
//! libgit2's commit type: that one hides the parents at a shallow boundary, and caches what it hid.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};

use git2::{Error, ObjectType, Oid, Repository};
use step::{Context, Failure};

use crate::change::commit_id;
use crate::remote::{DEPTHS, Remote};

impl Remote {
    /// The newest commit, going back from `from` (40 hex digits, fetched), whose message is `wanted`: its id and that
    /// message. At least this many `commits` are looked at, and no more are fetched than that takes.
    pub fn last_message(
        &self,
        from: &str,
        commits: u16,
        wanted: impl Fn(&str) -> bool,
        context: &Context,
    ) -> Result<Option<(String, String)>, Failure> {
        let Some(from) = commit_id(from) else { return Ok(None) };
        let message = |repository: &Repository, commit: Oid| -> Result<String, Error> {
            Ok(String::from_utf8_lossy(repository.find_commit(commit)?.message_bytes()).into_owned())
        };
        let limit = DEPTHS.iter().position(|depth| *depth >= i32::from(commits)).unwrap_or(DEPTHS.len());
        self.ask(context);
        let found = self.deepen(context.deadline(), limit, None, |repository| {
            let is_wanted = |commit| Ok(wanted(&message(repository, commit)?));
            Ok(match find(repository, from, None, is_wanted)? {
                Some(Search::Found(commit)) => Some(Some((commit.to_string(), message(repository, commit)?))),
                Some(Search::Nowhere) => Some(None),
                None => None,
            })
        });
        found.map(Option::flatten).map_err(|trouble| self.cannot_read(&trouble))
    }
}

/// The parents that a commit names, here or not.
pub(crate) fn parents(repository: &Repository, commit: Oid) -> Result<Vec<Oid>, Error> {
    let odb = repository.odb()?;
    let object = odb.read(commit)?;
    if object.kind() != ObjectType::Commit {
        return Err(Error::from_str("not a commit"));
    }
    let header = object.data().split(|b| *b == b'\n').take_while(|line| !line.is_empty());
    let names = header.filter_map(|line| line.strip_prefix(b"parent "));
    names.map(|name| Oid::from_str(&String::from_utf8_lossy(name))).collect()
}

/// Whether a commit is here.
pub(crate) fn is_here(repository: &Repository, commit: Oid) -> Result<bool, Error> {
    Ok(repository.odb()?.exists(commit))
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    Found(Oid),
    Nowhere,
}

/// The first commit, going back from `tip`, for which `wanted` holds; `stop` and what is behind it is not looked at.
/// `None` if there is none among the commits here and others are not here.
pub(crate) fn find(
    repository: &Repository,
    tip: Oid,
    stop: Option<Oid>,
    wanted: impl Fn(Oid) -> Result<bool, Error>,
) -> Result<Option<Search>, Error> {
    let (mut queue, mut known, mut missing) = (VecDeque::from([tip]), HashSet::from([tip]), false);
    while let Some(commit) = queue.pop_front() {
        if !is_here(repository, commit)? {
            missing = true;
            continue;
        }
        if wanted(commit)? {
            return Ok(Some(Search::Found(commit)));
        }
        if Some(commit) != stop {
            queue.extend(parents(repository, commit)?.into_iter().filter(|p| known.insert(*p)));
        }
    }
    Ok(if missing { None } else { Some(Search::Nowhere) })
}

/// The commits that lead to `from` and are here.
pub(crate) fn all(repository: &Repository, from: Oid) -> Result<Vec<Oid>, Error> {
    let all = RefCell::new(Vec::new());
    find(repository, from, None, |commit| {
        all.borrow_mut().push(commit);
        Ok(false)
    })?;
    Ok(all.into_inner())
}

/// Whether `from` is `to` or comes after it; `None` if the commits here do not tell.
pub(crate) fn holds(
    repository: &Repository,
    from: Oid,
    to: Oid,
    stop: Option<Oid>,
) -> Result<Option<bool>, Error> {
    Ok(find(repository, from, stop, |commit| Ok(commit == to))?.map(|found| found != Search::Nowhere))
}

/// How many commits, going back from `to` by first parents, come before `from`: all of them, or those that are here and one more.
pub(crate) fn distance(repository: &Repository, from: Oid, to: Oid) -> usize {
    let mut commit = to;
    for number in 0.. {
        if commit == from {
            return number;
        }
        // one that is not here is not `from`, so it counts
        match parents(repository, commit).map(|parents| parents.first().copied()) {
            Ok(Some(parent)) => commit = parent,
            Ok(None) | Err(_) => return number + 1,
        }
    }
    usize::MAX
}

/// The commit since which, up to `tip`, `state` has held; `None` if the commits here do not tell.
pub(crate) fn since(
    repository: &Repository,
    tip: Oid,
    state: impl Fn(Oid) -> Result<bool, Error>,
) -> Result<Option<Oid>, Error> {
    let mut commit = tip;
    loop {
        let mut earlier = None;
        for parent in parents(repository, commit)? {
            if !is_here(repository, parent)? {
                return Ok(None);
            }
            if state(parent)? {
                earlier = Some(parent);
                break;
            }
        }
        match earlier {
            Some(parent) => commit = parent,
            None => return Ok(Some(commit)),
        }
    }
}
