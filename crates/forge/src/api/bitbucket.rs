//! Bitbucket Cloud: `developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests`. The server of one's own is another API,
//! which is not spoken here.

use http::Method;
use serde_json::{Value, json};

use super::{Api, PAGE, Page, basic, encoded, text, texts};
use crate::client::Call;
use crate::pull_request::{PullRequest, State, Wanted};

pub(super) struct Bitbucket;

/// `{…}` is a uuid, anything else an account id.
fn people(names: &[String]) -> Vec<Value> {
    let field = |name: &String| if name.starts_with('{') { "uuid" } else { "account_id" };
    names.iter().map(|name| json!({ field(name): name })).collect()
}

impl Api for Bitbucket {
    /// A token of a repository, a project or a workspace has this user for Git, and goes by itself here
    /// (`support.atlassian.com/bitbucket-cloud/docs/using-repository-access-tokens`).
    fn authorization(&self, user: &str, password: &str) -> String {
        if user == "x-token-auth" { format!("Bearer {password}") } else { basic(user, password) }
    }

    fn list(&self, project: &str, head: &str, base: &str, page: usize) -> Call {
        let query = format!("source.branch.name=\"{head}\" AND destination.branch.name=\"{base}\"");
        Call::get(format!(
            "/repositories/{project}/pullrequests?state=OPEN&state=MERGED&state=DECLINED&state=SUPERSEDED&q={}&sort=-created_on&pagelen={PAGE}&page={page}",
            encoded(&query)
        ))
    }

    fn read_list(&self, project: &str, body: &Value) -> Option<Page> {
        let all = body.get("values")?.as_array()?;
        let found = all.iter().map(|one| self.read(project, one)).collect::<Option<_>>()?;
        Some(Page { found, more: body.get("next").is_some() })
    }

    fn open(&self, project: &str, wanted: &Wanted) -> Call {
        let branch = |name: &str| json!({ "branch": { "name": name } });
        let body = json!({
            "title": wanted.title, "description": wanted.body, "source": branch(&wanted.head),
            "destination": branch(&wanted.base), "reviewers": people(&wanted.reviewers),
        });
        Call::send(Method::POST, format!("/repositories/{project}/pullrequests"), body)
    }

    /// The second of two is answered with the first, changed as asked for.
    fn is_there(&self, _status: u16, _reason: &str) -> bool {
        false
    }

    fn get(&self, project: &str, number: u64) -> Call {
        Call::get(format!("/repositories/{project}/pullrequests/{number}"))
    }

    fn read(&self, _project: &str, body: &Value) -> Option<PullRequest> {
        let state = match text(body, "/state")?.as_str() {
            "MERGED" => State::Merged(text(body, "/merge_commit/hash")?),
            "OPEN" => State::Open(None),
            // `DECLINED`, and `SUPERSEDED` by another
            _ => State::Closed,
        };
        let repository = |side: &str| text(body, &format!("/{side}/repository/full_name"));
        Some(PullRequest {
            number: body.get("id")?.as_u64()?,
            url: text(body, "/links/html/href")?,
            state,
            title: text(body, "/title")?,
            body: text(body, "/description").unwrap_or_default(),
            labels: Vec::new(),
            reviewers: [texts(body, "/reviewers", "/uuid"), texts(body, "/reviewers", "/account_id")]
                .concat(),
            head: text(body, "/source/branch/name")?,
            base: text(body, "/destination/branch/name")?,
            own: repository("source").is_some() && repository("source") == repository("destination"),
        })
    }

    fn update(&self, project: &str, number: u64, wanted: &Wanted) -> Call {
        let body = json!({ "title": wanted.title, "description": wanted.body });
        Call::send(Method::PUT, format!("/repositories/{project}/pullrequests/{number}"), body)
    }

    fn label(&self, _project: &str, _number: u64, _labels: &[String]) -> Option<Vec<Call>> {
        None
    }

    /// The list is set as a whole, and each is known twice: by uuid and by account.
    fn review(&self, project: &str, number: u64, new: &[String], before: &[String]) -> Vec<Call> {
        let before: Vec<String> = before.iter().filter(|name| name.starts_with('{')).cloned().collect();
        let body = json!({ "reviewers": people(&[&before, new].concat()) });
        vec![Call::send(Method::PUT, format!("/repositories/{project}/pullrequests/{number}"), body)]
    }

    /// A pull request has the first twelve digits.
    fn commit(&self, project: &str, commit: &str) -> Option<Call> {
        Some(Call::get(format!("/repositories/{project}/commit/{}", encoded(commit))))
    }

    fn read_commit(&self, body: &Value) -> Option<String> {
        text(body, "/hash")
    }

    /// What its pages show without cutting it.
    fn longest(&self) -> usize {
        32_768
    }
}
