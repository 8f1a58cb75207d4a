//! Azure DevOps Services: `learn.microsoft.com/rest/api/azure/devops/git/pull-requests`, version 7.1.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::ask::{Ask, Forge, No};
use super::{Pull, field, is_basic, number, text};

pub(super) struct AzureDevOps;

const HEADS: &str = "refs/heads/";

impl Forge for AzureDevOps {
    fn read(
        &self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Option<Ask> {
        let path = path.strip_prefix("/team/project/_apis/git/repositories/machines/")?;
        let rest: Vec<&str> = path.split('/').collect();
        query.get("api-version").filter(|version| *version == "7.1")?;
        let list = |name: &str, field: &str| {
            let all = body.get(name).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(|one| text(one, field)).collect::<Vec<_>>()
        };
        let branch =
            |name: Option<String>| name.map(|name| name.strip_prefix(HEADS).unwrap_or("?").to_owned());
        match (method.as_str(), &rest[..]) {
            ("GET", ["pullrequests"]) => {
                let size: usize = field(query, "$top", 101);
                Some(Ask::List {
                    head: branch(query.get("searchCriteria.sourceRefName").cloned()),
                    base: branch(query.get("searchCriteria.targetRefName").cloned()),
                    page: field::<usize>(query, "$skip", 0) / size + 1,
                    size,
                })
            }
            ("POST", ["pullrequests"]) => Some(Ask::Open {
                head: branch(text(body, "/sourceRefName"))?,
                base: branch(text(body, "/targetRefName"))?,
                title: text(body, "/title")?,
                body: text(body, "/description").filter(|text| text.chars().count() <= 4000)?,
                labels: list("labels", "/name"),
                reviewers: list("reviewers", "/id"),
            }),
            ("GET", ["pullrequests", n]) => number(n).map(Ask::Read),
            ("PATCH", ["pullrequests", n]) => Some(Ask::Update {
                number: number(n)?,
                title: text(body, "/title"),
                body: text(body, "/description"),
            }),
            ("POST", ["pullrequests", n, "labels"]) => {
                Some(Ask::Label(number(n)?, vec![text(body, "/name")?]))
            }
            ("PUT", ["pullrequests", n, "reviewers", id]) => {
                Some(Ask::Review { number: number(n)?, people: vec![(*id).to_owned()], all: false })
            }
            _ => None,
        }
    }

    fn show(&self, pull: &Pull, host: &str) -> Value {
        let status = match (&pull.merged, pull.closed) {
            (Some(_), _) => "completed",
            (None, true) => "abandoned",
            (None, false) => "active",
        };
        let mut shown = json!({
            "pullRequestId": pull.number, "status": status, "mergeStatus": "succeeded",
            "lastMergeCommit": pull.merged.as_ref().map(|commit| json!({ "commitId": commit })),
            "repository": { "id": "1", "name": "machines" },
            "url": format!("http://{host}/team/project/_apis/git/repositories/1/pullRequests/{}", pull.number),
            "title": pull.title, "description": pull.body,
            "labels": pull.labels.iter().map(|name| json!({ "name": name, "active": true })).collect::<Vec<_>>(),
            "reviewers": pull.reviewers.iter().map(|id| json!({ "id": id, "vote": 0 })).collect::<Vec<_>>(),
            "sourceRefName": format!("{HEADS}{}", pull.head), "targetRefName": format!("{HEADS}{}", pull.base),
        });
        if pull.fork {
            shown["forkSource"] = json!({ "repository": { "id": "9" } });
        }
        shown
    }

    fn list(&self, all: Vec<Value>, _more: bool) -> Value {
        json!({ "count": all.len(), "value": all })
    }

    fn no(&self, no: No, head: &str) -> (u16, Value) {
        let say = |status: u16, message: &str, key: &str| {
            (
                status,
                json!({ "$id": "1", "innerException": null, "message": message, "typeKey": key, "errorCode": 0 }),
            )
        };
        match no {
            No::Unknown => say(
                404,
                "TF401019: The Git repository with name or identifier machines does not exist or you do not have permissions for the operation you are attempting.",
                "GitRepositoryNotFoundException",
            ),
            // a page to log in on
            No::Unauthorized => (203, Value::Null),
            No::There(_) => say(
                409,
                "TF401179: An active pull request for the source and target branch already exists.",
                "GitPullRequestExistsException",
            ),
            No::Branch | No::Commits => say(
                400,
                &format!(
                    "TF401398: The pull request cannot be activated because the source and/or the target branch no longer exists: {head}"
                ),
                "GitPullRequestStaleException",
            ),
            No::Nobody => say(
                400,
                "TF200016: The following identity could not be found",
                "InvalidArgumentValueException",
            ),
        }
    }

    fn lets_in(&self, authorization: &str, password: &str) -> bool {
        is_basic(authorization, password)
    }
}
