//! Signed commits, held against git, gpg and ssh-keygen themselves.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use testbed::git::{Entry, Fault, On, Server};

use crate::support::{Case, Ended, folder, one_commit, write};

const OWNER: &str = "VM flow <flow@example.org>";
const PUBLIC: &str = "sign-key.pub";

/// Runs a program to its end, with this folder as home and keyring.
fn run(home: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("GNUPGHOME", home).env("HOME", home).env("LC_ALL", "C").stdin(Stdio::null());
    command.output().unwrap()
}

#[track_caller]
fn good(output: Output) -> String {
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(output.status.success(), "{text}");
    text
}

/// A folder with a keyring of GnuPG, and whatever else belongs to a key.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    #[track_caller]
    fn gpg(&self, arguments: &[&str]) -> String {
        let always = ["--batch", "--quiet", "--no-tty", "--pinentry-mode=loopback", "--passphrase="];
        good(run(self.0.path(), "gpg", &[&always, arguments].concat()))
    }

    /// A key of OpenPGP, in the files `sign-key` and `sign-key.pub`.
    fn openpgp(make: &[&str]) -> Self {
        let home = Self::new();
        home.gpg(make);
        home.export("--export-secret-keys");
        home
    }

    fn export(&self, which: &str) {
        for (name, which) in [("sign-key", which), (PUBLIC, "--export")] {
            let _ = fs::remove_file(self.at(name));
            self.gpg(&["--armor", "--output", &self.text(name), which]);
        }
    }

    /// Who has nothing but this public key.
    fn knowing(other: &Self) -> Self {
        let home = Self::new();
        home.gpg(&["--import", &other.text(PUBLIC)]);
        home
    }

    /// A key of OpenSSH, in the files `sign-key` and `sign-key.pub`, and the file `allowed` that says whose it is.
    fn openssh(kind: &str, passphrase: &str) -> Self {
        let home = Self::new();
        let file = home.text("sign-key");
        good(run(
            home.0.path(),
            "ssh-keygen",
            &["-q", "-t", kind, "-N", passphrase, "-C", OWNER, "-f", &file],
        ));
        let public = fs::read_to_string(home.at(PUBLIC)).unwrap();
        write(&home.at("allowed"), &format!("flow@example.org {public}"));
        home
    }

    fn flag(&self) -> String {
        format!("--sign-key={}", self.text("sign-key"))
    }

    /// What git says of a commit's signature, with the keys of this home.
    fn verify(&self, server: &Server, commit: &str) -> Output {
        let allowed = format!("gpg.ssh.allowedSignersFile={}", self.text("allowed"));
        let repository = server.repository().display().to_string();
        run(self.0.path(), "git", &["-C", &repository, "-c", &allowed, "verify-commit", "--raw", commit])
    }

    /// The signature of a commit and what it was made over, as files.
    fn split(&self, server: &Server, commit: &str) -> (String, String) {
        let raw = raw(server, commit);
        let (mut signature, mut rest, mut within) = (String::new(), String::new(), false);
        let (header, message) = raw.split_once("\n\n").unwrap();
        for line in header.lines() {
            let (first, more) = (line.strip_prefix("gpgsig "), line.strip_prefix(' ').filter(|_| within));
            within = first.is_some() || more.is_some();
            match first.or(more) {
                Some(line) => signature.extend([line, "\n"]),
                None => rest.extend([line, "\n"]),
            }
        }
        write(&self.at("signature"), &signature);
        write(&self.at("content"), &format!("{rest}\n{message}\n"));
        (self.text("signature"), self.text("content"))
    }

    /// `ssh-keygen -Y verify` of a content.
    fn ssh_verify(&self, signature: &str, content: &str) -> Output {
        let arguments = [
            "-Y",
            "verify",
            "-n",
            "git",
            "-I",
            "flow@example.org",
            "-f",
            &self.text("allowed"),
            "-s",
            signature,
        ];
        let content = fs::File::open(content).unwrap();
        Command::new("ssh-keygen").args(arguments).stdin(content).output().unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        run(self.0.path(), "gpgconf", &["--kill", "all"]);
    }
}

fn ed25519() -> Home {
    Home::openpgp(&["--quick-generate-key", OWNER, "ed25519", "sign", "never"])
}

fn raw(server: &Server, commit: &str) -> String {
    server.git().git(&["cat-file", "commit", commit]).unwrap()
}

fn people(server: &Server, commit: &str) -> String {
    server.git().git(&["show", "--no-patch", "--format=%an <%ae>, %cn <%ce>", commit]).unwrap()
}

#[tokio::test]
async fn gpg_and_git_verify_a_commit_signed_with_openpgp() {
    let (key, other) = (ed25519(), ed25519());
    let server = Server::plain().await.unwrap();
    // the parent, and so the commit, is years older than the key
    let ended = Case::new(&server, "r-1", "web", 1).run(&[&key.flag()]);
    let commit = one_commit(&server, "web");
    assert_eq!(ended.ok().commit(), commit);
    let people_there = people(&server, &commit);
    assert_eq!(people_there, format!("vm-lifecycle-tasks <noreply@vmlifecycle.dev>, {OWNER}"));
    server.git().fsck().unwrap();

    let reader = Home::knowing(&key);
    let said = good(reader.verify(&server, &commit));
    assert!(said.contains("GOODSIG ") && said.contains(OWNER), "{said}");
    let (signature, content) = reader.split(&server, &commit);
    good(run(reader.0.path(), "gpg", &["--verify", &signature, &content]));

    assert!(!Home::knowing(&other).verify(&server, &commit).status.success());
    let changed = fs::read_to_string(&content).unwrap().replace("web", "wob");
    write(Path::new(&content), &changed);
    assert!(!run(reader.0.path(), "gpg", &["--verify", &signature, &content]).status.success());
}

#[tokio::test]
async fn ssh_keygen_and_git_verify_a_commit_signed_with_openssh() {
    let (key, other) = (Home::openssh("ed25519", ""), Home::openssh("ed25519", ""));
    let server = Server::plain().await.unwrap();
    let ended = Case::new(&server, "r-1", "web", 1).run(&[&key.flag()]);
    let commit = one_commit(&server, "web");
    assert_eq!(ended.ok().commit(), commit);
    assert!(people(&server, &commit).ends_with(OWNER));
    server.git().fsck().unwrap();

    good(key.verify(&server, &commit));
    let (signature, content) = key.split(&server, &commit);
    let said = good(key.ssh_verify(&signature, &content));
    assert!(said.starts_with("Good \"git\" signature for flow@example.org with ED25519 key"), "{said}");

    assert!(!other.verify(&server, &commit).status.success());
    assert!(!other.ssh_verify(&signature, &content).status.success());
    let changed = fs::read_to_string(&content).unwrap().replace("web", "wob");
    write(Path::new(&content), &changed);
    assert!(!key.ssh_verify(&signature, &content).status.success());
}

/// As a careful owner keeps it: the primary key, of whatever kind, is elsewhere, and a subkey signs.
#[tokio::test]
async fn a_subkey_signs_without_its_primary_key() {
    let key = Home::openpgp(&["--quick-generate-key", OWNER, "rsa2048", "cert", "never"]);
    let listed = key.gpg(&["--with-colons", "--list-keys"]);
    let primary = listed.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':');
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    assert_eq!(refused(&server, &case, &key), "none of its keys may sign");
    key.gpg(&["--quick-add-key", primary, "ed25519", "sign", "never"]);
    key.gpg(&["--quick-add-key", primary, "cv25519", "encr", "never"]);
    key.export("--export-secret-subkeys");
    let commit = case.run(&[&key.flag()]).ok().commit().to_owned();
    let said = good(Home::knowing(&key).verify(&server, &commit));
    // the subkey's fingerprint first, the primary key's last
    let valid = said.lines().find(|line| line.contains("VALIDSIG")).unwrap();
    assert!(valid.ends_with(primary) && valid.matches(primary).count() == 1, "{said}");
}

#[tokio::test]
async fn somebody_elses_commit_stays_as_it_is_and_ours_is_signed_again_on_top() {
    for key in [ed25519(), Home::openssh("ed25519", "")] {
        let server = Server::plain().await.unwrap();
        let first = server.git().tip().unwrap();
        let theirs = server.git().commit(&[Entry::file("notes", "theirs\n")], "not signed").unwrap();
        let before = raw(&server, &theirs);
        server.git().git(&["update-ref", "refs/heads/main", &first]).unwrap();
        let meanwhile = ["update-ref", "refs/heads/main", &theirs].map(str::to_owned).to_vec();
        server.fault(On::Push, Fault::Meanwhile(meanwhile));
        let ended = Case::new(&server, "r-1", "web", 1).run(&[&key.flag()]);
        let ours = ended.ok().commit().to_owned();
        assert_eq!((server.faults_left(), ended.changed()), (0, true));
        assert_eq!(server.git().log().unwrap(), [ours.clone(), theirs.clone(), first]);
        assert_eq!(raw(&server, &theirs), before);
        good(key.verify(&server, &ours));
    }
}

#[tokio::test]
async fn the_same_request_and_parent_and_key_are_the_same_commit() {
    for (key, other) in [(ed25519(), ed25519()), (Home::openssh("ed25519", ""), Home::openssh("ed25519", ""))]
    {
        let mut commits = Vec::new();
        for key in [&key, &key, &other] {
            // every server begins with the same commit
            let server = Server::plain().await.unwrap();
            let ended = Case::new(&server, "r-1", "web", 1).run(&[&key.flag()]);
            commits.push(ended.ok().commit().to_owned());
        }
        assert_eq!(commits[0], commits[1]);
        assert_ne!(commits[0], commits[2]);
    }
}

#[tokio::test]
async fn what_has_landed_without_a_signature_stays() {
    let key = Home::openssh("ed25519", "");
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let commit = case.run(&[]).ok().commit().to_owned();
    let again = case.run(&[&key.flag()]);
    assert_eq!((again.ok().commit(), again.changed()), (commit.as_str(), false));
    assert!(!key.verify(&server, &one_commit(&server, "web")).status.success());
}

/// As the kubelet mounts a Secret: links into a folder of its own, which a new content replaces.
#[tokio::test]
async fn a_mounted_secret_is_a_folder() {
    let key = Home::openssh("ed25519", "");
    let mount = tempfile::tempdir().unwrap();
    fs::create_dir(mount.path().join("..2026_11_21")).unwrap();
    fs::copy(key.at("sign-key"), mount.path().join("..2026_11_21/sign-key")).unwrap();
    symlink("..2026_11_21", mount.path().join("..data")).unwrap();
    symlink("..data/sign-key", mount.path().join("sign-key")).unwrap();
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let ended = case.run(&[&format!("--sign-key={}", mount.path().display())]);
    good(key.verify(&server, ended.ok().commit()));
}

#[tokio::test]
async fn the_key_itself_is_never_committed() {
    let server = Server::plain().await.unwrap();
    for key in [ed25519(), Home::openssh("ed25519", "")] {
        let text = fs::read_to_string(key.at("sign-key")).unwrap();
        let line = text.lines().filter(|line| line.len() > 60 && !line.starts_with('-')).nth(1).unwrap();
        let case = Case::new(&server, "r-1", "web", 1);
        case.write(&format!("{}/notes.yaml", folder("web")), &format!("text: {line}\n"));
        let ended = case.run(&[&key.flag()]);
        let line = format!(
            "error: `{}/notes.yaml` is not committed: it holds a credential of this step",
            folder("web")
        );
        assert_eq!(ended.last(&server), (31, line));
    }
}

/// Why a run with this key ended, which is before anything was sent.
#[track_caller]
fn refused(server: &Server, case: &Case, key: &Home) -> String {
    let before = server.seen().len();
    let ended: Ended = case.run(&[&key.flag()]);
    let (code, line) = ended.last(server);
    assert_eq!((code, ended.results["outcome"].as_str()), (2, "usage"), "{line}");
    assert_eq!(server.seen().len(), before);
    let hint = "hint: `--sign-key` takes an Ed25519 key without passphrase, as `gpg --export-secret-keys --armor` or \
                `ssh-keygen -t ed25519 -N ''` write it";
    assert_eq!(ended.stderr.lines().last(), Some(hint));
    let start = format!("error: cannot sign with `{}`: ", key.text("sign-key"));
    line.strip_prefix(&start).ok_or(&line).unwrap().to_owned()
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_refused_before_anything_is_sent() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let why = |key: &Home| refused(&server, &case, key);
    let id = |key: &Home| {
        let listed = key.gpg(&["--with-colons", "--list-keys"]);
        listed.lines().find(|line| line.starts_with("pub:")).unwrap().split(':').nth(4).unwrap().to_owned()
    };

    let rsa = Home::openpgp(&["--quick-generate-key", OWNER, "rsa2048", "sign", "never"]);
    let kind = "is of the kind RSA, and only Ed25519 as GnuPG makes it is used";
    assert_eq!(why(&rsa), format!("its key `{}` {kind}", id(&rsa)));
    let past =
        ["--faked-system-time=20200101T000000!", "--quick-generate-key", OWNER, "ed25519", "sign", "1d"];
    let expired = Home::openpgp(&past);
    assert_eq!(why(&expired), format!("its key `{}` has expired", id(&expired)));
    // the last passphrase is the one
    let locked = ["--passphrase=correct horse", "--quick-generate-key", OWNER, "ed25519", "sign", "never"];
    let key = Home::new();
    key.gpg(&locked);
    key.gpg(&[
        "--passphrase=correct horse",
        "--armor",
        "--output",
        &key.text("sign-key"),
        "--export-secret-keys",
    ]);
    let passphrase = "it is protected by a passphrase, and nobody is there to type it";
    assert_eq!(why(&key), passphrase);

    let key = ed25519();
    let secret = fs::read_to_string(key.at("sign-key")).unwrap();
    fs::rename(key.at(PUBLIC), key.at("sign-key")).unwrap();
    assert_eq!(why(&key), "it is a public key, and signing takes the private one");
    write(&key.at("sign-key"), &secret[..secret.len() / 2]);
    assert_eq!(why(&key), "it is damaged, or of a form that is not known here");
    write(&key.at("sign-key"), "token\n");
    assert_eq!(why(&key), "it is no private key of OpenPGP or OpenSSH in text form");
    fs::remove_file(key.at("sign-key")).unwrap();
    assert_eq!(why(&key), "No such file or directory (os error 2)");

    let key = Home::openssh("rsa", "");
    assert_eq!(why(&key), "it is a key of the kind `ssh-rsa`, and only `ssh-ed25519` is used");
    assert_eq!(why(&Home::openssh("ed25519", "correct horse")), passphrase);
    fs::rename(key.at(PUBLIC), key.at("sign-key")).unwrap();
    assert_eq!(why(&key), "it is a public key, and signing takes the private one");
}
