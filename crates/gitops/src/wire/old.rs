//! Fetching by protocol version 0: gitprotocol-pack(5), "Packfile Negotiation".
//!
//! Nothing is left out and only what a ref names is asked for: servers that can more speak version 2.

use std::io::{Read, Write};

use super::fetch::{Boundary, Request};
use super::pktline::{Line, Lines, Said, demultiplex, flush, line};
use super::{AGENT, Error, fetch};

/// What to ask for, in one message: its filter and its haves are not negotiated.
pub(crate) fn ask(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut can = format!(" ofs-delta side-band-64k shallow no-progress agent={AGENT}");
    for id in request.wants {
        line(&mut bytes, &format!("want {id}{can}\n"));
        can.clear();
    }
    for id in request.shallow {
        line(&mut bytes, &format!("shallow {id}\n"));
    }
    if let Some(depth) = request.depth {
        line(&mut bytes, &format!("deepen {depth}\n"));
    }
    flush(&mut bytes);
    for id in request.haves {
        line(&mut bytes, &format!("have {id}\n"));
    }
    line(&mut bytes, "done\n");
    bytes
}

/// Leave without asking for anything.
pub(crate) const GOODBYE: &[u8] = b"0000";

/// Read the answer, at most `limit` bytes of it, and write the pack in it to `pack`; `deepens` says whether the request did.
pub(crate) fn read_answer(
    from: impl Read,
    deepens: bool,
    limit: u64,
    pack: &mut dyn Write,
) -> Result<Boundary, Error> {
    let mut lines = Lines::new(from, limit);
    let mut boundary = Boundary::default();
    if deepens {
        fetch::read_boundary(&mut lines, &mut boundary, &Line::Flush)?;
    }
    // one for what we have and the server knows, or that there is nothing such
    loop {
        match lines.next()? {
            Line::Data(text) if text.starts_with(b"ACK ") || text.starts_with(b"NAK") => {}
            Line::Data(_) => break,
            _ => return Err(Error::Broken("no pack")),
        }
    }
    lines.again();
    demultiplex(&mut lines, pack, &mut Said::default())?;
    Ok(boundary)
}

#[cfg(test)]
mod tests {
    use git2::Oid;

    use super::{Boundary, Request, ask, read_answer};
    use crate::wire::Error;

    fn id(digit: &str) -> Oid {
        Oid::from_str(&digit.repeat(40)).unwrap()
    }

    #[test]
    fn a_request_is_one_message() {
        let (wants, haves) = ([id("1")], [id("2")]);
        let request = Request { wants: &wants, haves: &haves, shallow: &haves, depth: Some(1), filter: None };
        let text = String::from_utf8(ask(&request)).unwrap();
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        assert!(
            text[4..]
                .starts_with(&format!("want {one} ofs-delta side-band-64k shallow no-progress agent=git/")),
            "{text}"
        );
        let rest = format!("\n0035shallow {two}\n000ddeepen 1\n00000032have {two}\n0009done\n");
        assert!(text.ends_with(&rest), "{text}");
    }

    #[test]
    fn an_answer_has_a_boundary_if_it_was_asked_for_and_a_pack() {
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let shallow = format!("0034shallow {one}0036unshallow {two}0000");
        let pack = "0007\x01PA0007\x01CK0000";
        let boundary = Boundary { shallow: vec![id("1")], unshallow: vec![id("2")] };
        for (text, deepens, wanted) in [
            (format!("{shallow}0008NAK\n{pack}"), true, boundary),
            (format!("00000031ACK {two}\n{pack}"), true, Boundary::default()),
            (format!("0031ACK {two}\n{pack}"), false, Boundary::default()),
        ] {
            let mut bytes = Vec::new();
            let read = read_answer(text.as_bytes(), deepens, 1000, &mut bytes).unwrap();
            assert_eq!((read, bytes.as_slice()), (wanted, &b"PACK"[..]), "{text}");
            for end in 0..text.len() {
                assert!(
                    read_answer(&text.as_bytes()[..end], deepens, 1000, &mut Vec::new()).is_err(),
                    "{end}"
                );
            }
        }
        let long = format!("{shallow}0008NAK\n{pack}");
        assert!(matches!(read_answer(long.as_bytes(), true, 100, &mut Vec::new()), Err(Error::Long)));
    }
}
