//! Each anomaly, made with plain git, is found; and nothing where nothing is wrong.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Anomaly, History, Request, Run, Told};
use crate::git::{Entry, Repository};

type Files<'a> = &'a [(&'a str, &'a str)];

struct Bed {
    repository: Repository,
    history: History,
    start: Instant,
    _folder: TempDir,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::create(folder.path().join("bare.git")).unwrap();
        repository.commit(&[Entry::file("README.md", "Machines.\n")], "first").unwrap();
        let history = History::begin(&repository).unwrap();
        Self { repository, history, start: Instant::now(), _folder: folder }
    }

    fn commit(&self, id: &str, files: Files<'_>) -> String {
        let entries: Vec<_> = files.iter().map(|(path, content)| Entry::file(*path, *content)).collect();
        self.repository.commit(&entries, &format!("provision\n\nRequest-Id: {id}\n")).unwrap()
    }

    /// A run from one second to another.
    fn ran(&self, request: Request, told: Told, seconds: (u64, u64)) {
        let at = |seconds| self.start + Duration::from_secs(seconds);
        self.history.ran(Run { request, told, began: at(seconds.0), ended: at(seconds.1) });
    }

    /// A run that was told of this commit.
    fn made(&self, id: &str, files: Files<'_>, commit: &str) {
        self.ran(request(id, None, files), Told::Made(commit.to_owned()), (0, 1));
    }

    fn finds(&self, anomalies: &[Anomaly]) {
        assert_eq!(self.history.check().unwrap(), anomalies);
    }
}

/// What is below `kept/` is added where nothing is.
fn request(id: &str, base: Option<&str>, files: Files<'_>) -> Request {
    let all = files.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_owned()));
    let (kept, files) = all.partition(|(path, _)| path.starts_with("kept/"));
    Request { id: id.to_owned(), base: base.map(str::to_owned), files, kept }
}

#[test]
fn a_sound_history_has_no_anomaly() {
    let bed = Bed::new();
    bed.finds(&[]);
    let (one, two) = ([("a/x", "1"), ("kept/n", "n")], [("b/x", "2"), ("kept/n", "other")]);
    let first = bed.commit("r-1", &one);
    // the same again; a second machine in the same place; one of other content; one that nobody heard of
    bed.made("r-1", &one, &first);
    bed.ran(request("r-1", None, &one), Told::Made(first.clone()), (5, 6));
    let second = bed.commit("r-2", &two[..1]);
    bed.ran(request("r-2", None, &two), Told::Made(second), (2, 3));
    bed.ran(request("r-3", None, &[("a/x", "3")]), Told::Not, (2, 3));
    bed.ran(request("r-1", None, &[("a/x", "3")]), Told::Not, (2, 3));
    bed.ran(request("r-4", None, &[("c/x", "4")]), Told::Unknown, (2, 3));
    bed.commit("r-5", &[("d/x", "5")]);
    bed.ran(request("r-5", None, &[("d/x", "5")]), Told::Unknown, (2, 3));
    // a change, which replaces what was there; whoever asks again for that hears so
    let changed = bed.commit("r-6", &[("a/x", "6")]);
    bed.ran(request("r-6", Some(&first), &[("a/x", "6")]), Told::Made(changed), (7, 8));
    bed.ran(request("r-1", None, &one), Told::Replaced, (9, 10));
    let other = bed.repository.commit(&[Entry::file("notes", "x")], "by hand").unwrap();
    bed.history.made(&other);
    bed.finds(&[]);
}

#[test]
fn what_was_acknowledged_and_is_not_there() {
    let bed = Bed::new();
    let first = bed.repository.tip().unwrap();
    let gone = bed.commit("r-1", &[("a/x", "1")]);
    bed.made("r-1", &[("a/x", "1")], &gone);
    bed.repository.git(&["update-ref", "refs/heads/main", &first]).unwrap();
    bed.commit("r-2", &[("b/x", "2")]);
    bed.made("r-2", &[("b/x", "2")], &first);
    bed.ran(request("r-3", None, &[("c/x", "3")]), Told::Replaced, (0, 1));
    let lost = |id: &str, commit| Anomaly::Lost { request: id.to_owned(), commit };
    bed.finds(&[lost("r-1", Some(gone)), lost("r-2", Some(first)), lost("r-3", None)]);
}

#[test]
fn what_is_there_twice() {
    let bed = Bed::new();
    let commits = [("a/x", "1"), ("a/y", "1")].map(|file| bed.commit("r-1", &[file]));
    bed.made("r-1", &[("a/x", "1"), ("a/y", "1")], &commits[0]);
    bed.finds(&[
        Anomaly::Twice { request: "r-1".to_owned(), commits: commits.to_vec() },
        // the first is only half of it
        Anomaly::Bytes { commit: commits[0].clone(), path: "a/y".to_owned() },
    ]);
}

#[test]
fn what_is_there_although_everybody_was_told_that_it_is_not() {
    for code in [10, 20, 31, 50] {
        let bed = Bed::new();
        let commit = bed.commit("r-1", &[("a/x", "1")]);
        bed.ran(request("r-1", None, &[("a/x", "1")]), Told::new(Some(code), ""), (0, 1));
        bed.finds(&[Anomaly::Denied { request: "r-1".to_owned(), commit }]);
        // unless an earlier run may have made it
        bed.ran(request("r-1", None, &[("a/x", "1")]), Told::new(None, ""), (0, 1));
        bed.finds(&[]);
    }
}

#[test]
fn what_is_other_than_wanted() {
    let bed = Bed::new();
    let wanted = [("a/x", "1"), ("a/y", "1"), ("kept/n", "n")];
    let commit = bed.commit("r-1", &[("a/x", "2"), ("a/z", "1"), ("kept/n", "m")]);
    bed.made("r-1", &wanted, &commit);
    let bytes = |path: &str| Anomaly::Bytes { commit: commit.clone(), path: path.to_owned() };
    let strayed = Anomaly::Strayed { commit: commit.clone(), path: "a/z".to_owned() };
    bed.finds(&[bytes("a/x"), strayed, bytes("kept/n"), bytes("a/y")]);
}

#[test]
fn a_file_that_is_no_plain_file_any_more() {
    let bed = Bed::new();
    let message = "provision\n\nRequest-Id: r-1\n";
    let commit = bed.repository.commit(&[Entry::executable("a/x", "1")], message).unwrap();
    bed.made("r-1", &[("a/x", "1")], &commit);
    bed.finds(&[Anomaly::Bytes { commit, path: "a/x".to_owned() }]);
}

#[test]
fn an_update_that_nobody_has_seen_is_replaced() {
    let bed = Bed::new();
    let first = bed.commit("r-1", &[("a/x", "1"), ("kept/n", "1")]);
    bed.made("r-1", &[("a/x", "1"), ("kept/n", "1")], &first);
    // both were made against the first: the third has not seen the second, nor the fourth anything
    let second = bed.commit("r-2", &[("a/x", "2")]);
    bed.ran(request("r-2", Some(&first), &[("a/x", "2")]), Told::Made(second), (0, 1));
    let third = bed.commit("r-3", &[("a/x", "3")]);
    bed.ran(request("r-3", Some(&first), &[("a/x", "3")]), Told::Made(third.clone()), (0, 1));
    let fourth = bed.commit("r-4", &[("a/x", "4"), ("kept/n", "4")]);
    bed.made("r-4", &[("a/x", "4"), ("kept/n", "4")], &fourth);
    let lost =
        |commit: &str, path: &str| Anomaly::Overwritten { commit: commit.to_owned(), path: path.to_owned() };
    bed.finds(&[lost(&third, "a/x"), lost(&fourth, "a/x"), lost(&fourth, "kept/n")]);
}

#[test]
fn what_nobody_asked_for_and_what_is_gone() {
    let bed = Bed::new();
    let first = bed.repository.tip().unwrap();
    let unknown = bed.commit("r-1", &[("a/x", "1")]);
    let without = bed.repository.commit(&[Entry::file("b", "1")], "by hand").unwrap();
    bed.finds(&[Anomaly::Foreign(unknown), Anomaly::Foreign(without.clone())]);
    bed.history.made(&without);
    bed.repository.git(&["update-ref", "refs/heads/main", &first]).unwrap();
    bed.finds(&[Anomaly::Gone(without)]);
}

#[test]
fn a_merge() {
    let bed = Bed::new();
    let first = bed.repository.tip().unwrap();
    let ours = bed.commit("r-1", &[("a/x", "1")]);
    bed.made("r-1", &[("a/x", "1")], &ours);
    let git = |arguments: &[&str]| bed.repository.git(arguments).unwrap();
    let theirs = git(&["commit-tree", "-p", &first, "-m", "aside", "main^{tree}"]);
    let merge = git(&["commit-tree", "-p", &ours, "-p", &theirs, "-m", "merge", "main^{tree}"]);
    git(&["update-ref", "refs/heads/main", &merge]);
    bed.finds(&[Anomaly::Merge(merge.clone()), Anomaly::Foreign(merge)]);
}

#[test]
fn an_order_that_those_who_were_told_can_contradict() {
    let bed = Bed::new();
    let files = [[("a/x", "1")], [("b/x", "2")], [("c/x", "3")]];
    let commits = [0, 1, 2].map(|n| bed.commit(&format!("r-{n}"), &files[n]));
    let ran = |n: usize, seconds| {
        bed.ran(request(&format!("r-{n}"), None, &files[n]), Told::Made(commits[n].clone()), seconds);
    };
    // side by side they may come in any order
    ran(0, (2, 6));
    ran(1, (1, 5));
    ran(2, (3, 4));
    bed.finds(&[]);
    let late = Bed::new();
    let commits = [0, 1, 2].map(|n| late.commit(&format!("r-{n}"), &files[n]));
    for (n, seconds) in [(0, (3, 4)), (1, (6, 7)), (2, (1, 2))] {
        late.ran(request(&format!("r-{n}"), None, &files[n]), Told::Made(commits[n].clone()), seconds);
    }
    let order = |second: &str| Anomaly::Order { first: "r-2".to_owned(), second: second.to_owned() };
    late.finds(&[order("r-1"), order("r-0")]);
    // the first of them may have been under way since before
    late.ran(request("r-0", None, &files[0]), Told::Unknown, (0, 1));
    late.finds(&[order("r-1")]);
}

#[test]
fn a_repository_that_is_not_whole() {
    let bed = Bed::new();
    let commit = bed.commit("r-1", &[("a/x", "1")]);
    bed.made("r-1", &[("a/x", "1")], &commit);
    let blob = bed.repository.git(&["rev-parse", "main:a/x"]).unwrap();
    let object = bed.repository.path().join("objects").join(&blob[..2]).join(&blob[2..]);
    std::fs::remove_file(object).unwrap();
    let found = bed.history.check().unwrap();
    let [Anomaly::Unsound(said)] = &found[..] else { panic!("{found:?}") };
    assert!(said.ends_with(&format!("missing blob {blob}")), "{said}");
}
