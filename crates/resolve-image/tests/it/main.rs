//! The built binary on a real API server, where the test writes what CDI was seen to write; nothing here shows what CDI does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../../verify-vm/tests/bed/mod.rs"]
mod bed;

use std::path::Path;

use bed::{Bed, Ended, Run};
use serde_json::{Value, json};

const CDI: &str = "cdi.kubevirt.io/v1beta1";

fn begin(bed: &Bed, flags: &[&str]) -> Run {
    Run::begin(env!("CARGO_BIN_EXE_resolve-image"), &bed.plane.kubeconfig(), flags)
}

async fn resolve(bed: &Bed, flags: &[&str]) -> Ended {
    begin(bed, flags).end().await
}

/// A data source `fedora` that points there, and what CDI says of it.
async fn data_source(bed: &Bed, source: &Value, ready: &str, message: &str) {
    let pointed = if ready == "True" { source.clone() } else { json!({"pvc": null, "snapshot": null}) };
    let object = json!({
        "spec": {"source": source},
        "status": {"source": pointed, "conditions": [{"type": "Ready", "status": ready, "reason": "Any", "message": message}]}
    });
    bed.put(CDI, "DataSource", "datasources", "fedora", object).await;
}

fn results(ended: &Ended) -> [String; 4] {
    ["image-source", "image-kind", "image-size", "data-source"].map(|r| ended.result(r))
}

#[tokio::test(flavor = "multi_thread")]
async fn point_19_the_image_is_what_the_data_source_points_at_when_it_is_ready_and_there() {
    let bed = Bed::new("ri-claim").await;
    let flags = ["--data-source=ri-claim/fedora", "--timeout=60s"];
    // in the order in which an image comes about: no data source, not ready, ready with nothing behind it, there
    let run = begin(&bed, &flags);
    run.says("waiting for data source `ri-claim/fedora`: does not exist").await;
    let source = json!({"pvc": {"name": "fedora-1", "namespace": "ri-claim"}});
    data_source(&bed, &source, "False", "Import DataVolume phase ImportInProgress").await;
    run.says(
        "waiting for data source `ri-claim/fedora`: is not ready: Import DataVolume phase ImportInProgress",
    )
    .await;
    data_source(&bed, &source, "True", "DataSource is ready to be consumed").await;
    run.says("points at persistent volume claim `ri-claim/fedora-1`, which does not exist").await;
    bed.claim("fedora-1", "Filesystem", "Bound").await;
    let ended = run.end().await;
    ended.is(0, "done: data source `ri-claim/fedora` means pvc `ri-claim/fedora-1`, 1Gi");
    assert_eq!(results(&ended), ["ri-claim/fedora-1", "pvc", "1Gi", "ri-claim/fedora"]);
    assert_eq!(ended.result("changed"), "false");
    // the machine's own cluster is asked, not that of the Lease
    let nobody = bed.plane.kubeconfig_for_service_account("ri-claim", "nobody").await.unwrap();
    let machine = format!("--machine-kubeconfig={}", bed.plane.kubeconfig().display());
    let ended = Run::begin(env!("CARGO_BIN_EXE_resolve-image"), &nobody, &[flags[0], &machine]).end().await;
    ended.is(0, "done: data source `ri-claim/fedora` means pvc `ri-claim/fedora-1`, 1Gi");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_19_a_snapshot_has_to_be_ready_to_use() {
    let bed = Bed::new("ri-snap").await;
    data_source(&bed, &json!({"snapshot": {"name": "fedora-2", "namespace": "ri-snap"}}), "True", "ready")
        .await;
    let snapshot = |ready: bool| json!({"spec": {"source": {"persistentVolumeClaimName": "x"}}, "status": {"readyToUse": ready, "restoreSize": "5Gi"}});
    let put = async |ready| {
        bed.put(
            "snapshot.storage.k8s.io/v1",
            "VolumeSnapshot",
            "volumesnapshots",
            "fedora-2",
            snapshot(ready),
        )
        .await;
    };
    put(false).await;
    let ended = resolve(&bed, &["--data-source=ri-snap/fedora", "--timeout=2s"]).await;
    ended.is(
        60,
        "error: data source `ri-snap/fedora` points at volume snapshot `ri-snap/fedora-2`, which is not ready to use (after 2s)",
    );
    assert_eq!(results(&ended), ["", "", "", "ri-snap/fedora"]);
    put(true).await;
    let ended = resolve(&bed, &["--data-source=ri-snap/fedora"]).await;
    ended.is(0, "done: data source `ri-snap/fedora` means snapshot `ri-snap/fedora-2`, 5Gi");
    assert_eq!(results(&ended), ["ri-snap/fedora-2", "snapshot", "5Gi", "ri-snap/fedora"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_19_what_never_gets_ready_is_refused_at_once() {
    let bed = Bed::new("ri-never").await;
    let object = json!({
        "spec": {"source": {"dataSource": {"name": "other", "namespace": "ri-never"}}},
        "status": {"source": {}, "conditions": [{"type": "Ready", "status": "False", "reason": "MaxReferenceDepthReached", "message": "DataSource reference chain exceeds maximum depth of 1"}]}
    });
    bed.put(CDI, "DataSource", "datasources", "fedora", object).await;
    resolve(&bed, &["--data-source=ri-never/fedora", "--timeout=5m"]).await.is(
        40,
        "error: data source `ri-never/fedora` never gets ready: DataSource reference chain exceeds maximum depth of 1",
    );
}

/// The flag for a request file with this spec, for machine `web01` of this namespace.
fn request(folder: &Path, namespace: &str, spec: &Value) -> String {
    let mut all = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
        "metadata": {"requestId": "r-1", "requestedBy": "jane"},
        "spec": {"operation": "", "target": {"name": "web01", "namespace": namespace, "cluster": "in-cluster"}}
    });
    all["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let path = folder.join("request.json");
    std::fs::write(&path, all.to_string()).unwrap();
    format!("--request-file={}", path.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn which_data_source_the_request_says_or_else_the_boot_disk() {
    let bed = Bed::new("ri-request").await;
    let folder = tempfile::tempdir().unwrap();
    data_source(&bed, &json!({"pvc": {"name": "fedora-1", "namespace": "ri-request"}}), "True", "ready")
        .await;
    bed.claim("fedora-1", "Filesystem", "Bound").await;
    let compute = json!({"cpu": 1, "memory": "1Gi"});
    let found = "done: data source `ri-request/fedora` means pvc `ri-request/fedora-1`, 1Gi";
    let none = "done: no golden image to look up: the boot disk is not made from a data source";
    let image = json!({"source": "data-source", "name": "fedora"});
    let container = json!({"source": "container-disk", "reference": "registry.example/disk:1"});
    for (spec, last) in [
        (
            json!({"operation": "provision", "compute": compute, "image": image, "disks": [{"name": "root", "role": "root", "size": "2Gi"}]}),
            found,
        ),
        (json!({"operation": "provision", "compute": compute, "image": container}), none),
        (json!({"operation": "repave", "operationSpec": {"image": image}}), found),
        (
            json!({"operation": "repave", "operationSpec": {"image": {"source": "http", "url": "https://images.example/d.qcow2"}}}),
            none,
        ),
        (json!({"operation": "stop"}), "done: no golden image to look up: the request makes no boot disk"),
    ] {
        let ended = resolve(&bed, &[&request(folder.path(), "ri-request", &spec)]).await;
        ended.is(0, last);
        assert_eq!(ended.result("image-source"), if last == found { "ri-request/fedora-1" } else { "" });
    }
    // the same image again: what the present boot disk was made from
    let again = request(folder.path(), "ri-request", &json!({"operation": "repave"}));
    resolve(&bed, &[&again]).await.is(
        40,
        "error: cannot find out what virtual machine `ri-request/web01` was made from: it does not exist",
    );
    bed.machine("Always").await;
    resolve(&bed, &[&again])
        .await
        .is(0, "done: no golden image to look up: the boot disk was not made from a data source");
    let volume = json!({
        "spec": {"sourceRef": {"kind": "DataSource", "name": "fedora"}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}}
    });
    bed.gone(&bed.claim_path("web01-root")).await;
    bed.gone(&bed.volume_path("web01-root")).await;
    bed.put(CDI, "DataVolume", "datavolumes", "web01-root", volume).await;
    resolve(&bed, &[&again]).await.is(0, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rights_are_enough_and_a_missing_one_is_named() {
    let bed = Bed::new("ri-rights").await;
    data_source(&bed, &json!({"pvc": {"name": "fedora-1", "namespace": "ri-rights"}}), "True", "ready").await;
    bed.claim("fedora-1", "Filesystem", "Bound").await;
    let rules = json!([
        {"apiGroups": ["cdi.kubevirt.io"], "resources": ["datasources"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
    ]);
    let flags = ["--data-source=ri-rights/fedora", "--lease=ri-rights/l", "--holder=r-1", "--timeout=2m"];
    let run = async |rules: Value| {
        let kubeconfig = bed.account("resolve", rules).await;
        Run::begin(env!("CARGO_BIN_EXE_resolve-image"), &kubeconfig, &flags).end().await
    };
    run(rules.clone())
        .await
        .is(0, "done: data source `ri-rights/fedora` means pvc `ri-rights/fedora-1`, 1Gi");
    let mut fewer = rules;
    fewer[1]["resources"] = json!(["pods"]);
    run(fewer).await.is(
        30,
        "error: cannot read data source `ri-rights/fedora`: persistentvolumeclaims \"fedora-1\" is forbidden: User \
         \"system:serviceaccount:ri-rights:resolve\" cannot get resource \"persistentvolumeclaims\" in API group \"\" in the namespace \
         \"ri-rights\"",
    );
}
