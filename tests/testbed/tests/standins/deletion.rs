//! What Argo CD takes away, what it keeps, and what it undoes.

use anyhow::Result;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

use super::{
    DISK, IMAGE, KUSTOMIZATION,
    bed::{Bed, gone, until},
    machine_file,
};

const MACHINE: &str = "web/virtual-machine.yaml";

/// A machine with a data disk, applied and in sync; its Application does not heal unless told to.
async fn applied(bed: &Bed) -> Result<()> {
    bed.repository.commit(&[
        ("web/kustomization.yaml", KUSTOMIZATION),
        ("web/disk-data.yaml", DISK),
        (MACHINE, &machine_file(bed.namespace, "Halted", IMAGE, Some("web-data"))),
    ])?;
    bed.application("web").await?;
    synced(bed, "web").await
}

async fn synced(bed: &Bed, name: &str) -> Result<()> {
    until(&bed.applications(), name, "in sync and idle", |application| {
        application["status"]["sync"]["status"] == "Synced" && application.get("operation").is_none()
    })
    .await
    .map(drop)
}

/// Wait until Argo CD looked at every Application, which a new one shows.
async fn looked_at(bed: &Bed) -> Result<()> {
    let other = bed.application_file("zoo", "nowhere");
    bed.applications().patch("zoo", &PatchParams::apply("test"), &Patch::Apply(&other)).await?;
    until(&bed.applications(), "zoo", "looked at", |application| application["status"].is_object()).await?;
    bed.applications().delete("zoo", &DeleteParams::default()).await?;
    until(&bed.applications(), "zoo", "gone", gone).await.map(drop)
}

fn message(application: &Value) -> &str {
    application["status"]["operationState"]["message"].as_str().unwrap_or_default()
}

fn strategy(strategy: &str) -> Value {
    json!({ "spec": { "runStrategy": strategy } })
}

#[tokio::test]
async fn a_change_that_nobody_committed_is_undone_at_once_unless_reconciliation_is_skipped() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "deletion-heal").await?;
    applied(&bed).await?;
    let before = serde_json::to_value(bed.applications().get("web").await?)?;
    let halted = |machine: &Value| machine["spec"]["runStrategy"] == "Halted";
    for attempt in 1..=2 {
        bed.patch(&bed.machines(), "web", strategy("Manual")).await?;
        until(&bed.machines(), "web", "healed", halted).await?;
        synced(&bed, "web").await?;
        let healed = serde_json::to_value(bed.applications().get("web").await?)?;
        let sync = &healed["status"]["operationState"]["operation"]["sync"];
        assert_eq!(sync["autoHealAttemptsCount"], attempt);
        assert_eq!(
            sync["resources"],
            json!([{ "group": "kubevirt.io", "kind": "VirtualMachine", "name": "web" }])
        );
        assert_eq!(healed["status"]["history"], before["status"]["history"]);
    }

    let skip = |value: Value| json!({ "metadata": { "annotations": { "argocd.argoproj.io/skip-reconcile": value } } });
    bed.patch(&bed.applications(), "web", skip(json!("true"))).await?;
    // What it began before this, it has done then.
    looked_at(&bed).await?;
    bed.patch(&bed.machines(), "web", strategy("Manual")).await?;
    bed.refresh().await?;
    // Whatever it would do, it does to another Application meanwhile.
    looked_at(&bed).await?;
    let skipped = serde_json::to_value(bed.applications().get("web").await?)?;
    assert_eq!(skipped["metadata"]["annotations"]["argocd.argoproj.io/refresh"], "normal");
    assert_eq!(skipped["status"]["sync"]["status"], "Synced");
    bed.patch(&bed.applications(), "web", skip(Value::Null)).await?;
    until(&bed.machines(), "web", "healed again", halted).await?;
    Ok(())
}

#[tokio::test]
async fn everything_is_not_pruned_at_once_and_a_missing_folder_prunes_nothing() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "deletion-empty").await?;
    applied(&bed).await?;
    let empty = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n";
    let commit = bed.repository.commit(&[
        ("web/kustomization.yaml", empty),
        ("web/disk-data.yaml", ""),
        (MACHINE, ""),
    ])?;
    let refused = bed.refreshed().await?;
    assert_eq!(
        (&refused["status"]["conditions"][0]["type"], &refused["status"]["conditions"][0]["message"]),
        (
            &json!("SyncError"),
            &json!(format!("Skipping sync attempt to [{commit}]: auto-sync will wipe out all resources"))
        )
    );
    bed.repository.commit(&[("web/kustomization.yaml", "")])?;
    let missing = bed.refreshed().await?;
    assert_eq!(missing["status"]["conditions"][0]["type"], "ComparisonError");
    assert_eq!(
        missing["status"]["conditions"][0]["message"],
        "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = web: app path \
         does not exist"
    );
    assert!(bed.machines().get_opt("web").await?.is_some());

    let allow = json!({ "spec": { "syncPolicy": { "automated": { "allowEmpty": true } } } });
    bed.patch(&bed.applications(), "web", allow).await?;
    bed.repository.commit(&[("web/kustomization.yaml", empty)])?;
    bed.refresh().await?;
    until(&bed.machines(), "web", "pruned", gone).await?;
    // The disk that says so stays, and the Application is out of sync for it.
    let kept = until(&bed.applications(), "web", "done", |application| {
        application["status"]["operationState"]["phase"] == "Succeeded"
            && application.get("operation").is_none()
            && application["status"]["resources"].as_array().map_or(0, Vec::len) == 1
    })
    .await?;
    assert_eq!(kept["status"]["sync"]["status"], "OutOfSync");
    assert_eq!(kept["status"]["resources"][0]["requiresPruning"], true);
    assert!(bed.volumes().get_opt("web-data").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn what_has_to_be_confirmed_is_pruned_and_deleted_when_it_is() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "deletion-confirm").await?;
    let confirm = |file: &str| file.replace("Prune=false,Delete=false", "Prune=confirm,Delete=confirm");
    let other = confirm(DISK).replace("web-data", "web-more");
    bed.repository.commit(&[
        ("web/disk-data.yaml", &confirm(DISK)),
        ("web/disk-more.yaml", &other),
        (MACHINE, &machine_file(bed.namespace, "Halted", IMAGE, None)),
    ])?;
    bed.application("web").await?;
    synced(&bed, "web").await?;
    bed.repository.commit(&[("web/disk-more.yaml", "")])?;
    bed.refresh().await?;
    let waiting = until(&bed.applications(), "web", "waiting", |application| {
        message(application) == "waiting for pruning confirmation of cdi.kubevirt.io/DataVolume/web-more"
    })
    .await?;
    assert_eq!(waiting["status"]["operationState"]["phase"], "Running");
    assert!(bed.volumes().get_opt("web-more").await?.is_some());
    let approve = || {
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({ "metadata": { "annotations": { "argocd.argoproj.io/deletion-approved": at } } })
    };
    bed.patch(&bed.applications(), "web", approve()).await?;
    until(&bed.volumes(), "web-more", "pruned", gone).await?;
    synced(&bed, "web").await?;
    let nobody = json!({ "metadata": { "annotations": { "argocd.argoproj.io/deletion-approved": null } } });
    bed.patch(&bed.applications(), "web", nobody).await?;

    bed.applications().delete("web", &DeleteParams::default()).await?;
    let deleting = until(&bed.applications(), "web", "going", |application| {
        application["metadata"]["deletionTimestamp"].is_string()
    })
    .await?;
    assert_eq!(deleting["status"]["resources"][0]["requiresDeletionConfirmation"], true);
    assert!(bed.volumes().get_opt("web-data").await?.is_some());
    looked_at(&bed).await?;
    assert!(bed.machines().get_opt("web").await?.is_some());
    bed.patch(&bed.applications(), "web", approve()).await?;
    until(&bed.applications(), "web", "gone", gone).await?;
    assert!(bed.volumes().get_opt("web-data").await?.is_none());
    Ok(())
}

/// As when a machine's files and its Application's file are removed by one commit.
#[tokio::test]
async fn a_parent_that_prunes_an_application_waits_for_all_that_it_brought() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    plane.require_controller_manager()?;
    let bed = Bed::new(plane, "deletion-parent").await?;
    let leaf = serde_json::to_string(&bed.application_file("leaf", "vms/web"))?;
    bed.repository.commit(&[
        ("applications/leaf.yaml", &leaf),
        ("applications/README.md", "keeps the folder\n"),
        ("vms/web/kustomization.yaml", KUSTOMIZATION),
        ("vms/web/disk-data.yaml", DISK),
        ("vms/web/virtual-machine.yaml", &machine_file(bed.namespace, "Always", IMAGE, Some("web-data"))),
    ])?;
    bed.application("applications").await?;
    let allow = json!({ "spec": { "syncPolicy": { "automated": { "allowEmpty": true } } } });
    bed.patch(&bed.applications(), "web", allow).await?;
    until(&bed.machines(), "web", "running", |machine| machine["status"]["ready"] == true).await?;
    synced(&bed, "leaf").await?;
    bed.write_disk("web-data", "kept").await?;
    // Somebody's finalizer holds the machine.
    let with = json!({ "metadata": { "finalizers": ["kubevirt.io/virtualMachineControllerFinalize", "example.com/held"] } });
    bed.patch(&bed.machines(), "web", with).await?;

    bed.repository.commit(&[
        ("applications/leaf.yaml", ""),
        ("vms/web/kustomization.yaml", ""),
        ("vms/web/disk-data.yaml", ""),
        ("vms/web/virtual-machine.yaml", ""),
    ])?;
    bed.refresh().await?;
    until(&bed.applications(), "web", "waiting", |application| {
        message(application) == "waiting for deletion of argoproj.io/Application/leaf"
    })
    .await?;
    until(&bed.instances(), "web", "off", gone).await?;
    until(&bed.machines(), "web", "held", |machine| {
        machine["status"]["printableStatus"] == "Terminating"
            && machine["metadata"]["finalizers"].as_array().is_some_and(|all| {
                all.contains(&json!("example.com/held"))
                    && !all.contains(&json!("kubevirt.io/virtualMachineControllerFinalize"))
            })
    })
    .await?;
    assert!(bed.applications().get_opt("leaf").await?.is_some());
    bed.patch(&bed.machines(), "web", json!({ "metadata": { "finalizers": null } })).await?;
    until(&bed.applications(), "leaf", "gone", gone).await?;
    synced(&bed, "web").await?;
    assert!(bed.machines().get_opt("web").await?.is_none());
    assert_eq!(bed.disk("web-data").await?, "kept");
    Ok(())
}
