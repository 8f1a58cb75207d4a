//! The points of the domain that an operation's files have to hold to.

use render_vm::Rendered;
use serde_json::{Value, json};
use step::Kind;
use vm::definition::Machine;

use super::{Repository, life};
use crate::site;

fn machine(repository: &Repository) -> Machine {
    repository.definition().machine.unwrap()
}

const KEEP: &str = "argocd.argoproj.io/sync-options: Prune=false,Delete=false";

#[test]
fn point_01_data_disks_are_kept_by_argo_cd_through_every_phase() {
    let mut repository = Repository::example("linux-golden");
    for (id, operation, spec, phase) in life() {
        repository.run(id, operation, &spec, phase.word());
        if id == "R12" {
            // asked for: Argo CD is to delete them
            continue;
        }
        let file = repository.files.iter().find(|(path, _)| path.ends_with("/disk-data.yaml")).unwrap().1;
        let kept = str::from_utf8(file).unwrap().contains("Prune=false,Delete=false");
        assert!(kept, "{id} {operation} {phase}");
    }
    let disk = repository.text("disk-data.yaml");
    assert!(disk.contains("Prune=false,Delete=false"), "{disk}");
}

#[test]
fn point_01_a_data_disk_that_argo_cd_would_remove_stops_a_removal_and_a_repave() {
    let mut repository = Repository::example("linux-golden");
    let disk = repository.text("disk-data.yaml").replace("Prune=false,Delete=false", "Prune=false");
    repository.set("disk-data.yaml", &disk);
    for (operation, phase) in [("deprovision", "stop"), ("repave", "repave")] {
        let (kind, said) = repository.refused("R1", operation, &json!({}), phase);
        assert_eq!(kind, Kind::Invalid);
        assert_eq!(
            said,
            "request refused, 1 problem: E_DISK_FILE: Argo CD would remove data disk `data` with its file, `disk-data.yaml`"
        );
    }
}

#[test]
fn point_01_disks_that_are_to_go_lose_their_protection_before_their_files_go() {
    let mut repository = Repository::example("linux-golden");
    let spec = json!({"disks": "delete"});
    repository.run("R1", "deprovision", &spec, "stop");
    let text = repository.text("disk-data.yaml");
    assert!(!text.contains(KEEP) && text.contains("deleteAfterCompletion"), "{text}");
    repository.run("R1", "deprovision", &spec, "remove");
    let life = repository.definition().archived.into_values().next().unwrap();
    let kept: Vec<_> = life.tombstone.unwrap().disks.into_iter().map(|disk| (disk.name, disk.kept)).collect();
    assert_eq!(kept, [("root".to_owned(), false), ("data".to_owned(), false)]);
}

#[test]
fn point_05_a_repave_is_a_new_boot_disk_in_the_same_machine() {
    let mut repository = Repository::example("linux-golden");
    let before = repository.clone();
    let old = machine(&before);
    let change = repository.run("R1", "repave", &json!({}), "repave");
    let new = machine(&repository);
    // one value of the machine is another, and nothing else is: not its name, uuid, MAC, data disks
    let mut wanted = old.document.clone();
    let claim = repository.request("R1", "repave", &json!({})).volume("root");
    *wanted.pointer_mut("/spec/template/spec/volumes/0/persistentVolumeClaim/claimName").unwrap() =
        Value::from(claim.as_str());
    assert_eq!(new.document, wanted);
    let (old_disk, new_disk) = (old.boot_disk().unwrap(), new.boot_disk().unwrap());
    assert_eq!((new_disk.claim.as_str(), new_disk.size.as_deref()), (claim.as_str(), Some("40Gi")));
    assert_ne!(new_disk.claim, old_disk.claim);
    assert_eq!(new.data_disks().collect::<Vec<_>>(), old.data_disks().collect::<Vec<_>>());
    // the old disk stays as it is
    let file = old_disk.file.as_ref().unwrap();
    assert_eq!(repository.files.get(file), before.files.get(file));
    assert_eq!(change.remove, Vec::<String>::new());
    let resources: Value = render_vm::parse(repository.text("kustomization.yaml")).unwrap();
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    assert_eq!(
        resources["resources"],
        json!([name(file), "disk-data.yaml", "virtual-machine.yaml", name(new_disk.file.as_ref().unwrap())])
    );
}

#[test]
fn point_05_every_repave_has_a_disk_of_its_own() {
    let mut repository = Repository::example("linux-golden");
    let mut claims = vec![machine(&repository).boot_disk().unwrap().claim.clone()];
    for id in ["R1", "R2", "R3"] {
        repository.run(id, "repave", &json!({}), "repave");
        repository.run(id, "repave", &json!({}), "cleanup");
        claims.push(machine(&repository).boot_disk().unwrap().claim.clone());
    }
    let mut distinct = claims.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((distinct.len(), claims.len()), (4, 4));
}

#[test]
fn point_05_a_boot_disk_is_made_anew_as_large_as_it_has_grown() {
    let mut repository = Repository::example("linux-golden");
    let grow = json!({"disks": [{"name": "root", "size": "80Gi"}]});
    repository.run("R1", "resize", &grow, "resize");
    repository.run("R2", "repave", &json!({}), "repave");
    assert_eq!(machine(&repository).boot_disk().unwrap().size.as_deref(), Some("80Gi"));
    let smaller = json!({"disks": [{"name": "root", "size": "60Gi"}]});
    assert_eq!(repository.refused("R3", "resize", &smaller, "resize").0, Kind::Invalid);
}

#[test]
fn point_21_a_machine_keeps_its_identity_through_every_phase() {
    let mut repository = Repository::example("linux-golden");
    let identity = |machine: &Machine| {
        let at = |pointer: &str| machine.document.pointer(pointer).cloned();
        [
            at("/metadata/name"),
            at("/metadata/namespace"),
            at("/metadata/annotations"),
            at("/spec/template/spec/domain/firmware"),
            at("/spec/template/spec/domain/devices/interfaces"),
            at("/spec/template/spec/hostname"),
        ]
    };
    let wanted = identity(&machine(&repository));
    assert!(wanted.iter().all(Option::is_some), "{wanted:?}");
    for (id, operation, spec, phase) in life() {
        repository.run(id, operation, &spec, phase.word());
        if let Some(machine) = repository.definition().machine {
            assert_eq!(identity(&machine), wanted, "{id} {operation} {phase}");
        }
    }
}

#[test]
fn point_26_the_old_boot_disk_goes_when_the_new_one_has_proven_itself() {
    for (spec, kept) in [(json!({}), false), (json!({"keepOldDisk": true}), true)] {
        let mut repository = Repository::example("linux-golden");
        let file = machine(&repository).boot_disk().unwrap().file.clone().unwrap();
        let name = file.rsplit('/').next().unwrap().to_owned();
        repository.run("R1", "repave", &spec, "repave");
        let change = repository.run("R1", "repave", &spec, "cleanup");
        assert_eq!(change.remove, if kept { Vec::new() } else { vec![file.clone()] });
        assert_eq!(repository.files.contains_key(&file), kept);
        assert_eq!(repository.text("kustomization.yaml").contains(&name), kept);
    }
}

#[test]
fn a_file_with_more_than_the_boot_disk_is_not_removed() {
    let mut repository = Repository::example("linux-golden");
    let file = machine(&repository).boot_disk().unwrap().file.clone().unwrap();
    let name = file.rsplit('/').next().unwrap().to_owned();
    let both = format!("{}---\n{}", repository.text(&name), repository.text("virtual-machine.yaml"));
    repository.set(&name, &both);
    repository.files.retain(|path, _| !path.ends_with("virtual-machine.yaml"));
    let (kind, said) = repository.refused("R1", "repave", &json!({}), "repave");
    assert_eq!(
        (kind, said),
        (Kind::Conflict, format!("`{file}` holds more than the boot disk, so it cannot be removed later"))
    );
    repository.run("R1", "repave", &json!({"keepOldDisk": true}), "repave");
}

#[test]
fn sizes_are_set_where_they_are_written() {
    for (from, to, cpu) in [
        (
            "sockets: 2\n          cores: 1\n          threads: 1",
            "sockets: 8\n          cores: 1\n          threads: 1",
            8,
        ),
        (
            "sockets: 2\n          cores: 2\n          threads: 2",
            "sockets: 3\n          cores: 2\n          threads: 2",
            12,
        ),
        ("cores: 4 # of one socket", "cores: 4 # of one socket\n          sockets: 2", 8),
    ] {
        let mut repository = Repository::example("linux");
        let machine = repository.text("virtual-machine.yaml");
        let machine = machine.replace("sockets: 2\n          cores: 1\n          threads: 1", from);
        repository.set("virtual-machine.yaml", &machine);
        let spec = json!({"compute": {"cpu": cpu}});
        repository.run("R1", "resize", &spec, "resize");
        assert_eq!(repository.text("virtual-machine.yaml"), machine.replace(from, to));
    }
    let repository = Repository::example("linux");
    assert_eq!(
        repository.refused("R1", "resize", &json!({"compute": {"instanceType": "u1.large"}}), "resize").0,
        Kind::Invalid
    );
    let repository = Repository::example("linux-golden");
    assert_eq!(
        repository.refused("R1", "resize", &json!({"compute": {"cpu": 4}}), "resize").0,
        Kind::Invalid
    );
}

#[test]
fn a_revision_of_the_old_instance_type_goes_with_it() {
    let mut repository = Repository::example("linux-golden");
    let machine = repository.text("virtual-machine.yaml").replace(
        "    name: \"u1.medium\"\n",
        "    name: \"u1.medium\"\n    revisionName: pay-db-01-u1.medium-v1beta1-1\n",
    );
    repository.set("virtual-machine.yaml", &machine);
    repository.run("R1", "resize", &json!({"compute": {"instanceType": "u1.large"}}), "resize");
    let text = repository.text("virtual-machine.yaml");
    assert!(text.contains("    name: \"u1.large\"\n") && !text.contains("revisionName"), "{text}");
}

#[test]
fn a_protected_machine_is_named_and_its_protection_lifted_and_put_back() {
    let mut repository = Repository::example("linux");
    let label = |value: &str| format!("    kubevirt.io/vm-delete-protection: {value} # by hand\n");
    let machine = repository.text("virtual-machine.yaml");
    let machine = machine.replacen("  labels:\n", &format!("  labels:\n{}", label("'True'")), 1);
    repository.set("virtual-machine.yaml", &machine);
    let (kind, said) = repository.refused("R1", "deprovision", &json!({}), "stop");
    assert_eq!(
        (kind, said.as_str()),
        (Kind::Invalid, "request refused, 1 problem: E_CONFIRM: the machine is protected")
    );
    let spec = json!({"confirmName": "pay-batch-01"});
    repository.run("R1", "deprovision", &spec, "stop");
    let lifted = machine.replace("'True'", "'lifted'").replace("\"Always\"", "\"Halted\"");
    assert_eq!(repository.text("virtual-machine.yaml"), lifted);
    repository.run("R1", "deprovision", &spec, "remove");
    repository.run("R2", "undelete", &json!({}), "undelete");
    assert_eq!(repository.text("virtual-machine.yaml"), machine.replace("\"Always\"", "\"Halted\""));
}

#[test]
fn a_machine_that_was_started_since_is_not_removed() {
    let mut repository = Repository::example("linux");
    repository.run("R1", "deprovision", &json!({}), "stop");
    let machine = repository.text("virtual-machine.yaml").replace("\"Halted\"", "\"Always\"");
    repository.set("virtual-machine.yaml", &machine);
    let (kind, said) = repository.refused("R1", "deprovision", &json!({}), "remove");
    assert_eq!(
        (kind, said.as_str()),
        (Kind::Conflict, "the machine was switched on since it was stopped to be removed")
    );
}

#[test]
fn names_that_mean_something_in_the_archive_are_refused() {
    for name in ["tombstone.yaml", "application.yaml"] {
        let mut repository = Repository::example("linux");
        repository.set(name, "a: 1\n");
        repository.run("R1", "deprovision", &json!({}), "stop");
        let (kind, said) = repository.refused("R1", "deprovision", &json!({}), "remove");
        let place = format!("{}/{name}", repository.target.path());
        assert_eq!(
            (kind, said),
            (Kind::Conflict, format!("`{place}` has a name that the archive has a meaning for"))
        );
    }
}

#[test]
fn an_image_that_was_resolved_for_another_source_is_refused() {
    let repository = Repository::example("linux-golden");
    let request = repository.request(
        "R1",
        "repave",
        &json!({"image": {"source": "http", "url": "https://images.example/fedora.qcow2"}}),
    );
    let source = render_vm::ImageSource {
        namespace: "golden".parse().unwrap(),
        name: "fedora".parse().unwrap(),
        kind: render_vm::ImageKind::Pvc,
    };
    let site = render_vm::Site { image_source: Some(source), ..site() };
    let failure = repository.render(&request, "repave", &site).unwrap_err();
    assert_eq!(
        (failure.kind(), failure.message()),
        (Kind::Usage, "only an image of the source `data-source` is resolved")
    );
}

/// The same files and the same request give the same bytes.
#[test]
fn two_renders_are_equal() {
    let mut repository = Repository::example("linux-golden");
    for (id, operation, spec, phase) in life() {
        let request = repository.request(id, operation, &spec);
        let [first, second] = [(); 2].map(|()| repository.render(&request, phase.word(), &site()).unwrap());
        assert_eq!(first, second);
        let Rendered::Change(change) = first else { panic!("{id} is done already") };
        repository.apply(&change);
    }
}
