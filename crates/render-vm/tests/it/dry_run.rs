//! The manifests before a real API server with the real CRDs: strict server-side dry run. KubeVirt's and CDI's own admission
//! is here as far as the testbed plays it; `cargo xtask e2e` asks the real one.

use std::path::Path;

use render_vm::{Files, Templates, render};
use serde_json::Value;
use testbed::control_plane::ControlPlane;

use crate::{all_requests, site};

/// Where a manifest is applied.
fn address(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, name, namespace) =
        (text("/apiVersion"), text("/metadata/name"), text("/metadata/namespace"));
    match text("/kind").as_str() {
        "Namespace" => format!("/api/v1/namespaces/{name}"),
        kind => format!("/apis/{version}/namespaces/{namespace}/{}s/{name}", kind.to_lowercase()),
    }
}

/// The server's answer to a strict dry run of the bytes as they are: its own parser reads them.
async fn dry_run(plane: &ControlPlane, address: &str, text: &str) -> Result<Value, String> {
    let client = plane.client().await.unwrap();
    let url = format!("{address}?fieldManager=render-vm&force=true&dryRun=All&fieldValidation=Strict");
    let request = http::Request::patch(url)
        .header("content-type", "application/apply-patch+yaml")
        .body(text.as_bytes().to_vec())
        .unwrap();
    client.request(request).await.map_err(|error| error.to_string())
}

/// CDI refuses a disk of a golden image that is not there: put one there.
async fn ensure_image(plane: &ControlPlane, object: &Value) {
    let Some(source) = object.pointer("/spec/sourceRef") else { return };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (namespace, name) = (text(&source["namespace"]), text(&source["name"]));
    plane.ensure_namespace(&namespace).await.unwrap();
    let image = serde_json::json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataSource",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"source": {"pvc": {"name": name, "namespace": namespace}}},
    });
    let url = format!("{}?fieldManager=test&force=true", address(&image));
    let request = http::Request::patch(url).header("content-type", "application/apply-patch+yaml");
    let client = plane.client().await.unwrap();
    client.request::<Value>(request.body(image.to_string().into_bytes()).unwrap()).await.unwrap();
}

/// The first place where `found` does not hold what was asked for: a value changed or dropped would be drift for good.
fn lost(asked: &Value, found: &Value, path: &str) -> Option<String> {
    match (asked, found) {
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(key, value)| {
            let path = format!("{path}/{key}");
            b.get(key).map_or(Some(path.clone()), |found| lost(value, found, &path))
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| lost(a, b, &format!("{path}/{i}")))
        }
        (a, b) => (a != b).then(|| path.to_owned()),
    }
}

/// What Kubernetes reads: not the kustomization, not the request.
fn manifests(files: &Files) -> Vec<(&String, &String, Value)> {
    let read = |text: &str| render_vm::parse::<Value>(text).unwrap();
    files
        .iter()
        .map(|(path, text)| (path, text, read(text)))
        .filter(|(.., object)| object["kind"] != "Kustomization" && object["kind"] != "VMRequest")
        .collect()
}

#[tokio::test]
async fn the_api_server_takes_every_manifest_as_it_is() {
    let plane = ControlPlane::shared().await.unwrap();
    let templates = Templates::new().unwrap();
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    let rendered = |(name, request): (String, vm::request::Request)| {
        let files = render(&templates, &request, &site()).unwrap();
        (name, request, files)
    };
    let built_in = all_requests().into_iter().map(rendered);
    for (name, request, files) in built_in.chain(crate::site_template::all()) {
        plane.ensure_namespace(request.spec.target.namespace.as_str()).await.unwrap();
        plane.ensure_namespace("argocd").await.unwrap();
        for (path, text, asked) in manifests(&files) {
            ensure_image(plane, &asked).await;
            let found = dry_run(plane, &address(&asked), text).await;
            let found = found.unwrap_or_else(|error| panic!("{name}: {path}: {error}"));
            assert_eq!(lost(&asked, &found, ""), None, "{name}: {path}");
            *kinds.entry(asked["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(
        kinds.keys().collect::<Vec<_>>(),
        ["Application", "DataVolume", "Namespace", "VirtualMachine"]
    );
}

/// What operations make of the manifests, protected machines, and disks cloned from resolved images.
#[tokio::test]
async fn point_20_the_api_server_takes_every_manifest_after_every_phase() {
    let plane = ControlPlane::shared().await.unwrap();
    for namespace in ["payments-prod", "argocd"] {
        plane.ensure_namespace(namespace).await.unwrap();
    }
    let mut asked = std::collections::BTreeSet::new();
    for files in states() {
        let live = files.into_iter().filter(|(path, _)| !path.starts_with("archive/"));
        let yaml = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "yaml");
        let live = live.filter(|(path, _)| yaml(path) && !path.contains("/operations/"));
        let files: Files = live.map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap())).collect();
        for (path, text, object) in manifests(&files) {
            if asked.insert(text.clone()) {
                ensure_image(plane, &object).await;
                let found = dry_run(plane, &address(&object), text).await;
                let found = found.unwrap_or_else(|error| panic!("{path}: {error}\n{text}"));
                assert_eq!(lost(&object, &found, ""), None, "{path}");
            }
        }
    }
    assert!(asked.len() > 15, "{}", asked.len());
}

/// The files after each phase in the life of a machine, and of others that are rendered with more.
fn states() -> Vec<std::collections::BTreeMap<String, Vec<u8>>> {
    let mut repository = crate::day_two::Repository::example("linux-golden");
    let mut states = Vec::new();
    for (id, operation, spec, phase) in crate::day_two::life() {
        repository.run(id, operation, &spec, phase.word());
        states.push(repository.files.clone());
    }
    for kind in [render_vm::ImageKind::Pvc, render_vm::ImageKind::Snapshot] {
        let (_, mut request) =
            all_requests().into_iter().find(|(name, _)| name == "examples/linux-golden").unwrap();
        request.spec.lifecycle.protected = true;
        let (namespace, name) = ("golden-images".parse().unwrap(), "fedora-0123456789ab".parse().unwrap());
        let source = render_vm::ImageSource { namespace, name, kind };
        let site = render_vm::Site { image_source: Some(source), ..site() };
        let files = render(&Templates::new().unwrap(), &request, &site).unwrap();
        states.push(files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect());
    }
    states
}

/// That the dry run is strict, and that its answer would show what is dropped.
#[tokio::test]
async fn the_dry_run_would_catch_a_wrong_field() {
    let plane = ControlPlane::shared().await.unwrap();
    let files = render(&Templates::new().unwrap(), &crate::request("container-disk"), &site()).unwrap();
    plane.ensure_namespace("team-a").await.unwrap();
    let text = &files["vms/in-cluster/team-a/web-01/virtual-machine.yaml"];
    let asked: Value = render_vm::parse(text).unwrap();
    let wrong = text.replace("terminationGracePeriodSeconds", "terminationGraceSeconds");
    let said = dry_run(plane, &address(&asked), &wrong).await.unwrap_err();
    assert!(
        said.contains(".spec.template.spec.terminationGraceSeconds: field not declared in schema"),
        "{said}"
    );
    let wrong = text.replace("runStrategy: \"Always\"", "runStrategy: 1");
    let said = dry_run(plane, &address(&asked), &wrong).await.unwrap_err();
    assert!(said.contains("spec.runStrategy"), "{said}");
    let changed = text.replace("sockets: 2", "sockets: 3");
    let found = dry_run(plane, &address(&asked), &changed).await.unwrap();
    assert_eq!(lost(&asked, &found, "").as_deref(), Some("/spec/template/spec/domain/cpu/sockets"));
}
