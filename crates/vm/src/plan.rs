//! What `render-vm` says to `git-push` beside the files: which commit they were made from, and what else has to happen.

use serde::{Deserialize, Serialize};

/// A change of the repository besides the files that are written. A JSON file; paths are from the repository's root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// The commit (40 hex digits) that the files were made from; absent where every file has to be new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Files to remove; each has to be as it was at the base, or gone.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Folders that have to be, with all that is in them, as they were at the base: so of two operations on one machine at
    /// once only one is made, also where they write to different files.
    #[serde(default)]
    pub unchanged: Vec<String>,
    /// The file whose presence says that the change was made: a request, or an operation's record.
    pub marker: String,
    /// First line of the commit message.
    pub subject: String,
}
