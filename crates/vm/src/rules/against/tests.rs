//! Points of domain-semantics 9 that are seen in Git already; the whole words are in `tests/fixtures/requests/day-two`.

mod environment;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::against;
use crate::definition::Definition;
use crate::operation::{Before, BuriedDisk, Phase, Record, Tombstone};
use crate::policy::Policy;
use crate::problem::Code;
use crate::request::Accepted;

type Files = BTreeMap<String, Vec<u8>>;

const FOLDER: &str = "vms/in-cluster/team/web";
const ARCHIVE: &str = "archive/in-cluster/team/web/R1";

fn request(id: &str, operation: &str, own: &Value) -> Accepted {
    let request = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
        "metadata": {"requestId": id, "requestedBy": "jane"},
        "spec": {"operation": operation, "target": {"name": "web", "namespace": "team"}, "operationSpec": own},
    });
    Accepted::parse(&request.to_string()).unwrap()
}

fn provision() -> Accepted {
    let request = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
        "metadata": {"requestId": "R1", "requestedBy": "jane"},
        "spec": {
            "operation": "provision", "target": {"name": "web", "namespace": "team"}, "compute": {"cpu": 1, "memory": "1Gi"},
            "image": {"source": "registry", "reference": "quay.io/a:1"}, "disks": [{"name": "root", "role": "root", "size": "1Gi"}],
        },
    });
    Accepted::parse(&request.to_string()).unwrap()
}

fn disk(name: &str, options: &str) -> Value {
    json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume",
        "metadata": {"name": format!("web-{name}-1"), "annotations": {"argocd.argoproj.io/sync-options": options}},
        "spec": {"storage": {"resources": {"requests": {"storage": "10Gi"}}}},
    })
}

/// A machine with a boot disk and a data disk, whose files have these sync options.
fn machine(options: &str) -> Files {
    let volume =
        |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": format!("web-{name}-1")}});
    let vm = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "web"},
        "spec": {"runStrategy": "Always", "template": {"spec": {
            "domain": {"devices": {"disks": [{"name": "root"}, {"name": "data"}]}}, "volumes": [volume("root"), volume("data")],
        }}},
    });
    let file = |name: &str, value: &Value| (format!("{FOLDER}/{name}"), value.to_string().into_bytes());
    Files::from([
        file("virtual-machine.yaml", &vm),
        file("disk-root-1.yaml", &disk("root", "")),
        file("disk-data.yaml", &disk("data", options)),
        (format!("{FOLDER}/request.yaml"), provision().canonical().into_bytes()),
    ])
}

/// The same files where the machine is after its removal.
fn moved(files: &Files, from: &str, to: &str) -> Files {
    files.iter().map(|(path, bytes)| (path.replacen(from, to, 1), bytes.clone())).collect()
}

fn record(files: &mut Files, folder: &str, phase: Phase, sequence: u32, request: &Accepted) {
    let request = request.day_two().unwrap().clone();
    let path = format!("{folder}/operations/{}/{phase}.yaml", request.metadata.request_id);
    files.insert(path, Record::new(phase, sequence, Before::default(), request).to_yaml().into_bytes());
}

fn codes(request: &Accepted, files: &Files) -> Vec<Code> {
    let definition = Definition::read(files, request.target()).unwrap();
    against(request, &definition, &Policy::default()).iter().map(|problem| problem.code).collect()
}

#[test]
fn point_01_a_data_disk_that_argo_cd_would_remove_stops_repave_and_deprovision() {
    for (options, kept) in [
        ("Prune=false,Delete=false", true),
        ("Delete=false, Prune=false,Validate=false", true),
        ("Prune=false", false),
        ("Delete=false", false),
        ("Prune=confirm,Delete=confirm", false),
        ("", false),
    ] {
        let files = machine(options);
        let expected = if kept { Vec::new() } else { vec![Code::DiskFile] };
        for operation in ["repave", "deprovision"] {
            assert_eq!(
                codes(&request("R2", operation, &json!({})), &files),
                expected,
                "{operation} {options}"
            );
        }
        let delete = request("R2", "deprovision", &json!({"disks": "delete"}));
        assert_eq!(codes(&delete, &files), [], "who asks for them to go gets that");
    }
}

#[test]
fn point_25_the_same_request_again_is_no_problem_whatever_it_did() {
    let shrunk = request("R2", "resize", &json!({"disks": [{"name": "data", "size": "5Gi"}]}));
    let mut files = machine("Prune=false,Delete=false");
    assert_eq!(codes(&shrunk, &files), [Code::DiskSize]);
    record(&mut files, FOLDER, Phase::Resize, 1, &shrunk);
    assert_eq!(codes(&shrunk, &files), []);
    let other = request("R2", "resize", &json!({"disks": [{"name": "data", "size": "50Gi"}]}));
    assert_eq!(codes(&other, &files), [Code::Conflict]);
}

#[test]
fn what_has_grown_does_not_shrink_to_what_its_file_says() {
    let grow = |id: &str, name: &str, size: &str| {
        request(id, "resize", &json!({"disks": [{"name": name, "size": size}]}))
    };
    let mut files = machine("Prune=false,Delete=false");
    record(&mut files, FOLDER, Phase::Resize, 1, &grow("R2", "data", "20Gi"));
    assert_eq!(codes(&grow("R3", "data", "15Gi"), &files), [Code::DiskSize]);
    assert_eq!(codes(&grow("R3", "data", "20Gi"), &files), [], "as large as it is already");
    record(&mut files, FOLDER, Phase::Resize, 2, &grow("R3", "data", "30Gi"));
    assert_eq!(codes(&grow("R4", "data", "25Gi"), &files), [Code::DiskSize]);
    assert_eq!(codes(&grow("R4", "root", "15Gi"), &files), []);
}

#[test]
fn a_life_from_its_request_to_its_return() {
    let provision = provision();
    let (remove, again) = (request("R2", "deprovision", &json!({})), request("R3", "undelete", &json!({})));
    let start = request("R4", "start", &json!({}));

    // there
    let mut files = machine("Prune=false,Delete=false");
    record(&mut files, FOLDER, Phase::Power, 1, &start);
    assert_eq!(codes(&provision, &files), []);
    assert_eq!(codes(&remove, &files), []);
    assert_eq!(codes(&again, &files), [Code::Exists]);
    assert_eq!(codes(&request("R1", "stop", &json!({})), &files), [Code::Conflict]);

    // half removed
    record(&mut files, FOLDER, Phase::Stop, 2, &remove);
    assert_eq!(codes(&remove, &files), []);

    // removed
    let mut files = moved(&files, FOLDER, ARCHIVE);
    record(&mut files, ARCHIVE, Phase::Remove, 3, &remove);
    let disk = BuriedDisk { name: "data".to_owned(), claim: "web-data-1".to_owned(), kept: true };
    let tombstone = Tombstone::new(remove.day_two().unwrap(), vec![disk]);
    files.insert(format!("{ARCHIVE}/tombstone.yaml"), tombstone.to_yaml().into_bytes());
    assert_eq!(codes(&provision, &files), [Code::Superseded]);
    assert_eq!(codes(&remove, &files), []);
    assert_eq!(codes(&start, &files), [Code::Superseded]);
    assert_eq!(codes(&request("R5", "start", &json!({})), &files), [Code::NoMachine]);
    assert_eq!(codes(&request("R1", "undelete", &json!({})), &files), [Code::Conflict]);
    assert_eq!(codes(&again, &files), []);
    let definition = Definition::read(&files, provision.target()).unwrap();
    assert_eq!(definition.archived.values().next().unwrap().tombstone.as_ref(), Some(&tombstone));

    // back
    files.remove(&format!("{ARCHIVE}/tombstone.yaml"));
    let mut files = moved(&files, ARCHIVE, FOLDER);
    record(&mut files, FOLDER, Phase::Undelete, 4, &again);
    assert_eq!(codes(&provision, &files), []);
    assert_eq!(codes(&remove, &files), [Code::Superseded]);
    assert_eq!(codes(&start, &files), []);
    assert_eq!(codes(&again, &files), []);
    assert_eq!(Definition::read(&files, provision.target()).unwrap().next_sequence(), 5);

    // removed once more, by another request: what the first had done stays undone
    let second = request("R6", "deprovision", &json!({}));
    let mut files = moved(&files, FOLDER, ARCHIVE);
    record(&mut files, ARCHIVE, Phase::Remove, 5, &second);
    assert_eq!(codes(&again, &files), [Code::Superseded]);
    assert_eq!(codes(&second, &files), []);

    // made anew beside the archive
    let mut anew = machine("Prune=false,Delete=false");
    let fresh = provision.canonical().replace("\"R1\"", "\"R7\"");
    anew.insert(format!("{FOLDER}/request.yaml"), fresh.into_bytes());
    files.extend(anew);
    assert_eq!(codes(&second, &files), [Code::Superseded], "an old removal never removes the new machine");
    assert_eq!(codes(&request("R8", "deprovision", &json!({})), &files), []);
}

/// What is said of a request; nothing if it may go on.
fn said(request: &Accepted, files: &Files) -> Option<String> {
    let definition = Definition::read(files, request.target()).unwrap();
    let mut problems = against(request, &definition, &Policy::default());
    assert!(problems.len() <= 1, "{problems:?}");
    problems.pop().map(|problem| problem.to_string())
}

#[test]
fn point_25_a_machine_in_the_middle_of_a_patch_is_left_alone_by_other_requests() {
    let patch = request("R2", "patch", &json!({"profile": "security"}));
    let start = request("R3", "start", &json!({}));
    let restore = request("R4", "restore", &json!({"snapshot": "s"}));
    let mut files = machine("Prune=false,Delete=false");
    record(&mut files, FOLDER, Phase::Power, 1, &request("R0", "stop", &json!({})));
    record(&mut files, FOLDER, Phase::Stop, 2, &patch);
    let unfinished = "/spec/target/name: E_CONFLICT: request `R2` (`patch`) is unfinished: disks may be half changed; hint: \
        run it again, `restore`, or `start` with `despite` if they are good";
    for (operation, own) in [
        ("start", json!({})),
        ("start", json!({"despite": "R0"})),
        ("stop", json!({})),
        ("restart", json!({})),
        ("snapshot", json!({})),
        ("repave", json!({})),
        ("patch", json!({"profile": "security"})),
        ("resize", json!({"compute": {"cpu": 2}})),
        ("undelete", json!({})),
    ] {
        assert_eq!(
            said(&request("R3", operation, &own), &files).as_deref(),
            Some(unfinished),
            "{operation} {own}"
        );
    }
    // also one that was here before
    assert_eq!(said(&request("R0", "stop", &json!({})), &files).as_deref(), Some(unfinished));
    assert_eq!(said(&provision(), &files).as_deref(), Some(unfinished));
    // the request itself, and what gives the disks up
    for request in [&patch, &restore, &request("R3", "deprovision", &json!({}))] {
        assert_eq!(said(request, &files), None);
    }
    for phase in [Phase::Start, Phase::Rollback] {
        let mut files = files.clone();
        record(&mut files, FOLDER, phase, 3, &patch);
        assert_eq!((said(&start, &files), said(&patch, &files)), (None, None), "{phase}");
    }

    // a restore that stops half way is in the place of the patch
    record(&mut files, FOLDER, Phase::Stop, 3, &restore);
    let restoring = unfinished.replace("`R2` (`patch`)", "`R4` (`restore`)").replace("R2", "R4");
    for request in [&start, &patch, &request("R3", "start", &json!({"despite": "R2"}))] {
        assert_eq!(said(request, &files).as_deref(), Some(restoring.as_str()));
    }
    let another = request("R5", "restore", &json!({"snapshot": "t"}));
    assert_eq!([said(&restore, &files), said(&another, &files)], [None, None]);

    // one that is done closes both
    let mut restored = files.clone();
    record(&mut restored, FOLDER, Phase::Stop, 4, &another);
    record(&mut restored, FOLDER, Phase::Start, 5, &another);
    assert_eq!([said(&start, &restored), said(&another, &restored)], [None, None]);
    let given_up = "/metadata/requestId: E_SUPERSEDED: this request was given up: the disks were restored since, by request `R5`; \
        hint: to have it done again, give it a new id";
    for request in [&patch, &restore] {
        assert_eq!(
            said(request, &restored).as_deref(),
            Some(given_up),
            "never is an old snapshot restored over it"
        );
    }

    // so does somebody's word, which is kept for what it was given for
    let despite = request("R3", "start", &json!({"despite": "R4"}));
    assert_eq!(said(&despite, &files), None);
    record(&mut files, FOLDER, Phase::Power, 4, &despite);
    assert_eq!([said(&despite, &files), said(&request("R6", "stop", &json!({})), &files)], [None, None]);
    let given_up = given_up
        .replace("disks were restored since", "machine was started since with the disks as they were")
        .replace("R5", "R3");
    assert_eq!(said(&patch, &files), Some(given_up));
    assert_eq!(
        said(&request("R6", "start", &json!({"despite": "R4"})), &files).as_deref(),
        Some(
            "/spec/operationSpec/despite: E_CONFLICT: the machine has no unfinished request `R4`; hint: leave it out"
        )
    );
    let later = request("R7", "patch", &json!({"profile": "security"}));
    record(&mut files, FOLDER, Phase::Stop, 5, &later);
    let unfinished = unfinished.replace("R2", "R7");
    assert_eq!(said(&despite, &files).as_deref(), Some(unfinished.as_str()));
    // and a removal, when the machine comes back
    let (remove, undelete) =
        (request("R8", "deprovision", &json!({})), request("R9", "undelete", &json!({})));
    record(&mut files, FOLDER, Phase::Remove, 6, &remove);
    record(&mut files, FOLDER, Phase::Undelete, 7, &undelete);
    assert_eq!(said(&request("R10", "start", &json!({})), &files), None);
    assert!(said(&later, &files).unwrap().contains("the machine was removed since, by request `R8`"));
}

#[test]
fn a_machine_that_others_wrote_is_buried_under_the_request_that_removed_it() {
    let remove = request("R1", "deprovision", &json!({}));
    let mut files = machine("Prune=false,Delete=false");
    files.remove(&format!("{FOLDER}/request.yaml"));
    let definition = Definition::read(&files, remove.target()).unwrap();
    assert_eq!(definition.life_id(remove.request_id()).as_str(), "R1");
    let mut files = moved(&files, FOLDER, ARCHIVE);
    record(&mut files, ARCHIVE, Phase::Remove, 1, &remove);
    let tombstone = Tombstone::new(remove.day_two().unwrap(), Vec::new());
    files.insert(format!("{ARCHIVE}/tombstone.yaml"), tombstone.to_yaml().into_bytes());
    assert_eq!(codes(&remove, &files), []);
    assert_eq!(codes(&request("R1", "stop", &json!({})), &files), [Code::Conflict]);
}

#[test]
fn the_image_of_a_machine_that_others_wrote_has_to_be_given() {
    let mut files = machine("Prune=false,Delete=false");
    files.remove(&format!("{FOLDER}/request.yaml"));
    assert_eq!(codes(&request("R2", "repave", &json!({})), &files), [Code::Required]);
    let image = json!({"image": {"source": "registry", "reference": "quay.io/a:2"}});
    assert_eq!(codes(&request("R2", "repave", &image), &files), []);
}

/// A machine whose one volume is this.
fn with_volume(source: &Value, templates: &Value) -> Files {
    let mut volume = json!({"name": "root"});
    volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    let vm = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "web"},
        "spec": {"runStrategy": "Always", "dataVolumeTemplates": templates, "template": {"spec": {"volumes": [volume]}}},
    });
    Files::from([(format!("{FOLDER}/vm.yaml"), vm.to_string().into_bytes())])
}

#[test]
fn point_03_a_restore_in_place_needs_every_disk_mounted_by_its_claim() {
    let claim = json!({"persistentVolumeClaim": {"claimName": "a"}});
    let volume = json!({"dataVolume": {"name": "a"}});
    let template = json!([{"metadata": {"name": "a"}, "spec": {}}]);
    let in_place = request("R2", "restore", &json!({"snapshot": "s"}));
    for (source, templates, expected) in [
        (&claim, &json!([]), vec![]),
        (&claim, &template, vec![Code::DiskFile]),
        (&volume, &json!([]), vec![Code::DiskFile]),
        (&volume, &template, vec![Code::DiskFile]),
    ] {
        let files = with_volume(source, templates);
        assert_eq!(codes(&in_place, &files), expected, "{source} {templates}");
    }
}

#[test]
fn point_06_a_snapshot_of_no_volume_is_refused_and_so_is_what_needs_one() {
    let (claim, image) = (
        json!({"persistentVolumeClaim": {"claimName": "a"}}),
        json!({"containerDisk": {"image": "quay.io/a:1"}}),
    );
    let snapshot = request("R2", "snapshot", &json!({}));
    let restore = request("R2", "restore", &json!({"snapshot": "s"}));
    let patch = request("R2", "patch", &json!({"profile": "security"}));
    for request in [&snapshot, &restore, &patch] {
        assert_eq!(codes(request, &with_volume(&image, &json!([]))), [Code::NoDisk]);
        assert_eq!(codes(request, &with_volume(&claim, &json!([]))), []);
    }
}
