//! The built binary on a real API server, whose own admission says which claims may grow. The test plays the storage's resizer:
//! nothing here shows what a real one does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../../verify-vm/tests/bed/mod.rs"]
mod bed;

use bed::{Bed, Ended, Run};
use serde_json::{Value, json};

/// What 2Gi on a file system needs: 6 % more.
const TWO_GI: u64 = 2_276_332_667;

fn begin(bed: &Bed, flags: &[&str]) -> Run {
    let vm = format!("--vm={}/web01", bed.namespace);
    let all: Vec<&str> = [vm.as_str()].into_iter().chain(flags.iter().copied()).collect();
    Run::begin(env!("CARGO_BIN_EXE_grow-disk"), &bed.plane.kubeconfig(), &all)
}

async fn grow(bed: &Bed, flags: &[&str]) -> Ended {
    begin(bed, flags).end().await
}

/// A storage class, and a machine with disks of it.
async fn machine(bed: &Bed, class: &str, expands: bool) {
    let path = format!("/apis/storage.k8s.io/v1/storageclasses/{class}?fieldManager=test&force=true");
    let object = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class},
        "provisioner": "none.example", "allowVolumeExpansion": expands
    });
    bed.request("PATCH", &path, "application/apply-patch+yaml", object).await.unwrap();
    bed.machine("Halted").await;
}

async fn requested(bed: &Bed, claim: &str) -> Value {
    bed.get(&bed.claim_path(claim)).await["spec"]["resources"]["requests"]["storage"].clone()
}

/// The storage follows what is requested.
async fn follow(bed: &Bed, claim: &str) {
    let path = bed.claim_path(claim);
    bed.until(&path, |c| c["spec"]["resources"]["requests"]["storage"] != "1Gi").await;
    bed.status(&path, json!({"capacity": {"storage": requested(bed, claim).await}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_grows_to_what_its_disk_needs_and_only_once() {
    let bed = Bed::new("gd-grow").await;
    machine(&bed, "fast", true).await;
    let run = begin(&bed, &["--disks=web01-data=2Gi", "--timeout=60s"]);
    follow(&bed, "web01-data").await;
    let ended = run.end().await;
    ended.is(0, "done: grew `web01-data` to 2Gi");
    let results = ["outcome", "changed", "grown", "reason"].map(|r| ended.result(r));
    assert_eq!(results, ["ok", "true", &format!("web01-data={TWO_GI}"), ""]);
    assert_eq!(requested(&bed, "web01-data").await, json!(TWO_GI.to_string()));
    let version = |claim: Value| claim["metadata"]["resourceVersion"].clone();
    let before = version(bed.get(&bed.claim_path("web01-data")).await);
    // the same again, and less: nothing is touched
    for size in ["2Gi", "1Gi"] {
        let ended = grow(&bed, &[&format!("--disks=web01-data={size}"), "--timeout=60s"]).await;
        ended.is(0, &format!("done: already grown: `web01-data` to {size}"));
        assert_eq!(ended.result("changed"), "false");
    }
    // the machine's own cluster is asked, not that of the Lease
    let nobody = bed.plane.kubeconfig_for_service_account("gd-grow", "nobody").await.unwrap();
    let machine = format!("--machine-kubeconfig={}", bed.plane.kubeconfig().display());
    let flags = ["--vm=gd-grow/web01", "--disks=web01-data=2Gi", &machine];
    let ended = Run::begin(env!("CARGO_BIN_EXE_grow-disk"), &nobody, &flags).end().await;
    ended.is(0, "done: already grown: `web01-data` to 2Gi");
    assert_eq!(version(bed.get(&bed.claim_path("web01-data")).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_named_is_nothing_to_do() {
    let bed = Bed::new("gd-none").await;
    grow(&bed, &["--disks="]).await.is(0, "done: no disk to grow");
}

#[tokio::test(flavor = "multi_thread")]
async fn block_volumes_need_no_more_than_their_disk() {
    let bed = Bed::new("gd-block").await;
    machine(&bed, "fast", true).await;
    bed.gone(&bed.claim_path("web01-data")).await;
    bed.claim("web01-data", "Block", "Bound").await;
    let run = begin(&bed, &["--disks=web01-data=2Gi", "--timeout=60s"]);
    follow(&bed, "web01-data").await;
    run.end().await.is(0, "done: grew `web01-data` to 2Gi");
    assert_eq!(requested(&bed, "web01-data").await, "2147483648");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_grow_is_refused_before_anything_is_touched() {
    let bed = Bed::new("gd-fixed").await;
    machine(&bed, "fast", true).await;
    machine(&bed, "fixed", false).await;
    // the boot disk's claim is of the class that does not grow
    bed.gone(&bed.claim_path("web01-root")).await;
    let claim = json!({
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fixed", "volumeName": "pv-fixed", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    });
    bed.put("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "web01-root", claim).await;
    let ended = grow(&bed, &["--disks=web01-data=2Gi,web01-root=2Gi"]).await;
    ended.is(
        31,
        "error: cannot grow disks of virtual machine `gd-fixed/web01`: storage class `fixed` of persistent volume claim \
         `gd-fixed/web01-root` does not let volumes grow (`allowVolumeExpansion`); nothing was changed",
    );
    let ended = grow(&bed, &["--disks=web01-data=2Gi,other=2Gi,web01-root=2Gi"]).await;
    ended.is(10, "error: cannot grow disks of virtual machine `gd-fixed/web01`: claim `other` is not one of its disks; nothing was changed");
    assert_eq!(ended.log.len(), 3, "each fault has its line: {:#?}", ended.log);
    assert_eq!(requested(&bed, "web01-data").await, "1Gi");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_grows_with_its_machine() {
    let bed = Bed::new("gd-mount").await;
    machine(&bed, "fast", true).await;
    let run = begin(&bed, &["--disks=web01-data=2Gi", "--timeout=60s"]);
    let path = bed.claim_path("web01-data");
    bed.until(&path, |c| c["spec"]["resources"]["requests"]["storage"] != "1Gi").await;
    let pending = json!({"conditions": [{"type": "FileSystemResizePending", "status": "True"}]});
    bed.status(&path, pending).await;
    let ended = run.end().await;
    ended
        .is(0, "done: grew `web01-data` to 2Gi; the file system of `web01-data` grows when the machine runs");
    assert_eq!([ended.result("reason"), ended.result("changed")], ["FileSystemResizePending", "true"]);
    // of a machine that runs it is waited for
    bed.instance().await;
    let run = begin(&bed, &["--disks=web01-data=2Gi", "--timeout=60s"]);
    run.says("waiting for FileSystemResizePending: the file system of `web01-data`").await;
    bed.status(&path, json!({"conditions": null, "capacity": {"storage": TWO_GI.to_string()}})).await;
    run.end().await.is(0, "done: already grown: `web01-data` to 2Gi");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_storage_says_is_passed_on() {
    let bed = Bed::new("gd-words").await;
    machine(&bed, "fast", true).await;
    let run = begin(&bed, &["--disks=web01-data=2Gi", "--timeout=60s"]);
    let path = bed.claim_path("web01-data");
    bed.until(&path, |c| c["spec"]["resources"]["requests"]["storage"] != "1Gi").await;
    bed.status(
        &path,
        json!({
            "allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"},
            "conditions": [{"type": "ControllerResizeError", "status": "True", "message": "pool is full"}]
        }),
    )
    .await;
    let ended = run.end().await;
    ended.is(40, "error: persistent volume claim `gd-words/web01-data` cannot grow: ControllerResizeInfeasible: pool is full");
    assert_eq!([ended.result("reason"), ended.result("changed")], ["ControllerResizeInfeasible", "true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rights_are_enough_and_a_missing_one_is_named() {
    let bed = Bed::new("gd-rights").await;
    machine(&bed, "fast", true).await;
    let rules = json!([
        {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
    ]);
    let run = async |rules: Value, wide: Value| {
        let kubeconfig = bed.account("grow", rules).await;
        let api = "/apis/rbac.authorization.k8s.io/v1";
        let apply = async |plural: &str, mut object: Value| {
            object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
            object["metadata"] = json!({"name": "gd-rights"});
            let path = format!("{api}/{plural}/gd-rights?fieldManager=test&force=true");
            bed.request("PATCH", &path, "application/apply-patch+yaml", object).await.unwrap();
        };
        apply("clusterroles", json!({"kind": "ClusterRole", "rules": wide})).await;
        apply("clusterrolebindings", json!({
            "kind": "ClusterRoleBinding", "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "gd-rights"},
            "subjects": [{"kind": "ServiceAccount", "name": "grow", "namespace": "gd-rights"}]
        }))
        .await;
        let flags = [
            "--vm=gd-rights/web01",
            "--disks=web01-data=2Gi",
            "--lease=gd-rights/l",
            "--holder=r-1",
            "--timeout=60s",
        ];
        Run::begin(env!("CARGO_BIN_EXE_grow-disk"), &kubeconfig, &flags)
    };
    let wide = json!([
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get"]},
        {"apiGroups": ["cdi.kubevirt.io"], "resources": ["cdiconfigs"], "verbs": ["get"]}
    ]);
    run(rules.clone(), json!([])).await.end().await.is(
        30,
        "error: cannot read storage class `fast`: storageclasses.storage.k8s.io \"fast\" is forbidden: User \
         \"system:serviceaccount:gd-rights:grow\" cannot get resource \"storageclasses\" in API group \"storage.k8s.io\" at the cluster scope",
    );
    let run = run(rules, wide).await;
    follow(&bed, "web01-data").await;
    run.end().await.is(0, "done: grew `web01-data` to 2Gi");
}
