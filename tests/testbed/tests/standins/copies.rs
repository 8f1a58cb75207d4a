//! Snapshots and restores, seen by what is in the disks.

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

use super::bed::{Bed, gone, reason, record, until, volume};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn a_snapshot_locks_its_machine_and_says_under_which_circumstances_it_was_taken() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-online").await?;
    let machine = bed.machine("Always").await?;
    assert_eq!(
        machine["status"]["volumeSnapshotStatuses"],
        json!([{ "name": "root", "enabled": true }, { "name": "data", "enabled": true }])
    );
    let mut machines = record(bed.machines(), "web", |machine| {
        let lock = machine["status"]["snapshotInProgress"].as_str().unwrap_or("-");
        let held = machine["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        format!("{lock} {held}")
    })
    .await?;
    let mut snapshots = record(bed.snapshots(), "first", |snapshot| {
        let phase = snapshot["status"]["phase"].as_str().unwrap_or("-");
        format!("{phase} {}, {}", reason(snapshot, "Progressing").0, reason(snapshot, "Ready").0)
    })
    .await?;
    bed.write_disk("web-root", "before").await?;
    let ready = bed.snapshot_ready("first").await?;
    let status = &ready["status"];
    assert_eq!(status["phase"], "Succeeded");
    assert_eq!(status["sourceUID"], machine["metadata"]["uid"]);
    assert_eq!(status["snapshotVolumes"], json!({ "includedVolumes": ["root", "data"] }));
    assert_eq!(names(&status["indications"]), ["NoGuestAgent", "Online"]);
    assert_eq!(
        status["sourceIndications"][0]["message"],
        "Guest agent was not available. Snapshot is crash-consistent and may not be application-consistent."
    );
    until(&bed.machines(), "web", "unlocked", |machine| {
        machine["status"].get("snapshotInProgress").is_none()
            && machine["metadata"]["finalizers"] == json!(["kubevirt.io/virtualMachineControllerFinalize"])
    })
    .await?;
    machines.is(&["- 1", "first 1", "first 2", "first 1", "- 1"]).await?;
    snapshots
        .is(&[
            "- , ",
            "InProgress Source not locked, Not ready",
            "InProgress Source locked and operation in progress, Not ready",
            "Succeeded Operation complete, Ready",
        ])
        .await?;

    // Ready it is only while its parts are there.
    let content = status["virtualMachineSnapshotContentName"].as_str().unwrap();
    let part = format!("vmsnapshot-{}-volume-data", ready["metadata"]["uid"].as_str().unwrap());
    bed.volume_snapshots().delete(&part, &DeleteParams::default()).await?;
    let broken =
        until(&bed.snapshots(), "first", "broken", |snapshot| snapshot["status"]["readyToUse"] == false)
            .await?;
    assert_eq!(broken["status"]["phase"], "Succeeded");
    assert_eq!(broken["status"]["error"]["message"], format!("VolumeSnapshots ({part}) missing"));

    bed.snapshots().delete("first", &DeleteParams::default()).await?;
    until(&bed.snapshots(), "first", "gone", gone).await?;
    until(&bed.contents(), content, "gone", gone).await?;
    Ok(())
}

#[tokio::test]
async fn a_disk_is_made_from_a_snapshot_that_is_there_and_no_larger() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-disks").await?;
    bed.machine("Halted").await?;
    bed.write_disk("web-data", "before").await?;
    let ready = bed.snapshot_ready("first").await?;
    bed.write_disk("web-data", "after").await?;
    let part = format!("vmsnapshot-{}-volume-data", ready["metadata"]["uid"].as_str().unwrap());
    let from = |disk: &str, snapshot: &str, size: &str| {
        let mut volume =
            volume(disk, &json!({ "snapshot": { "name": snapshot, "namespace": bed.namespace } }));
        volume["spec"]["storage"]["resources"]["requests"]["storage"] = json!(size);
        volume
    };
    for (name, snapshot, size, expected) in [
        ("lost", "absent", "1Gi", ("CloneWithoutSource", "The source snapshot absent doesn't exist")),
        (
            "small",
            part.as_str(),
            "64Mi",
            (
                "CloneValidationFailed",
                "The clone doesn't meet the validation requirements: target resources requests storage size is smaller than \
                 the source 67108864 < 71135396",
            ),
        ),
    ] {
        bed.create(&bed.volumes(), &from(name, snapshot, size)).await?;
        let waiting = until(&bed.volumes(), name, "said", |volume| volume["status"].is_object()).await?;
        assert_eq!(reason(&waiting, "Bound"), (expected.0.to_owned(), expected.1.to_owned()));
        assert_eq!(waiting["status"]["phase"].as_str().unwrap_or_default(), "");
        until(&bed.claims(), name, "no claim", gone).await?;
    }
    bed.create(&bed.volumes(), &from("copy", &part, "68Mi")).await?;
    until(&bed.volumes(), "copy", "cloned", |volume| volume["status"]["phase"] == "Succeeded").await?;
    assert_eq!(bed.disk("copy").await?, "before");
    assert_eq!(bed.disk("web-data").await?, "after");

    // One that comes later is waited for.
    bed.cdi.hold_snapshots();
    bed.snapshot("second", json!({})).await?;
    let uid = until(&bed.snapshots(), "second", "there", |_| true).await?["metadata"]["uid"].clone();
    let late = format!("vmsnapshot-{}-volume-data", uid.as_str().unwrap());
    bed.create(&bed.volumes(), &from("late", &late, "68Mi")).await?;
    until(&bed.volumes(), "late", "waiting", |volume| {
        reason(volume, "Bound").1.ends_with("no status on source snapshot yet")
    })
    .await?;
    bed.cdi.finish_snapshots();
    until(&bed.volumes(), "late", "cloned", |volume| volume["status"]["phase"] == "Succeeded").await?;
    assert_eq!(bed.disk("late").await?, "after");
    Ok(())
}

#[tokio::test]
async fn a_snapshot_leaves_out_what_has_no_class_and_succeeds() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-partial").await?;
    let mut other = volume("web-data", &json!({ "blank": {} }));
    other["spec"]["storage"]["storageClassName"] = json!("plain");
    bed.create(&bed.volumes(), &other).await?;
    bed.volume("web-root", json!({ "blank": {} })).await?;
    let machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": "web" },
        "spec": { "runStrategy": "Halted", "template": { "spec": { "domain": { "devices": {} }, "volumes": [
            { "name": "data", "persistentVolumeClaim": { "claimName": "web-data" } },
        ] } } },
    });
    bed.create(&bed.machines(), &machine).await?;
    let words =
        "No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [plain] [data]";
    until(&bed.machines(), "web", "said", |machine| {
        machine["status"]["volumeSnapshotStatuses"]
            == json!([{ "name": "data", "enabled": false, "reason": words }])
    })
    .await?;
    let ready = bed.snapshot_ready("empty").await?;
    assert_eq!(ready["status"]["phase"], "Succeeded");
    assert_eq!(ready["status"]["snapshotVolumes"], json!({ "excludedVolumes": ["data"] }));
    assert_eq!(ready["status"].get("indications"), None);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_waits_for_a_disk_until_its_deadline() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-late").await?;
    bed.machine("Halted").await?;
    bed.cdi.hold_snapshots();
    bed.snapshot("held", json!({ "failureDeadline": "15s" })).await?;
    until(&bed.machines(), "web", "locked", |machine| machine["status"]["snapshotInProgress"] == "held")
        .await?;
    // Another one waits for the first.
    bed.snapshot("second", json!({ "failureDeadline": "0s" })).await?;
    until(&bed.snapshots(), "second", "waiting", |snapshot| {
        reason(snapshot, "Progressing").0 == "Source not locked snapshot \"held\" in progress"
    })
    .await?;
    let late =
        until(&bed.snapshots(), "held", "late", |snapshot| snapshot["status"]["phase"] == "Failed").await?;
    assert_eq!(reason(&late, "Failure").0, "snapshot deadline exceeded");
    assert_eq!(reason(&late, "Progressing").0, "Operation failed");
    bed.cdi.finish_snapshots();
    until(&bed.snapshots(), "second", "its turn", |snapshot| snapshot["status"]["readyToUse"] == true)
        .await?;

    // A disk that is not there is waited for in silence.
    bed.volumes().delete("web-data", &DeleteParams::default()).await?;
    until(&bed.claims(), "web-data", "no claim", gone).await?;
    bed.snapshot("third", json!({})).await?;
    until(&bed.snapshots(), "third", "waiting", |snapshot| {
        reason(snapshot, "Progressing").0
            == "Source not locked source copies-late/web volume doesnt exist: web-data"
    })
    .await?;
    bed.snapshots().delete("third", &DeleteParams::default()).await?;
    until(&bed.snapshots(), "third", "gone", gone).await?;
    Ok(())
}

#[tokio::test]
async fn a_restore_in_place_puts_back_what_the_snapshot_held() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-in-place").await?;
    bed.machine("Always").await?;
    bed.write_disk("web-root", "root before").await?;
    bed.write_disk("web-data", "data before").await?;
    bed.snapshot_ready("first").await?;
    bed.write_disk("web-root", "root after").await?;
    bed.write_disk("web-data", "data after").await?;
    let machine = json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 1 } } } });
    bed.patch(&bed.machines(), "web", machine).await?;
    bed.halt().await?;
    let before = serde_json::to_value(bed.claims().get("web-data").await?)?;
    let mut said = record(bed.restores(), "back", |restore| reason(restore, "Progressing").0).await?;

    let policy = json!({ "volumeRestorePolicy": "InPlace", "volumeOwnershipPolicy": "None" });
    bed.restore("back", "first", policy).await?;
    let done = bed.restored("back").await?;
    assert_eq!(done["status"]["restores"][1]["dataVolumeName"], "web-data");
    assert_eq!(done["status"]["restores"][1]["persistentVolumeClaim"], "web-data");
    assert_eq!(done["metadata"]["ownerReferences"][0]["kind"], "VirtualMachine");
    for (claim, word) in [("web-root", "root before"), ("web-data", "data before")] {
        until(&bed.volumes(), claim, "bound", |volume| reason(volume, "Bound").0 == "Bound").await?;
        assert_eq!(bed.disk(claim).await?, word);
    }
    let after = serde_json::to_value(bed.claims().get("web-data").await?)?;
    assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    let owners = after["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!((owners.len(), &owners[0]["kind"]), (1, &json!("DataVolume")));
    let machine = serde_json::to_value(bed.machines().get("web").await?)?;
    // The spec is the snapshot's, the run strategy stays.
    assert_eq!(machine["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 2);
    assert_eq!(machine["spec"]["runStrategy"], "Halted");
    assert_eq!(machine["status"].get("restoreInProgress"), None);
    let uid = done["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        machine["metadata"]["annotations"]["restore.kubevirt.io/lastRestoreUID"],
        format!("back-{uid}")
    );
    said.until(|lines| lines.iter().any(|line| line == "persistentvolumeclaims \"web-data\" not found"))
        .await?;

    bed.patch(&bed.machines(), "web", json!({ "spec": { "runStrategy": "Always" } })).await?;
    until(&bed.machines(), "web", "running", |machine| machine["status"]["ready"] == true).await?;
    assert_eq!(bed.disk("web-root").await?, "root before");
    Ok(())
}

#[tokio::test]
async fn a_restore_by_default_gives_new_disks_that_the_machine_owns() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-renamed").await?;
    let machine = bed.machine("Halted").await?;
    bed.write_disk("web-data", "before").await?;
    bed.snapshot_ready("first").await?;
    bed.write_disk("web-data", "after").await?;
    bed.restore("back", "first", json!({})).await?;
    let done = bed.restored("back").await?;
    let new = done["status"]["restores"][1]["persistentVolumeClaim"].as_str().unwrap().to_owned();
    assert_eq!(new, format!("restore-{}-data", done["metadata"]["uid"].as_str().unwrap()));
    assert_eq!(bed.disk(&new).await?, "before");
    assert_eq!(bed.disk("web-data").await?, "after");
    let claim = serde_json::to_value(bed.claims().get(&new).await?)?;
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], machine["metadata"]["uid"]);
    let restored = serde_json::to_value(bed.machines().get("web").await?)?;
    assert_eq!(
        restored["spec"]["template"]["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"],
        *new
    );

    // And so they go with it.
    ControlPlane::shared().await?.require_controller_manager()?;
    bed.machines().delete("web", &DeleteParams::default()).await?;
    until(&bed.machines(), "web", "gone", gone).await?;
    until(&bed.claims(), &new, "gone with its owner", gone).await?;
    until(&bed.restores(), "back", "gone with its owner", gone).await?;
    assert_eq!(bed.disk("web-data").await?, "after");
    Ok(())
}

#[tokio::test]
async fn a_restore_waits_for_its_machine_to_be_off() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-running").await?;
    bed.machine("Always").await?;
    bed.snapshot_ready("first").await?;
    bed.restore("now", "first", json!({ "targetReadinessPolicy": "FailImmediate" })).await?;
    let failed =
        until(&bed.restores(), "now", "failed", |restore| !reason(restore, "Failure").0.is_empty()).await?;
    let words = "Restore target VMI must be powered off before restore operation";
    assert_eq!(reason(&failed, "Failure").0, words);
    assert_eq!(failed["status"]["complete"], false);
    bed.restores().delete("now", &DeleteParams::default()).await?;
    until(&bed.restores(), "now", "gone", gone).await?;

    bed.restore("patient", "first", json!({})).await?;
    until(&bed.restores(), "patient", "waiting", |restore| {
        reason(restore, "Progressing").0
            == "Waiting for target VM to be powered off. Please stop the restore target to proceed with restore, or the operation will \
                fail after 5m0s"
    })
    .await?;
    bed.halt().await?;
    bed.restored("patient").await?;

    bed.patch(&bed.machines(), "web", json!({ "spec": { "runStrategy": "Always" } })).await?;
    until(&bed.machines(), "web", "running", |machine| machine["status"]["ready"] == true).await?;
    bed.restore("stopping", "first", json!({ "targetReadinessPolicy": "StopTarget" })).await?;
    bed.restored("stopping").await?;
    assert_eq!(serde_json::to_value(bed.machines().get("web").await?)?["spec"]["runStrategy"], "Halted");
    Ok(())
}

/// Its own disks get new names, and those that it had are deleted: what puts the old names back starts with a fresh disk.
#[tokio::test]
async fn a_restore_replaces_the_disks_that_are_the_machines_own() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "copies-own").await?;
    let machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": "web" },
        "spec": {
            "runStrategy": "Halted",
            "dataVolumeTemplates": [{
                "metadata": { "name": "web-root" },
                "spec": {
                    "source": { "http": { "url": "https://images.example/first.img" } },
                    "storage": { "resources": { "requests": { "storage": "64Mi" } } },
                },
            }],
            "template": { "spec": {
                "domain": { "devices": {} }, "volumes": [{ "name": "root", "dataVolume": { "name": "web-root" } }],
            } },
        },
    });
    bed.create(&bed.machines(), &machine).await?;
    until(&bed.volumes(), "web-root", "filled", |volume| volume["status"]["phase"] == "Succeeded").await?;
    bed.write_disk("web-root", "before").await?;
    bed.snapshot_ready("first").await?;
    bed.write_disk("web-root", "after").await?;
    bed.restore("back", "first", json!({})).await?;
    let done = bed.restored("back").await?;
    let new = format!("restore-{}-root", done["metadata"]["uid"].as_str().unwrap());
    assert_eq!(done["status"]["restores"][0]["dataVolumeName"], *new);
    assert_eq!(done["status"]["deletedDataVolumes"], json!(["web-root"]));
    until(&bed.volumes(), "web-root", "deleted", gone).await?;
    assert_eq!(bed.disk(&new).await?, "before");
    let restored = serde_json::to_value(bed.machines().get("web").await?)?;
    assert_eq!(restored["spec"]["dataVolumeTemplates"][0]["metadata"]["name"], *new);
    assert_eq!(restored["spec"]["template"]["spec"]["volumes"][0]["dataVolume"]["name"], *new);

    // As self-heal would do.
    ControlPlane::shared().await?.require_controller_manager()?;
    until(&bed.claims(), "web-root", "gone with its volume", gone).await?;
    let fields =
        ["dataVolumeTemplates", "template"].map(|field| (field.to_owned(), machine["spec"][field].clone()));
    let spec: serde_json::Map<_, _> = fields.into_iter().collect();
    bed.patch(&bed.machines(), "web", json!({ "spec": spec })).await?;
    until(&bed.volumes(), "web-root", "filled afresh", |volume| volume["status"]["phase"] == "Succeeded")
        .await?;
    assert_eq!(bed.disk("web-root").await?, "https://images.example/first.img");
    Ok(())
}
