//! GitHub and GitHub Enterprise Server: `docs.github.com/rest/pulls`, API version 2022-11-28.

use http::Method;
use serde_json::{Value, json};

use super::{Api, PAGE, Page, encoded, page, text, texts};
use crate::client::Call;
use crate::pull_request::{PullRequest, State, Wanted};

pub(super) struct GitHub;

impl Api for GitHub {
    /// A token in place of a password goes by itself; user names are for Git.
    fn authorization(&self, _user: &str, password: &str) -> String {
        format!("Bearer {password}")
    }

    fn list(&self, project: &str, head: &str, base: &str, page: usize) -> Call {
        let owner = project.split('/').next().unwrap_or_default();
        Call::get(format!(
            "/repos/{project}/pulls?state=all&head={}&base={}&sort=created&direction=desc&per_page={PAGE}&page={page}",
            encoded(&format!("{owner}:{head}")),
            encoded(base),
        ))
    }

    fn read_list(&self, project: &str, body: &Value) -> Option<Page> {
        page(body, |one| self.read(project, one))
    }

    fn open(&self, project: &str, wanted: &Wanted) -> Call {
        let body =
            json!({ "title": wanted.title, "head": wanted.head, "base": wanted.base, "body": wanted.body });
        Call::send(Method::POST, format!("/repos/{project}/pulls"), body)
    }

    /// `A pull request already exists for team:vm-request/r-1.`
    fn is_there(&self, status: u16, reason: &str) -> bool {
        status == 422 && reason.contains("A pull request already exists")
    }

    fn get(&self, project: &str, number: u64) -> Call {
        Call::get(format!("/repos/{project}/pulls/{number}"))
    }

    /// A list says `merged_at`, one by itself `merged` too. `merge_commit_sha` is a test merge until it is merged.
    fn read(&self, _project: &str, body: &Value) -> Option<PullRequest> {
        let merged = body.get("merged") == Some(&Value::Bool(true)) || text(body, "/merged_at").is_some();
        let state = match (text(body, "/state")?.as_str(), merged) {
            (_, true) => State::Merged(text(body, "/merge_commit_sha")?),
            ("open", false) => {
                State::Open(text(body, "/mergeable_state").map(|word| format!("mergeable state `{word}`")))
            }
            _ => State::Closed,
        };
        let repository = |side: &str| text(body, &format!("/{side}/repo/full_name"));
        let own = repository("head").is_some() && repository("head") == repository("base");
        let mut one = pull_request(body, state, own)?;
        one.reviewers.extend(teams(body));
        Some(one)
    }

    fn update(&self, project: &str, number: u64, wanted: &Wanted) -> Call {
        let body = json!({ "title": wanted.title, "body": wanted.body });
        Call::send(Method::PATCH, format!("/repos/{project}/pulls/{number}"), body)
    }

    fn label(&self, project: &str, number: u64, labels: &[String]) -> Option<Vec<Call>> {
        let path = format!("/repos/{project}/issues/{number}/labels");
        Some(vec![Call::send(Method::POST, path, json!({ "labels": labels }))])
    }

    /// A team is `organisation/team` for people, and its last part for the API.
    fn review(&self, project: &str, number: u64, new: &[String], _before: &[String]) -> Vec<Call> {
        let (teams, people): (Vec<&String>, Vec<&String>) = new.iter().partition(|name| name.contains('/'));
        let teams: Vec<_> = teams.iter().filter_map(|name| name.rsplit('/').next()).collect();
        let body = json!({ "reviewers": people, "team_reviewers": teams });
        vec![Call::send(Method::POST, format!("/repos/{project}/pulls/{number}/requested_reviewers"), body)]
    }

    /// Who has reviewed is asked no longer.
    fn reviewed(&self, project: &str, number: u64) -> Option<Call> {
        Some(Call::get(format!("/repos/{project}/pulls/{number}/reviews?per_page=100")))
    }

    fn read_reviewed(&self, body: &Value) -> Vec<String> {
        texts(body, "", "/user/login")
    }

    /// 65,536, as its refusal of a longer one says.
    fn longest(&self) -> usize {
        65_536
    }
}

/// What Gitea's answers have under the same names; reviewers are people alone.
pub(super) fn pull_request(body: &Value, state: State, own: bool) -> Option<PullRequest> {
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
        own,
    })
}

/// Teams as people name them.
fn teams(body: &Value) -> Vec<String> {
    let organisation = text(body, "/base/repo/owner/login").unwrap_or_default();
    texts(body, "/requested_teams", "/slug").iter().map(|team| format!("{organisation}/{team}")).collect()
}
