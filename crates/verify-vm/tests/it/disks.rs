//! Data disks outlive their machine.

use serde_json::json;

use crate::bed::Bed;
use crate::verify;

#[tokio::test(flavor = "multi_thread")]
async fn point_01_a_data_disk_that_its_machine_owns_is_refused() {
    let bed = Bed::new("vv-owned").await;
    bed.runs().await;
    verify(&bed, &["--disks-only"])
        .await
        .is(0, "done: virtual machine `vv-owned/web01` passes all checks (2/2) on node `node1`");
    let uid = bed.get(&bed.vm_path()).await["metadata"]["uid"].clone();
    let owner =
        json!([{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "web01", "uid": uid}]);
    let whole = [("", bed.claim_path("web01-data")), ("'s data volume", bed.volume_path("web01-data"))];
    for (what, path) in whole {
        bed.merge(&path, json!({"metadata": {"ownerReferences": owner}})).await;
        let ended = verify(&bed, &["--disks-only", "--timeout=5m", "--output=none"]).await;
        ended.is(40, &format!(
            "error: virtual machine `vv-owned/web01` has a data disk `web01-data` that would be deleted with its machine: \
             `VirtualMachine web01` owns the claim{what} (1/2 checks hold)"));
        assert_eq!([ended.result("reason"), ended.result("checks")], ["DiskOwned", "1/2"]);
        // where data disks are to be deleted as well, it does not matter
        verify(&bed, &["--disks-only", "--allow-delete"])
            .await
            .is(0, "done: virtual machine `vv-owned/web01` passes all checks (2/2) on node `node1`");
        bed.merge(&path, json!({"metadata": {"ownerReferences": null}})).await;
    }
    // the boot disk may die with its machine
    bed.merge(&bed.claim_path("web01-root"), json!({"metadata": {"ownerReferences": owner}})).await;
    verify(&bed, &["--disks-only"])
        .await
        .is(0, "done: virtual machine `vv-owned/web01` passes all checks (2/2) on node `node1`");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_01_a_data_disk_that_argo_cd_may_delete_is_refused() {
    let bed = Bed::new("vv-prune").await;
    bed.machine("Halted").await;
    for (options, missing) in [
        (json!("Prune=false"), "Delete=false"),
        (json!("Delete=false, Validate=false"), "Prune=false"),
        (json!("Prune=true,Delete=false"), "Prune=false"),
        (json!(null), "Prune=false` and `Delete=false"),
    ] {
        let patch = json!({"metadata": {"annotations": {"argocd.argoproj.io/sync-options": options}}});
        bed.merge(&bed.volume_path("web01-data"), patch).await;
        verify(&bed, &["--disks-only", "--timeout=5m"]).await.is(40, &format!(
            "error: virtual machine `vv-prune/web01` has a data disk `web01-data` that Argo CD may delete: it lacks the sync option \
             `{missing}` (1/2 checks hold)"));
    }
    verify(&bed, &["--disks-only", "--allow-delete"])
        .await
        .is(0, "done: virtual machine `vv-prune/web01` passes all checks (2/2)");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_01_machines_of_these_flows_are_held_to_it_whatever_is_verified() {
    let bed = Bed::new("vv-guard").await;
    bed.runs().await;
    bed.merge(&bed.volume_path("web01-data"), json!({"metadata": {"annotations": null}})).await;
    // somebody's own machine
    verify(&bed, &[])
        .await
        .is(0, "done: virtual machine `vv-guard/web01` passes all checks (3/3) on node `node1`");
    let digest = json!({"metadata": {"annotations": {"vmlifecycle.dev/request-digest": "sha256:aa"}}});
    bed.merge(&bed.vm_path(), digest).await;
    let ended = verify(&bed, &[]).await;
    assert_eq!(
        (ended.code, ended.result("reason")),
        (Some(40), "DiskPrunable".to_owned()),
        "{:#?}",
        ended.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_or_going_is_told() {
    let bed = Bed::new("vv-gone").await;
    bed.machine("Halted").await;
    // the claim stays as long as its finalizer: it is used
    bed.delete(&bed.claim_path("web01-data")).await;
    bed.delete(&bed.volume_path("web01-data")).await;
    let claim = bed.request("GET", &bed.claim_path("web01-data"), "application/json", json!(null)).await;
    let what = if claim.is_ok() { "is being deleted" } else { "does not exist" };
    verify(&bed, &["--disks-only", "--timeout=5m"]).await.is(
        40,
        &format!(
            "error: virtual machine `vv-gone/web01` has a disk `web01-data` that {what} (1/2 checks hold)"
        ),
    );
    verify(&bed, &["--disks-only", "--allow-delete"])
        .await
        .is(0, "done: virtual machine `vv-gone/web01` passes all checks (2/2)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_gone_passes_only_where_it_may() {
    let bed = Bed::new("vv-absent").await;
    verify(&bed, &["--disks-only"])
        .await
        .is(40, "error: virtual machine `vv-absent/web01` does not exist (0/1 checks hold)");
    verify(&bed, &["--disks-only", "--allow-absent"])
        .await
        .is(0, "done: virtual machine `vv-absent/web01` passes all checks (1/1)");
}
