//! The sets that have to be one: crates with a binary, StepActions, Tasks, the links to the image's one executable, and what the
//! kustomizations list.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::check;
use crate::world::{World, yaml_files};

/// Tasks of several steps, or under a flow's name.
const COMPOSED: [&str; 12] = [
    "await-vm",
    "check-patch",
    "deprovision-stop",
    "patch-disk-block",
    "power-vm",
    "prepare-patch",
    "prepare-restore",
    "prepare-vm",
    "publish-vm",
    "resize-apply",
    "restore-disks",
    "snapshot-take",
];
/// Its three roles are steps of one pod that share a volume and a disk, which no StepAction can say.
const NO_STEP_ACTION: [&str; 1] = ["patch-disk"];
/// Steps in an image of somebody else: task, step.
const FOREIGN: [(&str, &str); 2] = [("patch-disk", "patch"), ("patch-disk-block", "patch")];

fn set(names: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

/// Crates with a `main.rs`, without the tool of this repository and the executable that holds all the others.
fn crates(world: &World) -> BTreeSet<String> {
    let entries = fs::read_dir(world.root.join("crates")).unwrap().map(|e| e.unwrap().path());
    let binaries = entries.filter(|path| path.join("src/main.rs").is_file());
    set(binaries
        .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !["vm-lifecycle-tasks", "xtask"].contains(&name.as_str())))
}

fn differ(problems: &mut Vec<String>, what: &str, found: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    if found != wanted {
        let (missing, extra) = (wanted - found, found - wanted);
        problems.push(format!("{what}: missing {missing:?}, too many {extra:?}"));
    }
}

#[test]
fn every_binary_is_everywhere() {
    check("binaries", |world, problems| {
        let crates = crates(world);
        differ(
            problems,
            "tests/contract/tests/tekton/binaries.rs",
            &set(world.binaries.iter().map(|b| b.name)),
            &crates,
        );
        let actions = &crates - &set(NO_STEP_ACTION);
        differ(problems, "tekton/stepactions", &set(world.actions.keys().cloned()), &actions);
        let tasks = &crates | &set(COMPOSED);
        differ(problems, "tekton/tasks", &set(world.tasks.keys().cloned()), &tasks);
        let linked = vm_lifecycle_tasks::PROGRAMS.iter().map(|(name, _)| *name);
        differ(problems, "crates/vm-lifecycle-tasks", &set(linked), &crates);
    });
}

#[test]
fn there_is_one_image() {
    check("images", |world, problems| {
        let wanted = concat!("registry.local/vm-lifecycle-tasks:", env!("CARGO_PKG_VERSION"));
        let actions = world.actions.iter().map(|(name, a)| (name, &a.spec.image));
        let ours = |name: &str, step: &str| !FOREIGN.contains(&(name, step));
        let steps = world.tasks.iter().flat_map(|(name, t)| t.spec.steps.iter().map(move |s| (name, s)));
        let steps = steps.filter(|(name, s)| ours(name, &s.name)).map(|(name, s)| (name, &s.image));
        for (name, image) in actions.chain(steps) {
            if image != wanted {
                problems.push(format!("`{name}`: paste\nimage: {wanted}"));
            }
        }
    });
}

#[test]
fn kustomizations_list_every_file() {
    check("kustomizations", |world, problems| {
        for folder in ["tekton/stepactions", "tekton/tasks", "tekton/rbac", "pipelines"] {
            let listed = world.document(&format!("{folder}/kustomization.yaml"));
            let listed: Vec<&str> =
                listed["resources"].as_array().unwrap().iter().filter_map(|r| r.as_str()).collect();
            let files = yaml_files(&world.root.join(folder));
            if listed != files {
                problems.push(format!(
                    "{folder}/kustomization.yaml: paste\nresources:\n  - {}",
                    files.join("\n  - ")
                ));
            }
        }
    });
}

/// Two installations would take the bindings of cluster roles from each other if they had one name.
#[test]
fn the_sample_overlay_has_bindings_of_its_own() {
    check("examples/overlay", |world, problems| {
        let read = |file: &str| {
            let text = fs::read_to_string(world.root.join("examples/overlay").join(file)).unwrap();
            serde_saphyr::from_str::<Value>(&text).unwrap()
        };
        let (overlay, bindings) = (read("kustomization.yaml"), read("bindings.yaml"));
        let namespace = overlay["namespace"].as_str().unwrap();
        if bindings["suffix"] != format!("-{namespace}")
            || overlay["transformers"] != json!(["bindings.yaml"])
        {
            problems.push(format!("bindings.yaml has another suffix than `-{namespace}`, or is not used"));
        }
        let places = &bindings["fieldSpecs"];
        if *places != json!([{"path": "metadata/name", "kind": "ClusterRoleBinding"}]) {
            problems.push(format!("bindings.yaml names other things than bindings: {places}"));
        }
    });
}

/// An overlay's `images:` knows only the fields that its own configuration names, and kustomize reads none from outside it.
#[test]
fn the_sample_overlay_knows_where_images_are() {
    check("examples/overlay", |world, problems| {
        let read = |path: &str| fs::read_to_string(world.root.join(path)).unwrap();
        if read("tekton/kustomizeconfig.yaml") != read("examples/overlay/kustomizeconfig.yaml") {
            problems.push(
                "paste\ncp tekton/kustomizeconfig.yaml examples/overlay/kustomizeconfig.yaml".to_owned(),
            );
        }
    });
}
