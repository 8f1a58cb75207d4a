//! GitLab: `docs.gitlab.com/api/merge_requests`, where a pull request is a merge request.

use http::Method;
use serde_json::{Value, json};

use super::{Api, PAGE, Page, encoded, page, text};
use crate::client::Call;
use crate::pull_request::{PullRequest, State, Wanted};

pub(super) struct GitLab;

fn path(project: &str, rest: &str) -> String {
    format!("/projects/{}/merge_requests{rest}", encoded(project))
}

fn ids(reviewers: &[String]) -> Vec<u64> {
    reviewers.iter().filter_map(|id| id.parse().ok()).collect()
}

impl Api for GitLab {
    /// Tokens of a person, a project or a group, and those of OAuth, are all taken so (`docs.gitlab.com/api/rest/authentication`).
    fn authorization(&self, _user: &str, password: &str) -> String {
        format!("Bearer {password}")
    }

    fn list(&self, project: &str, head: &str, base: &str, page: usize) -> Call {
        Call::get(path(
            project,
            &format!(
                "?state=all&source_branch={}&target_branch={}&order_by=created_at&sort=desc&per_page={PAGE}&page={page}",
                encoded(head),
                encoded(base)
            ),
        ))
    }

    fn read_list(&self, project: &str, body: &Value) -> Option<Page> {
        page(body, |one| self.read(project, one))
    }

    fn open(&self, project: &str, wanted: &Wanted) -> Call {
        let body = json!({
            "source_branch": wanted.head, "target_branch": wanted.base, "title": wanted.title,
            "description": wanted.body, "labels": wanted.labels.join(","), "reviewer_ids": ids(&wanted.reviewers),
        });
        Call::send(Method::POST, path(project, ""), body)
    }

    /// `Another open merge request already exists for this source branch: !1`
    fn is_there(&self, status: u16, reason: &str) -> bool {
        status == 409 && reason.contains("already exists")
    }

    fn get(&self, project: &str, number: u64) -> Call {
        Call::get(path(project, &format!("/{number}")))
    }

    /// Merged without a merge commit it is the squashed one, and where the branch was moved forward its head.
    fn read(&self, _project: &str, body: &Value) -> Option<PullRequest> {
        let state = match text(body, "/state")?.as_str() {
            "merged" => {
                let of = |field: &str| text(body, field);
                State::Merged(
                    of("/merge_commit_sha").or_else(|| of("/squash_commit_sha")).or_else(|| of("/sha"))?,
                )
            }
            "closed" => State::Closed,
            // `locked` while it is being merged
            _ => {
                State::Open(text(body, "/detailed_merge_status").map(|word| format!("merge status `{word}`")))
            }
        };
        let project = |side: &str| body.get(side).and_then(Value::as_u64);
        let labels = body.get("labels").and_then(Value::as_array).into_iter().flatten();
        Some(PullRequest {
            number: body.get("iid")?.as_u64()?,
            url: text(body, "/web_url")?,
            state,
            title: text(body, "/title")?,
            body: text(body, "/description").unwrap_or_default(),
            labels: labels.filter_map(Value::as_str).map(str::to_owned).collect(),
            reviewers: reviewers(body),
            head: text(body, "/source_branch")?,
            base: text(body, "/target_branch")?,
            own: project("source_project_id").is_some()
                && project("source_project_id") == project("target_project_id"),
        })
    }

    fn update(&self, project: &str, number: u64, wanted: &Wanted) -> Call {
        let body = json!({ "title": wanted.title, "description": wanted.body });
        Call::send(Method::PUT, path(project, &format!("/{number}")), body)
    }

    fn label(&self, project: &str, number: u64, labels: &[String]) -> Option<Vec<Call>> {
        let body = json!({ "add_labels": labels.join(",") });
        Some(vec![Call::send(Method::PUT, path(project, &format!("/{number}")), body)])
    }

    /// The list is set as a whole.
    fn review(&self, project: &str, number: u64, new: &[String], before: &[String]) -> Vec<Call> {
        let body = json!({ "reviewer_ids": ids(&[before, new].concat()) });
        vec![Call::send(Method::PUT, path(project, &format!("/{number}")), body)]
    }

    fn person(&self, _project: &str, name: &str) -> Option<Call> {
        Some(Call::get(format!("/users?username={}", encoded(name))))
    }

    fn read_person(&self, body: &Value) -> Option<String> {
        body.pointer("/0/id").and_then(Value::as_u64).map(|id| id.to_string())
    }

    /// 1,048,576 (`docs.gitlab.com/administration/instance_limits`).
    fn longest(&self) -> usize {
        1_048_576
    }
}

fn reviewers(body: &Value) -> Vec<String> {
    let all = body.get("reviewers").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|one| one.get("id")?.as_u64()).map(|id| id.to_string()).collect()
}
