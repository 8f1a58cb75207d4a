//! What the API server refuses, because KubeVirt, CDI or a policy says so.

use anyhow::Result;
use kube::{
    Api,
    api::{DeleteParams, DynamicObject},
};
use serde_json::{Value, json};
use testbed::control_plane::{self, ControlPlane, Release};

use super::bed::{Bed, gone, merge, reason, refusal, until, volume};

fn denied(webhook: &str, words: &str) -> String {
    format!("admission webhook \"{webhook}\" denied the request: {words}")
}

const MACHINES: &str = "virtualmachine-validator.kubevirt.io";
const VOLUMES: &str = "datavolume-validate.cdi.kubevirt.io";

#[tokio::test]
async fn a_machine_that_is_being_snapshotted_or_restored_is_locked() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "admission-locks").await?;
    bed.machine("Always").await?;
    bed.cdi.hold_snapshots();
    bed.snapshot("first", json!({})).await?;
    until(&bed.machines(), "web", "locked", |machine| machine["status"]["snapshotInProgress"] == "first")
        .await?;
    let halted = json!({ "spec": { "runStrategy": "Halted" } });
    let words = "Cannot update vm running state until snapshot \"first\" completes";
    assert_eq!(
        refusal(bed.patch(&bed.machines(), "web", halted.clone()).await),
        (422, denied(MACHINES, words))
    );
    let moved = json!({ "spec": { "template": { "spec": { "volumes": [] } } } });
    let words = "Cannot update vm disks or volumes until snapshot \"first\" completes";
    assert_eq!(refusal(bed.patch(&bed.machines(), "web", moved).await), (422, denied(MACHINES, words)));
    let stop = bed.subresource("stop", "").await?;
    let words = "Cannot update vm running state until snapshot \"first\" completes";
    assert_eq!(stop, (500, format!("Internal error occurred: {}", denied(MACHINES, words))));
    // What no snapshot depends on may change.
    let grace = json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 3 } } } });
    bed.patch(&bed.machines(), "web", grace).await?;
    let later = json!({ "spec": { "failureDeadline": "1m0s" } });
    assert_eq!(
        refusal(bed.patch(&bed.snapshots(), "first", later).await),
        (
            422,
            denied(
                "virtualmachinesnapshot-validator.snapshot.kubevirt.io",
                "spec in immutable after creation"
            )
        )
    );
    bed.cdi.finish_snapshots();
    until(&bed.snapshots(), "first", "ready", |snapshot| snapshot["status"]["readyToUse"] == true).await?;
    until(&bed.machines(), "web", "unlocked", |machine| {
        machine["status"].get("snapshotInProgress").is_none()
    })
    .await?;
    bed.halt().await?;

    // The disks come from a snapshot that the storage holds back.
    bed.cdi.hold_claims();
    bed.restore("back", "first", json!({})).await?;
    until(&bed.machines(), "web", "locked", |machine| machine["status"]["restoreInProgress"] == "back")
        .await?;
    let words = "Cannot update VM runStrategy until restore \"back\" completes";
    let always = json!({ "spec": { "runStrategy": "Always" } });
    assert_eq!(refusal(bed.patch(&bed.machines(), "web", always).await), (422, denied(MACHINES, words)));
    let words = denied(
        "virtualmachinerestore-validator.snapshot.kubevirt.io",
        "VirtualMachineRestore \"back\" in progress",
    );
    assert_eq!(refusal(bed.restore("second", "first", json!({})).await), (422, words));
    bed.cdi.go_on();
    bed.restored("back").await?;
    bed.restore("second", "first", json!({})).await?;
    bed.restored("second").await?;
    Ok(())
}

/// A snapshot takes the uid of whatever machine has its machine's name now: seen on a real cluster.
#[tokio::test]
async fn a_restore_is_for_a_machine_of_the_snapshots_name_or_a_new_one() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "admission-uid").await?;
    let machine = bed.machine("Halted").await?;
    bed.write_disk("web-data", "first life").await?;
    bed.snapshot_ready("first").await?;
    bed.machines().delete("web", &DeleteParams::default()).await?;
    until(&bed.machines(), "web", "gone", gone).await?;
    let again = |name: &str| {
        json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": name }, "spec": machine["spec"],
        })
    };
    bed.write_disk("web-data", "second life").await?;
    let second = bed.create(&bed.machines(), &again("web")).await?;
    until(&bed.snapshots(), "first", "the new uid", |snapshot| {
        snapshot["status"]["sourceUID"] == second["metadata"]["uid"]
    })
    .await?;
    let policy = json!({ "volumeRestorePolicy": "InPlace", "volumeOwnershipPolicy": "None" });
    bed.restore("back", "first", policy).await?;
    bed.restored("back").await?;
    assert_eq!(bed.disk("web-data").await?, "first life");

    let target = |name: &str| json!({ "target": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": name } });
    bed.create(&bed.machines(), &again("other")).await?;
    bed.restore("across", "first", target("other")).await?;
    let refused = until(&bed.restores(), "across", "refused", |restore| {
        reason(restore, "Progressing").0
            == "restore source and restore target are different but restore target already exists"
    })
    .await?;
    assert_eq!(reason(&refused, "Failure").0, "");

    bed.restore("elsewhere", "first", target("copy")).await?;
    bed.restored("elsewhere").await?;
    let copy = serde_json::to_value(bed.machines().get("copy").await?)?;
    assert_eq!(copy["spec"]["runStrategy"], "Halted");
    let disk = copy["spec"]["template"]["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"]
        .as_str()
        .unwrap();
    assert_eq!(bed.disk(disk).await?, "first life");
    Ok(())
}

#[tokio::test]
async fn volumes_are_what_they_were_made_as() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "admission-volumes").await?;
    bed.volume("disk", json!({ "blank": {} })).await?;
    let larger = json!({ "spec": { "storage": { "resources": { "requests": { "storage": "128Mi" } } } } });
    assert_eq!(
        refusal(bed.patch(&bed.volumes(), "disk", larger).await),
        (422, denied(VOLUMES, " Cannot update DataVolume Spec"))
    );
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "plain" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "64Mi" } } },
    });
    bed.create(&bed.claims(), &claim).await?;
    let words = " Destination PVC admission-volumes/plain already exists";
    let plain = volume("plain", &json!({ "blank": {} }));
    assert_eq!(refusal(bed.create(&bed.volumes(), &plain).await), (422, denied(VOLUMES, words)));
    let mut missing = volume("clone", &Value::Null);
    missing["spec"] = json!({ "sourceRef": { "kind": "DataSource", "name": "nope" }, "storage": {} });
    let words = denied("datavolume-mutate.cdi.kubevirt.io", "datasources.cdi.kubevirt.io \"nope\" not found");
    assert_eq!(refusal(bed.create(&bed.volumes(), &missing).await), (400, words));
    Ok(())
}

#[tokio::test]
async fn power_is_said_once() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "admission-power").await?;
    let machine = |fields: Value| {
        let mut spec = json!({ "template": { "spec": { "domain": { "devices": {} } } } });
        merge(&mut spec, fields);
        json!({ "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": "web" }, "spec": spec })
    };
    for (fields, words) in [
        (
            json!({ "running": true, "runStrategy": "Always" }),
            "Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead",
        ),
        (json!({}), "RunStrategy must be specified"),
        (json!({ "runStrategy": "Sometimes" }), "Invalid RunStrategy (Sometimes)"),
    ] {
        let refused = refusal(bed.create(&bed.machines(), &machine(fields)).await);
        assert_eq!(refused, (422, denied(MACHINES, words)));
    }
    Ok(())
}

#[tokio::test]
async fn a_protected_machine_is_not_deleted_and_its_application_says_so() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.protect_machines().await?;
    let bed = Bed::new(&plane, "admission-protected").await?;
    let mut machine: Value =
        serde_json::from_str(&super::machine_file(bed.namespace, "Halted", super::IMAGE, None))?;
    machine["metadata"]["labels"] = json!({ "kubevirt.io/vm-delete-protection": "true" });
    bed.repository.commit(&[("web/virtual-machine.yaml", &machine.to_string())])?;
    bed.application("web").await?;
    until(&bed.applications(), "web", "synced", |application| {
        application["status"]["sync"]["status"] == "Synced"
    })
    .await?;
    let words = "virtualmachines.kubevirt.io \"web\" is forbidden: ValidatingAdmissionPolicy 'kubevirt-vm-deletion-protection' with \
                 binding 'kubevirt-vm-deletion-protection' denied request: VirtualMachine web cannot be deleted, disable/remove label \
                 'kubevirt.io/vm-delete-protection' from VirtualMachine before deleting it";
    let refused = refusal(bed.machines().delete("web", &DeleteParams::default()).await.map(drop));
    assert_eq!(refused, (422, words.to_owned()));
    bed.applications().delete("web", &DeleteParams::default()).await?;
    until(&bed.applications(), "web", "says so", |application| {
        let conditions = application["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition["type"] == "DeletionError" && condition["message"] == words)
    })
    .await?;
    let free = json!({ "metadata": { "labels": { "kubevirt.io/vm-delete-protection": null } } });
    bed.patch(&bed.machines(), "web", free).await?;
    until(&bed.applications(), "web", "gone", gone).await?;
    Ok(())
}

#[tokio::test]
async fn older_releases_know_less_of_restores() -> Result<()> {
    let plane = ControlPlane::start_for(Release::V1_6).await?;
    let bed = Bed::new(&plane, "admission-release").await?;
    let policy = json!({ "volumeRestorePolicy": "InPlace", "volumeOwnershipPolicy": "None" });
    let made = bed.restore("back", "first", policy).await?;
    assert_eq!(made["spec"]["volumeRestorePolicy"], "InPlace");
    assert_eq!(made["spec"].get("volumeOwnershipPolicy"), None);
    Ok(())
}

#[tokio::test]
async fn a_subresource_is_for_those_who_may_update_it() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    let bed = Bed::new(plane, "admission-rights").await?;
    bed.machine("Manual").await?;
    let account = plane.kubeconfig_for_service_account(bed.namespace, "operator").await?;
    let ask = async || -> Result<u16> {
        let client = control_plane::client(&account).await?;
        let path = "/apis/subresources.kubevirt.io/v1/namespaces/admission-rights/virtualmachines/web/start";
        let answer = client.send(http::Request::put(path).body(Vec::new())?.map(Into::into)).await?;
        Ok(answer.status().as_u16())
    };
    assert_eq!(ask().await?, 403);
    let rbac = |kind: &str| -> Api<DynamicObject> { bed.api("rbac.authorization.k8s.io/v1", kind) };
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "operator" },
        "rules": [{
            "apiGroups": ["subresources.kubevirt.io"], "resources": ["virtualmachines/start"], "verbs": ["update"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "operator" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator" },
        "subjects": [{ "kind": "ServiceAccount", "name": "operator", "namespace": bed.namespace }],
    });
    bed.create(&rbac("Role"), &role).await?;
    bed.create(&rbac("RoleBinding"), &binding).await?;
    // The authorizer sees a new binding a moment later.
    while ask().await? == 403 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    until(&bed.machines(), "web", "up", |machine| machine["status"]["ready"] == true).await?;
    Ok(())
}
