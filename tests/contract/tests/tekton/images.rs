//! The sets that have to be one: crates with a binary, StepActions, Tasks, what the Containerfile builds and copies, and what
//! the kustomizations list.

use std::collections::BTreeSet;
use std::fs;

use crate::check;
use crate::world::{World, yaml_files};

/// Tasks of several steps, or under a flow's name.
const COMPOSED: [&str; 2] = ["await-vm", "publish-vm"];

fn set(names: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

/// Crates with a `main.rs`, without the tool of this repository.
fn crates(world: &World) -> BTreeSet<String> {
    let entries = fs::read_dir(world.root.join("crates")).unwrap().map(|e| e.unwrap().path());
    let binaries = entries.filter(|path| path.join("src/main.rs").is_file());
    set(binaries.map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).filter(|name| name != "xtask"))
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
        differ(problems, "tekton/stepactions", &set(world.actions.keys().cloned()), &crates);
        let tasks = &crates | &set(COMPOSED);
        differ(problems, "tekton/tasks", &set(world.tasks.keys().cloned()), &tasks);
        let text = fs::read_to_string(world.root.join("Containerfile")).unwrap();
        // `COPY --from=build /out/NAME /usr/local/bin/NAME`: what `cargo xtask image` carries out
        let lines = text.lines().filter_map(|l| l.strip_prefix("COPY --from=build /out/"));
        let copied = lines.map(|rest| match rest.split_once(" /usr/local/bin/") {
            Some((from, to)) if from == to => from.to_owned(),
            _ => format!("`COPY … {rest}`"),
        });
        differ(problems, "Containerfile: COPY", &set(copied), &crates);
        let words: Vec<&str> = text.split_whitespace().collect();
        let packages = words.windows(2).filter(|w| w[0] == "--package").map(|w| w[1]);
        differ(problems, "Containerfile: cargo build --package", &set(packages), &crates);
        let built = text.lines().find_map(|l| l.trim().strip_prefix("&& cp ")).unwrap_or_default();
        let built = built.split_whitespace().filter(|w| *w != "/out/");
        differ(problems, "Containerfile: cp", &set(built), &crates);
    });
}

#[test]
fn there_is_one_image() {
    check("images", |world, problems| {
        let wanted = concat!("registry.local/vm-lifecycle-tasks:", env!("CARGO_PKG_VERSION"));
        let actions = world.actions.iter().map(|(name, a)| (name, &a.spec.image));
        let steps =
            world.tasks.iter().flat_map(|(name, t)| t.spec.steps.iter().map(move |s| (name, &s.image)));
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
