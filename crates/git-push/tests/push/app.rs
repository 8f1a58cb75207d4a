//! The token of a GitHub App, for Git and for the API.

use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use testbed::git::forge::{Api, ApiFault, Dialect};
use testbed::git::{On, Server};

use crate::support::{Case, write};

/// An App on a server, whose tokens are good for so many seconds, and its folder in a case without any other credential.
async fn installed(seconds: i64) -> (Server, Case, PKey<Private>) {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    std::fs::remove_file(case.path("auth/.git-credentials")).unwrap();
    write(&case.path("auth/.git-credentials"), "");
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let public = PKey::public_key_from_pem(&key.public_key_to_pem().unwrap()).unwrap();
    server.install("12345", public, seconds).unwrap();
    std::fs::create_dir(case.path("app")).unwrap();
    write(&case.path("app/app-id"), "12345\n");
    write(&case.path("app/installation-id"), "678\n");
    let pem = String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    write(&case.path("app/private-key"), &pem);
    (server, case, key)
}

#[tokio::test]
async fn its_token_pushes() {
    let (server, case, _) = installed(3600).await;
    let app = format!("--github-app-key={}", case.path("app").display());
    let ended = case.run(&["--forge=github", &app]);
    assert!(ended.ok().changed());
    assert_eq!((server.git().tip().unwrap().as_str(), server.tokens().unwrap()), (ended.commit(), 1));
    assert!(!format!("{}{:?}", ended.stderr, ended.results).contains("ghs_"));
    assert!(server.seen().iter().any(|seen| seen.on == On::Push && seen.authorization));
}

#[tokio::test]
async fn its_token_opens_a_pull_request_and_is_renewed_before_it_ends() {
    for (seconds, once) in [(3600, true), (300, false)] {
        let (server, case, _) = installed(seconds).await;
        let app = format!("--github-app-key={}", case.path("app").display());
        let ended = case.run(&["--forge=github", "--mode=pull-request", "--wait-merged=false", &app]);
        assert!(ended.ok().changed());
        assert_eq!(server.pulls().unwrap().len(), 1);
        // the server takes the newest alone: each that is about to end was renewed before it was used
        let tokens = server.tokens().unwrap();
        assert_eq!(tokens == 1, once, "{tokens} tokens");
        assert!(!format!("{}{:?}", ended.stderr, ended.results).contains("ghs_"));
    }
}

#[tokio::test]
async fn an_app_that_is_not_let_in_is_refused() {
    let (server, case, _) = installed(3600).await;
    let app = format!("--github-app-key={}", case.path("app").display());
    let said = |why: &str| format!("error: cannot get a token for the GitHub App from `HOST`: {why}");
    // signed by another
    let other = Rsa::generate(2048).unwrap().private_key_to_pem().unwrap();
    let right = std::fs::read_to_string(case.path("app/private-key")).unwrap();
    write(&case.path("app/private-key"), std::str::from_utf8(&other).unwrap());
    let line = said("http status 401, A JSON web token could not be decoded");
    assert_eq!(case.run(&["--forge=github", &app]).last(&server), (30, line));
    write(&case.path("app/private-key"), &right);
    // may not do what is asked for
    let message = "The permissions requested are not granted to this installation.";
    server
        .api_fault(Api::Token, ApiFault::Answer(422, vec![], serde_json::json!({ "message": message })))
        .unwrap();
    let line = said(&format!("http status 422, {message}"));
    assert_eq!(case.run(&["--forge=github", &app]).last(&server), (31, line));
    // no such folder
    let ended = case.run(&["--forge=github", "--github-app-key=/nowhere"]);
    let line =
        "error: cannot use the GitHub App of `/nowhere/app-id`: No such file or directory (os error 2)";
    assert_eq!(ended.last(&server), (2, line.to_owned()));
    // what passes is waited out
    server.api_fault(Api::Token, ApiFault::Reset).unwrap();
    case.run(&["--forge=github", &app]).ok();
}
