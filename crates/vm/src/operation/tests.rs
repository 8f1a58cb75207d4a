use super::{Before, BuriedDisk, OldSize, Phase, Record, Tombstone};
use crate::day_two::Operation;
use crate::request::Accepted;

fn request(operation: &str, own: &str) -> crate::day_two::Request {
    let text = format!(
        r#"{{"apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest", "metadata": {{"requestId": "R.2", "requestedBy": "jané"}},
        "spec": {{"operation": "{operation}", "target": {{"name": "web", "namespace": "team"}}, "operationSpec": {own}}}}}"#
    );
    let Accepted::DayTwo(request) = Accepted::parse(&text).unwrap() else { panic!("{operation}") };
    request
}

#[test]
fn a_record_is_written_so_and_read_back() {
    let before = Before {
        run_strategy: Some("Always".to_owned()),
        boot_claim: Some("web-root-1".to_owned()),
        boot_file: Some("disk-root-1.yaml".to_owned()),
        instance_type: None,
        cpu: Some(2),
        memory: Some("no".to_owned()),
        disks: vec![OldSize { name: "data".parse().unwrap(), size: "1024Mi".parse().unwrap() }],
    };
    let request = request("resize", r#"{"compute": {"cpu": 4}, "disks": [{"name": "data", "size": "2Gi"}]}"#);
    let record = Record::new(Phase::Resize, 7, before, request);
    assert_eq!(record.path(), "vms/in-cluster/team/web/operations/R.2/resize.yaml");
    let text = record.to_yaml();
    assert_eq!(
        text,
        r#"apiVersion: "vmlifecycle.dev/v1alpha1"
kind: "VMOperation"
phase: "resize"
sequence: 7
before:
  runStrategy: "Always"
  bootClaim: "web-root-1"
  bootFile: "disk-root-1.yaml"
  cpu: 2
  memory: "no"
  disks:
    - name: "data"
      size: "1Gi"
request:
  apiVersion: "vmlifecycle.dev/v1alpha1"
  kind: "VMRequest"
  metadata:
    requestId: "R.2"
    requestedBy: "jan\u00e9"
  spec:
    operation: "resize"
    target:
      name: "web"
      namespace: "team"
      cluster: "in-cluster"
    operationSpec:
      compute:
        cpu: 4
      disks:
        - name: "data"
          size: "2Gi"
      allowRestart: false
"#
    );
    assert_eq!(Record::parse(text.as_bytes()).unwrap(), record);
    // the digest of a request is the same after Git as before
    assert_eq!(Record::parse(text.as_bytes()).unwrap().request.digest(), record.request.digest());
}

#[test]
fn a_record_with_nothing_before_says_so() {
    let record = Record::new(Phase::Power, 1, Before::default(), request("start", "{}"));
    let text = record.to_yaml();
    assert!(text.contains("\nbefore: {}\n") && text.ends_with("    operationSpec: {}\n"), "{text}");
    assert_eq!(Record::parse(text.as_bytes()).unwrap(), record);
}

#[test]
fn what_is_no_record_is_told() {
    let text = Record::new(Phase::Power, 1, Before::default(), request("start", "{}")).to_yaml();
    for (from, to, what) in [
        (
            "kind: \"VMOperation\"",
            "kind: \"VMRequest\"",
            "document: E_TYPE: unknown variant `VMRequest`, expected `VMOperation`",
        ),
        ("sequence: 1\n", "", "document: E_TYPE: missing field `sequence`"),
        (
            "sequence: 1\n",
            "sequence: 1\nsequence: 2\n",
            "/sequence: E_DUPLICATE_KEY: line 5, column 1: this key is there already; hint: keep one of the two",
        ),
        (
            "phase: \"power\"",
            "phase: \"powr\"",
            "document: E_TYPE: unknown variant `powr`, expected one of `power`, `stop`, `start`, `repave`, `rollback`, `cleanup`, `resize`, `remove`, `undelete`",
        ),
        (
            "before: {}",
            "before: {power: 1}",
            "document: E_TYPE: unknown field `power`, expected one of `runStrategy`, `bootClaim`, `bootFile`, `instanceType`, `cpu`, `memory`, `disks`",
        ),
        (
            "\"start\"",
            "\"provision\"",
            "document: E_TYPE: unknown operation `provision`, expected one of start, stop, restart, snapshot, restore, repave, patch, resize, deprovision, undelete",
        ),
        (
            "operationSpec: {}",
            "operationSpec: {force: 1}",
            "document: E_TYPE: operationSpec: unknown field `force`, expected `despite`",
        ),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert_eq!(Record::parse(changed.as_bytes()).unwrap_err().to_string(), what);
    }
}

#[test]
fn every_phase_is_of_an_operation_and_read_by_its_word() {
    let mut seen: Vec<Phase> = Operation::WORDS.iter().flat_map(|word| Phase::of(word)).copied().collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, Phase::ALL);
    for phase in Phase::ALL {
        assert_eq!(phase.word().parse(), Ok(phase));
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.word());
    }
    assert_eq!(Phase::of("snapshot"), []);
    assert_eq!(
        "off".parse::<Phase>().unwrap_err(),
        "unknown phase `off`, expected one of power, stop, start, repave, rollback, cleanup, resize, remove, undelete"
    );
}

#[test]
fn a_tombstone_is_written_so_and_read_back() {
    let request = request("deprovision", "{}");
    let disk = BuriedDisk { name: "data".to_owned(), claim: "web-data-1".to_owned(), kept: true };
    let tombstone = Tombstone::new(&request, vec![disk]);
    let text = tombstone.to_yaml();
    assert_eq!(
        text,
        format!(
            r#"apiVersion: "vmlifecycle.dev/v1alpha1"
kind: "VMTombstone"
metadata:
  requestId: "R.2"
  requestedBy: "jan\u00e9"
digest: "{}"
disks:
  - name: "data"
    claim: "web-data-1"
    kept: true
"#,
            request.digest()
        )
    );
    assert_eq!(Tombstone::parse(text.as_bytes()).unwrap(), tombstone);
}
