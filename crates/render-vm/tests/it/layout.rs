//! The layouts: each built by its own tool, and the same objects as the plain manifests.

mod chart;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use render_vm::{Files, Layout, Site, Templates, render};
use serde_json::{Value, json};
use vm::definition::Definition;
use vm::edit::power::{self, Overlay};

use crate::day_two::{Repository, life};
use crate::{all_requests, site};

static KUSTOMIZE: LazyLock<PathBuf> = LazyLock::new(|| testbed::kustomize().unwrap());
static HELM: LazyLock<PathBuf> = LazyLock::new(|| testbed::helm().unwrap());

pub(crate) fn in_overlay() -> Site {
    Site { layout: Layout::Kustomize { environment: "prod".parse().unwrap() }, ..site() }
}

pub(crate) fn in_chart() -> Site {
    Site { layout: Layout::HelmValues, ..site() }
}

type Objects = BTreeMap<(String, String), Value>;

/// What Kustomize, or Helm, makes of the source that the Application names; the Application goes with it, without that source.
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
    let source = application["spec"]["source"].as_object_mut().unwrap();
    let folder = repository.path().join(source.remove("path").unwrap().as_str().unwrap());
    // as Argo CD runs them
    let mut command = if let Some(helm) = source.remove("helm") {
        let mut command = Command::new(&*HELM);
        command.args(["template", ".", "--name-template", helm["releaseName"].as_str().unwrap()]);
        command.args(["--namespace", target.namespace.as_str(), "--include-crds"]);
        for file in helm["valueFiles"].as_array().into_iter().flatten() {
            command.args(["--values", file.as_str().unwrap()]);
        }
        command
    } else {
        let mut command = Command::new(&*KUSTOMIZE);
        command.args(["build", "."]);
        command
    };
    let output = command.current_dir(folder).output().unwrap();
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
fn every_layout_builds_to_the_plain_manifests() {
    let templates = Templates::new().unwrap();
    let mut number = 0;
    for (name, request) in all_requests() {
        let target = &request.spec.target;
        let [plain, overlay, chart] = [site(), in_overlay(), in_chart()]
            .map(|site| bytes(render(&templates, &request, &site).unwrap()));
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
        let of_plain = Definition::read(&plain, target).unwrap().machine.unwrap();
        for (files, power) in [(&overlay, "overlays/prod/power.yaml"), (&chart, "values.yaml")] {
            let mut found = built(files, target);
            assert_eq!(built(&plain, target), found, "{name}");
            found.retain(|(kind, _), _| kind != "\"Application\"");
            assert_eq!(found, expected, "{name}");
            assert_eq!(plain.get(&target.namespace_path()), files.get(&target.namespace_path()));
            let machine = Definition::read(files, target).unwrap().machine.unwrap();
            assert_eq!(machine.power_path, format!("{}/{power}", target.path()));
            assert_eq!(machine.document, of_plain.document, "{name}");
        }
        number += expected.len();
    }
    assert!(number > 40, "{number} objects");
}

/// Every operation is carried out in every layout; after every phase they build to the same.
#[test]
fn operations_leave_all_layouts_the_same() {
    for name in ["linux-golden", "linux-registry"] {
        let (_, request) =
            all_requests().into_iter().find(|(found, _)| *found == format!("examples/{name}")).unwrap();
        let templates = Templates::new().unwrap();
        let [mut plain, mut overlay, mut chart] = [site(), in_overlay(), in_chart()].map(|site| Repository {
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
            let [a, b, c] = [&mut plain, &mut overlay, &mut chart].map(|repository| {
                repository.run(id, operation, &spec, phase.word());
                built(&repository.files, &repository.target)
            });
            assert_eq!(a, b, "{name}: {operation} {phase}");
            assert_eq!(a, c, "{name}: {operation} {phase}");
            strategies
                .extend(a.values().filter_map(|o| o.pointer("/spec/runStrategy")).map(ToString::to_string));
        }
        // the base is never asked for what the overlay says
        strategies.dedup();
        assert_eq!(strategies[..3], ["\"Halted\"", "\"Always\"", "\"Halted\""], "{name}");
    }
}

/// An overlay that people add, with a prefix, a power and a memory of its own: a machine with disks of its own.
#[test]
fn an_overlay_of_another_environment_has_names_of_its_own() {
    let (_, request) =
        all_requests().into_iter().find(|(found, _)| *found == "examples/linux-registry").unwrap();
    let files = bytes(render(&Templates::new().unwrap(), &request, &in_overlay()).unwrap());
    let mut repository = Repository { files, target: request.spec.target };
    let target = repository.target.clone();
    let of_prod = built(&repository.files, &target);
    let list = repository.text("overlays/prod/kustomization.yaml").to_owned();
    let list = list.replace("resources:", "namePrefix: staging-\nresources:");
    repository.set("overlays/staging/kustomization.yaml", &list);
    for (file, from, to) in [("power.yaml", "Halted", "Always"), ("memory.yaml", "8Gi", "2Gi")] {
        let text = repository.text(&format!("overlays/prod/{file}"));
        assert!(text.contains(from), "{text}");
        let text = text.replace(from, to);
        repository.set(&format!("overlays/staging/{file}"), &text);
    }
    // not read, and not taken for a second machine
    let patch = repository.text("overlays/staging/power.yaml").to_owned();
    repository.set("overlays/staging/own.yaml", &patch);
    let read = repository.definition().machine.unwrap();
    assert_eq!((read.run_strategy.as_str(), read.memory()), ("Halted", Some("8Gi")));

    let mut files = repository.files.clone();
    let application = String::from_utf8(files[&target.application_path()].clone()).unwrap();
    files.insert(
        target.application_path(),
        application.replace("/overlays/prod", "/overlays/staging").into_bytes(),
    );
    let text = |objects: &Objects| {
        let own = objects.iter().filter(|((kind, _), _)| kind != "\"Application\"");
        own.map(|(_, object)| format!("{object:#}\n")).collect::<Vec<_>>().concat()
    };
    let (prod, staging) = (text(&of_prod), text(&built(&files, &target)));
    let name = target.name.as_str();
    let changed: Vec<(&str, &str)> = prod.lines().zip(staging.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(prod.lines().count(), staging.lines().count());
    assert_eq!(changed.len(), 5, "{changed:#?}");
    for (was, is) in changed {
        let renamed = was.replace(&format!("\"{name}"), &format!("\"staging-{name}"));
        let own = was.replace("Halted", "Always").replace("8Gi", "2Gi");
        assert!(is == renamed || is == own, "{was} {is}");
    }
    let claims = |text: &str, name: &str| text.matches(&format!("\"claimName\": \"{name}-")).count();
    let number = claims(&prod, name);
    assert!(number > 0, "{prod}");
    assert_eq!(
        (claims(&staging, name), claims(&staging, &format!("staging-{name}"))),
        (0, number),
        "{staging}"
    );
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
    let list = format!("{}/overlays/prod/kustomization.yaml", target.path());
    files.insert(list.clone(), b"namePrefix: prod-\nresources: [../../base]\n".to_vec());
    let said = Definition::read(&files, target).unwrap_err().to_string();
    assert_eq!(
        said,
        format!("`{list}`: its `namePrefix` gives the machine another name than that of its folder")
    );
}
