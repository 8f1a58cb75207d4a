//! What a server says of itself before anything else: the answer to `info/refs`, or the first words of a command over SSH.

use std::io::Read;

use git2::Oid;

use super::Error;
use super::pktline::{Line, Lines};

/// The most bytes of an advertisement: some hundred thousand refs.
const LIMIT: u64 = 64 * 1024 * 1024;
/// Capabilities are at most so many.
const CAPABILITIES: usize = 256;

/// What a server that fetches are asked of can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetches {
    /// It does not speak version 2, and says at once where the branch is.
    Old { tip: Option<Oid> },
    /// Version 2; with `filter` it leaves out what is not wanted.
    Two { filter: bool },
}

/// Where the branch is among all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stands {
    /// `None` where there is no such branch.
    pub(crate) tip: Option<Oid>,
    /// There are branches besides it.
    pub(crate) others: bool,
}

/// What a server that pushes go to can do, and where the branch is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pushes {
    pub(crate) stands: Stands,
    pub(crate) reports: bool,
    pub(crate) side_band: bool,
    /// It names the format of its object ids, and takes it to be named.
    pub(crate) object_format: bool,
}

/// Read the answer of `git-upload-pack`.
pub(crate) fn fetches(from: impl Read, reference: &str) -> Result<Fetches, Error> {
    let mut lines = Lines::new(from, LIMIT);
    let line = first(&mut lines, b"# service=git-upload-pack")?;
    if line != b"version 2" {
        return old(&mut lines, line, reference);
    }
    let mut filter = false;
    for _ in 0..CAPABILITIES {
        let Some(line) = lines.text()? else { return Ok(Fetches::Two { filter }) };
        if let Some(features) = line.strip_prefix(b"fetch=") {
            filter = features.split(|b| *b == b' ').any(|feature| feature == b"filter");
        }
        check_format(line)?;
    }
    Err(Error::Broken("too many capabilities"))
}

fn old<R: Read>(lines: &mut Lines<R>, line: Vec<u8>, reference: &str) -> Result<Fetches, Error> {
    // a repository without refs had nothing to say in version 0 before Git 2.14
    if line.is_empty() {
        return Ok(Fetches::Old { tip: None });
    }
    let (mut shallow, mut side_band) = (false, false);
    let Stands { tip, .. } = refs(lines, line, reference, |capability| match capability {
        b"shallow" => shallow = true,
        b"side-band-64k" => side_band = true,
        _ => {}
    })?;
    // both since Git 1.5, of 2007
    if shallow && side_band {
        Ok(Fetches::Old { tip })
    } else {
        Err(Error::Broken("it cannot do `shallow` and `side-band-64k`"))
    }
}

/// Read the answer of `git-receive-pack`, in which every ref of the repository is.
pub(crate) fn pushes(from: impl Read, reference: &str) -> Result<Pushes, Error> {
    let mut lines = Lines::new(from, LIMIT);
    let mut found = Pushes::default();
    let line = first(&mut lines, b"# service=git-receive-pack")?;
    found.stands = refs(&mut lines, line, reference, |capability| match capability {
        b"report-status" => found.reports = true,
        b"side-band-64k" => found.side_band = true,
        _ => found.object_format |= capability.starts_with(b"object-format="),
    })?;
    Ok(found)
}

/// Read all refs as version 0 has them, the first one with the capabilities of the server behind it, and find one of them; whether there
/// are branches besides it.
fn refs<R: Read>(
    lines: &mut Lines<R>,
    mut line: Vec<u8>,
    reference: &str,
    mut can: impl FnMut(&[u8]),
) -> Result<Stands, Error> {
    if line == b"version 1" {
        lines.text()?.unwrap_or_default().clone_into(&mut line);
    }
    let end = line.iter().position(|b| *b == 0).ok_or(Error::Broken("no capabilities"))?;
    let (entry, capabilities) = line.split_at(end);
    for capability in capabilities[1..].split(|b| *b == b' ') {
        check_format(capability)?;
        can(capability);
    }
    let is_other = |line: &[u8]| line.get(40..).is_some_and(|name| name.starts_with(b" refs/heads/"));
    let mut tip = at(entry, reference)?;
    let mut others = tip.is_none() && is_other(entry);
    while let Some(line) = lines.text()? {
        let this = if tip.is_none() { at(line, reference)? } else { None };
        others |= this.is_none() && is_other(line);
        tip = tip.or(this);
    }
    Ok(Stands { tip, others })
}

/// The first line after the one that names the service, which some servers leave out.
fn first<R: Read>(lines: &mut Lines<R>, service: &[u8]) -> Result<Vec<u8>, Error> {
    let line = lines.text()?.unwrap_or_default().to_owned();
    if line != service {
        return Ok(line);
    }
    if lines.next()? != Line::Flush {
        return Err(Error::Broken("no end after the name of the service"));
    }
    Ok(lines.text()?.unwrap_or_default().to_owned())
}

fn check_format(capability: &[u8]) -> Result<(), Error> {
    match capability.strip_prefix(b"object-format=") {
        None | Some(b"sha1") => Ok(()),
        Some(_) => Err(Error::Broken("the repository names its objects otherwise than by SHA-1")),
    }
}

/// The id in a line `<id> <reference>`, or `None` if it is of another one. (The line of an empty repository has no ref's name.)
pub(crate) fn at(line: &[u8], reference: &str) -> Result<Option<Oid>, Error> {
    let Some((id, name)) = line.split_at_checked(40) else {
        return Err(Error::Broken("a ref without its id"));
    };
    match name.strip_prefix(b" ") {
        Some(name) if name == reference.as_bytes() => object_id(id).map(Some),
        Some(_) => Ok(None),
        None => Err(Error::Broken("a ref without its id")),
    }
}

/// 40 hex digits.
pub(crate) fn object_id(text: &[u8]) -> Result<Oid, Error> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 40);
    text.and_then(|text| Oid::from_str(text).ok()).ok_or(Error::Broken("an object's id that is none"))
}

#[cfg(test)]
mod tests {
    use super::{Fetches, Pushes, Stands, fetches, pushes};
    use crate::wire::pktline::{flush, line};

    const ID: &str = "1111111111111111111111111111111111111111";

    fn message(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in lines {
            if text.is_empty() { flush(&mut bytes) } else { line(&mut bytes, text) }
        }
        bytes
    }

    #[test]
    fn a_server_says_what_it_can() {
        let of = |lines: &[&str]| {
            fetches(&message(lines)[..], "refs/heads/main").map_err(|error| error.to_string())
        };
        let service = "# service=git-upload-pack\n";
        let filter = ["version 2\n", "agent=git/2\n", "ls-refs=unborn\n", "fetch=shallow filter\n", ""];
        assert_eq!(of(&[&[service, ""], &filter[..]].concat()), Ok(Fetches::Two { filter: true }));
        // as some servers have it
        assert_eq!(of(&filter), Ok(Fetches::Two { filter: true }));
        assert_eq!(of(&["version 2\n", "fetch=shallow\n", ""]), Ok(Fetches::Two { filter: false }));
        let id = git2::Oid::from_str(ID).unwrap();
        let old = format!("{ID} HEAD\0multi_ack side-band-64k shallow\n");
        let main = format!("{ID} refs/heads/main\n");
        assert_eq!(of(&[service, "", &old, &main, ""]), Ok(Fetches::Old { tip: Some(id) }));
        assert_eq!(of(&[&old, ""]), Ok(Fetches::Old { tip: None }));
        assert_eq!(of(&[""]), Ok(Fetches::Old { tip: None }));
        assert!(of(&[&old.replace("shallow", ""), &main, ""]).is_err());
        assert!(of(&[&old, &main]).is_err());
        assert!(of(&["version 2\n", "object-format=sha256\n", ""]).is_err());
        assert!(of(&["version 2\n", "fetch=filter\n"]).is_err());
    }

    #[test]
    fn the_branch_is_found_among_all_refs() {
        let of = |lines: &[&str]| {
            pushes(&message(lines)[..], "refs/heads/main").map_err(|error| error.to_string())
        };
        let id = git2::Oid::from_str(ID).unwrap();
        let (first, second) = (
            format!("{ID} refs/heads/a\0report-status side-band-64k object-format=sha1\n"),
            format!("{ID} refs/heads/main\n"),
        );
        let all = Pushes {
            stands: Stands { tip: Some(id), others: true },
            reports: true,
            side_band: true,
            object_format: true,
        };
        assert_eq!(of(&["# service=git-receive-pack\n", "", &first, &second, ""]), Ok(all));
        let empty = format!("{} capabilities^{{}}\0report-status", "0".repeat(40));
        assert_eq!(of(&[&empty, ""]), Ok(Pushes { reports: true, ..Pushes::default() }));
        for broken in
            [&[first.as_str()][..], &["x\0report-status", ""], &[&second, ""], &[&first, "short", ""]]
        {
            assert!(of(broken).is_err(), "{broken:?}");
        }
    }
}
