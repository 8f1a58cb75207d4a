//! GitLab: `docs.gitlab.com/api/merge_requests`.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::ask::{Ask, Forge, No};
use super::{Pull, field, number, text};

pub(super) struct GitLab;

impl Forge for GitLab {
    fn read(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Option<Ask> {
        let path = path.strip_prefix("/api/v4")?;
        if path == "/users" && method == Method::GET {
            return query.get("username").cloned().map(Ask::Person);
        }
        let rest: Vec<&str> = path.strip_prefix("/projects/team%2Fmachines/")?.split('/').collect();
        let ids = || {
            let all = body.get("reviewer_ids").and_then(Value::as_array);
            all.into_iter().flatten().map(Value::to_string).collect::<Vec<String>>()
        };
        let labels = |field: &str| -> Vec<String> {
            let all = text(body, field).unwrap_or_default();
            all.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        match (method.as_str(), &rest[..]) {
            ("GET", ["merge_requests"]) => Some(Ask::List {
                head: query.get("source_branch").cloned(),
                base: query.get("target_branch").cloned(),
                page: field(query, "page", 1),
                size: field(query, "per_page", 20),
            }),
            ("POST", ["merge_requests"]) => Some(Ask::Open {
                head: text(body, "/source_branch")?,
                base: text(body, "/target_branch")?,
                title: text(body, "/title")?,
                body: text(body, "/description")?,
                labels: labels("/labels"),
                reviewers: ids(),
            }),
            ("GET", ["merge_requests", n]) => number(n).map(Ask::Read),
            ("PUT", ["merge_requests", n]) if body.get("add_labels").is_some() => {
                Some(Ask::Label(number(n)?, labels("/add_labels")))
            }
            ("PUT", ["merge_requests", n]) if body.get("reviewer_ids").is_some() => {
                Some(Ask::Review { number: number(n)?, people: ids(), all: true })
            }
            ("PUT", ["merge_requests", n]) => Some(Ask::Update {
                number: number(n)?,
                title: text(body, "/title"),
                body: text(body, "/description"),
            }),
            _ => None,
        }
    }

    fn show(&self, pull: &Pull, host: &str) -> Value {
        let state = match (&pull.merged, pull.closed) {
            (Some(_), _) => "merged",
            (None, true) => "closed",
            (None, false) => "opened",
        };
        let ids = pull.reviewers.iter().filter_map(|id| id.parse::<u64>().ok());
        json!({
            "iid": pull.number, "web_url": format!("http://{host}/team/machines/-/merge_requests/{}", pull.number),
            "state": state, "merge_commit_sha": pull.merged, "squash_commit_sha": null, "sha": "0".repeat(40),
            "detailed_merge_status": "not_approved", "title": pull.title, "description": pull.body, "labels": pull.labels,
            "reviewers": ids.map(|id| json!({ "id": id })).collect::<Vec<_>>(),
            "source_branch": pull.head, "target_branch": pull.base,
            "source_project_id": if pull.fork { 9 } else { 1 }, "target_project_id": 1,
        })
    }

    fn no(&self, no: No, _head: &str) -> (u16, Value) {
        match no {
            No::Unknown => (404, json!({ "message": "404 Project Not Found" })),
            No::Unauthorized => (401, json!({ "message": "401 Unauthorized" })),
            No::There(n) => (
                409,
                json!({ "message": [format!("Another open merge request already exists for this source branch: !{n}")] }),
            ),
            No::Branch => {
                (400, json!({ "message": { "validate_branches": ["Source branch does not exist"] } }))
            }
            No::Commits | No::Nobody => (400, json!({ "error": "reviewer_ids is invalid" })),
        }
    }

    fn lets_in(&self, authorization: &str, password: &str) -> bool {
        authorization == format!("Bearer {password}")
    }
}
