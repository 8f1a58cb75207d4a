//! The layouts: each built by its own tool, and the same objects as the plain manifests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use render_vm::{Files, Site, Templates, render};
use serde_json::{Value, json};
use vm::definition::Definition;
use vm::edit::power::{self, Overlay};

use crate::day_two::{Repository, life};
use crate::{all_requests, site};

static KUSTOMIZE: LazyLock<std::path::PathBuf> = LazyLock::new(|| testbed::kustomize().unwrap());

pub(crate) fn in_overlay() -> Site {
    Site { environment: Some("prod".parse().unwrap()), ..site() }
}

type Objects = BTreeMap<(String, String), Value>;

/// What Kustomize makes of the folder that the Application names; the Application goes with it, without that folder.
fn built(files: &BTreeMap<String, Vec<u8>>, target: &vm::request::Target) -> Objects {
    let repository = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = repository.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let read = |bytes: &[u8]| vm::yaml::documents(bytes).unwrap();
    let Some(application) = files.get(&target.application_path()) else { return Objects::new() };
    let mut application = read(application).remove(0);
    let folder = application["spec"]["source"]["path"].take();
    let folder = repository.path().join(folder.as_str().unwrap());
    let output = Command::new(&*KUSTOMIZE).args(["build", "."]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut objects = read(&output.stdout);
    objects.push(application);
    let key = |object: &Value| (object["kind"].to_string(), object["metadata"]["name"].to_string());
    objects.into_iter().map(|object| (key(&object), object)).collect()
}

fn bytes(files: Files) -> BTreeMap<String, Vec<u8>> {
    files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect()
}

#[test]
fn an_overlay_builds_to_the_plain_manifests() {
    let templates = Templates::new().unwrap();
    let mut number = 0;
    for (name, request) in all_requests() {
        let target = &request.spec.target;
        let [plain, overlay] =
            [site(), in_overlay()].map(|site| bytes(render(&templates, &request, &site).unwrap()));
        // what Kubernetes reads of the plain layout, as it lies there: no tool has touched it
        let mut expected = Objects::new();
        for (path, text) in &plain {
            let object = vm::yaml::documents(text).unwrap().remove(0);
            let folder = path.starts_with(&target.path()) && object.get("kind").is_some();
            if folder && object["kind"] != "Kustomization" && object["kind"] != "VMRequest" {
                let key = (object["kind"].to_string(), object["metadata"]["name"].to_string());
                expected.insert(key, object);
            }
        }
        let mut found = built(&overlay, target);
        found.retain(|(kind, _), _| kind != "\"Application\"");
        assert_eq!(found, expected, "{name}");
        assert_eq!(built(&plain, target), built(&overlay, target), "{name}");
        assert_eq!(plain.get(&target.namespace_path()), overlay.get(&target.namespace_path()));
        number += expected.len();
        let definition = Definition::read(&overlay, target).unwrap();
        assert_eq!(
            definition.machine.unwrap().power_path,
            format!("{}/overlays/prod/power.yaml", target.path())
        );
    }
    assert!(number > 40, "{number} objects");
}

/// Every operation is carried out in both layouts; after every phase they build to the same.
#[test]
fn operations_leave_both_layouts_the_same() {
    for name in ["linux-golden", "linux-registry"] {
        let (_, request) =
            all_requests().into_iter().find(|(found, _)| *found == format!("examples/{name}")).unwrap();
        let templates = Templates::new().unwrap();
        let [mut plain, mut overlay] = [site(), in_overlay()].map(|site| Repository {
            files: bytes(render(&templates, &request, &site).unwrap()),
            target: request.spec.target.clone(),
        });
        let sized = ("R06", "resize", json!({"compute": {"cpu": 4, "memory": "16Gi"}, "allowRestart": true}));
        let mut strategies = Vec::new();
        for (id, operation, spec, phase) in life() {
            // each example for what it is sized by
            let (id, operation, spec) = match operation {
                "resize" if request.spec.compute.memory.is_some() => sized.clone(),
                "repave" if !request.spec.image.has_root_disk() => continue,
                "undelete" if spec["requestId"].is_string() => (id, operation, json!({})),
                _ => (id, operation, spec),
            };
            if operation == "undelete" && plain.definition().archived.len() > 1 {
                continue;
            }
            let [a, b] = [&mut plain, &mut overlay].map(|repository| {
                repository.run(id, operation, &spec, phase.word());
                built(&repository.files, &repository.target)
            });
            assert_eq!(a, b, "{name}: {operation} {phase}");
            strategies
                .extend(a.values().filter_map(|o| o.pointer("/spec/runStrategy")).map(ToString::to_string));
        }
        // the base is never asked for what the overlay says
        strategies.dedup();
        assert_eq!(strategies[..3], ["\"Halted\"", "\"Always\"", "\"Halted\""], "{name}");
    }
}

/// `stop-start-vm --overlay` finds the same value.
#[test]
fn the_power_of_an_overlay_is_one_that_stop_start_vm_edits() {
    let request = crate::request("container-disk");
    let files = render(&Templates::new().unwrap(), &request, &in_overlay()).unwrap();
    let target = &request.spec.target;
    let folder = target.overlay_path(&"prod".parse().unwrap());
    let machine = power::Machine { namespace: target.namespace.as_str(), name: target.name.as_str() };
    let list = &files[&format!("{folder}/kustomization.yaml")];
    let overlay = Overlay::read(list, machine).unwrap();
    let beside = overlay.files().into_iter().map(|file| {
        let path = Path::new(&folder).join(file);
        (file.to_owned(), files.get(path.to_str().unwrap()).cloned().unwrap_or_default())
    });
    let found = overlay.find(&beside.collect()).unwrap();
    assert_eq!(found.file.as_deref(), Some("power.yaml"));
    assert!(found.power.off().unwrap().unwrap().contains("runStrategy: \"Halted\""));
}

#[test]
fn what_cannot_be_read_of_an_overlay_says_where() {
    let request = crate::request("container-disk");
    let target = &request.spec.target;
    let mut files = bytes(render(&Templates::new().unwrap(), &request, &in_overlay()).unwrap());
    let power = format!("{}/overlays/prod/power.yaml", target.path());
    files.insert(power.clone(), b"spec: {running: true}\n".to_vec());
    let said = Definition::read(&files, target).unwrap_err().to_string();
    assert_eq!(said, format!("`{power}`: it has no text at `/spec/runStrategy`"));
}
