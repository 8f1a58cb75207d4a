use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Effect, Entry, Risk, preview};
use crate::definition::Definition;
use crate::operation::{BuriedDisk, Phase, Tombstone};
use crate::request::{Accepted, Target};

const FOLDER: &str = "vms/in-cluster/team/web";

fn target() -> Target {
    serde_json::from_value(json!({"name": "web", "namespace": "team"})).unwrap()
}

fn read(files: &[(&str, &str)]) -> Definition {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, text)| (format!("{FOLDER}/{path}"), text.as_bytes().to_vec())).collect();
    Definition::read(&files, &target()).unwrap()
}

/// A machine that runs, of two sockets, with a boot disk and a data disk in files of their own.
const MACHINE: &str = "\
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: web}
spec:
  runStrategy: Always
  template:
    spec:
      hostname: web
      domain:
        cpu: {sockets: 2}
        memory: {guest: 4Gi}
        devices: {disks: [{name: root, bootOrder: 1}, {name: data}]}
      volumes:
        - {name: root, persistentVolumeClaim: {claimName: web-root}}
        - {name: data, persistentVolumeClaim: {claimName: web-data}}
";
const ROOT: &str = "\
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata: {name: web-root}
spec:
  source: {http: {url: 'https://images.example/a.qcow2'}}
  storage: {resources: {requests: {storage: 20Gi}}}
";
const DATA: &str = "\
apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata:
  name: web-data
  annotations: {argocd.argoproj.io/sync-options: 'Prune=false,Delete=false'}
spec:
  source: {blank: {}}
  storage: {resources: {requests: {storage: 8Gi}}}
";
const KEPT: [&str; 2] = [
    "keep    boot disk (claim `web-root`, 20Gi); risk: none",
    "keep    data disk `data` (claim `web-data`, 8Gi); risk: none",
];

fn there() -> Definition {
    read(&[("vm.yaml", MACHINE), ("root.yaml", ROOT), ("data.yaml", DATA)])
}

fn request(operation: &str, spec: &Value) -> Accepted {
    let value = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
        "metadata": {"requestId": "R1", "requestedBy": "jane"},
        "spec": {"operation": operation, "target": {"name": "web", "namespace": "team"}, "operationSpec": spec},
    });
    Accepted::parse(&value.to_string()).unwrap()
}

/// The lines for a machine whose file is changed so.
fn edited(edits: &[(&str, &str)], operation: &str, spec: &Value) -> Vec<String> {
    let text = edits.iter().fold(MACHINE.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    });
    let after = read(&[("vm.yaml", &text), ("root.yaml", ROOT), ("data.yaml", DATA)]);
    lines(&there(), &after, operation, spec, Phase::of(operation)[0])
}

fn lines(
    before: &Definition,
    after: &Definition,
    operation: &str,
    spec: &Value,
    phase: Phase,
) -> Vec<String> {
    preview(before, after, &request(operation, spec), Some(phase)).iter().map(ToString::to_string).collect()
}

fn with_kept(first: &[&str]) -> Vec<String> {
    first.iter().chain(&KEPT).map(|line| (*line).to_owned()).collect()
}

#[test]
fn power_is_a_stop_or_a_start() {
    assert_eq!(
        edited(&[("runStrategy: Always", "runStrategy: Halted")], "stop", &json!({})),
        with_kept(&["change  power: from `Always` to `Halted`; risk: the machine stops"])
    );
    let off =
        read(&[("vm.yaml", &MACHINE.replace("Always", "Halted")), ("root.yaml", ROOT), ("data.yaml", DATA)]);
    assert_eq!(
        lines(&off, &there(), "start", &json!({}), Phase::Power),
        with_kept(&["change  power: from `Halted` to `Always`; risk: the machine starts"])
    );
    assert_eq!(lines(&off, &off, "stop", &json!({}), Phase::Power), [""; 0]);
}

#[test]
fn more_may_come_live_and_less_needs_a_restart() {
    let grow = [("sockets: 2", "sockets: 4"), ("guest: 4Gi", "guest: 8Gi")];
    for (allow, then) in [
        (true, "and made by the flow"),
        (false, "which the request does not allow: it waits for the next one"),
    ] {
        let risk = format!("risk: restart needed unless the cluster can do it live, {then}");
        assert_eq!(
            edited(&grow, "resize", &json!({"compute": {"cpu": 4}, "allowRestart": allow})),
            with_kept(&[
                &format!("change  CPUs: from `2` to `4`; {risk}"),
                &format!("change  memory: from `4Gi` to `8Gi`; {risk}")
            ])
        );
    }
    assert_eq!(
        edited(&[("sockets: 2", "sockets: 1")], "resize", &json!({"allowRestart": true})),
        with_kept(&["change  CPUs: from `2` to `1`; risk: restart needed, and made by the flow"])
    );
    // what is off takes it up when it starts
    let off = MACHINE.replace("Always", "Halted");
    let of = |text: &str| read(&[("vm.yaml", text), ("root.yaml", ROOT), ("data.yaml", DATA)]);
    assert_eq!(
        lines(&of(&off), &of(&off.replace("sockets: 2", "sockets: 1")), "resize", &json!({}), Phase::Resize),
        with_kept(&["change  CPUs: from `2` to `1`; risk: none"])
    );
}

#[test]
fn what_nobody_thought_of_is_told_by_its_place() {
    assert_eq!(
        edited(
            &[("hostname: web", "hostname: other"), ("{name: web}", "{name: web, labels: {a: b}}")],
            "stop",
            &json!({})
        ),
        with_kept(&[
            "change  machine: `metadata.labels`; risk: none",
            "change  machine: `spec.template.spec.hostname`; risk: restart needed, and made by the flow",
        ])
    );
}

#[test]
fn another_boot_disk_replaces_what_the_guest_wrote() {
    let new = ROOT.replace("web-root", "web-root-2").replace("a.qcow2", "b.qcow2");
    let machine = MACHINE.replace("claimName: web-root", "claimName: web-root-2");
    let both =
        read(&[("vm.yaml", &machine), ("root.yaml", ROOT), ("root-2.yaml", &new), ("data.yaml", DATA)]);
    assert_eq!(
        lines(&there(), &both, "repave", &json!({}), Phase::Repave),
        [
            "create  boot disk (claim `web-root-2`, 20Gi), from `https://images.example/b.qcow2`; risk: none",
            "change  boot disk: from claim `web-root` to claim `web-root-2`, from `https://images.example/b.qcow2`; \
             risk: disk replaced, what the guest wrote to the old one is not on it; a machine that runs restarts",
            KEPT[1],
            "keep    boot disk (claim `web-root`, 20Gi), no longer the machine's; risk: none",
        ]
    );
    let one = read(&[("vm.yaml", &machine), ("root-2.yaml", &new), ("data.yaml", DATA)]);
    assert_eq!(
        lines(&both, &one, "repave", &json!({}), Phase::Cleanup),
        [
            "remove  old disk (claim `web-root`); risk: what is in it is lost",
            "keep    boot disk (claim `web-root-2`, 20Gi); risk: none",
            KEPT[1],
        ]
    );
}

#[test]
fn a_machine_goes_with_what_is_not_kept() {
    assert_eq!(
        lines(&there(), &read(&[]), "deprovision", &json!({}), Phase::Remove),
        [
            "remove  machine `team/web` on `in-cluster`, `undelete` brings it back from the archive; risk: none",
            "remove  boot disk (claim `web-root`, 20Gi); risk: what is in it is lost",
            KEPT[1],
        ]
    );
    let goes = DATA.replace("Prune=false,Delete=false", "");
    let after = read(&[("vm.yaml", MACHINE), ("root.yaml", ROOT), ("data.yaml", &goes)]);
    assert_eq!(
        lines(&there(), &after, "deprovision", &json!({"disks": "delete"}), Phase::Stop),
        [
            "change  data disk `data` (claim `web-data`, 8Gi): no longer kept when the machine is removed; risk: what is in it is lost",
            KEPT[0],
        ]
    );
}

#[test]
fn a_new_machine_and_where_its_disks_are_filled_from() {
    assert_eq!(
        lines(&read(&[]), &there(), "start", &json!({}), Phase::Power),
        [
            "create  machine `team/web` on `in-cluster`: 2 CPUs, 4Gi, on; risk: the machine starts",
            "create  boot disk (claim `web-root`, 20Gi), from `https://images.example/a.qcow2`; risk: none",
            "create  data disk `data` (claim `web-data`, 8Gi), empty; risk: none",
        ]
    );
    for (source, told) in [
        (
            "sourceRef: {kind: DataSource, name: rhel9, namespace: golden}",
            ", from golden image `golden/rhel9`",
        ),
        ("source: {pvc: {name: a, namespace: b}}", ", from claim `b/a`"),
        ("source: {snapshot: {name: a}}", ", from snapshot `a`"),
        ("source: {registry: {url: 'docker://quay.io/a:1'}}", ", from `docker://quay.io/a:1`"),
        ("source: {http: {url: 'https://jane:hunter2@a.example/x'}}", ", from an address that is not shown"),
        ("source: {upload: {}}", ""),
    ] {
        let root = ROOT.replace("source: {http: {url: 'https://images.example/a.qcow2'}}", source);
        let after = read(&[("vm.yaml", MACHINE), ("root.yaml", &root), ("data.yaml", DATA)]);
        assert_eq!(
            lines(&read(&[]), &after, "start", &json!({}), Phase::Power)[1],
            format!("create  boot disk (claim `web-root`, 20Gi){told}; risk: none")
        );
    }
}

#[test]
fn what_comes_back_from_the_archive_is_what_was_kept() {
    let Accepted::DayTwo(removal) = request("deprovision", &json!({})) else { panic!() };
    let disk = |name: &str, kept| BuriedDisk { name: name.to_owned(), claim: format!("web-{name}"), kept };
    let tombstone = Tombstone::new(&removal, vec![disk("root", false), disk("data", true)]).to_yaml();
    let files = [("archive/in-cluster/team/web/R0/tombstone.yaml".to_owned(), tombstone.into_bytes())];
    let before = Definition::read(&files.into(), &target()).unwrap();
    assert_eq!(
        lines(&before, &there(), "undelete", &json!({}), Phase::Undelete),
        [
            "create  machine `team/web` on `in-cluster`: 2 CPUs, 4Gi, on; risk: the machine starts",
            "create  boot disk (claim `web-root`, 20Gi), from `https://images.example/a.qcow2`: made anew, what was in it went with \
             the machine; risk: none",
            "keep    data disk `data` (claim `web-data`, 8Gi), which was kept; risk: none",
        ]
    );
}

#[test]
fn a_container_disk_forgets_when_the_machine_stops() {
    let machine = MACHINE
        .replace("persistentVolumeClaim: {claimName: web-root}", "containerDisk: {image: 'quay.io/a:1'}");
    let of = |text: &str| read(&[("vm.yaml", text), ("data.yaml", DATA)]);
    let forgotten =
        "change  boot disk: image `quay.io/a:1`, new at each start; risk: what the guest wrote to it is lost";
    assert_eq!(
        lines(&of(&machine), &of(&machine.replace("Always", "Halted")), "stop", &json!({}), Phase::Power),
        ["change  power: from `Always` to `Halted`; risk: the machine stops", forgotten, KEPT[1]]
    );
    let grown = machine.replace("sockets: 2", "sockets: 4");
    let tells = |allow: bool| {
        let spec = json!({"allowRestart": allow});
        lines(&of(&machine), &of(&grown), "resize", &spec, Phase::Resize).contains(&forgotten.to_owned())
    };
    assert!(tells(true) && !tells(false));
}

#[test]
fn what_git_does_not_show_is_told_from_the_request() {
    // a record in Git tells the two apart
    let after = read(&[("vm.yaml", MACHINE), ("root.yaml", ROOT), ("data.yaml", DATA), ("note.txt", "x")]);
    assert_eq!(
        lines(&there(), &after, "restart", &json!({}), Phase::Power),
        with_kept(&["change  machine: shut down once, and started; risk: the machine restarts"])
    );
    assert_eq!(
        lines(&there(), &after, "restore", &json!({"snapshot": "s1"}), Phase::Start),
        [
            "change  disks: before the machine starts, as snapshot `s1` holds them; risk: what was written since is lost"
        ]
    );
    assert_eq!(
        lines(&there(), &after, "patch", &json!({"profile": "security"}), Phase::Start),
        with_kept(&[
            "change  what is in the boot disk: before the machine starts, by the commands of `security`; \
                     risk: if it fails, a snapshot taken before is restored"
        ])
    );
}

#[test]
fn a_line_does_not_speak_to_a_terminal() {
    let entry =
        Entry { effect: Effect::Keep, what: "a\u{1b}[31mb\nc\u{202e}".to_owned(), risk: Risk::Nothing };
    assert_eq!(entry.to_string(), "keep    a\\u{1b}[31mb\\u{a}c\\u{202e}; risk: none");
}
