//! Gitea and Forgejo: their `/api/swagger`, `routers/api/v1/repo/pull.go`; labels by name since Gitea 1.21 and Forgejo 7.
//! Much of it was made after GitHub's: what is the same is asked as there.

use serde_json::Value;

use super::github::{GitHub, pull_request};
use super::{Api, PAGE, Page, basic, page, text};
use crate::client::Call;
use crate::pull_request::{PullRequest, State, Wanted};

pub(super) struct Gitea;

impl Api for Gitea {
    /// A token is taken for the password too (`services/auth/basic.go`).
    fn authorization(&self, user: &str, password: &str) -> String {
        basic(user, password)
    }

    /// There is no filter by branch: what was touched last comes first.
    fn list(&self, project: &str, _head: &str, _base: &str, page: usize) -> Call {
        Call::get(format!("/repos/{project}/pulls?state=all&sort=recentupdate&limit={PAGE}&page={page}"))
    }

    fn read_list(&self, project: &str, body: &Value) -> Option<Page> {
        page(body, |one| self.read(project, one))
    }

    fn open(&self, project: &str, wanted: &Wanted) -> Call {
        GitHub.open(project, wanted)
    }

    /// `pull request already exists for these targets [id: 1, issue_id: 1, …]` (`models/issues/pull.go`).
    fn is_there(&self, status: u16, reason: &str) -> bool {
        status == 409 && reason.contains("already exists for these targets")
    }

    fn get(&self, project: &str, number: u64) -> Call {
        GitHub.get(project, number)
    }

    fn read(&self, _project: &str, body: &Value) -> Option<PullRequest> {
        let state = match (text(body, "/state")?.as_str(), body.get("merged")?.as_bool()?) {
            (_, true) => State::Merged(text(body, "/merge_commit_sha")?),
            ("open", false) => {
                let clean = body.get("mergeable").and_then(Value::as_bool).unwrap_or(true);
                State::Open((!clean).then(|| "not mergeable".to_owned()))
            }
            _ => State::Closed,
        };
        let repository = |side: &str| body.pointer(&format!("/{side}/repo_id")).and_then(Value::as_i64);
        let own = repository("head").is_some() && repository("head") == repository("base");
        pull_request(body, state, own)
    }

    fn update(&self, project: &str, number: u64, wanted: &Wanted) -> Call {
        GitHub.update(project, number, wanted)
    }

    fn label(&self, project: &str, number: u64, labels: &[String]) -> Option<Vec<Call>> {
        GitHub.label(project, number, labels)
    }

    fn review(&self, project: &str, number: u64, new: &[String], before: &[String]) -> Vec<Call> {
        GitHub.review(project, number, new, before)
    }

    fn reviewed(&self, project: &str, number: u64) -> Option<Call> {
        Some(Call::get(format!("/repos/{project}/pulls/{number}/reviews?limit=50")))
    }

    fn read_reviewed(&self, body: &Value) -> Vec<String> {
        GitHub.read_reviewed(body)
    }

    /// Its database takes more; nobody reads more.
    fn longest(&self) -> usize {
        65_536
    }
}
