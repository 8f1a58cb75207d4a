//! Which files end up where, and what a commit says.

use testbed::git::{Entry, Server};

use crate::support::{Case, folder, one_commit, write};

/// The whole commit, raw.
fn raw(server: &Server, commit: &str) -> String {
    server.git().git(&["cat-file", "commit", commit]).unwrap()
}

#[tokio::test]
async fn a_commit_says_what_asked_for_it() {
    let server = Server::plain().await.unwrap();
    let parent = server.git().tip().unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let ended = case.run(&[]);
    let commit = ended.ok().commit();
    let tree = server.git().git(&["rev-parse", &format!("{commit}^{{tree}}")]).unwrap();
    let digest = &ended.results["digest"];
    assert_eq!(
        raw(&server, commit),
        format!(
            "tree {tree}\nparent {parent}\n\
             author vm-lifecycle-tasks <noreply@vmlifecycle.dev> 1700000000 +0000\n\
             committer vm-lifecycle-tasks <noreply@vmlifecycle.dev> 1700000000 +0000\n\n\
             provision vm team-a/web\n\n\
             Request-Id: r-1\nRequest-Digest: {digest}\nRequested-By: jane@example.org\nOperation: provision"
        )
    );
    assert_eq!(
        server.git().files(commit).unwrap(),
        [
            "README.md",
            "namespaces/in-cluster/team-a/namespace.yaml",
            "vms/in-cluster/team-a/web/request.yaml",
            "vms/in-cluster/team-a/web/virtual-machine.yaml"
        ]
    );
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    assert_eq!((ended.results["branch"].as_str(), ended.changed()), ("main", true));
    assert_eq!(
        ended.last(&server),
        (0, format!("done: pushed commit `{commit}` on branch `main` at `HOST`"))
    );
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn the_same_request_on_the_same_parent_is_the_same_commit() {
    let mut commits = Vec::new();
    for (locale, zone) in [("C", "UTC"), ("de_DE.UTF-8", "Asia/Kathmandu")] {
        let server = Server::plain().await.unwrap();
        let case = Case::new(&server, "r-1", "web", 1);
        let mut command = case.command("results", &[]);
        command.env("LC_ALL", locale).env("TZ", zone);
        commits.push(case.end("results", &mut command).ok().commit().to_owned());
    }
    assert_eq!(commits[0], commits[1]);
}

#[tokio::test]
async fn a_request_says_when_it_was_made() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let request = crate::support::request("r-1", "web", 1);
    let request =
        request.replace("  requestedBy:", "  requestedAt: \"2026-11-20T12:00:00Z\"\n  requestedBy:");
    case.write(&format!("{}/request.yaml", folder("web")), &request);
    let commit = case.run(&["--message=a machine for Jane"]).ok().commit().to_owned();
    let raw = raw(&server, &commit);
    assert!(raw.contains("> 1795176000 +0000\n\na machine for Jane\n\nRequest-Id: r-1\n"), "{raw}");
}

#[tokio::test]
async fn done_already_is_found_with_its_commit_however_deep() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let commit = case.run(&[]).ok().commit().to_owned();
    for n in 0..70 {
        server.git().commit(&[Entry::file(format!("other/{n}"), n.to_string())], "somebody else").unwrap();
        if !matches!(n, 0 | 69) {
            continue;
        }
        let again = case.run(&[]);
        assert_eq!((again.ok().commit(), again.changed()), (commit.as_str(), false));
        let line =
            format!("done: nothing to do, made already by commit `{commit}` on branch `main` at `HOST`");
        assert_eq!(again.last(&server), (0, line));
    }
    assert_eq!(one_commit(&server, "web"), commit);
    // also when a file other than the request was edited since: the request is what tells
    let path = format!("{}/virtual-machine.yaml", folder("web"));
    server.git().commit(&[Entry::file(path, "power: off\n")], "by hand").unwrap();
    assert_eq!(case.run(&[]).ok().commit(), commit);
}

#[tokio::test]
async fn an_empty_repository_gets_its_first_commit() {
    let server = Server::empty().await.unwrap();
    let cases = ["a", "b"].map(|vm| Case::new(&server, &format!("r-{vm}"), vm, 1));
    let start = std::time::Instant::now();
    let children: Vec<_> = cases.iter().map(|c| c.command("results", &[]).spawn().unwrap()).collect();
    for (case, child) in cases.iter().zip(children) {
        assert!(case.ended("results", child, start).ok().changed());
    }
    assert_eq!((server.git().log().unwrap().len(), server.git().not_linear().unwrap()), (2, 1));
    assert_eq!(server.git().files("main").unwrap().len(), 5);
    server.git().fsck().unwrap();
}

/// A branch that was removed, or misspelt, would begin with these files alone, and Argo CD would remove every other machine.
#[tokio::test]
async fn a_branch_begins_by_itself_in_an_empty_repository_alone() {
    let server = Server::plain().await.unwrap();
    let ended = Case::new(&server, "r-1", "web", 1).run(&["--branch=machines/new"]);
    let line = "error: cannot push to branch `machines/new` at `HOST`: it does not exist, and the repository has other branches";
    assert_eq!((ended.last(&server), ended.results["outcome"].as_str()), ((2, line.to_owned()), "usage"));
    assert!(ended.stderr.contains("hint: check `--url` and `--branch`"), "{}", ended.stderr);
    assert!(server.git().git(&["rev-parse", "--verify", "machines/new"]).is_err());
    let server = Server::empty().await.unwrap();
    let ended = Case::new(&server, "r-1", "web", 1).run(&["--branch=machines/new"]);
    assert_eq!(ended.ok().results["branch"], "machines/new");
    assert_eq!(server.git().git(&["rev-parse", "machines/new"]).unwrap(), ended.commit());
    assert_eq!(server.git().files("machines/new").unwrap().len(), 3);
}

#[tokio::test]
async fn kept_files_are_added_and_never_changed() {
    let server = Server::plain().await.unwrap();
    let namespace = "namespaces/in-cluster/team-a/namespace.yaml";
    let by_hand = server.git().commit(&[Entry::file(namespace, "with: quota\n")], "by hand").unwrap();
    let author = server.git().git(&["log", "-1", "--format=%an"]).unwrap();
    let commit = Case::new(&server, "r-1", "web", 1).run(&[]).ok().commit().to_owned();
    assert_eq!(server.git().read(&commit, namespace).unwrap(), b"with: quota\n");
    let ended = Case::new(&server, "r-2", "db", 1).run(&["--keep=applications"]);
    let line = format!(
        "error: cannot change branch `main` at `HOST`: `{namespace}` is there already, with other content, from commit \
         `{by_hand}` of `{author}`"
    );
    assert_eq!(ended.last(&server), (20, line));
}

#[tokio::test]
async fn a_change_is_made_against_its_base() {
    let server = Server::plain().await.unwrap();
    let base = Case::new(&server, "r-1", "web", 1).run(&[]).ok().commit().to_owned();
    for n in 0..3 {
        server.git().commit(&[Entry::file(format!("other/{n}"), "")], "somebody else").unwrap();
    }
    let next = Case::new(&server, "r-2", "web", 2);
    let commit = next.run(&[&format!("--base={base}")]).ok().commit().to_owned();
    let there = server.git().read(&commit, &format!("{}/virtual-machine.yaml", folder("web"))).unwrap();
    assert_eq!(there, b"name: web\ncpu: 2\n");
    let unknown = "1".repeat(40);
    let ended = Case::new(&server, "r-3", "web", 3).run(&[&format!("--base={unknown}")]);
    let line =
        format!("error: cannot compare with commit `{unknown}`: branch `main` at `HOST` does not lead to it");
    assert_eq!(ended.last(&server), (20, line));
}

#[tokio::test]
async fn a_dry_run_shows_the_difference_and_pushes_nothing() {
    let server = Server::plain().await.unwrap();
    let base = Case::new(&server, "r-1", "web", 1).run(&[]).ok().commit().to_owned();
    let case = Case::empty(&server);
    case.write("vms/in-cluster/team-a/web/virtual-machine.yaml", "name: web\ncpu: 2\n");
    case.write("vms/in-cluster/team-a/web/disk-data.yaml", "name: data\n");
    let flag = format!("--base={base}");
    let ended = case.run(&["--dry-run", &flag]);
    assert_eq!(
        ended.ok().stdout,
        "--- /dev/null\n+++ b/vms/in-cluster/team-a/web/disk-data.yaml\n@@ -0,0 +1 @@\n+name: data\n\
         --- a/vms/in-cluster/team-a/web/virtual-machine.yaml\n+++ b/vms/in-cluster/team-a/web/virtual-machine.yaml\n\
         @@ -1,2 +1,2 @@\n name: web\n-cpu: 1\n+cpu: 2\n"
    );
    let line = "done: dry run: a push would write 2 files on branch `main` at `HOST`";
    assert_eq!((ended.last(&server), ended.changed()), ((0, line.to_owned()), false));
    assert_eq!(server.git().tip().unwrap(), base);
    // without a request in the source the files themselves tell
    let commit = case.run(&[&flag, "--message=more"]).ok().commit().to_owned();
    let done = case.run(&["--dry-run=true", &flag]);
    let line = format!("done: nothing to do, made already by commit `{commit}` on branch `main` at `HOST`");
    assert_eq!((done.ok().stdout.as_str(), done.last(&server)), ("", (0, line)));
}

#[tokio::test]
async fn a_source_that_cannot_be_committed() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    case.write("vms/in-cluster/team-a/db/request.yaml", "kind: VMRequest\n");
    let line = "error: cannot tell which request marks the change: `vms/in-cluster/team-a/db/request.yaml` or \
                `vms/in-cluster/team-a/web/request.yaml`";
    assert_eq!(case.run(&[]).last(&server), (2, line.to_owned()));
    let ended = case.run(&["--request=vms/in-cluster/team-a/db/request.yaml"]);
    let line =
        "error: cannot read the request `vms/in-cluster/team-a/db/request.yaml`: missing field `apiVersion`";
    assert_eq!(ended.last(&server), (10, line.to_owned()));
    let ended = case.run(&["--request=request.yaml"]);
    assert_eq!(
        ended.last(&server),
        (2, "error: cannot find the request: `request.yaml` is not in the source".to_owned())
    );
    write(&case.path("source/.gitmodules"), "");
    let ended = case.run(&[]);
    assert!(
        ended.last(&server).1.ends_with("/.gitmodules`: no part of a path begins with `.git`"),
        "{}",
        ended.stderr
    );
    assert_eq!(server.seen(), []);
}
