//! Packs: what a fetch brings, and the few objects that a push sends.

use std::io::{self, Write};

use git2::{Buf, Error, ObjectType, Odb, OdbPackwriter, Oid, PackBuilder, Repository, Tree};

use crate::{history, wire};

/// `PACK`, version and number of objects: gitformat-pack(5).
const HEAD: usize = 12;
/// The most objects of a pack. libgit2 makes room for as many as a pack says that it has.
const OBJECTS: u32 = 4_000_000;

/// Takes a pack as it comes; one without objects, which libgit2 would refuse, is none.
pub(crate) struct Sink<'a> {
    odb: &'a Odb<'a>,
    head: Vec<u8>,
    writer: Option<OdbPackwriter<'a>>,
}

impl<'a> Sink<'a> {
    pub(crate) const fn new(odb: &'a Odb<'a>) -> Self {
        Self { odb, head: Vec::new(), writer: None }
    }

    /// It is whole: what is in it is here from now on.
    pub(crate) fn keep(self) -> Result<(), wire::Error> {
        if self.head.len() < HEAD {
            return Err(wire::Error::Broken("an empty pack"));
        }
        let Some(mut writer) = self.writer else { return Ok(()) };
        writer.commit().map(drop).map_err(|error| wire::Error::Io(io::Error::other(error)))
    }

    fn begin(&mut self) -> io::Result<()> {
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
        let (magic, rest) = self.head.split_at(4);
        let (version, objects) = rest.split_at(4);
        let objects = number(objects);
        if magic != b"PACK" || number(version) != 2 || objects > OBJECTS {
            return Err(io::Error::other("the server's pack is none"));
        }
        if objects > 0 {
            let writer = self.writer.insert(self.odb.packwriter().map_err(io::Error::other)?);
            writer.write_all(&self.head)?;
        }
        Ok(())
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let missing = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(missing);
        if !head.is_empty() {
            self.head.extend(head);
            if self.head.len() == HEAD {
                self.begin()?;
            }
        }
        if let Some(writer) = &mut self.writer
            && !rest.is_empty()
        {
            writer.write_all(rest)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pack of what `commit` has and its parent has not: itself, the folders on the paths that it changes, and the files there. What is
/// the same in both need not be here.
pub(crate) fn of_commit(repository: &Repository, commit: Oid) -> Result<Vec<u8>, Error> {
    let parent = history::parents(repository, commit)?.first().copied();
    let mut pack = repository.packbuilder()?;
    // some ten objects
    pack.set_threads(1);
    pack.insert_object(commit, None)?;
    let tree = |commit: Oid| repository.find_commit(commit)?.tree();
    add(repository, &mut pack, &tree(commit)?, parent.map(tree).transpose()?.as_ref())?;
    let mut bytes = Buf::new();
    pack.write_buf(&mut bytes)?;
    Ok(bytes.to_vec())
}

fn add(
    repository: &Repository,
    pack: &mut PackBuilder<'_>,
    new: &Tree<'_>,
    old: Option<&Tree<'_>>,
) -> Result<(), Error> {
    pack.insert_object(new.id(), None)?;
    for entry in new {
        let before = old.and_then(|old| old.get_name_bytes(entry.name_bytes()));
        if before.as_ref().is_some_and(|before| before.id() == entry.id()) {
            continue;
        }
        match entry.kind() {
            Some(ObjectType::Tree) => {
                let before = before.filter(|before| before.kind() == Some(ObjectType::Tree));
                let before = before.map(|before| repository.find_tree(before.id())).transpose()?;
                add(repository, pack, &repository.find_tree(entry.id())?, before.as_ref())?;
            }
            Some(ObjectType::Blob) => pack.insert_object(entry.id(), None)?,
            _ => {}
        }
    }
    Ok(())
}
