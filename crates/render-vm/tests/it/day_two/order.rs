//! Phases again, out of order, and after others: nothing is done twice, and nothing that was undone is done again.

use serde_json::{Value, json};
use step::Kind;
use vm::operation::Record;

use super::{Repository, life};

/// Whatever came after it: the file that says so, and nothing else.
#[test]
fn point_25_a_phase_is_done_once_and_found_ever_after() {
    let mut repository = Repository::example("linux-golden");
    let mut done: Vec<(&str, &str, Value, &str, Vec<u8>)> = Vec::new();
    for (id, operation, spec, phase) in life() {
        if operation == "undelete" {
            // from here on, what was removed is another story: the test below
            break;
        }
        let change = repository.run(id, operation, &spec, phase.word());
        done.push((id, operation, spec, phase.word(), change.files[&change.marker].clone()));
        // its own record is in the archive by then
        let live = operation != "deprovision" || phase.word() == "stop";
        // until it goes on, the disks may be half changed
        let middle = (["restore", "patch"].contains(&operation) && phase.word() == "stop").then_some(id);
        for (id, operation, spec, phase, marker) in &done {
            if !live && *operation != "deprovision" {
                assert_eq!(
                    repository.refused(id, operation, spec, phase).0,
                    Kind::Superseded,
                    "{id} {phase}"
                );
                continue;
            }
            if middle.is_some_and(|middle| middle != *id) && !["restore", "deprovision"].contains(operation) {
                assert_eq!(repository.refused(id, operation, spec, phase).0, Kind::Conflict, "{id} {phase}");
                continue;
            }
            if *phase == "repave" && done.iter().any(|d| d.0 == *id && d.3 == "rollback") {
                assert_eq!(repository.refused(id, operation, spec, phase).0, Kind::Superseded, "{id}");
                continue;
            }
            let again = repository.already(id, operation, spec, phase);
            // what is told is the last phase of that operation
            let marker = done.iter().rev().find(|d| d.0 == *id).map_or(marker, |d| &d.4);
            assert_eq!(again.files, [(again.marker.clone(), marker.clone())].into(), "{id} {phase}");
            assert_eq!(repository.files.get(&again.marker), Some(marker), "{id} {phase}");
            assert_eq!(again.remove, Vec::<String>::new());
        }
    }
    assert_eq!(done.len(), 14);
}

#[test]
fn what_was_undone_since_is_superseded() {
    let mut repository = Repository::example("linux-golden");
    let none = json!({});
    repository.run("R01", "stop", &none, "power");
    for phase in ["stop", "remove"] {
        repository.run("R02", "deprovision", &none, phase);
    }
    let (kind, said) = repository.refused("R01", "stop", &none, "power");
    assert_eq!(kind, Kind::Superseded, "{said}");
    repository.run("R03", "undelete", &none, "undelete");
    repository.already("R01", "stop", &none, "power");
    repository.already("R03", "undelete", &none, "undelete");
    for phase in ["stop", "remove"] {
        let (kind, said) = repository.refused("R02", "deprovision", &none, phase);
        assert_eq!(kind, Kind::Superseded, "{said}");
    }
    // removed once more: the undelete is not repeated
    for phase in ["stop", "remove"] {
        repository.run("R04", "deprovision", &none, phase);
    }
    let (kind, said) = repository.refused("R03", "undelete", &none, "undelete");
    assert_eq!(kind, Kind::Superseded, "{said}");
}

#[test]
fn a_machine_that_was_switched_on_meanwhile_is_not_taken_for_off() {
    let mut repository = Repository::example("linux-golden");
    let patch = json!({"profile": "dnf-update"});
    repository.run("R01", "patch", &patch, "stop");
    // by hand, in Git
    let text = repository.text("virtual-machine.yaml").replace("\"Halted\"", "\"Always\"");
    repository.set("virtual-machine.yaml", &text);
    assert_eq!(
        repository.refused("R01", "patch", &patch, "stop"),
        (
            Kind::Superseded,
            "phase `stop` of request `R01` is done, but the machine was switched on since".to_owned()
        )
    );
}

#[test]
fn point_25_a_patch_that_did_not_finish_is_closed_by_a_restore_or_by_a_word() {
    let patch = json!({"profile": "dnf-update"});
    let (none, despite, snapshot) = (json!({}), json!({"despite": "R01"}), json!({"snapshot": "before"}));
    let unfinished = (
        Kind::Conflict,
        "request refused, 1 problem: E_CONFLICT: request `R01` (`patch`) is unfinished: disks may be half changed".to_owned(),
    );
    for restored in [true, false] {
        let mut repository = Repository::example("linux-golden");
        repository.run("R01", "patch", &patch, "stop");
        assert_eq!(repository.refused("R02", "start", &none, "power"), unfinished);
        assert_eq!(repository.refused("R02", "repave", &none, "repave"), unfinished);
        // the request itself goes on
        repository.already("R01", "patch", &patch, "stop");
        if restored {
            repository.run("R03", "restore", &snapshot, "stop");
            repository.run("R03", "restore", &snapshot, "start");
            repository.run("R04", "start", &none, "power");
            repository.already("R03", "restore", &snapshot, "stop");
        } else {
            repository.run("R04", "start", &despite, "power");
            repository.already("R04", "start", &despite, "power");
        }
        for phase in ["stop", "start", "rollback"] {
            let (kind, said) = repository.refused("R01", "patch", &patch, phase);
            assert_eq!(kind, Kind::Superseded, "{said}");
        }
        repository.run("R05", "stop", &none, "power");
    }
}

#[test]
fn the_same_id_with_other_content_is_a_conflict() {
    let mut repository = Repository::example("linux-golden");
    repository.run("R01", "stop", &json!({}), "power");
    for (operation, spec, phase) in [
        ("stop", json!({"forceAfterSeconds": 1}), "power"),
        ("start", json!({}), "power"),
        ("repave", json!({}), "repave"),
    ] {
        assert_eq!(repository.refused("R01", operation, &spec, phase).0, Kind::Conflict, "{operation}");
    }
}

#[test]
fn phases_keep_their_order() {
    let repository = Repository::example("linux-golden");
    let patch = json!({"profile": "dnf-update"});
    let first = |phase: &str, id: &str| {
        (Kind::Conflict, format!("phase `{phase}` of request `{id}` is not in Git, it comes first"))
    };
    assert_eq!(repository.refused("R01", "patch", &patch, "start"), first("stop", "R01"));
    assert_eq!(repository.refused("R01", "deprovision", &json!({}), "remove"), first("stop", "R01"));
    for phase in ["cleanup", "rollback"] {
        assert_eq!(repository.refused("R01", "repave", &json!({}), phase), first("repave", "R01"));
    }
    let usage = (Kind::Usage, "nothing to render: operation `patch` has no phase `repave`".to_owned());
    assert_eq!(repository.refused("R01", "patch", &patch, "repave"), usage);
    let usage = (Kind::Usage, "nothing to render: operation `snapshot` leaves nothing in Git".to_owned());
    assert_eq!(repository.refused("R01", "snapshot", &json!({}), "stop"), usage);
    let guest = json!({"profile": "security", "method": "in-guest"});
    let invalid =
        "nothing to render: the request asks for method `in-guest`, which leaves nothing in Git".to_owned();
    assert_eq!(repository.refused("R01", "patch", &guest, "stop"), (Kind::Invalid, invalid));
}

#[test]
fn a_repave_ends_in_one_of_two_ways() {
    for (first, second) in [("cleanup", "rollback"), ("rollback", "cleanup")] {
        let mut repository = Repository::example("linux-golden");
        repository.run("R01", "repave", &json!({}), "repave");
        repository.run("R01", "repave", &json!({}), first);
        let (kind, said) = repository.refused("R01", "repave", &json!({}), second);
        assert_eq!(
            (kind, said),
            (Kind::Conflict, format!("phase `{first}` of request `R01` is done, it excludes this one"))
        );
    }
    // what was taken back is no success when its request is run again
    let mut repository = Repository::example("linux-golden");
    repository.run("R01", "repave", &json!({}), "repave");
    repository.run("R01", "repave", &json!({}), "rollback");
    assert_eq!(
        repository.refused("R01", "repave", &json!({}), "repave"),
        (
            Kind::Superseded,
            "request `R01` was rolled back: the machine has its boot disk of before".to_owned()
        )
    );
    // a later one gave the machine another boot disk
    let mut repository = Repository::example("linux-golden");
    repository.run("R01", "repave", &json!({}), "repave");
    let claim = repository.request("R01", "repave", &json!({})).volume("root");
    repository.run("R02", "repave", &json!({}), "repave");
    for phase in ["cleanup", "rollback"] {
        let (kind, said) = repository.refused("R01", "repave", &json!({}), phase);
        assert_eq!(
            (kind, said),
            (Kind::Conflict, format!("the machine does not boot from `{claim}` any more"))
        );
    }
}

/// The old disk is all that surely boots until the machine came up on the new one.
#[test]
fn point_05_the_old_boot_disk_of_a_machine_that_is_off_stays() {
    let off = "the machine is off, so nothing shows that it comes up on the new boot disk".to_owned();
    let mut repository = Repository::example("linux-golden");
    repository.run("R01", "stop", &json!({}), "power");
    assert_eq!(repository.refused("R02", "repave", &json!({}), "repave"), (Kind::Conflict, off.clone()));
    let keep = json!({"keepOldDisk": true});
    repository.run("R03", "repave", &keep, "repave");
    repository.run("R03", "repave", &keep, "cleanup");
    // switched off in between
    let mut repository = Repository::example("linux-golden");
    repository.run("R01", "repave", &json!({}), "repave");
    repository.run("R02", "stop", &json!({}), "power");
    assert_eq!(repository.refused("R01", "repave", &json!({}), "cleanup"), (Kind::Conflict, off));
    repository.run("R01", "repave", &json!({}), "rollback");
}

#[test]
fn a_start_puts_back_what_was_there_before_the_last_stop() {
    let mut repository = Repository::example("linux-golden");
    let strategy = |repository: &Repository| repository.definition().machine.unwrap().run_strategy;
    let machine = repository.text("virtual-machine.yaml").replace("\"Always\"", "\"Manual\"");
    repository.set("virtual-machine.yaml", &machine);
    for (n, (operation, spec, phase, wanted)) in [
        ("stop", json!({}), "power", "Halted"),
        ("stop", json!({}), "power", "Halted"),
        ("start", json!({}), "power", "Manual"),
        ("start", json!({}), "power", "Manual"),
    ]
    .into_iter()
    .enumerate()
    {
        repository.run(&format!("R{n}"), operation, &spec, phase);
        assert_eq!(strategy(&repository), wanted, "{n}");
    }
    // off when it was stopped, off again afterwards
    let patch = json!({"profile": "x"});
    repository.run("S1", "stop", &json!({}), "power");
    repository.run("S2", "patch", &patch, "stop");
    repository.run("S2", "patch", &patch, "start");
    assert_eq!(strategy(&repository), "Halted");
    // never on before, as far as Git knows
    let mut born_off = Repository::provisioned("registry-powered-off");
    assert_eq!(strategy(&born_off), "Halted");
    born_off.run("R1", "start", &json!({}), "power");
    assert_eq!(strategy(&born_off), "Always");
    // files that say `running`
    let machine = born_off.text("virtual-machine.yaml").replace("runStrategy: \"Always\"", "running: true");
    born_off.set("virtual-machine.yaml", &machine);
    born_off.run("R2", "stop", &json!({}), "power");
    assert!(born_off.text("virtual-machine.yaml").contains("\n  running: false\n"));
    born_off.run("R3", "start", &json!({}), "power");
    assert_eq!(born_off.text("virtual-machine.yaml"), machine);
}

#[test]
fn records_are_counted() {
    let mut repository = Repository::example("linux-golden");
    for (n, (id, operation, spec, phase)) in life().into_iter().enumerate() {
        let change = repository.run(id, operation, &spec, phase.word());
        let record = Record::parse(&change.files[&change.marker]).unwrap();
        assert_eq!((record.sequence as usize, record.phase), (n + 1, phase), "{id}");
    }
}
