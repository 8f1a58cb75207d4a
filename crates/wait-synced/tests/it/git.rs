//! Argo CD shows another commit than ours, and a real Git server over smart HTTP is asked how it stands to ours.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::git::{Entry, Fault, On, Server};

use crate::scripted::{APPLICATION, DIGEST, Run, VM, VMI, application, runs, until};
use crate::standin::{Standin, Verb};

const FOLDER: &str = "vms/in-cluster/team-a/web01";

/// A repository with our machine, and the flags to find it.
struct Git {
    server: Server,
    before: String,
    ours: String,
    flags: Vec<String>,
    _credentials: tempfile::TempDir,
}

impl Git {
    async fn begin() -> Self {
        let server = Server::plain().await.unwrap();
        let credentials = tempfile::tempdir().unwrap();
        let (user, password) = server.credentials();
        std::fs::write(credentials.path().join("username"), user).unwrap();
        std::fs::write(credentials.path().join("password"), password).unwrap();
        let before = server.git().tip().unwrap();
        let ours = server
            .git()
            .commit(&[Entry::file(format!("{FOLDER}/virtual-machine.yaml"), "ours\n")], "ours")
            .unwrap();
        let flags = vec![
            format!("--url={}", server.url()),
            format!("--basic-auth={}", credentials.path().display()),
            format!("--commit={ours}"),
            format!("--path={FOLDER}"),
        ];
        Self { server, before, ours, flags, _credentials: credentials }
    }

    /// A commit of somebody else.
    fn other(&self, n: usize) -> String {
        let file = format!("vms/in-cluster/team-b/vm{n}/virtual-machine.yaml");
        self.server.git().commit(&[Entry::file(file, "other\n")], "other").unwrap()
    }

    fn wait(&self, standin: &Standin, timeout: &str, more: &[&str]) -> Run {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Run::begin(standin, timeout, &flags)
    }
}

/// An API server on which each refresh shows this commit, applied.
async fn showing(git: &Git, commit: String) -> Standin {
    let standin = Standin::start().await;
    standin.on_refresh(move |standin, count| {
        runs(standin, DIGEST);
        standin.put(APPLICATION, application(&commit, "Synced", count));
    });
    standin.put(APPLICATION, application(&git.before, "Synced", 0));
    standin
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_may_jump_over_our_commit() {
    let git = Git::begin().await;
    (1..20).for_each(|n| drop(git.other(n)));
    let tip = git.other(20);
    let standin = showing(&git, tip.clone()).await;
    let ended = git.wait(&standin, "30s", &[]).end().await;
    ended.is(0, &format!("done: virtual machine `team-a/web01` is ready at {} on node `node1`", &tip[..7]));
    assert_eq!(ended.result("revision"), tip);
    assert!(git.server.seen().len() <= 10, "few requests: {}", git.server.seen().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_before_ours_is_not_ours() {
    let git = Git::begin().await;
    let before = git.before.clone();
    let standin = showing(&git, before.clone()).await;
    git.wait(&standin, "6s", &[]).end().await.is(
        60,
        &format!(
            "error: virtual machine `team-a/web01` is not ready after 6s: waited for argo cd: application \
             `argocd/in-cluster.team-a.web01` is Synced at {} (want {})",
            &before[..7],
            &git.ours[..7]
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_commit_that_changes_the_folder_supersedes_ours() {
    for change in [
        Entry::file(format!("{FOLDER}/virtual-machine.yaml"), "theirs\n"),
        Entry::file(format!("{FOLDER}/disk-data.yaml"), "theirs\n"),
        Entry::absent(format!("{FOLDER}/virtual-machine.yaml")),
    ] {
        let git = Git::begin().await;
        let theirs = git.server.git().commit(&[change], "theirs").unwrap();
        let tip = git.other(1);
        for commit in [theirs, tip] {
            let standin = showing(&git, commit.clone()).await;
            let ended = git.wait(&standin, "30s", &[]).end().await;
            ended.is(
                21,
                &format!(
                    "error: application `argocd/in-cluster.team-a.web01` is at {}, which holds another state of this machine",
                    &commit[..7]
                ),
            );
            assert_eq!([ended.result("outcome"), ended.result("reason")], ["superseded", "Superseded"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_removed_meanwhile_is_superseded() {
    let git = Git::begin().await;
    let standin = showing(&git, git.ours.clone()).await;
    let mut halfway = application(&git.ours, "OutOfSync", 1);
    halfway["status"]["operationState"] = json!({"phase": "Running"});
    standin.on_refresh(move |standin, _| standin.put(APPLICATION, halfway.clone()));
    let run = git.wait(&standin, "10m", &[]);
    until("a refresh", || standin.requests().iter().any(|r| r.verb == Verb::Patch)).await;
    git.server.git().commit(&[Entry::absent(format!("{FOLDER}/virtual-machine.yaml"))], "removed").unwrap();
    for path in [APPLICATION, VM, VMI] {
        standin.delete(path);
    }
    let gone = Instant::now();
    run.end().await.is(
        21,
        "error: application `argocd/in-cluster.team-a.web01` does not exist, and branch `main` holds another state of it",
    );
    assert!(gone.elapsed() < Duration::from_mins(2), "{:?}", gone.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_server_in_trouble_is_asked_again() {
    let git = Git::begin().await;
    let tip = git.other(1);
    for _ in 0..2 {
        git.server.fault(On::FetchRefs, Fault::Status(503, None));
    }
    let standin = showing(&git, tip).await;
    let ended = git.wait(&standin, "60s", &[]).end().await;
    assert_eq!((ended.code, git.server.faults_left()), (0, 0), "{:#?}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_git_said_is_in_the_last_line() {
    let git = Git::begin().await;
    let tip = git.other(1);
    let standin = showing(&git, tip.clone()).await;
    let empty = tempfile::tempdir().unwrap();
    std::fs::write(empty.path().join("username"), "flow").unwrap();
    std::fs::write(empty.path().join("password"), "wrong").unwrap();
    let mut flags = git.flags.clone();
    flags[1] = format!("--basic-auth={}", empty.path().display());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let ended = Run::begin(&standin, "6s", &flags).end().await;
    let last = ended.last().to_owned();
    assert_eq!(ended.code, 60, "{last}");
    let want = format!("is Synced at {} (want {}); git cannot be asked: cannot ", &tip[..7], &git.ours[..7]);
    assert!(last.contains(&want), "{last}");
    assert!(!ended.log.iter().any(|l| l.contains("wrong")), "no secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_needs_a_folder() {
    let git = Git::begin().await;
    let standin = Standin::start().await;
    let flags: Vec<&str> =
        git.flags.iter().map(String::as_str).filter(|f| !f.starts_with("--path")).collect();
    Run::begin(&standin, "6s", &flags).end().await.is(
        2,
        "error: cannot tell a later commit that keeps the machine from one that does not: `--path` is missing",
    );
}
