//! Folders read whole, files removed, and folders that have to be as they were, over HTTP.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod opened;

use std::collections::BTreeMap;
use std::time::Duration;

use git2::{ObjectType, Oid};
use gitops::{Change, Edit, File, FilePath, Marker, Message, Plan};
use step::{Context, Failure, Kind};
use testbed::git::{Entry, Fault, On, Server};

use opened::open;

fn context() -> Context {
    Context::new(Duration::from_mins(1))
}

fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

/// A machine's move to the archive, as everything that changes files makes them.
fn change(base: &str) -> Change {
    Change {
        files: vec![File { path: path("archive/web/tombstone.yaml"), bytes: b"id: r-1\n".to_vec() }],
        remove: vec![path("vms/web/vm.yaml"), path("vms/web/disk.yaml")],
        unchanged: vec![path("vms/web")],
        keep: vec![],
        marker: Some(Marker {
            path: path("archive/web/tombstone.yaml"),
            request_id: "r-1".to_owned(),
            read_id: |bytes| Some(String::from_utf8_lossy(bytes.strip_prefix(b"id: ")?).trim().to_owned()),
        }),
        base: Some(base.to_owned()),
        message: Message::new("deprovision vm web", &[]).unwrap(),
        time: None,
    }
}

async fn machine() -> (Server, String) {
    let server = Server::plain().await.unwrap();
    let files = [
        Entry::file("vms/web/vm.yaml", "power: on\n"),
        Entry::file("vms/web/disk.yaml", "size: 1\n"),
        Entry::file("vms/db/vm.yaml", "power: on\n"),
    ];
    let base = server.git().commit(&files, "machines").unwrap();
    (server, base)
}

fn why(server: &Server, failure: &Failure) -> (Kind, String) {
    (failure.kind(), failure.message().replace(&server.host(), "HOST"))
}

#[tokio::test]
async fn files_are_removed_with_the_folders_that_they_leave_empty() {
    let (server, base) = machine().await;
    let remote = open(&server);
    let edits = remote.plan(&change(&base), &context()).unwrap();
    let removed = |at: &str, before: &str| Edit {
        path: path(at),
        before: Some(before.as_bytes().to_vec()),
        after: None,
    };
    let written =
        Edit { path: path("archive/web/tombstone.yaml"), before: None, after: Some(b"id: r-1\n".to_vec()) };
    assert_eq!(
        edits,
        Plan::Write(vec![
            written,
            removed("vms/web/vm.yaml", "power: on\n"),
            removed("vms/web/disk.yaml", "size: 1\n")
        ])
    );
    let pushed = remote.push(&change(&base), &context()).unwrap();
    assert!(pushed.changed);
    assert_eq!(
        server.git().files(&pushed.commit).unwrap(),
        ["README.md", "archive/web/tombstone.yaml", "vms/db/vm.yaml"]
    );
    // again, also after others: found with its commit
    server.git().commit(&[Entry::file("vms/db/vm.yaml", "power: off\n")], "db").unwrap();
    let again = open(&server).push(&change(&base), &context()).unwrap();
    assert_eq!((again.commit, again.changed), (pushed.commit, false));
    server.git().fsck().unwrap();
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_found() {
    let (server, base) = machine().await;
    server.fault(On::Push, Fault::Status(502, None));
    let pushed = open(&server).push(&change(&base), &context()).unwrap();
    assert_eq!(pushed.commit, server.git().tip().unwrap());
    assert_eq!(server.git().log_of("vms/web/vm.yaml").unwrap().len(), 2);
}

#[tokio::test]
async fn gone_already_is_fine() {
    let (server, base) = machine().await;
    server.git().commit(&[Entry::absent("vms/web/disk.yaml")], "by hand").unwrap();
    let change = Change { unchanged: vec![], ..change(&base) };
    let pushed = open(&server).push(&change, &context()).unwrap();
    assert_eq!(
        server.git().files(&pushed.commit).unwrap(),
        ["README.md", "archive/web/tombstone.yaml", "vms/db/vm.yaml"]
    );
}

#[tokio::test]
async fn nothing_unseen_is_removed() {
    let (server, base) = machine().await;
    server.git().commit(&[Entry::file("vms/web/disk.yaml", "size: 2\n")], "by hand").unwrap();
    let (tip, author) =
        (server.git().tip().unwrap(), server.git().git(&["log", "-1", "--format=%an"]).unwrap());
    let change = Change { unchanged: vec![], ..change(&base) };
    let failure = open(&server).push(&change, &context()).unwrap_err();
    let words = format!(
        "cannot change branch `main` at `HOST`: `vms/web/disk.yaml` is not as it was at commit `{base}`, changed by commit \
         `{tip}` of `{author}`"
    );
    assert_eq!(why(&server, &failure), (Kind::Conflict, words));
    let blob = |text: &str| {
        Oid::hash_object(ObjectType::Blob, text.as_bytes()).unwrap().to_string()[..12].to_owned()
    };
    assert_eq!(
        failure.detail_lines(),
        [format!(
            "`vms/web/disk.yaml`: seen was `{}`, there is `{}`, wanted is nothing",
            blob("size: 1\n"),
            blob("size: 2\n")
        )]
    );
    for (entry, what) in [
        (Entry::link("vms/web/disk.yaml", "/etc/passwd"), "`vms/web/disk.yaml` is a symbolic link there"),
        (
            Entry::executable("vms/web/disk.yaml", "size: 1\n"),
            "`vms/web/disk.yaml` is an executable file there",
        ),
    ] {
        server.git().commit(&[entry], "by hand").unwrap();
        let failure = open(&server).push(&change, &context()).unwrap_err();
        let words = format!("cannot change branch `main` at `HOST`: {what}");
        assert_eq!(why(&server, &failure), (Kind::Refused, words));
    }
    // without a base nothing was seen
    let blind = Change { base: None, ..change };
    let failure = open(&server).push(&blind, &context()).unwrap_err();
    assert_eq!(failure.kind(), Kind::Refused);
    assert_eq!(server.git().log_of("archive/web/tombstone.yaml").unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_looked_at_has_to_be_as_it_was() {
    let (server, base) = machine().await;
    let message = "another\n\nRequest-Id: r-0\nRequested-By: jane\n";
    let tip = server.git().commit(&[Entry::file("vms/web/operations/r-0/power.yaml", "x")], message).unwrap();
    server.git().commit(&[Entry::file("vms/other.yaml", "x")], "elsewhere").unwrap();
    let failure = open(&server).push(&change(&base), &context()).unwrap_err();
    let words = "cannot change branch `main` at `HOST`: `vms/web` was changed since, by commit `TIP` of request `r-0`";
    let words = words.replace("TIP", &tip);
    assert_eq!(why(&server, &failure), (Kind::Conflict, words));
}

#[tokio::test]
async fn of_two_changes_of_one_machine_at_once_one_is_made() {
    let (server, base) = machine().await;
    let one = |n: usize| {
        let file = File { path: path(&format!("vms/web/operations/r-{n}/power.yaml")), bytes: b"x".to_vec() };
        Change { files: vec![file], remove: vec![], marker: None, ..change(&base) }
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let run = |n| {
            let (server, change) = (&server, one(n));
            scope.spawn(move || open(server).push(&change, &context()))
        };
        [run(1), run(2), run(3)].map(|thread| thread.join().unwrap()).into()
    });
    let mut kinds: Vec<_> = ended.iter().map(|e| e.as_ref().err().map(Failure::kind)).collect();
    kinds.sort_by_key(|kind| kind.map(Kind::code));
    assert_eq!(kinds, [None, Some(Kind::Conflict), Some(Kind::Conflict)]);
    assert_eq!(server.git().log().unwrap().len(), 3);
}

#[tokio::test]
async fn a_change_without_a_marker_is_done_when_its_files_are_gone() {
    let (server, base) = machine().await;
    let change = Change { files: vec![], marker: None, unchanged: vec![], ..change(&base) };
    let pushed = open(&server).push(&change, &context()).unwrap();
    assert!(pushed.changed);
    let again = open(&server).push(&change, &context()).unwrap();
    assert_eq!((again.commit, again.changed), (pushed.commit, false));
}

#[tokio::test]
async fn what_makes_no_sense_is_said_before_anything_is_asked() {
    let (server, base) = machine().await;
    let remote = open(&server);
    let both = Change { remove: vec![path("archive/web/tombstone.yaml")], ..change(&base) };
    let nothing = Change { files: vec![], remove: vec![], marker: None, ..change(&base) };
    for (change, words) in
        [(both, "a file is both to write and to remove"), (nothing, "there is no file to commit")]
    {
        let failure = remote.push(&change, &context()).unwrap_err();
        assert_eq!((failure.kind(), failure.message()), (Kind::Usage, words));
    }
    assert_eq!(server.seen(), []);
}

#[tokio::test]
async fn a_folder_is_read_whole() {
    let (server, base) = machine().await;
    let deep = Entry::file("vms/web/operations/r-1/power.yaml", "phase: power\n");
    let later = server.git().commit(&[deep, Entry::file("vms/web-2/vm.yaml", "other")], "more").unwrap();
    let remote = open(&server);
    remote.tip(&context()).unwrap();
    let read = |commit: &str, folder: &str| -> BTreeMap<String, String> {
        let files = remote.folder(commit, folder).unwrap();
        files.into_iter().map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap())).collect()
    };
    let files = |files: &[(&str, &str)]| -> BTreeMap<String, String> {
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    };
    let machine = [("vms/web/disk.yaml", "size: 1\n"), ("vms/web/vm.yaml", "power: on\n")];
    let with = [machine[0], ("vms/web/operations/r-1/power.yaml", "phase: power\n"), machine[1]];
    assert_eq!(read(&later, "vms/web"), files(&with));
    assert_eq!(read(&later, "vms/web/operations/r-1"), files(&with[1..2]));
    assert_eq!(read(&later, "vms/nobody"), files(&[]));
    assert_eq!(read(&later, "nothing/at/all"), files(&[]));
    // an older commit has to be here
    assert_eq!(remote.folder(&base, "vms/web").unwrap_err().kind(), Kind::Internal);
}

#[tokio::test]
async fn only_plain_files_in_plain_folders_are_read() {
    for (entry, what) in [
        (Entry::link("vms/web/link", "/etc"), "`vms/web/link` is a symbolic link"),
        (Entry::submodule("vms/web/module"), "`vms/web/module` is a submodule"),
        (Entry::executable("vms/web/tool", "x"), "`vms/web/tool` is an executable file"),
        (Entry::file("vms/web/a b", "x"), "`vms/web` is a folder with a name in it that is never written"),
        (Entry::link("vms/web", "db"), "`vms/web` is a symbolic link"),
        (Entry::file("vms/web", "x"), "`vms/web` is a file"),
        (Entry::link("vms", "/etc"), "`vms` is a symbolic link"),
    ] {
        let server = Server::plain().await.unwrap();
        server.git().commit(&[entry], "odd").unwrap();
        let remote = open(&server);
        let tip = remote.tip(&context()).unwrap().unwrap();
        let failure = remote.folder(&tip, "vms/web").unwrap_err();
        let words = format!("cannot read `vms/web` on branch `main` at `HOST`: {what}");
        assert_eq!(why(&server, &failure), (Kind::Refused, words));
    }
}

#[tokio::test]
async fn a_folder_is_bounded() {
    let many = |n: usize| (0..n).map(|n| Entry::file(format!("vms/web/{n:04}"), "")).collect::<Vec<_>>();
    let large = |bytes: usize| vec![Entry::file("vms/web/large", "x".repeat(bytes))];
    let mib = 1024 * 1024;
    for (entries, wanted) in [
        (many(5000), Ok(5000)),
        (many(5001), Err("`vms/web/5000` is one file too many, or too large")),
        (large(8 * mib), Ok(1)),
        (large(8 * mib + 1), Err("`vms/web/large` is one file too many, or too large")),
    ] {
        let server = Server::plain().await.unwrap();
        server.git().commit(&entries, "files").unwrap();
        let remote = open(&server);
        let tip = remote.tip(&context()).unwrap().unwrap();
        let read = remote.folder(&tip, "vms/web").map(|files| files.len());
        let read = read.map_err(|failure| why(&server, &failure));
        let prefix = "cannot read `vms/web` on branch `main` at `HOST`: ";
        assert_eq!(read, wanted.map_err(|what| (Kind::Refused, format!("{prefix}{what}"))));
    }
}
