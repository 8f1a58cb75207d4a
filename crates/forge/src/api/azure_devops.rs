//! Azure DevOps Services: `learn.microsoft.com/rest/api/azure/devops/git/pull-requests`, version 7.1.

use http::Method;
use serde_json::{Value, json};

use super::{Api, PAGE, Page, basic, encoded, text, texts};
use crate::client::Call;
use crate::pull_request::{PullRequest, State, Wanted};

pub(super) struct AzureDevOps;

const VERSION: &str = "api-version=7.1";
/// Before the name of a branch.
const HEADS: &str = "refs/heads/";

/// The path of `organisation/project/repository`, or of `project/repository` where the host names the organisation.
fn path(project: &str, rest: &str) -> String {
    let (before, repository) = project.rsplit_once('/').unwrap_or(("", project));
    format!("/{before}/_apis/git/repositories/{repository}/pullrequests{rest}")
}

fn one(number: u64, rest: &str) -> String {
    format!("/{number}{rest}?{VERSION}")
}

impl Api for AzureDevOps {
    /// A personal access token, with any user.
    fn authorization(&self, user: &str, password: &str) -> String {
        basic(user, password)
    }

    fn list(&self, project: &str, head: &str, base: &str, page: usize) -> Call {
        let branch = |name: &str| encoded(&format!("{HEADS}{name}"));
        let rest = format!(
            "?searchCriteria.status=all&searchCriteria.sourceRefName={}&searchCriteria.targetRefName={}&$top={PAGE}&$skip={}&{VERSION}",
            branch(head),
            branch(base),
            (page - 1) * PAGE
        );
        Call::get(path(project, &rest))
    }

    fn read_list(&self, project: &str, body: &Value) -> Option<Page> {
        super::page(body.get("value")?, |one| self.read(project, one))
    }

    fn open(&self, project: &str, wanted: &Wanted) -> Call {
        let reviewers: Vec<Value> = wanted.reviewers.iter().map(|id| json!({ "id": id })).collect();
        let labels: Vec<Value> = wanted.labels.iter().map(|name| json!({ "name": name })).collect();
        let body = json!({
            "sourceRefName": format!("{HEADS}{}", wanted.head), "targetRefName": format!("{HEADS}{}", wanted.base),
            "title": wanted.title, "description": wanted.body, "reviewers": reviewers, "labels": labels,
        });
        Call::send(Method::POST, path(project, &format!("?{VERSION}")), body)
    }

    /// `TF401179: An active pull request for the source and target branch already exists.`
    fn is_there(&self, status: u16, reason: &str) -> bool {
        status == 409 && reason.contains("TF401179")
    }

    fn get(&self, project: &str, number: u64) -> Call {
        Call::get(path(project, &one(number, "")))
    }

    /// `lastMergeCommit` is a test merge until it is `completed`.
    fn read(&self, project: &str, body: &Value) -> Option<PullRequest> {
        let state = match text(body, "/status")?.as_str() {
            "completed" => State::Merged(text(body, "/lastMergeCommit/commitId")?),
            "abandoned" => State::Closed,
            _ => State::Open(text(body, "/mergeStatus").map(|word| format!("merge status `{word}`"))),
        };
        let branch =
            |field: &str| text(body, field).map(|name| name.strip_prefix(HEADS).unwrap_or(&name).to_owned());
        let number = body.get("pullRequestId")?.as_u64()?;
        // a list has the API's address alone
        let url = text(body, "/url")?;
        let server = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let (before, repository) = project.rsplit_once('/').unwrap_or(("", project));
        Some(PullRequest {
            number,
            url: format!("{server}/{before}/_git/{repository}/pullrequest/{number}"),
            state,
            title: text(body, "/title")?,
            body: text(body, "/description").unwrap_or_default(),
            labels: texts(body, "/labels", "/name"),
            reviewers: texts(body, "/reviewers", "/id"),
            head: branch("/sourceRefName")?,
            base: branch("/targetRefName")?,
            own: body.get("forkSource").is_none_or(Value::is_null),
        })
    }

    fn update(&self, project: &str, number: u64, wanted: &Wanted) -> Call {
        let body = json!({ "title": wanted.title, "description": wanted.body });
        Call::send(Method::PATCH, path(project, &one(number, "")), body)
    }

    fn label(&self, project: &str, number: u64, labels: &[String]) -> Option<Vec<Call>> {
        let call = |name: &String| {
            Call::send(Method::POST, path(project, &one(number, "/labels")), json!({ "name": name }))
        };
        Some(labels.iter().map(call).collect())
    }

    /// A vote of 0 is none yet.
    fn review(&self, project: &str, number: u64, new: &[String], _before: &[String]) -> Vec<Call> {
        let call = |id: &String| {
            let rest = one(number, &format!("/reviewers/{}", encoded(id)));
            Call::send(Method::PUT, path(project, &rest), json!({ "id": id, "vote": 0 }))
        };
        new.iter().map(call).collect()
    }

    /// 4000, as its refusal of a longer one says.
    fn longest(&self) -> usize {
        4000
    }
}
