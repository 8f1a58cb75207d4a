//! Git's wire protocol as far as one branch needs it: version 2 to fetch (gitprotocol-v2(5)), version 0 to push, for which there
//! is no other (gitprotocol-pack(5)).
//!
//! libgit2 1.9 speaks version 0 alone and knows no filter: its fetch brings every file of the tip. Here a fetch can leave out files
//! and folders, and names the objects that it wants.
//!
//! [`pktline`], [`advert`], [`fetch`] and [`push`] turn bytes into values and back and touch no network; [`stream`] and [`http`] do.
//! Every length that a server gives is held against a bound before anything is kept for it.

pub(crate) mod advert;
pub(crate) mod fetch;
pub(crate) mod http;
pub(crate) mod pktline;
pub(crate) mod push;
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
