//! The forges: what each is asked, and what its answers mean. Nothing here reaches a server.

mod azure_devops;
mod bitbucket;
mod gitea;
mod github;
mod gitlab;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::client::Call;
use crate::place::Kind;
use crate::pull_request::{PullRequest, Wanted};

/// One page of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) found: Vec<PullRequest>,
    /// Whether another follows.
    pub(crate) more: bool,
}

/// How many pull requests a page holds: their texts are long.
pub(crate) const PAGE: usize = 20;

/// What one forge is asked, and what its answers mean. An answer that is not read as documented is `None`.
pub(crate) trait Api: Sync {
    /// The value of `Authorization`.
    fn authorization(&self, user: &str, password: &str) -> String;

    /// The pull requests from `head` into `base`, whatever their state, newest first; pages begin at 1.
    fn list(&self, project: &str, head: &str, base: &str, page: usize) -> Call;

    fn read_list(&self, project: &str, body: &Value) -> Option<Page>;

    /// Open one. The names in `reviewers` are what [`Api::read_person`] made of them.
    fn open(&self, project: &str, wanted: &Wanted) -> Call;

    /// Whether a refusal of [`Api::open`] says that there is an open one already.
    fn is_there(&self, status: u16, reason: &str) -> bool;

    fn get(&self, project: &str, number: u64) -> Call;

    fn read(&self, project: &str, body: &Value) -> Option<PullRequest>;

    /// Give it this title and this text.
    fn update(&self, project: &str, number: u64, wanted: &Wanted) -> Call;

    /// Add these labels; `None` where there are none on pull requests.
    fn label(&self, project: &str, number: u64, labels: &[String]) -> Option<Vec<Call>>;

    /// Ask these people as well as those who were asked before.
    fn review(&self, project: &str, number: u64, new: &[String], before: &[String]) -> Vec<Call>;

    /// Who has looked at it by now, where [`PullRequest::reviewers`] does not hold them.
    fn reviewed(&self, _project: &str, _number: u64) -> Option<Call> {
        None
    }

    fn read_reviewed(&self, _body: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Where a forge knows people by another name than people do: what to ask for it.
    fn person(&self, _project: &str, _name: &str) -> Option<Call> {
        None
    }

    fn read_person(&self, _body: &Value) -> Option<String> {
        None
    }

    /// Where a forge shortens the ids of commits: what to ask for the whole.
    fn commit(&self, _project: &str, _commit: &str) -> Option<Call> {
        None
    }

    fn read_commit(&self, _body: &Value) -> Option<String> {
        None
    }

    /// The longest text, in characters.
    fn longest(&self) -> usize;
}

impl Kind {
    /// Its API.
    pub(crate) fn api(self) -> &'static dyn Api {
        match self {
            Self::Github => &github::GitHub,
            Self::Gitlab => &gitlab::GitLab,
            Self::Gitea => &gitea::Gitea,
            Self::Bitbucket => &bitbucket::Bitbucket,
            Self::AzureDevops => &azure_devops::AzureDevOps,
        }
    }
}

/// What may stand in a query or a part of a path as it is (RFC 3986, 2.3).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The text at a JSON pointer.
fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// The texts at `pointer` in each of a list.
fn texts(value: &Value, list: &str, pointer: &str) -> Vec<String> {
    let all = value.pointer(list).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|one| text(one, pointer)).collect()
}

/// A list of pull requests, which has a next page where it is full.
fn page(body: &Value, read: impl Fn(&Value) -> Option<PullRequest>) -> Option<Page> {
    let all = body.as_array()?;
    let found = all.iter().map(read).collect::<Option<Vec<_>>>()?;
    Some(Page { more: found.len() >= PAGE, found })
}
