//! What a forge refuses, in which words, and what of it passes.

use serde_json::json;
use testbed::git::Server;
use testbed::git::forge::{Api, ApiFault, Dialect};

use crate::proposed::propose;
use crate::support::{Case, write};

fn answer(status: u16, message: &str) -> ApiFault {
    ApiFault::Answer(status, Vec::new(), json!({ "message": message }))
}

#[tokio::test]
async fn a_status_has_its_class() {
    let said = |what: &str, why: &str| format!("error: cannot {what} at `HOST`: {why}");
    for (on, fault, code, line) in [
        (
            Api::List,
            answer(403, "Resource not accessible by integration"),
            30,
            said("read pull requests", "http status 403, Resource not accessible by integration"),
        ),
        (Api::List, answer(404, "Not Found"), 2, said("read pull requests", "http status 404, Not Found")),
        (
            Api::List,
            answer(301, "Moved Permanently"),
            2,
            said("read pull requests", "the server redirects elsewhere, which is not followed"),
        ),
        (
            Api::Open,
            answer(403, "Resource not accessible by personal access token"),
            30,
            said("open a pull request", "http status 403, Resource not accessible by personal access token"),
        ),
        (
            Api::Open,
            answer(422, "Validation Failed"),
            31,
            said("open a pull request", "http status 422, Validation Failed"),
        ),
        (
            Api::Open,
            answer(409, "Git Repository is empty."),
            20,
            said("open a pull request", "http status 409, Git Repository is empty."),
        ),
        (
            Api::Update,
            answer(422, "body is too long"),
            31,
            said("change a pull request", "http status 422, body is too long"),
        ),
        (
            Api::Label,
            answer(403, "Must have triage rights"),
            30,
            said("change a pull request", "http status 403, Must have triage rights"),
        ),
        (
            Api::List,
            ApiFault::Answer(200, Vec::new(), json!("<html>")),
            2,
            "error: cannot read pull requests at `HOST`: what answers is not the API of this forge"
                .to_owned(),
        ),
    ] {
        let server = Server::forge(Dialect::GitHub).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        if on == Api::Update {
            propose(&case, Dialect::GitHub, &server, &[]).ok();
            server.with_pull(1, |pull| pull.title.push('!')).unwrap();
        }
        server.api_fault(on, fault).unwrap();
        let ended = propose(&case, Dialect::GitHub, &server, &["--labels=vm"]);
        assert_eq!(ended.last(&server), (code, line), "{on:?}");
        if on == Api::List {
            assert!(server.git().git(&["rev-parse", "--verify", crate::proposed::HEAD]).is_err());
        }
    }
}

#[tokio::test]
async fn a_wrong_credential_is_refused_by_each_in_its_own_words() {
    for (dialect, why) in [
        (Dialect::GitHub, "http status 401, Bad credentials"),
        (Dialect::GitLab, "http status 401, 401 Unauthorized"),
        (Dialect::Gitea, "http status 401, invalid username, password or token"),
        (
            Dialect::Bitbucket,
            "http status 401, Token is invalid, expired, or not supported for this endpoint.",
        ),
        (Dialect::AzureDevOps, "http status 203, access denied"),
    ] {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        let lines = server.url_with_credentials().replace(server.credentials().1, "wrong-password");
        write(&case.path("auth/.git-credentials"), &lines);
        let ended = propose(&case, dialect, &server, &[]);
        assert_eq!(ended.last(&server), (30, format!("error: cannot read pull requests at `HOST`: {why}")));
        assert!(!ended.stderr.contains("wrong-password"), "{}", ended.stderr);
        assert_eq!((server.calls().unwrap().len(), server.seen().len()), (1, 0));
    }
}

#[tokio::test]
async fn somebody_who_cannot_review_is_named_by_the_forge() {
    for (dialect, name, code, line) in [
        (
            Dialect::GitHub,
            "nobody",
            31,
            "cannot change a pull request at `HOST`: http status 422, Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the team/machines repository.",
        ),
        (
            Dialect::Gitea,
            "nobody",
            2,
            "cannot change a pull request at `HOST`: http status 404, user does not exist [uid: 0, name: ]",
        ),
        (Dialect::GitLab, "nobody", 2, "cannot open a pull request at `HOST`: there is nobody `nobody`"),
        (
            Dialect::Bitbucket,
            "{nobody}",
            31,
            "cannot open a pull request at `HOST`: http status 400, reviewers: Malformed reviewers list",
        ),
        (
            Dialect::AzureDevOps,
            "nobody",
            31,
            "cannot open a pull request at `HOST`: http status 400, TF200016: The following identity could not be found",
        ),
    ] {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        let ended = propose(&case, dialect, &server, &[&format!("--reviewers={name}")]);
        assert_eq!(ended.last(&server), (code, format!("error: {line}")), "{dialect:?}");
    }
}

#[tokio::test]
async fn what_passes_is_waited_out_and_a_limit_of_requests_is_kept() {
    let header = |name: &'static str, value: String| vec![(name, value)];
    let reset = jiff_now() + 1;
    let limits = vec![("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset.to_string())];
    for fault in [
        answer(500, ""),
        answer(502, ""),
        ApiFault::Answer(429, header("retry-after", "2".to_owned()), json!({})),
        ApiFault::Answer(403, limits, json!({ "message": "API rate limit exceeded for user ID 1." })),
        ApiFault::Reset,
    ] {
        for on in [Api::List, Api::Open, Api::Label] {
            let server = Server::forge(Dialect::GitHub).await.unwrap();
            let case = Case::on_forge(&server, "r-1", "web", 1);
            server.api_fault(on, fault.clone()).unwrap();
            let ended = propose(&case, Dialect::GitHub, &server, &["--labels=vm"]);
            let asked = matches!(&fault, ApiFault::Answer(429, ..));
            assert!(ended.ok().took.as_secs() >= if asked { 2 } else { 0 }, "{:?}", ended.took);
            assert_eq!(server.pulls().unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_what_cannot_be_in_time() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let busy =
        || ApiFault::Answer(429, vec![("retry-after", "3600".to_owned())], json!({ "message": "slow down" }));
    server.api_fault(Api::List, busy()).unwrap();
    let ended = propose(&case, Dialect::GitHub, &server, &["--timeout=1m"]);
    let line = "error: cannot read pull requests at `HOST`: http status 429, slow down; it asks to wait 1h";
    assert_eq!(ended.last(&server), (50, line.to_owned()));
    // once the branch is there, that nothing was changed cannot be said
    server.api_fault(Api::Open, busy()).unwrap();
    let ended = propose(&case, Dialect::GitHub, &server, &["--timeout=1m"]);
    let line = "error: cannot open a pull request at `HOST`: http status 429, slow down; it asks to wait 1h";
    assert_eq!(ended.last(&server), (51, line.to_owned()));
    assert!(ended.took.as_secs() < 30, "{:?}", ended.took);
}

#[tokio::test]
async fn another_host_gets_no_credential() {
    let (server, other) =
        (Server::forge(Dialect::GitLab).await.unwrap(), Server::forge(Dialect::GitLab).await.unwrap());
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let api = format!("--forge-api=http://{}/api/v4", other.host());
    let ended = case.run(&["--mode=pull-request", "--forge=gitlab", &api, "--wait-merged=false"]);
    let line =
        format!("error: cannot read pull requests at `{}`: http status 401, 401 Unauthorized", other.host());
    assert_eq!((ended.code, ended.stderr.lines().rev().nth(1).unwrap()), (30, line.as_str()));
    assert_eq!(other.authorizations().unwrap(), 0);
}

fn jiff_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
