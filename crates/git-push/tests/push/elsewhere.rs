//! Addresses that lead elsewhere, by themselves or by a redirect: nothing of ours goes there.

use std::net::{IpAddr, Ipv4Addr};

use testbed::git::{Fault, On, Server};

use crate::support::Case;

#[tokio::test]
async fn a_redirect_carries_no_credential() {
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (server, other) = (Server::plain().await.unwrap(), Server::plain().await.unwrap());
    let secure = Server::tls(here).await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    // another host, another port of the same one, another scheme
    let places = [other.url_by_name(), other.url(), secure.url_by_name(), secure.url()];
    for on in [On::FetchRefs, On::Fetch, On::PushRefs, On::Push] {
        for (code, to) in
            [301, 302, 307, 308].into_iter().flat_map(|code| places.iter().map(move |to| (code, to)))
        {
            let base = to.strip_suffix("/machines.git").unwrap();
            let seen = [&other, &secure].map(|there| there.seen().len());
            server.fault(on, Fault::Redirect(code, base.to_owned()));
            let ended = case.run(&[]);
            let verb = if matches!(on, On::FetchRefs | On::Fetch) { "read" } else { "push to" };
            let why = "the server redirects elsewhere, which is not followed";
            let line = format!("error: cannot {verb} branch `main` at `HOST`: {why}");
            assert_eq!(ended.last(&server), (2, line), "{on:?} by {code} to {to}");
            for (there, before) in [&other, &secure].into_iter().zip(seen) {
                let seen = there.seen();
                assert!(seen.iter().all(|s| !s.authorization), "{on:?} by {code} to {to}: {seen:?}");
                assert_eq!(seen.len(), before, "{on:?} by {code} to {to}: {seen:?}");
            }
        }
    }
    assert_eq!(server.git().log().unwrap().len(), 1);
}

// Parts of addresses that are none of a Git server over https or ssh: before a path, as the host, as the path, and hosts for plain http.
const SCHEMES: [&str; 50] = [
    "file://",
    "FILE://",
    "File://",
    "file:",
    "file://localhost",
    "file://127.0.0.1",
    "file:///",
    "git://127.0.0.1",
    "ext::",
    "ext::sh -c ",
    "fd::",
    "fd::17,18/",
    "ftp://127.0.0.1",
    "ftps://127.0.0.1",
    "rsync://127.0.0.1",
    "git+ssh://git@127.0.0.1",
    "ssh+git://git@127.0.0.1",
    "git+https://127.0.0.1",
    "git+file://",
    "http+unix://",
    "unix://",
    "persistent-https://127.0.0.1",
    "gopher://127.0.0.1",
    "dict://127.0.0.1",
    "ldap://127.0.0.1",
    "tftp://127.0.0.1",
    "smb://127.0.0.1",
    "nfs://127.0.0.1",
    "jar:file:",
    "data:text/plain,",
    "javascript:",
    "https:",
    "https:///",
    "HTTPS://127.0.0.1",
    "hTTps://127.0.0.1",
    "http:",
    "ssh:",
    "ssh://",
    "ssh://127.0.0.1",
    "",
    "/",
    "//",
    "//127.0.0.1",
    "./",
    "../..",
    "~",
    "~root",
    "\\\\127.0.0.1",
    "C:",
    "C:\\",
];
const HOSTS: [&str; 45] = [
    "user:secret-password@127.0.0.1",
    "user@127.0.0.1",
    ":@127.0.0.1",
    "@127.0.0.1",
    "a@b@127.0.0.1",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "127.0.0.1:-1",
    "127.0.0.1:+80",
    "127.0.0.1:0x50",
    "127.0.0.1:80:80",
    "127.0.0.1:",
    ":80",
    "-oProxyCommand=id",
    "--upload-pack=id",
    "a..b",
    ".a",
    "a.",
    "a b",
    "a\tb",
    "a\nb",
    "a\r\nHost: b",
    "a%2fb",
    "a%00b",
    "a\\b",
    "a;id",
    "a|id",
    "a&id",
    "$(id)",
    "`id`",
    "a'b",
    "a\"b",
    "a*b",
    "a?b",
    "a#b",
    "a<b",
    "[::1",
    "::1",
    "[::1]]",
    "[fe80::1%25eth0]",
    "[not-six]",
    "gıt.example.org",
    "git\u{3002}example.org",
    "git\u{2024}example.org",
    "\u{202e}git.example.org",
];
const PATHS: [&str; 25] = [
    "a/../b",
    "../b",
    "./b",
    "a/.",
    "-b",
    "a/--upload-pack=id",
    "a%2e%2e/b",
    "a%00",
    "a%0a",
    "a b",
    "a\nb",
    "a;id",
    "a|id",
    "$(id)",
    "`id`",
    "a'b",
    "a\"b",
    "a\\b",
    "a?service=git-receive-pack",
    "a#b",
    "a*b",
    "a<b",
    "a{b}",
    "ä",
    "",
];
const PLAIN: [&str; 12] = [
    "169.254.169.254",
    "metadata.google.internal",
    "git.example.org",
    "127.0.0.1.example.org",
    "localhost.example.org",
    "0.0.0.0",
    "2130706433",
    "0x7f000001",
    "127.1",
    "[::ffff:127.0.0.1]",
    "[::]",
    "[fe80::1]",
];

/// Addresses that are none of a Git server over https or ssh, for a repository that is at `local` on this machine.
fn hostile(local: &str) -> Vec<String> {
    let mut all: Vec<String> = SCHEMES
        .iter()
        .flat_map(|scheme| [local, "/etc/passwd"].map(|path| format!("{scheme}{path}")))
        .collect();
    all.extend(HOSTS.iter().map(|host| format!("https://{host}/machines.git")));
    all.extend(HOSTS[11..].iter().map(|host| format!("ssh://git@{host}/machines.git")));
    all.extend(PATHS.iter().map(|path| format!("https://127.0.0.1/{path}")));
    all.extend(PATHS.iter().map(|path| format!("git@127.0.0.1:{path}")));
    all.extend(PLAIN.iter().map(|host| format!("http://{host}/machines.git")));
    all.extend(
        ["-", "--", "--help", "-c", "--upload-pack=touch", "-oProxyCommand=id", "git@-oProxyCommand=id:a"]
            .map(str::to_owned),
    );
    all.sort_unstable();
    all.dedup();
    all
}

#[tokio::test]
async fn addresses_are_refused_before_anything_is_touched() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let local = server.repository().display().to_string();
    let all = hostile(&local);
    for url in &all {
        // one that is not refused would be tried until the deadline
        let flags = [&format!("--url={url}"), "--timeout=5s"];
        let ended = case.end("results", &mut case.bare("results", &flags));
        let (code, line) = ended.last(&server);
        // an empty flag is one that was not given
        let begin = if url.is_empty() {
            "error: no repository is given"
        } else {
            "error: cannot use the address of `--url`: "
        };
        assert!(code == 2 && line.starts_with(begin), "{url:?}: {code}: {line}");
        // the reason does not repeat the address, which may hold a password
        assert!(
            !ended.stderr.contains("secret-password") && !ended.stderr.contains("machines.git"),
            "{url:?}: {line}"
        );
    }
    assert!(all.len() >= 200, "{}", all.len());
    // the password of this very server in the address as well
    let flag = format!("--url={}", server.url_with_credentials());
    let line = "error: cannot use the address of `--url`: user and password do not belong into it";
    assert_eq!(case.end("results", &mut case.bare("results", &[&flag])).last(&server), (2, line.to_owned()));
    assert_eq!((server.seen(), server.git().log().unwrap().len()), (vec![], 1));
}
