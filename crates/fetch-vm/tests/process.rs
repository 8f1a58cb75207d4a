//! The built binary against a real Git server over HTTP.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testbed::git::{Entry, Fault, On, Server};

const STOP: &str = r#"{"apiVersion":"vmlifecycle.dev/v1alpha1","kind":"VMRequest",
  "metadata":{"requestId":"r-2","requestedBy":"jane@example.org"},
  "spec":{"operation":"stop","target":{"name":"web","namespace":"team-a","cluster":"in-cluster"}}}"#;

struct Case {
    dir: TempDir,
    url: String,
}

#[derive(Debug)]
struct Ended {
    code: i32,
    last: String,
    results: BTreeMap<String, String>,
}

impl Case {
    fn new(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("auth")).unwrap();
        fs::write(dir.path().join("auth/.git-credentials"), server.url_with_credentials()).unwrap();
        fs::write(dir.path().join("request.json"), STOP).unwrap();
        Self { dir, url: server.url() }
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fetch-vm"));
        command
            .arg(format!("--request-file={}", at("request.json")))
            .arg(format!("--output={}", at("out/definition")))
            .arg(format!("--outcome-path={}", at("results/outcome")))
            .arg(format!("--basic-auth={}", at("auth")))
            .arg(format!("--url={}", self.url))
            .arg("--timeout=10m")
            .env_clear()
            .env("TMPDIR", self.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, server: &Server) -> Ended {
        let output = self.command().output().unwrap();
        assert_eq!(output.stdout, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().rev().find(|line| !line.starts_with("hint: ")).unwrap_or_default();
        let dir = self.dir.path().display().to_string();
        let results = fs::read_dir(self.dir.path().join("results")).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
        });
        Ended {
            code: output.status.code().unwrap(),
            last: last.replace(&server.host(), "HOST").replace(&dir, "DIR"),
            results: results.collect(),
        }
    }

    /// What lies in the output folder.
    fn files(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        collect(&self.dir.path().join("out/definition"), "", &mut found);
        found
    }

    /// What lies beside the output folder.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("out")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), found);
        } else {
            found.insert(path, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn machines() -> (Server, String) {
    let server = Server::plain().await.unwrap();
    let files = [
        ("vms/in-cluster/team-a/web/virtual-machine.yaml", "vm: web # with a comment\r\n"),
        ("vms/in-cluster/team-a/web/operations/r-1/power.yaml", "phase: power\n"),
        ("vms/in-cluster/team-a/web-2/virtual-machine.yaml", "vm: web-2\n"),
        ("vms/other/team-a/web/virtual-machine.yaml", "vm: other\n"),
        ("applications/in-cluster/team-a/web.yaml", "app: web\n"),
        ("applications/in-cluster/team-a/web-2.yaml", "app: web-2\n"),
        ("archive/in-cluster/team-a/web/r-0/tombstone.yaml", "by: jane\n"),
        ("archive/in-cluster/team-a/db/r-0/tombstone.yaml", "by: joe\n"),
    ];
    let commit = server.git().commit(&files.map(|(path, text)| Entry::file(path, text)), "machines").unwrap();
    (server, commit)
}

#[tokio::test]
async fn what_is_the_machines_is_fetched_byte_for_byte() {
    let (server, commit) = machines().await;
    let case = Case::new(&server);
    let files = |commit: &str, power: &str| {
        map(&[
            (".commit", commit),
            ("applications/in-cluster/team-a/web.yaml", "app: web\n"),
            ("archive/in-cluster/team-a/web/r-0/tombstone.yaml", "by: jane\n"),
            ("vms/in-cluster/team-a/web/operations/r-1/power.yaml", power),
            ("vms/in-cluster/team-a/web/virtual-machine.yaml", "vm: web # with a comment\r\n"),
        ])
    };
    let ended = case.run(&server);
    let said = |commit: &str| {
        format!("fetched 4 files of machine `team-a/web` at commit `{commit}` of branch `main` at `HOST`")
    };
    assert_eq!((ended.code, ended.last), (0, format!("done: {}", said(&commit))));
    let message = said(&commit).replace("HOST", &server.host());
    let results = [
        ("changed", "false"),
        ("commit", commit.as_str()),
        ("exists", "true"),
        ("message", &message),
        ("outcome", "ok"),
    ];
    assert_eq!(ended.results, map(&results));
    assert_eq!(case.files(), files(&commit, "phase: power\n"));
    // once more, after somebody else: what an earlier run left is replaced as a whole
    let more = [
        Entry::absent("applications/in-cluster/team-a/web.yaml"),
        Entry::file("vms/in-cluster/team-a/web/operations/r-1/power.yaml", "phase: stop\n"),
    ];
    let later = server.git().commit(&more, "later").unwrap();
    assert_eq!(case.run(&server).results["commit"], later);
    let mut wanted = files(&later, "phase: stop\n");
    wanted.remove("applications/in-cluster/team-a/web.yaml");
    assert_eq!((case.files(), case.beside()), (wanted, vec!["definition".to_owned()]));
}

#[tokio::test]
async fn a_machine_that_is_not_there_is_no_failure() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server);
    let tip = server.git().tip().unwrap();
    let ended = case.run(&server);
    let last = format!(
        "done: fetched 0 files, there is no machine `team-a/web` at commit `{tip}` of branch `main` at `HOST`"
    );
    assert_eq!((ended.code, ended.last), (0, last));
    assert_eq!((ended.results["exists"].as_str(), ended.results["commit"].as_str()), ("false", tip.as_str()));
    assert_eq!(case.files(), map(&[(".commit", &tip)]));
    // removed, and in the archive
    let tombstone = Entry::file("archive/in-cluster/team-a/web/r-0/tombstone.yaml", "by: jane\n");
    let tip = server.git().commit(&[tombstone], "removed").unwrap();
    assert_eq!(case.run(&server).results["exists"], "false");
    assert_eq!(
        case.files(),
        map(&[(".commit", &tip), ("archive/in-cluster/team-a/web/r-0/tombstone.yaml", "by: jane\n")])
    );
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_no_failure() {
    let server = Server::empty().await.unwrap();
    let case = Case::new(&server);
    let ended = case.run(&server);
    assert_eq!(
        (ended.code, ended.last.as_str()),
        (0, "done: nothing to fetch, there is no branch `main` at `HOST` yet")
    );
    assert_eq!((ended.results["exists"].as_str(), ended.results["commit"].as_str()), ("false", ""));
    assert_eq!(case.files(), map(&[(".commit", "")]));
}

#[tokio::test]
async fn nothing_leads_out_of_the_folder() {
    for (entry, what) in [
        (
            Entry::link("vms/in-cluster/team-a/web/x", "/etc"),
            "`vms/in-cluster/team-a/web/x` is a symbolic link",
        ),
        (Entry::link("vms/in-cluster/team-a", "/etc"), "`vms/in-cluster/team-a` is a symbolic link"),
        (Entry::submodule("vms/in-cluster/team-a/web"), "`vms/in-cluster/team-a/web` is a submodule"),
    ] {
        let server = Server::plain().await.unwrap();
        server.git().commit(&[entry], "odd").unwrap();
        let case = Case::new(&server);
        let ended = case.run(&server);
        let last =
            format!("error: cannot read `vms/in-cluster/team-a/web` on branch `main` at `HOST`: {what}");
        assert_eq!((ended.code, ended.last), (31, last));
        assert!(!case.dir.path().join("out").exists());
    }
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again() {
    let (server, commit) = machines().await;
    server.fault(On::Fetch, Fault::Status(503, None));
    let case = Case::new(&server);
    assert_eq!(case.run(&server).results["commit"], commit);
}

#[tokio::test]
async fn what_is_no_output_folder_stays_as_it_is() {
    let (server, _) = machines().await;
    let case = Case::new(&server);
    let folder = case.dir.path().join("out/definition");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("mine"), "mine").unwrap();
    let ended = case.run(&server);
    let last = "error: cannot write `DIR/out/definition`: it holds other files already";
    assert_eq!((ended.code, ended.last.as_str()), (2, last));
    assert_eq!(case.files(), map(&[("mine", "mine")]));
    fs::write(case.dir.path().join("request.json"), "{}").unwrap();
    let ended = case.run(&server);
    assert_eq!(
        (ended.code, ended.last.as_str()),
        (10, "error: `DIR/request.json` is not a normalised request: missing field `apiVersion`")
    );
}

#[tokio::test]
async fn killed_at_any_moment_and_run_again_the_folder_is_whole() {
    let (server, commit) = machines().await;
    let case = Case::new(&server);
    let start = std::time::Instant::now();
    case.run(&server);
    let took = start.elapsed();
    let wanted = case.files();
    assert_eq!(wanted.len(), 5);
    let (moments, mut killed) = (20_u32, 0);
    for n in 0..moments {
        // every other time there is nothing yet
        if n % 2 == 0 {
            fs::remove_dir_all(case.dir.path().join("out")).unwrap();
        }
        let mut child = case.command().spawn().unwrap();
        std::thread::sleep(took.mul_f64(f64::from(n) / f64::from(moments)) + Duration::from_millis(1));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        let found = case.dir.path().join("out/definition").exists().then(|| case.files());
        assert!(found.is_none_or(|files| files == wanted), "a part of the files");
        let again = case.run(&server);
        assert_eq!((again.code, again.results["commit"].as_str()), (0, commit.as_str()));
        assert_eq!(case.files(), wanted);
    }
    // otherwise the moments missed the runs
    assert!(killed > 0);
}
