//! A change on a branch of its own, for people to look at before it is merged.

use git2::Oid;
use step::{Context, Failure, Kind};

use crate::args::is_branch;
use crate::change::Change;
use crate::push::Pushed;
use crate::remote::Remote;
use crate::tree::{Edit, Plan};

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposal {
    /// The target holds the change already, since this commit.
    There(String),
    /// It is on the branch of its own.
    Pushed {
        /// The commit on that branch, made now or earlier.
        pushed: Pushed,
        /// What it does to the target as it is now.
        edits: Vec<Edit>,
    },
}

impl Remote {
    /// Make the change on the branch `head`, which begins at the tip of this remote's own branch unless it exists, with the same
    /// promises as [`Remote::push`]: what is there already is found, and a branch with commits of somebody else is left alone.
    ///
    /// # Errors
    ///
    /// Those of [`Remote::push`]; `conflict` as well for a branch `head` that neither holds the change nor is the target's tip.
    pub fn propose(mut self, change: &Change, head: &str, context: &Context) -> Result<Proposal, Failure> {
        if !is_branch(head) || head == self.link.branch {
            return Err(Failure::new(Kind::Usage, format!("`{head}` is not a name for a branch of its own")));
        }
        let edits = match self.plan(change, context)? {
            Plan::Done(commit) => return Ok(Proposal::There(commit)),
            Plan::Write(edits) => edits,
        };
        let Some(tip) = self.looked().and_then(|sight| sight.tip) else {
            let what = format!("branch `{}` at `{}` does not exist yet", self.branch(), self.host());
            return Err(
                Failure::new(Kind::Usage, what).hint("a pull request needs a branch to be merged into")
            );
        };
        // the commit is made from one tip however long it takes, so that it is the same commit in every attempt
        self.start = Some(tip);
        head.clone_into(&mut self.link.branch);
        self.push(change, context).map(|pushed| Proposal::Pushed { pushed, edits })
    }

    /// The commit to build on: the branch's tip, or where it is to begin.
    pub(crate) fn parent(&self, tip: Option<Oid>) -> Option<Oid> {
        tip.or(self.start)
    }

    /// Why a branch at `tip` is not built upon, if it is not.
    pub(crate) fn strange(&self, tip: Option<Oid>) -> Option<Failure> {
        self.start?;
        if tip.is_none() || tip == self.start {
            return None;
        }
        let what = format!(
            "branch `{}` at `{}` is there already, with commits of somebody else",
            self.branch(),
            self.host()
        );
        Some(
            Failure::new(Kind::Conflict, what)
                .hint("whoever made it can say whether it may be deleted; it is never overwritten"),
        )
    }
}
