//! What can go wrong between a push and its answer.

use std::time::Duration;

/// The four requests of the smart HTTP protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// A fetch asks which refs there are.
    FetchRefs,
    /// A fetch asks for a pack.
    Fetch,
    /// A push asks which refs there are.
    PushRefs,
    /// A push sends its pack.
    Push,
}

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and never reaches Git; with a `Retry-After` in seconds where given.
    Status(u16, Option<u32>),
    /// The same, and these words for people, in plain text.
    Says(u16, &'static str),
    /// The connection is reset before the body is read.
    Reset,
    /// Git does its work, then the answer is lost.
    Accepted(Ending),
    /// It is sent elsewhere: the answer is this status, such as 302, to the same path under this address, such as
    /// `http://127.0.0.1:8081`.
    Redirect(u16, String),
    /// The branch's lock is held by somebody else while Git works.
    Locked,
    /// Git is run in the repository with these arguments first, such as `update-ref refs/heads/main <commit>`.
    Meanwhile(Vec<String>),
    /// Git's work begins this much later.
    Late(Duration),
    /// Git's answer arrives, one byte a second.
    Drip,
    /// It is never answered and never reaches Git.
    Silence,
}

/// How an answer is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The connection is reset.
    Reset,
    /// The connection is closed.
    Close,
    /// The connection is closed after half the body.
    Half,
    /// The body is empty, with status 200.
    Empty,
    /// A proxy answers 502.
    BadGateway,
    /// Nothing is ever sent.
    Silence,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 6] =
        [Self::Reset, Self::Close, Self::Half, Self::Empty, Self::BadGateway, Self::Silence];
}
