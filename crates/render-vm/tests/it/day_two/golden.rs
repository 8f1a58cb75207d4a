//! What each phase changes, to the byte. `SNAPSHOTS=overwrite cargo test -p render-vm` writes it anew.

use std::collections::BTreeSet;

use render_vm::{Change, ImageKind, ImageSource, Rendered, Site, diff};
use serde_json::{Value, json};
use snapbox::Data;

use super::{Repository, life};
use crate::{fixtures, site};

/// A change as a difference to the files before it, behind the name of its marker.
fn shown(before: &Repository, change: &Change) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in &before.files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut out = format!("marker: {}\n", change.marker).into_bytes();
    diff(&change.files, &change.remove, folder.path(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn golden(name: &str, shown: String, cases: &mut BTreeSet<String>) {
    let path = fixtures().join(format!("day-two/{name}.diff"));
    snapbox::Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .eq(Data::text(shown).raw(), Data::read_from(&path, None).raw());
    assert!(cases.insert(format!("{name}.diff")), "{name} twice");
}

#[test]
fn every_phase_changes_these_lines() {
    let mut cases = BTreeSet::new();
    let mut repository = Repository::example("linux-golden");
    for (id, operation, spec, phase) in life() {
        let before = repository.clone();
        let change = repository.run(id, operation, &spec, phase.word());
        golden(&name(id, operation, phase.word()), shown(&before, &change), &mut cases);
    }
    containers(&mut cases);
    arm(&mut cases);
    resolved(&mut cases);
    let there = std::fs::read_dir(fixtures().join("day-two")).unwrap();
    let there: BTreeSet<_> = there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, cases, "each golden file has a phase");
}

/// The name of a phase's golden file.
fn name(id: &str, operation: &str, phase: &str) -> String {
    let word = if operation == phase { operation.to_owned() } else { format!("{operation}-{phase}") };
    format!("{}-{word}", id.to_lowercase())
}

/// A machine of CPUs and memory, from a container disk, protected.
fn containers(cases: &mut BTreeSet<String>) {
    let mut repository = Repository::example("linux");
    let machine = repository.text("virtual-machine.yaml").replace(
        "    app.kubernetes.io/managed-by: vm-lifecycle-tasks\n",
        "    app.kubernetes.io/managed-by: vm-lifecycle-tasks\n    kubevirt.io/vm-delete-protection: \"true\"\n",
    );
    repository.set("virtual-machine.yaml", &machine);
    for (id, operation, spec, phase) in [
        ("C01", "resize", json!({"compute": {"cpu": 8, "memory": "16Gi"}}), "resize"),
        ("C02", "stop", json!({}), "power"),
        ("C03", "deprovision", json!({"confirmName": "pay-batch-01"}), "stop"),
        ("C03", "deprovision", json!({"confirmName": "pay-batch-01"}), "remove"),
        ("C04", "undelete", json!({}), "undelete"),
    ] {
        let before = repository.clone();
        let change = repository.run(id, operation, &spec, phase);
        golden(&name(id, operation, phase), shown(&before, &change), cases);
    }
}

/// A new boot disk is for the CPUs that the machine has.
fn arm(cases: &mut BTreeSet<String>) {
    let mut repository = Repository::example("linux-golden");
    let machine = repository.text("virtual-machine.yaml");
    repository.set(
        "virtual-machine.yaml",
        &machine.replace("    spec:\n", "    spec:\n      architecture: arm64\n"),
    );
    let image = json!({"image": {"source": "registry", "reference": "quay.io/containerdisks/fedora:43"}});
    let before = repository.clone();
    golden("a01-repave", shown(&before, &repository.run("A01", "repave", &image, "repave")), cases);
}

/// Golden images that another step resolved.
fn resolved(cases: &mut BTreeSet<String>) {
    for kind in [ImageKind::Pvc, ImageKind::Snapshot] {
        let repository = Repository::example("linux-golden");
        let source = ImageSource {
            namespace: "golden-images".parse().unwrap(),
            name: "fedora-0123456789ab".parse().unwrap(),
            kind,
        };
        let site = Site { image_source: Some(source), ..site() };
        let request = repository.request("S01", "repave", &Value::Object(serde_json::Map::new()));
        let Rendered::Change(change) = repository.render(&request, "repave", &site).unwrap() else {
            panic!("done already")
        };
        golden(&format!("s01-repave-{kind:?}").to_lowercase(), shown(&repository, &change), cases);
    }
}
