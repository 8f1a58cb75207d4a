//! Gitea and Forgejo: `/api/swagger`, `routers/api/v1/repo/pull.go`, `models/issues/pull.go`.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::ask::{Ask, Forge, No};
use super::{Api, Pull, field, github, is_basic, number, text, texts};

pub(super) struct Gitea;

impl Forge for Gitea {
    fn read(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Option<Ask> {
        let rest: Vec<&str> = path.strip_prefix("/api/v1/repos/team/machines/")?.split('/').collect();
        match (method.as_str(), &rest[..]) {
            // no filter by branch
            ("GET", ["pulls"]) => Some(Ask::List {
                head: None,
                base: None,
                page: field(query, "page", 1),
                size: field(query, "limit", 30),
            }),
            ("POST", ["pulls"]) => github::open(body),
            ("GET", ["pulls", n]) => number(n).map(Ask::Read),
            ("PATCH", ["pulls", n]) => Some(Ask::Update {
                number: number(n)?,
                title: text(body, "/title"),
                body: text(body, "/body"),
            }),
            ("POST", ["issues", n, "labels"]) => Some(Ask::Label(number(n)?, texts(body, "/labels"))),
            ("POST", ["pulls", n, "requested_reviewers"]) => {
                Some(Ask::Review { number: number(n)?, people: github::people(body), all: false })
            }
            ("GET", ["pulls", n, "reviews"]) => number(n).map(Ask::Reviewed),
            _ => None,
        }
    }

    fn show(&self, pull: &Pull, host: &str) -> Value {
        let side = |branch: &str, id: u64| json!({ "ref": branch, "label": branch, "repo_id": id });
        json!({
            "number": pull.number, "html_url": format!("http://{host}/team/machines/pulls/{}", pull.number),
            "state": if pull.closed { "closed" } else { "open" }, "merged": pull.merged.is_some(), "mergeable": true,
            "merge_commit_sha": pull.merged, "title": pull.title, "body": pull.body,
            "head": side(&pull.head, if pull.fork { 9 } else { 1 }), "base": side(&pull.base, 1),
            "labels": pull.labels.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
            "requested_reviewers": pull.reviewers.iter().map(|name| json!({ "login": name })).collect::<Vec<_>>(),
        })
    }

    fn no(&self, no: No, head: &str) -> (u16, Value) {
        let say = |status: u16, message: &str| {
            (status, json!({ "message": message, "url": "http://localhost/api/swagger" }))
        };
        match no {
            No::Unknown | No::Branch => say(404, "The target couldn't be found."),
            No::Unauthorized => say(401, "invalid username, password or token"),
            No::There(n) => say(
                409,
                &format!(
                    "pull request already exists for these targets [id: {n}, issue_id: {n}, head_repo_id: 1, base_repo_id: 1, head_branch: {head}, base_branch: main]"
                ),
            ),
            No::Commits => {
                say(422, "Invalid PullRequest: There are no changes between the head and the base")
            }
            No::Nobody => say(404, "user does not exist [uid: 0, name: ]"),
        }
    }

    /// A changed one is `201 Created` as well.
    fn status(&self, api: Api) -> u16 {
        if matches!(api, Api::Open | Api::Review | Api::Update) { 201 } else { 200 }
    }

    fn lets_in(&self, authorization: &str, password: &str) -> bool {
        is_basic(authorization, password)
    }
}
