//! Git's wire protocol as far as one branch needs it, over HTTP and SSH: version 2 to fetch (gitprotocol-v2(5)), or version 0 from
//! servers that speak no other (gitprotocol-pack(5)), and version 0 to push, for which there is no other.
//!
//! libgit2 1.9 speaks version 0 alone and knows no filter: its fetch brings every file of the tip. Here a fetch can leave out files
//! and folders, and names the objects that it wants.
//!
//! [`pktline`], [`advert`], [`fetch`], [`old`] and [`push`] turn bytes into values and back and touch no network; [`stream`], [`http`]
//! and [`ssh`] do.
//! Every length that a server gives is held against a bound before anything is kept for it.

pub(crate) mod advert;
pub(crate) mod fetch;
pub(crate) mod http;
pub(crate) mod old;
pub(crate) mod pktline;
pub(crate) mod push;
pub(crate) mod ssh;
pub(crate) mod stream;

use std::fmt;
use std::io;

/// Who asks. Forges take a name that begins so for a Git client.
pub(crate) const AGENT: &str = concat!("git/2.0-vm-lifecycle-tasks-", env!("CARGO_PKG_VERSION"));

/// Why an answer is none.
#[derive(Debug)]
pub(crate) enum Error {
    /// The connection, or the disk that the answer goes to.
    Io(io::Error),
    /// It is not what the protocol has there.
    Broken(&'static str),
    /// The server gives up, in its own words.
    Said(String),
    /// It is longer than was bargained for.
    Long,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => f.write_str(&reason(error)),
            Self::Broken(what) => write!(f, "the answer is not Git's: {what}"),
            Self::Said(words) => write!(f, "the server says: {words}"),
            Self::Long => f.write_str("the answer is too long"),
        }
    }
}

/// What an error of the system says, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned()
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::http::Head;
    use super::pktline::Said;
    use super::{advert, fetch, old, push};

    /// Good answers with some bytes changed, doubled or gone, to every reader: each comes to an end, and none panics.
    #[test]
    fn no_answer_is_too_odd() {
        const MAIN: &str = "refs/heads/main";
        let id = "1".repeat(40);
        let answers = [
            "001e# service=git-upload-pack\n0000000eversion 2\n001bfetch=shallow filter\n0000".to_owned(),
            format!(
                "001f# service=git-receive-pack\n0000004b{id} {MAIN}\0report-status sid\n003d{id} {MAIN}\n0000"
            ),
            format!("00000052{id} HEAD\0side-band-64k shallow\n003d{id} {MAIN}\n0000")[4..].to_owned(),
            format!("0034shallow {id}00000008NAK\n0009\x01PACK0008\x02abc0000"),
            format!("0011shallow-info\n0034shallow {id}0001000dpackfile\n0009\x01PACK0008\x02abc0000"),
            "000e\x01000eunpack ok\n0000".to_owned(),
            format!("0013unpack ok\n0018ok {MAIN}\n001dng {MAIN} why not\n0000"),
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ];
        let mut random = rand::rng();
        for n in 0..20_000 {
            let mut bytes = answers[n % answers.len()].clone().into_bytes();
            for _ in 0..random.random_range(0..4) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes[at] = random.random(),
                    1 => bytes[at] = b"0123456789abcdef \n\0"[random.random_range(0..19)],
                    2 => drop(bytes.drain(at..bytes.len().min(at + random.random_range(0..8)).max(at))),
                    _ => bytes.extend_from_within(at..),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            // whatever is read, it is read to an end
            let _ = advert::fetches(&bytes[..], MAIN).is_ok();
            let _ = advert::pushes(&bytes[..], MAIN).is_ok();
            let _ = fetch::read_refs(&bytes[..], MAIN).is_ok();
            let _ = fetch::read_answer(&bytes[..], 1 << 20, &mut std::io::sink()).is_ok();
            let _ = old::read_answer(&bytes[..], n % 2 == 0, 1 << 20, &mut std::io::sink()).is_ok();
            let _ = push::read_report(&bytes[..], n % 2 == 0, MAIN, &mut Said::default()).is_ok();
            let _ = Head::read(&mut &bytes[..]).is_ok();
        }
    }
}
