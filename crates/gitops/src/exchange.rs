//! One fetch or one push: the only calls that reach a server.

use std::time::{Duration, Instant};

use git2::{Oid, Repository};

use crate::address::Address;
use crate::credential::Credential;
use crate::secret::Secrets;
use crate::smart::Smart;
use crate::trouble::{Class, Trouble};

/// How much of the history a fetch brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// This many commits.
    Commits(i32),
    /// Everything: `INFINITE_DEPTH` of git.
    Everything,
}

impl Depth {
    pub(crate) const fn commits(self) -> i32 {
        match self {
            Self::Commits(commits) => commits,
            Self::Everything => i32::MAX,
        }
    }
}

/// What a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The tip, and what has led to it since the last look.
    Tip,
    /// Commits before it, as far as the depth goes.
    Back,
}

/// The server, and who we are to it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: Address,
    pub(crate) branch: String,
    pub(crate) credential: Option<Credential>,
    pub(crate) secrets: Secrets,
    pub(crate) proxy: Option<String>,
    pub(crate) smart: Smart,
}

/// How a push ended.
#[derive(Debug)]
pub(crate) enum Sent {
    /// The server acknowledged the update of the branch.
    Acknowledged,
    /// Anything else; `offered` says whether the commit had been offered to the server at all.
    Not { trouble: Trouble, offered: bool },
}

impl Link {
    pub(crate) fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    /// Bring the branch's tip here; `None` if the branch does not exist.
    ///
    /// From a server that can leave things out, that is the commit without its files and folders, or with those alone
    /// that changed since the last look: [`Link::objects`] brings others. Otherwise it is all that is in it, and so much of the
    /// history.
    pub(crate) fn fetch(
        &self,
        repository: &Repository,
        depth: Depth,
        look: Look,
        until: Instant,
    ) -> Result<Option<Oid>, Trouble> {
        let fetched = self.fetch_smart(repository, depth, look, until);
        fetched.map_err(|trouble| in_time(trouble, until))
    }

    /// Bring these objects here, without what is in them; they are of the trees of `commits`.
    pub(crate) fn objects(
        &self,
        repository: &Repository,
        objects: &[Oid],
        commits: &[Oid],
        until: Instant,
    ) -> Result<(), Trouble> {
        let brought = self.objects_smart(repository, objects, commits, until);
        brought.map_err(|trouble| in_time(trouble, until))
    }
}

/// libssh2 counts in whole milliseconds from a moment of its own, so that its limit may come a little before ours.
const EARLY: Duration = Duration::from_millis(100);

/// A fetch that the time has cut short has no words of its own.
fn in_time(trouble: Trouble, until: Instant) -> Trouble {
    if Instant::now() + EARLY >= until { Trouble::new(Class::Passing, "no answer in time") } else { trouble }
}
