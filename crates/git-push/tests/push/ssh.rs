//! The same repository over SSH: OpenSSH's server, and keys and hosts as a Secret has them.

use std::fs;
use std::process::Command;
use std::time::Instant;

use testbed::git::Server;
use testbed::git::history::History;
use testbed::proxy::{Doors, Over};
use testbed::sshd::Sshd;

use crate::support::{Case, Ended, one_commit, write};

/// A Git server that is reached over SSH as well.
struct World {
    server: Server,
    sshd: Sshd,
}

impl World {
    async fn start() -> Self {
        let world = Self { server: Server::plain().await.unwrap(), sshd: Sshd::start().unwrap() };
        world.sshd.knows(&[&world.host()], "host").unwrap();
        world
    }

    /// As `known_hosts` names it.
    fn host(&self) -> String {
        format!("[127.0.0.1]:{}", self.sshd.port())
    }

    fn flags(&self) -> [String; 2] {
        let user = Sshd::user().unwrap();
        let (port, path) = (self.sshd.port(), self.server.repository().display());
        let folder = self.sshd.folder().join("ssh");
        [
            format!("--url=ssh://{user}@127.0.0.1:{port}{path}"),
            format!("--ssh-directory={}", folder.display()),
        ]
    }

    fn command(&self, case: &Case, results: &str) -> Command {
        let flags = self.flags();
        case.bare(results, &[&flags[0], &flags[1]])
    }

    fn push(&self, case: &Case) -> Ended {
        case.end("results", &mut self.command(case, "results"))
    }

    /// Exit code and last line, which names host and port.
    fn last(&self, ended: &Ended) -> (i32, String) {
        let (code, line) = ended.last(&self.server);
        (code, line.replace(&format!("127.0.0.1:{}", self.sshd.port()), "HOST"))
    }
}

#[tokio::test]
async fn a_key_and_a_known_host_are_all_it_needs() {
    let world = World::start().await;
    let case = Case::new(&world.server, "r-1", "web", 1);
    let commit = world.push(&case).ok().commit().to_owned();
    assert_eq!(one_commit(&world.server, "web"), commit);
    // one login is enough for all that a run asks
    assert_eq!(world.sshd.connections(), 1);
    let again = world.push(&case);
    assert_eq!((again.ok().commit(), again.changed()), (commit.as_str(), false));
    let changed = Case::new(&world.server, "r-2", "web", 2);
    let conflict = world.push(&changed);
    assert_eq!((conflict.code, conflict.results["outcome"].as_str()), (20, "conflict"));
}

#[tokio::test]
async fn a_host_that_is_not_known_or_has_another_key_gets_no_login() {
    let world = World::start().await;
    let case = Case::new(&world.server, "r-1", "web", 1);
    let line = "error: cannot read branch `main` at `HOST`: its host key is not the one that `known_hosts` has for it, or it has none";
    for (name, key) in [("elsewhere.example.org".to_owned(), "host"), (world.host(), "other")] {
        world.sshd.knows(&[&name], key).unwrap();
        let ended = world.push(&case);
        assert_eq!(
            (world.last(&ended), ended.results["outcome"].as_str()),
            ((30, line.to_owned()), "permission")
        );
    }
    // a key of a kind that the server does not have at all
    let rsa = world.sshd.folder().join("rsa");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-N", "", "-f"]).arg(&rsa).status();
    assert!(made.unwrap().success());
    world.sshd.knows(&[&world.host()], "rsa").unwrap();
    assert_eq!(world.last(&world.push(&case)), (30, line.to_owned()));
    // what is known of the port goes before what is known of the host
    let known = world.sshd.folder().join("ssh/known_hosts");
    world.sshd.knows(&["127.0.0.1"], "host").unwrap();
    let mut text = fs::read_to_string(&known).unwrap();
    world.sshd.knows(&[&world.host()], "other").unwrap();
    text.push_str(&fs::read_to_string(&known).unwrap());
    write(&known, &text);
    assert_eq!(world.last(&world.push(&case)), (30, line.to_owned()));
    world.sshd.knows(&[&world.host()], "host").unwrap();
    let mut text = fs::read_to_string(&known).unwrap();
    text.extend(["@revoked * ", &fs::read_to_string(world.sshd.folder().join("host.pub")).unwrap()]);
    write(&known, &text);
    assert_eq!(world.last(&world.push(&case)), (30, line.to_owned()));
}

/// As over HTTP (`gitops --test partial`), what is not asked about is left out.
#[tokio::test]
async fn a_commit_into_twenty_thousand_files_moves_less_than_fifty_thousand_bytes() {
    let doors = Doors::open().await.unwrap();
    doors.server.git().fill(4000, 0).unwrap();
    let flags = doors.flags(Over::Ssh).unwrap();
    let case = Case::new(&doors.server, "r-1", "web", 1);
    let ended = case.end("results", case.bare("results", &[]).args(flags));
    assert!(ended.ok().changed());
    let (moved, met) = (doors.proxy.carried(), doors.proxy.met());
    println!("{moved} bytes, SSH's own among them");
    assert!(moved < 50_000 && met.connections == 1, "{moved} bytes, {met:?}");
    assert_eq!(doors.server.git().files(ended.commit()).unwrap().len(), 20_003);
}

/// Its sshd does not take `GIT_PROTOCOL`, as it is installed.
#[tokio::test]
async fn a_server_that_speaks_version_0_is_pushed_to_as_well() {
    let world = World::start().await;
    let config = world.sshd.folder().join("sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("AcceptEnv GIT_PROTOCOL\n"), "{text}");
    write(&config, &text.replace("AcceptEnv GIT_PROTOCOL\n", ""));
    let history = History::begin(world.server.git()).unwrap();
    for (id, vm, n) in [("r-1", "web", 1), ("r-1", "web", 1), ("r-2", "db", 2)] {
        let case = Case::new(&world.server, id, vm, n);
        history.ran(case.told(None, world.push(&case).ok()));
    }
    let conflict = world.push(&Case::new(&world.server, "r-3", "web", 3));
    assert_eq!((conflict.code, conflict.results["outcome"].as_str()), (20, "conflict"));
    // more has landed since the first look than one fetch brings
    let base = world.server.git().tip().unwrap();
    for n in 0..70 {
        world.server.git().commit(&[testbed::git::Entry::file("notes", format!("{n}\n"))], "notes").unwrap();
    }
    let case = Case::new(&world.server, "r-4", "cache", 4);
    let flag = format!("--base={base}");
    let flags = world.flags();
    let late = case.end("results", &mut case.bare("results", &[&flags[0], &flags[1], &flag]));
    assert!(late.ok().changed());
    let again = world.push(&Case::new(&world.server, "r-1", "web", 1));
    assert!(!again.ok().changed());
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_told_from_one_that_is_refused() {
    let world = World::start().await;
    let key = world.sshd.folder().join("ssh/id_ed25519");
    let lock = ["-p", "-q", "-P", "", "-N", "a passphrase", "-f"];
    assert!(Command::new("ssh-keygen").args(lock).arg(&key).output().unwrap().status.success());
    let case = Case::new(&world.server, "r-1", "web", 1);
    let pem = world.sshd.folder().join("pem");
    let made = ["-q", "-t", "rsa", "-m", "PEM", "-N", "a passphrase", "-f"];
    assert!(Command::new("ssh-keygen").args(made).arg(&pem).status().unwrap().success());
    let locked = [&key, &pem].map(|key| fs::read_to_string(key).unwrap());
    for text in locked.into_iter().chain(["not a key\n".to_owned()]) {
        write(&key, &text);
        let line = "error: cannot read branch `main` at `HOST`: the private key cannot be read: it has a passphrase, or is of a kind \
                    that is not known";
        assert_eq!(world.last(&world.push(&case)), (2, line.to_owned()), "{}", text.len());
    }
}

#[tokio::test]
async fn a_key_that_the_server_refuses_is_tried_once() {
    let world = World::start().await;
    write(&world.sshd.folder().join("authorized_keys"), "");
    let case = Case::new(&world.server, "r-1", "web", 1);
    let ended = world.push(&case);
    let line = "error: cannot read branch `main` at `HOST`: it refuses the key";
    assert_eq!(
        (world.last(&ended), ended.results["outcome"].as_str()),
        ((30, line.to_owned()), "permission")
    );
    assert_eq!(world.sshd.connections(), 1);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let world = World::start().await;
    let case = Case::new(&world.server, "r-1", "web", 1);
    let [url, folder] = world.flags();
    let ended = case.end("results", &mut case.bare("results", &[&url]));
    assert_eq!(world.last(&ended), (2, "error: an address of ssh needs a key".to_owned()));
    let ssh = world.sshd.folder().join("ssh");
    fs::remove_file(ssh.join("known_hosts")).unwrap();
    let ended = world.push(&case);
    let line =
        format!("error: cannot read `{}/known_hosts`: No such file or directory (os error 2)", ssh.display());
    assert_eq!(world.last(&ended), (2, line));
    fs::remove_file(ssh.join("id_ed25519")).unwrap();
    let ended = world.push(&case);
    assert_eq!(world.last(&ended), (2, format!("error: no private key for `HOST` in `{}`", ssh.display())));
    let elsewhere = url.replace("machines.git", "absent.git");
    world.sshd.knows(&[&world.host()], "host").unwrap();
    fs::copy(world.sshd.folder().join("other"), ssh.join("id_ed25519")).unwrap();
    fs::copy(world.sshd.folder().join("other.pub"), world.sshd.folder().join("authorized_keys")).unwrap();
    let ended = case.end("results", &mut case.bare("results", &[&elsewhere, &folder]));
    let (code, line) = world.last(&ended);
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("does not appear to be a git repository"), "{line}");
}

#[tokio::test]
async fn sixteen_at_once_are_sixteen_commits() {
    let world = World::start().await;
    let names: Vec<String> = (0..16).map(|n| format!("vm{n}")).collect();
    let cases: Vec<Case> =
        names.iter().map(|name| Case::new(&world.server, &format!("r-{name}"), name, 1)).collect();
    let history = History::begin(world.server.git()).unwrap();
    let start = Instant::now();
    let runs: Vec<_> = cases.iter().map(|case| world.command(case, "results").spawn().unwrap()).collect();
    for (case, run) in cases.iter().zip(runs) {
        history.ran(case.told(None, case.ended("results", run, start).ok()));
    }
    assert_eq!(history.check().unwrap(), []);
}
