//! `--preview`: what would be done, in words, and nothing written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::day_two::Repository;
use crate::fixtures;
use crate::process::render;

fn run(request: &Path, more: &[String]) -> (i32, String, String) {
    let more = ["--preview"].into_iter().chain(more.iter().map(String::as_str));
    render(request.to_str().unwrap(), &more.collect::<Vec<_>>())
}

/// What is said of an operation on the machine of a repository.
fn operation(files: &BTreeMap<String, Vec<u8>>, request: &str, more: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("definition");
    for (path, bytes) in files.iter().filter(|(path, _)| !path.starts_with("namespaces/")) {
        let path = definition.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(definition.join(".commit"), "0".repeat(40)).unwrap();
    let file = folder.path().join("request.json");
    fs::write(&file, request).unwrap();
    let mut flags: Vec<String> = more.iter().map(|flag| (*flag).to_owned()).collect();
    flags.push(format!("--definition={}", definition.display()));
    let ended = run(&file, &flags);
    // the request and what Git holds, and nothing else
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    ended
}

fn said(example: &str, word: &str, spec: &Value, more: &[&str]) -> String {
    let repository = Repository::example(example);
    let request = repository.request("R1", word, spec).canonical();
    let (code, out, err) = operation(&repository.files, &request, more);
    assert_eq!(code, 0, "{err}");
    out
}

#[test]
fn a_new_machine() {
    let request = fixtures().join("manifests/requests/data-source-everything.json");
    assert_eq!(
        run(&request, &[]),
        (
            0,
            "\
provision `team-a/db-01` on `in-cluster`:
  create  machine `team-a/db-01` on `in-cluster`: instance type `u1.medium`, on; risk: the machine starts
  create  boot disk (claim `db-01-root-d591c0`, 30Gi), from golden image `images/fedora`; risk: none
  create  data disk `data` (claim `db-01-data-d591c0`, 1536Mi), empty; risk: none
  create  data disk `log` (claim `db-01-log-d591c0`, 2Ti), empty; risk: none
  create  Argo CD Application `in-cluster.team-a.db-01`; risk: none
"
            .to_owned(),
            "done: rendered 8 files\n".to_owned()
        )
    );
}

#[test]
fn the_same_request_again_changes_nothing() {
    let repository = Repository::example("linux");
    let (_, request) = crate::examples().into_iter().find(|(name, _)| name == "linux").unwrap();
    let (code, out, _) = operation(&repository.files, &request.canonical(), &[]);
    let nothing = "provision `payments-prod/pay-batch-01` on `in-cluster`:\n  nothing changes\n";
    assert_eq!((code, out.as_str()), (0, nothing));
}

#[test]
fn every_phase_of_an_operation_or_the_one_that_is_asked_for() {
    let removal = "\
deprovision `payments-prod/pay-db-01` on `in-cluster`, phase `stop`:
  change  power: from `Always` to `Halted`; risk: the machine stops
  change  data disk `data` (claim `pay-db-01-data-7f6c96`, 200Gi): no longer kept when the machine is removed; risk: what is in it is lost
  keep    boot disk (claim `pay-db-01-root-7f6c96`, 40Gi); risk: none
deprovision `payments-prod/pay-db-01` on `in-cluster`, phase `remove`:
  remove  machine `payments-prod/pay-db-01` on `in-cluster`, `undelete` brings it back from the archive; risk: none
  remove  boot disk (claim `pay-db-01-root-7f6c96`, 40Gi); risk: what is in it is lost
  remove  data disk `data` (claim `pay-db-01-data-7f6c96`, 200Gi); risk: what is in it is lost
  remove  Argo CD Application `in-cluster.payments-prod.pay-db-01`; risk: none
";
    let spec = json!({"disks": "delete"});
    assert_eq!(said("linux-golden", "deprovision", &spec, &[]), removal);
    let (stop, _) =
        removal.split_once("deprovision `payments-prod/pay-db-01` on `in-cluster`, phase `remove`").unwrap();
    assert_eq!(said("linux-golden", "deprovision", &spec, &["--phase=stop"]), stop);
}

#[test]
fn a_disk_that_grows_and_a_guest_that_restarts() {
    let spec = json!({"compute": {"instanceType": "u1.large"}, "disks": [{"name": "data", "size": "400Gi"}], "allowRestart": true});
    assert_eq!(
        said("linux-golden", "resize", &spec, &[]),
        "\
resize `payments-prod/pay-db-01` on `in-cluster`:
  change  instance type: from `u1.medium` to `u1.large`; risk: restart needed unless the cluster can do it live, and made by the flow
  change  size of data disk `data` (claim `pay-db-01-data-7f6c96`, 200Gi): from `200Gi` to `400Gi`; risk: a disk never becomes smaller again
  keep    boot disk (claim `pay-db-01-root-7f6c96`, 40Gi); risk: none
"
    );
    assert_eq!(
        said("linux", "restart", &json!({}), &[]),
        "\
restart `payments-prod/pay-batch-01` on `in-cluster`:
  change  machine: shut down once, and started; risk: the machine restarts
  change  boot disk: image `quay.io/containerdisks/fedora:42`, new at each start; risk: what the guest wrote to it is lost
"
    );
}

#[test]
fn what_is_refused_is_not_told() {
    let repository = Repository::example("linux");
    let snapshot = repository.request("R1", "snapshot", &json!({})).canonical();
    assert_eq!(
        operation(&repository.files, &snapshot, &[]),
        (
            2,
            String::new(),
            "error: nothing to render: operation `snapshot` leaves nothing in Git\n".to_owned()
        )
    );
}
