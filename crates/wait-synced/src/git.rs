//! The repository that is asked whether a later commit holds ours.

use step::Failure;

use crate::Args;
use crate::history::Ask;

/// The flags that say which repository.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Git")]
pub struct GitArgs {}

impl GitArgs {
    /// How to ask, where a repository is given.
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "joined with gitops next")]
    pub(crate) fn ask(&self, _: &Args) -> Result<Option<Ask>, Failure> {
        Ok(None)
    }
}
