//! `--on-conflict=rerender`: what Git holds of the machine, for whoever renders again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use testbed::git::{Entry, Server};

use crate::support::{Case, Ended, folder, write};

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(one) = folders.pop() {
        for entry in fs::read_dir(one).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    found
}

fn run(case: &Case) -> Ended {
    let to = format!("--rerender-to={}", case.path("definition").display());
    case.run(&["--on-conflict=rerender", &to])
}

/// The machine by another request, with all that belongs to it and something of another.
fn taken(server: &Server) -> String {
    let entries = [
        ("applications/in-cluster/team-a/web.yaml", "kind: Application\n"),
        ("applications/in-cluster/team-a/db.yaml", "kind: Application\n"),
        ("archive/in-cluster/team-a/web/r-8/tombstone.yaml", "removed: yes\n"),
        ("vms/in-cluster/team-a/db/request.yaml", "metadata: {}\n"),
        ("vms/in-cluster/team-a/web/operations/r-9/power.yaml", "kind: VMOperation\n"),
        ("vms/in-cluster/team-a/web/request.yaml", "metadata: {requestId: r-9}\n"),
    ];
    server.git().commit(&entries.map(|(path, content)| Entry::file(path, content)), "by hand").unwrap()
}

#[tokio::test]
async fn a_conflict_leaves_the_machine_as_it_is_now() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let tip = taken(&server);
    let ended = run(&case);
    let line = format!(
        "error: cannot change branch `main` at `HOST`: `{}/request.yaml` is there already, with other content, from commit `{tip}` of \
         `somebody`",
        folder("web")
    );
    assert_eq!((ended.last(&server), ended.results["outcome"].as_str()), ((20, line), "conflict"));
    let to = case.path("definition");
    let hint = format!(
        "hint: what Git holds of the machine now is in `{}`: render the request on it, and push again\n",
        to.display()
    );
    assert!(ended.stderr.ends_with(&hint), "{}", ended.stderr);
    let held = |tip: &str| {
        [
            (".commit", tip),
            ("applications/in-cluster/team-a/web.yaml", "kind: Application\n"),
            ("archive/in-cluster/team-a/web/r-8/tombstone.yaml", "removed: yes\n"),
            ("vms/in-cluster/team-a/web/operations/r-9/power.yaml", "kind: VMOperation\n"),
            ("vms/in-cluster/team-a/web/request.yaml", "metadata: {requestId: r-9}\n"),
        ]
        .map(|(path, content)| (path.to_owned(), content.to_owned()))
        .into()
    };
    assert_eq!(files(&to), held(&tip));
    // once more, on a tip that is another one by now: the folder is of the later one alone
    let path = "vms/in-cluster/team-a/web/operations/r-9/power.yaml";
    let later = server.git().commit(&[Entry::absent(path)], "by hand").unwrap();
    assert_eq!(run(&case).code, 20);
    let mut wanted: BTreeMap<String, String> = held(&later);
    wanted.remove(path);
    assert_eq!(files(&to), wanted);
    assert_eq!(server.git().tip().unwrap(), later);
}

#[tokio::test]
async fn without_a_conflict_nothing_is_written() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    assert!(run(&case).ok().changed());
    assert!(!run(&case).ok().changed());
    // superseded is no conflict: rendered again it would undo a later change
    let base = format!("--base={}", server.git().tip().unwrap());
    Case::new(&server, "r-2", "web", 2).run(&[&base]).ok();
    assert_eq!(run(&case).code, 21);
    assert!(!case.path("definition").exists());
    // and a conflict of who does not ask for it
    let other = Case::new(&server, "r-3", "web", 3);
    let to = format!("--rerender-to={}", other.path("definition").display());
    assert_eq!(other.run(&[&to]).code, 20);
    assert!(!other.path("definition").exists());
}

#[tokio::test]
async fn what_it_needs_is_named() {
    let server = Server::plain().await.unwrap();
    let case = Case::new(&server, "r-1", "web", 1);
    let ended = case.run(&["--on-conflict=rerender"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--rerender-to <DIR>"), "{}", ended.stderr);
    // the exit code of a conflict says that the files are there
    taken(&server);
    fs::create_dir(case.path("definition")).unwrap();
    write(&case.path("definition/mine"), "mine");
    let ended = run(&case);
    let to = case.path("definition").display().to_string();
    let line = format!("error: cannot write `{to}`: it holds other files already");
    assert_eq!(ended.last(&server), (2, line));
    let hint = "hint: `--rerender-to` has to be absent, empty, or what an earlier run wrote\n";
    assert!(ended.stderr.contains("is there already, with other content") && ended.stderr.ends_with(hint));
    assert_eq!(files(Path::new(&to)), [("mine".to_owned(), "mine".to_owned())].into());
    let bare = Case::empty(&server);
    bare.write("notes/a.txt", "a");
    let line =
        "error: cannot tell of which machine to write what Git holds: there is no request in the source";
    assert_eq!(run(&bare).last(&server), (2, line.to_owned()));
}
