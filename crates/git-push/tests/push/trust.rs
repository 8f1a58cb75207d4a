//! TLS under a certificate authority of one's own, and the proxy that leads there.

use std::net::{IpAddr, Ipv4Addr};

use testbed::git::{Server, Tunnel};

use crate::support::{Case, one_commit, write};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn with_authority(server: &Server, case: &Case, name: &str, pem: &str) -> String {
    std::fs::create_dir_all(case.path("ca")).unwrap();
    write(&case.path("ca").join(name), pem);
    assert!(server.url().starts_with("https://"));
    format!("--ssl-ca-directory={}", case.path("ca").display())
}

#[tokio::test]
async fn a_server_under_the_given_authority_is_trusted_by_name_and_by_address() {
    let server = Server::tls(HERE).await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let authority = with_authority(&server, &case, "ca-bundle.crt", server.ca_pem());
    let commit = case.run(&[&authority]).ok().commit().to_owned();
    assert_eq!(one_commit(&server, "web"), commit);
    let case = Case::new(&server, "r-2", "db", 1);
    let authority = with_authority(&server, &case, "own.pem", server.ca_pem());
    // credentials are bound to the host, which has another name here
    let (user, password) = server.credentials();
    std::fs::remove_file(case.path("auth/.git-credentials")).unwrap();
    write(&case.path("auth/username"), user);
    write(&case.path("auth/password"), &format!("{password}\n"));
    let url = format!("--url={}", server.url_by_name());
    let auth = format!("--basic-auth={}", case.path("auth").display());
    let flags = [authority.as_str(), "--ca-file-name=own.pem", &url, &auth];
    assert!(case.end("results", &mut case.bare("results", &flags)).ok().changed());
    one_commit(&server, "db");
}

#[tokio::test]
async fn a_server_under_another_authority_gets_no_credential() {
    let (server, other) = (Server::tls(HERE).await.unwrap(), Server::tls(HERE).await.unwrap());
    let case = Case::new(&server, "r-1", "web", 1);
    let authority = with_authority(&server, &case, "ca-bundle.crt", other.ca_pem());
    // an authority of the same name, and none at all
    for (flags, why) in [
        (vec![authority.as_str()], "certificate signature failure"),
        (vec![], "unable to get local issuer certificate"),
    ] {
        let line =
            format!("error: cannot read branch `main` at `HOST`: its certificate is not trusted: {why}");
        let ended = case.run(&flags);
        assert_eq!((ended.last(&server), ended.results["outcome"].as_str()), ((30, line), "permission"));
    }
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let server = Server::tls(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let authority = with_authority(&server, &case, "ca-bundle.crt", server.ca_pem());
    // reaches the server as well, and is not in its certificate
    let host = server.host().replace("0.0.0.0", "127.0.0.2");
    write(
        &case.path("auth/.git-credentials"),
        &server.url_with_credentials().replace("0.0.0.0", "127.0.0.2"),
    );
    let auth = format!("--basic-auth={}", case.path("auth").display());
    let flags = [authority.as_str(), &auth, &format!("--url=https://{host}/machines.git")];
    let ended = case.end("results", &mut case.bare("results", &flags));
    let (code, line) = ended.last(&server);
    let why = "its certificate is not trusted: hostname does not match certificate";
    assert_eq!((code, line), (30, format!("error: cannot read branch `main` at `{host}`: {why}")));
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_named() {
    let server = Server::tls(HERE).await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let authority = with_authority(&server, &case, "ca-bundle.crt", "not a certificate\n");
    let (code, line) = case.run(&[&authority]).last(&server);
    assert_eq!(code, 2);
    assert!(line.starts_with("error: cannot trust the certificates of `--ssl-ca-directory`: "), "{line}");
    let ended = case.run(&[&authority, "--ca-file-name=other.crt"]);
    let path = case.path("ca/other.crt").display().to_string();
    let line = format!("error: cannot read certificate authorities: `{path}` is not a file");
    assert_eq!(ended.last(&server), (2, line));
}

#[tokio::test]
async fn a_proxy_leads_to_the_server_and_an_exception_past_it() {
    let server = Server::tls(HERE).await.unwrap();
    let (open, locked) = (Tunnel::start(None).unwrap(), Tunnel::start(Some("me:proxy-password")).unwrap());
    let case = Case::new(&server, "r-1", "web", 1);
    let authority = with_authority(&server, &case, "ca-bundle.crt", server.ca_pem());
    let given = format!("--https-proxy=http://{}", open.host());
    let commit = case.run(&[&authority, &given]).ok().commit().to_owned();
    let through = open.through().len();
    assert!(through > 0 && open.through().iter().all(|place| *place == server.host()));
    // by the environment, with a password
    let environment = |command: &mut std::process::Command, login: &str| {
        command.env("HTTPS_PROXY", format!("http://{login}{}", locked.host()));
    };
    let mut command = case.command("results", &[&authority]);
    environment(&mut command, "me:proxy-password@");
    assert_eq!(case.end("results", &mut command).ok().commit(), commit);
    let behind = locked.through().len();
    assert!(behind > 0);
    // with a wrong one
    let mut command = case.command("results", &[&authority]);
    environment(&mut command, "me:other-password@");
    let ended = case.end("results", &mut command);
    let (code, line) = ended.last(&server);
    assert_eq!((code, ended.results["outcome"].as_str()), (30, "permission"), "{line}");
    assert!(!ended.stderr.contains("other-password"), "{}", ended.stderr);
    // what is given goes before the environment, and an exception before both
    for flags in
        [[given.as_str(), "--no-proxy=other.example.org"], [given.as_str(), "--no-proxy=127.0.0.0/8"]]
    {
        let mut command = case.command("results", &[&authority, flags[0], flags[1]]);
        environment(&mut command, "me:proxy-password@");
        case.end("results", &mut command).ok();
    }
    assert!(open.through().len() > through && open.through().len() <= 2 * through, "{:?}", open.through());
    assert_eq!(locked.through().len(), behind);
    let flag = format!("--https-proxy=http://me:proxy-password@{}", locked.host());
    let line = "error: cannot use the proxy of `--https-proxy`: user and password do not belong into it";
    assert_eq!(case.run(&[&authority, &flag]).last(&server), (2, line.to_owned()));
}
