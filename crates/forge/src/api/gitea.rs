//! Gitea and Forgejo: their `/api/swagger`, `routers/api/v1/repo/pull.go`; labels by name since Gitea 1.21 and Forgejo 7.

use http::Method;
use serde_json::{Value, json};

use super::{Api, PAGE, Page, basic, page, text, texts};
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
        let body =
            json!({ "title": wanted.title, "head": wanted.head, "base": wanted.base, "body": wanted.body });
        Call::send(Method::POST, format!("/repos/{project}/pulls"), body)
    }

    /// `pull request already exists for these targets [id: 1, issue_id: 1, …]` (`models/issues/pull.go`).
    fn is_there(&self, status: u16, reason: &str) -> bool {
        status == 409 && reason.contains("already exists for these targets")
    }

    fn get(&self, project: &str, number: u64) -> Call {
        Call::get(format!("/repos/{project}/pulls/{number}"))
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
        Some(PullRequest {
            number: body.get("number")?.as_u64()?,
            url: text(body, "/html_url")?,
            state,
            title: text(body, "/title")?,
            body: text(body, "/body").unwrap_or_default(),
            labels: texts(body, "/labels", "/name"),
            reviewers: texts(body, "/requested_reviewers", "/login"),
            head: text(body, "/head/ref")?,
            base: text(body, "/base/ref")?,
            own: repository("head").is_some() && repository("head") == repository("base"),
        })
    }

    fn update(&self, project: &str, number: u64, wanted: &Wanted) -> Call {
        let body = json!({ "title": wanted.title, "body": wanted.body });
        Call::send(Method::PATCH, format!("/repos/{project}/pulls/{number}"), body)
    }

    fn label(&self, project: &str, number: u64, labels: &[String]) -> Option<Vec<Call>> {
        let path = format!("/repos/{project}/issues/{number}/labels");
        Some(vec![Call::send(Method::POST, path, json!({ "labels": labels }))])
    }

    fn review(&self, project: &str, number: u64, new: &[String], _before: &[String]) -> Vec<Call> {
        let (teams, people): (Vec<&String>, Vec<&String>) = new.iter().partition(|name| name.contains('/'));
        let teams: Vec<_> = teams.iter().filter_map(|name| name.rsplit('/').next()).collect();
        let body = json!({ "reviewers": people, "team_reviewers": teams });
        vec![Call::send(Method::POST, format!("/repos/{project}/pulls/{number}/requested_reviewers"), body)]
    }

    fn reviewed(&self, project: &str, number: u64) -> Option<Call> {
        Some(Call::get(format!("/repos/{project}/pulls/{number}/reviews?limit=50")))
    }

    fn read_reviewed(&self, body: &Value) -> Vec<String> {
        texts(body, "", "/user/login")
    }

    /// Its database takes more; nobody reads more.
    fn longest(&self) -> usize {
        65_536
    }
}
