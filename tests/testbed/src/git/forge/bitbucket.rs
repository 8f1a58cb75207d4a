//! Bitbucket Cloud: `developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests`.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::ask::{Ask, Forge, No};
use super::{Pull, field, is_basic, number, text};

pub(super) struct Bitbucket;

impl Forge for Bitbucket {
    fn read(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Option<Ask> {
        let rest: Vec<&str> = path.strip_prefix("/2.0/repositories/team/machines/")?.split('/').collect();
        let people = || {
            let all = body.get("reviewers").and_then(Value::as_array).into_iter().flatten();
            all.filter_map(|one| text(one, "/uuid").or_else(|| text(one, "/account_id"))).collect::<Vec<_>>()
        };
        match (method.as_str(), &rest[..]) {
            ("GET", ["pullrequests"]) => {
                let q = query.get("q").cloned().unwrap_or_default();
                let of = |name: &str| {
                    let (_, rest) = q.split_once(&format!("{name}.branch.name=\""))?;
                    rest.split_once('"').map(|(value, _)| value.to_owned())
                };
                Some(Ask::List {
                    head: of("source"),
                    base: of("destination"),
                    page: field(query, "page", 1),
                    size: field(query, "pagelen", 10),
                })
            }
            ("POST", ["pullrequests"]) => Some(Ask::Open {
                head: text(body, "/source/branch/name")?,
                base: text(body, "/destination/branch/name")?,
                title: text(body, "/title")?,
                body: text(body, "/description")?,
                labels: Vec::new(),
                reviewers: people(),
            }),
            ("GET", ["pullrequests", n]) => number(n).map(Ask::Read),
            ("PUT", ["pullrequests", n]) if body.get("reviewers").is_some() => {
                Some(Ask::Review { number: number(n)?, people: people(), all: true })
            }
            ("PUT", ["pullrequests", n]) => Some(Ask::Update {
                number: number(n)?,
                title: text(body, "/title"),
                body: text(body, "/description"),
            }),
            ("GET", ["commit", id]) => Some(Ask::Commit((*id).to_owned())),
            _ => None,
        }
    }

    fn show(&self, pull: &Pull, host: &str) -> Value {
        let side = |branch: &str, fork: bool| {
            let name = if fork { "stranger/machines" } else { "team/machines" };
            json!({ "branch": { "name": branch }, "repository": { "full_name": name } })
        };
        let state = match (&pull.merged, pull.closed) {
            (Some(_), _) => "MERGED",
            (None, true) => "DECLINED",
            (None, false) => "OPEN",
        };
        // twelve digits
        let merged =
            pull.merged.as_ref().map(|commit| json!({ "hash": commit.chars().take(12).collect::<String>() }));
        json!({
            "id": pull.number, "links": { "html": { "href": format!("http://{host}/team/machines/pull-requests/{}", pull.number) } },
            "state": state, "merge_commit": merged, "title": pull.title, "description": pull.body,
            "reviewers": pull.reviewers.iter().map(|uuid| json!({ "uuid": uuid })).collect::<Vec<_>>(),
            "source": side(&pull.head, pull.fork), "destination": side(&pull.base, false),
        })
    }

    fn list(&self, all: Vec<Value>, more: bool) -> Value {
        let mut list = json!({ "values": all, "pagelen": 10 });
        if more {
            list["next"] = json!("https://api.bitbucket.org/2.0/next");
        }
        list
    }

    fn no(&self, no: No, head: &str) -> (u16, Value) {
        let say = |status: u16, message: &str| {
            (status, json!({ "type": "error", "error": { "message": message } }))
        };
        match no {
            No::Unknown => say(404, "Repository team/machines not found"),
            No::Unauthorized => say(401, "Token is invalid, expired, or not supported for this endpoint."),
            No::There(_) | No::Commits => say(400, "There are no changes to be pulled"),
            No::Branch => say(400, &format!("source: branch not found: {head}")),
            No::Nobody => say(400, "reviewers: Malformed reviewers list"),
        }
    }

    fn again(&self) -> bool {
        true
    }

    fn lets_in(&self, authorization: &str, password: &str) -> bool {
        is_basic(authorization, password) || authorization == format!("Bearer {password}")
    }
}
