//! Fetching by protocol version 2: gitprotocol-v2(5), `ls-refs` and `fetch`.

use std::io::{Read, Write};

use git2::Oid;

use super::pktline::{Line, Lines, Said, delimiter, demultiplex, flush, line};
use super::{AGENT, Error, advert};

/// The most bytes of a list of refs: those of one branch, and others whose names begin like its.
const REFS: u64 = 16 * 1024 * 1024;
/// The most commits at which a history may be cut off.
const BOUNDARY: usize = 100_000;

/// What a fetch leaves out. Forges allow these and no deeper `tree:` (GitHub's documentation of partial clones).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Files: `blob:none`.
    Files,
    /// Files and folders: `tree:0`. What is named is sent in any case.
    Folders,
}

/// What is fetched.
#[derive(Debug, Default)]
pub(crate) struct Request<'a> {
    pub(crate) wants: &'a [Oid],
    pub(crate) haves: &'a [Oid],
    /// Commits that are here without their parents.
    pub(crate) shallow: &'a [Oid],
    /// How many commits deep.
    pub(crate) depth: Option<i32>,
    pub(crate) filter: Option<Filter>,
}

/// Where the history that was sent is cut off, and where it is no longer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Boundary {
    pub(crate) shallow: Vec<Oid>,
    pub(crate) unshallow: Vec<Oid>,
}

fn command(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    line(&mut bytes, &format!("command={name}\n"));
    line(&mut bytes, &format!("agent={AGENT}\n"));
    delimiter(&mut bytes);
    bytes
}

/// Ask where the branch is.
pub(crate) fn ask_refs(reference: &str) -> Vec<u8> {
    let mut bytes = command("ls-refs");
    line(&mut bytes, &format!("ref-prefix {reference}\n"));
    flush(&mut bytes);
    bytes
}

/// Where it is; `None` where there is none.
pub(crate) fn read_refs(from: impl Read, reference: &str) -> Result<Option<Oid>, Error> {
    let mut lines = Lines::new(from, REFS);
    let mut tip = None;
    while let Some(entry) = lines.text()? {
        // attributes follow the name
        let end = entry.iter().skip(41).position(|b| *b == b' ').map_or(entry.len(), |end| end + 41);
        tip = tip.or(advert::at(&entry[..end], reference)?);
    }
    Ok(tip)
}

impl Request<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = command("fetch");
        line(&mut bytes, "ofs-delta\n");
        line(&mut bytes, "no-progress\n");
        for (word, ids) in [("want", self.wants), ("shallow", self.shallow), ("have", self.haves)] {
            for id in ids {
                line(&mut bytes, &format!("{word} {id}\n"));
            }
        }
        if let Some(depth) = self.depth {
            line(&mut bytes, &format!("deepen {depth}\n"));
        }
        match self.filter {
            None => {}
            Some(Filter::Files) => line(&mut bytes, "filter blob:none\n"),
            Some(Filter::Folders) => line(&mut bytes, "filter tree:0\n"),
        }
        line(&mut bytes, "done\n");
        flush(&mut bytes);
        bytes
    }
}

/// Read the answer, at most `limit` bytes of it, and write the pack in it to `pack`.
pub(crate) fn read_answer(from: impl Read, limit: u64, pack: &mut dyn Write) -> Result<Boundary, Error> {
    let mut lines = Lines::new(from, limit);
    let mut boundary = Boundary::default();
    loop {
        let Some(section) = lines.text()? else { return Err(Error::Broken("no pack")) };
        match section {
            b"packfile" => {
                demultiplex(&mut lines, pack, &mut Said::default())?;
                return Ok(boundary);
            }
            b"shallow-info" => read_boundary(&mut lines, &mut boundary, &Line::Delimiter)?,
            // neither was asked for
            _ => return Err(Error::Broken("a section that nobody asked for")),
        }
    }
}

/// Read where the history is cut off, up to this mark.
pub(crate) fn read_boundary<R: Read>(
    lines: &mut Lines<R>,
    boundary: &mut Boundary,
    end: &Line<'_>,
) -> Result<(), Error> {
    for _ in 0..BOUNDARY {
        match lines.next()? {
            line if line == *end => return Ok(()),
            Line::Flush | Line::Delimiter | Line::End => return Err(Error::Broken("no pack")),
            Line::Data(text) => {
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                if let Some(id) = text.strip_prefix(b"shallow ") {
                    boundary.shallow.push(advert::object_id(id)?);
                } else if let Some(id) = text.strip_prefix(b"unshallow ") {
                    boundary.unshallow.push(advert::object_id(id)?);
                } else {
                    return Err(Error::Broken("a word about the history that is none"));
                }
            }
        }
    }
    Err(Error::Long)
}

#[cfg(test)]
mod tests {
    use git2::Oid;

    use super::{Boundary, Filter, Request, ask_refs, read_answer, read_refs};
    use crate::wire::Error;

    fn id(digit: &str) -> Oid {
        Oid::from_str(&digit.repeat(40)).unwrap()
    }

    #[test]
    fn a_request_names_what_it_wants_and_has() {
        let request = Request {
            wants: &[id("1")],
            haves: &[id("2")],
            shallow: &[id("2")],
            depth: Some(1),
            filter: Some(Filter::Folders),
        };
        let text = String::from_utf8(request.bytes()).unwrap();
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        assert!(text.starts_with("0012command=fetch\n"), "{text}");
        let arguments = format!(
            "0001000eofs-delta\n0010no-progress\n0032want {one}\n0035shallow {two}\n0032have {two}\n000ddeepen 1\n0012filter tree:0\n\
             0009done\n0000"
        );
        assert!(text.ends_with(&arguments), "{text}");
        assert!(
            String::from_utf8(ask_refs("refs/heads/main"))
                .unwrap()
                .ends_with("ref-prefix refs/heads/main\n0000")
        );
    }

    #[test]
    fn the_branch_is_told_from_others_that_begin_like_it() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let answer = format!("003f{one} refs/heads/main-2\n003d{two} refs/heads/main\n0000");
        assert_eq!(read_refs(answer.as_bytes(), "refs/heads/main").unwrap(), Some(id("2")));
        assert_eq!(read_refs(answer.as_bytes(), "refs/heads/mai").unwrap(), None);
        assert_eq!(read_refs(&b"0000"[..], "refs/heads/main").unwrap(), None);
        for broken in ["", "0006ab0000", "003dz refs/heads/main\n", &answer[..answer.len() - 1]] {
            assert!(read_refs(broken.as_bytes(), "refs/heads/main").is_err(), "{broken}");
        }
    }

    #[test]
    fn an_answer_has_a_boundary_and_a_pack() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let answer = format!(
            "0011shallow-info\n0034shallow {one}0036unshallow {two}0001000dpackfile\n0007\x01PA0007\x01CK0000"
        );
        let mut pack = Vec::new();
        let boundary = read_answer(answer.as_bytes(), 1000, &mut pack).unwrap();
        assert_eq!(boundary, Boundary { shallow: vec![id("1")], unshallow: vec![id("2")] });
        assert_eq!(pack, b"PACK");
        assert!(matches!(read_answer(answer.as_bytes(), 100, &mut pack), Err(Error::Long)));
        // cut off anywhere it is no answer
        for end in 0..answer.len() {
            assert!(read_answer(&answer.as_bytes()[..end], 1000, &mut Vec::new()).is_err(), "{end}");
        }
        for broken in
            ["0000", "0014acknowledgments\n0000", "0011shallow-info\n0000", "0011shallow-info\n0009a b\n0001"]
        {
            assert!(read_answer(broken.as_bytes(), 1000, &mut pack).is_err(), "{broken}");
        }
    }
}
