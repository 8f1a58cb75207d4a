//! GitHub: `docs.github.com/rest/pulls/pulls`, version 2022-11-28.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::ask::{Ask, Forge, No};
use super::{Api, Pull, field, number, text, texts};

pub(super) struct GitHub;

impl Forge for GitHub {
    fn read(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Option<Ask> {
        let path = path.strip_prefix("/api/v3")?;
        if path.starts_with("/app/installations/678/access_tokens") && method == Method::POST {
            return Some(Ask::Token(body.clone()));
        }
        let rest: Vec<&str> = path.strip_prefix("/repos/team/machines/")?.split('/').collect();
        match (method.as_str(), &rest[..]) {
            ("GET", ["pulls"]) => Some(Ask::List {
                head: query.get("head").map(|head| head.strip_prefix("team:").unwrap_or("?").to_owned()),
                base: query.get("base").cloned(),
                page: field(query, "page", 1),
                size: field(query, "per_page", 30),
            }),
            ("POST", ["pulls"]) => Some(open(body)?),
            ("GET", ["pulls", n]) => number(n).map(Ask::Read),
            ("PATCH", ["pulls", n]) => Some(Ask::Update {
                number: number(n)?,
                title: text(body, "/title"),
                body: text(body, "/body"),
            }),
            ("POST", ["issues", n, "labels"]) => Some(Ask::Label(number(n)?, texts(body, "/labels"))),
            ("POST", ["pulls", n, "requested_reviewers"]) => {
                Some(Ask::Review { number: number(n)?, people: people(body), all: false })
            }
            ("GET", ["pulls", n, "reviews"]) => number(n).map(Ask::Reviewed),
            _ => None,
        }
    }

    fn show(&self, pull: &Pull, host: &str) -> Value {
        let side = |branch: &str, fork: bool| {
            let name = if fork { "stranger/machines" } else { "team/machines" };
            json!({ "ref": branch, "label": format!("team:{branch}"), "repo": { "full_name": name, "owner": { "login": "team" } } })
        };
        let (teams, people): (Vec<&String>, Vec<&String>) =
            pull.reviewers.iter().partition(|name| name.contains('/'));
        json!({
            "number": pull.number, "html_url": format!("http://{host}/team/machines/pull/{}", pull.number),
            "state": if pull.closed { "closed" } else { "open" }, "merged": pull.merged.is_some(),
            "merged_at": pull.merged.as_ref().map(|_| "2026-11-22T00:00:00Z"),
            "merge_commit_sha": pull.merged, "mergeable_state": "blocked",
            "title": pull.title, "body": pull.body, "head": side(&pull.head, pull.fork), "base": side(&pull.base, false),
            "labels": pull.labels.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
            "requested_reviewers": people.iter().map(|name| json!({ "login": name })).collect::<Vec<_>>(),
            "requested_teams": teams.iter().map(|name| json!({ "slug": name.rsplit('/').next() })).collect::<Vec<_>>(),
        })
    }

    fn no(&self, no: No, head: &str) -> (u16, Value) {
        let at = "https://docs.github.com/rest";
        let invalid = |error: Value| {
            (
                422,
                json!({ "message": "Validation Failed", "errors": [error], "documentation_url": at, "status": "422" }),
            )
        };
        match no {
            No::Unknown => (404, json!({ "message": "Not Found", "documentation_url": at, "status": "404" })),
            No::Unauthorized => {
                (401, json!({ "message": "Bad credentials", "documentation_url": at, "status": "401" }))
            }
            No::There(_) => invalid(json!({
                "resource": "PullRequest", "code": "custom", "message": format!("A pull request already exists for team:{head}."),
            })),
            No::Branch => invalid(json!({ "resource": "PullRequest", "field": "head", "code": "invalid" })),
            No::Commits => invalid(json!({
                "resource": "PullRequest", "code": "custom", "message": format!("No commits between main and {head}"),
            })),
            No::Nobody => (
                422,
                json!({ "message": "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the team/machines repository.", "documentation_url": at }),
            ),
        }
    }

    fn status(&self, api: Api) -> u16 {
        if matches!(api, Api::Open | Api::Review) { 201 } else { 200 }
    }

    fn lets_in(&self, authorization: &str, password: &str) -> bool {
        authorization == format!("Bearer {password}")
    }
}

pub(super) fn open(body: &Value) -> Option<Ask> {
    Some(Ask::Open {
        head: text(body, "/head")?,
        base: text(body, "/base")?,
        title: text(body, "/title")?,
        body: text(body, "/body")?,
        labels: Vec::new(),
        reviewers: Vec::new(),
    })
}

pub(super) fn people(body: &Value) -> Vec<String> {
    let teams = texts(body, "/team_reviewers").into_iter().map(|team| format!("team/{team}"));
    texts(body, "/reviewers").into_iter().chain(teams).collect()
}
