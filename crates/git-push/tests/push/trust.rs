//! TLS under a certificate authority of one's own.

use std::net::{IpAddr, Ipv4Addr};

use testbed::git::Server;

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
    let line = "error: cannot read branch `main` at `HOST`: its certificate is not trusted: the SSL certificate is invalid";
    for flags in [vec![authority.as_str()], vec![]] {
        let ended = case.run(&flags);
        assert_eq!(
            (ended.last(&server), ended.results["outcome"].as_str()),
            ((30, line.to_owned()), "permission")
        );
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
