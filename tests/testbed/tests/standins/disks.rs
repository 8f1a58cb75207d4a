//! What is in a disk: where it comes from, when it is lost.

use anyhow::Result;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

use super::bed::{Bed, gone, reason, refusal, until, volume};

#[tokio::test]
async fn a_disk_holds_what_it_was_filled_with_until_it_is_written_to() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "disks-content").await?;
    assert_eq!(bed.disk("empty").await?, "no disk");
    bed.volume("empty", json!({ "blank": {} })).await?;
    bed.volume("image", json!({ "http": { "url": "https://images.example/first.img" } })).await?;
    assert_eq!(bed.disk("empty").await?, "blank");
    assert_eq!(bed.disk("image").await?, "https://images.example/first.img");
    bed.write_disk("image", "used").await?;
    bed.volume("copy", json!({ "pvc": { "name": "image", "namespace": bed.namespace } })).await?;
    bed.write_disk("image", "used again").await?;
    assert_eq!(bed.disk("copy").await?, "used");

    // The claim goes with its volume; one made anew under the name holds nothing of it.
    ControlPlane::shared().await?.require_controller_manager()?;
    bed.volumes().delete("image", &DeleteParams::default()).await?;
    until(&bed.claims(), "image", "gone with its volume", gone).await?;
    bed.volume("image", json!({ "blank": {} })).await?;
    assert_eq!(bed.disk("image").await?, "blank");

    // A claim that is deleted under its volume is filled afresh.
    let first = bed.claims().get("copy").await?.metadata.uid;
    bed.claims().delete("copy", &DeleteParams::default()).await?;
    until(&bed.claims(), "copy", "filled afresh", |claim| {
        claim.is_object() && claim["metadata"]["uid"] != json!(first) && claim["status"]["phase"] == "Bound"
    })
    .await?;
    assert_ne!(bed.disk("copy").await?, "used");
    Ok(())
}

#[tokio::test]
async fn a_data_source_is_resolved_when_the_disk_is_made() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "disks-golden").await?;
    let source = |name: &str, source: Value| {
        json!({
            "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataSource", "metadata": { "name": name },
            "spec": { "source": source },
        })
    };
    let claim = |name: &str| json!({ "pvc": { "name": name, "namespace": bed.namespace } });
    bed.create(&bed.data_sources(), &source("golden", claim("image-1"))).await?;
    let not_yet = until(&bed.data_sources(), "golden", "said", |source| source["status"].is_object()).await?;
    assert_eq!(reason(&not_yet, "Ready"), ("NotFound".to_owned(), "PVC not found".to_owned()));
    assert_eq!(not_yet["status"]["source"], json!({}));
    let mut disk = volume("early", &Value::Null);
    disk["spec"] = json!({ "sourceRef": { "kind": "DataSource", "name": "golden" }, "storage": {} });
    bed.create(&bed.volumes(), &disk).await?;
    let waiting = until(&bed.volumes(), "early", "waiting", |volume| volume["status"].is_object()).await?;
    assert_eq!(
        reason(&waiting, "Bound"),
        ("CloneWithoutSource".to_owned(), "The source pvc image-1 doesn't exist".to_owned())
    );

    bed.volume("image-1", json!({ "http": { "url": "https://images.example/1" } })).await?;
    until(&bed.data_sources(), "golden", "ready", |source| reason(source, "Ready").0 == "Ready").await?;
    until(&bed.volumes(), "early", "cloned", |volume| volume["status"]["phase"] == "Succeeded").await?;
    assert_eq!(bed.disk("early").await?, "https://images.example/1");
    bed.volume("image-2", json!({ "http": { "url": "https://images.example/2" } })).await?;
    bed.patch(&bed.data_sources(), "golden", json!({ "spec": { "source": claim("image-2") } })).await?;
    bed.create(
        &bed.data_sources(),
        &source("chain", json!({ "dataSource": { "name": "golden", "namespace": bed.namespace } })),
    )
    .await?;
    disk["metadata"]["name"] = json!("late");
    disk["spec"]["sourceRef"]["name"] = json!("chain");
    bed.create(&bed.volumes(), &disk).await?;
    until(&bed.volumes(), "late", "cloned", |volume| volume["status"]["phase"] == "Succeeded").await?;
    assert_eq!(bed.disk("late").await?, "https://images.example/2");
    assert_eq!(bed.disk("early").await?, "https://images.example/1");

    let mut small = volume("small", &claim("image-2"));
    small["spec"]["storage"]["resources"]["requests"]["storage"] = json!("1Mi");
    bed.create(&bed.volumes(), &small).await?;
    until(&bed.volumes(), "small", "too small", |volume| {
        reason(volume, "Bound").0 == "CloneValidationFailed"
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_claim_that_is_there_is_adopted_as_it_is() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "disks-adopted").await?;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "disk" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "64Mi" } } },
    });
    bed.create(&bed.claims(), &claim).await?;
    until(&bed.claims(), "disk", "bound", |claim| claim["status"]["phase"] == "Bound").await?;
    bed.write_disk("disk", "kept").await?;
    let mut adopting = volume("disk", &json!({ "http": { "url": "https://images.example/first.img" } }));
    adopting["metadata"]["annotations"] = json!({ "cdi.kubevirt.io/allowClaimAdoption": "true" });
    let made = bed.create(&bed.volumes(), &adopting).await?;
    until(&bed.volumes(), "disk", "adopted", |volume| volume["status"]["phase"] == "Succeeded").await?;
    let claim = serde_json::to_value(bed.claims().get("disk").await?)?;
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], made["metadata"]["uid"]);
    assert_eq!(bed.disk("disk").await?, "kept");

    // Its disk grows by the claim, and does not shrink.
    let size = |size: &str| json!({ "spec": { "resources": { "requests": { "storage": size } } } });
    bed.patch(&bed.claims(), "disk", size("128Mi")).await?;
    until(&bed.claims(), "disk", "grown", |claim| claim["status"]["capacity"]["storage"] == "128Mi").await?;
    assert_eq!(bed.disk("disk").await?, "kept");
    assert_eq!(
        refusal(bed.patch(&bed.claims(), "disk", size("64Mi")).await),
        (
            422,
            "PersistentVolumeClaim \"disk\" is invalid: spec.resources.requests.storage: Forbidden: field can not be less than \
             status.capacity"
                .to_owned()
        )
    );
    Ok(())
}

#[tokio::test]
async fn a_machines_own_disks_go_with_it() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "disks-own").await?;
    ControlPlane::shared().await?.require_controller_manager()?;
    bed.volume("data", json!({ "blank": {} })).await?;
    let template = json!({
        "metadata": { "name": "web-root" },
        "spec": { "source": { "http": { "url": "https://images.example/first.img" } }, "storage": { "resources": { "requests": { "storage": "64Mi" } } } },
    });
    let machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": "web" },
        "spec": {
            "runStrategy": "Halted", "dataVolumeTemplates": [template],
            "template": { "spec": { "domain": { "devices": {} }, "volumes": [
                { "name": "root", "dataVolume": { "name": "web-root" } },
                { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
            ] } },
        },
    });
    bed.create(&bed.machines(), &machine).await?;
    // Halted or not, they are made.
    let own = until(&bed.volumes(), "web-root", "filled", |volume| volume["status"]["phase"] == "Succeeded")
        .await?;
    assert_eq!(own["metadata"]["ownerReferences"][0]["kind"], "VirtualMachine");
    bed.write_disk("web-root", "used").await?;
    bed.machines().delete("web", &DeleteParams::default()).await?;
    until(&bed.machines(), "web", "gone", gone).await?;
    until(&bed.volumes(), "web-root", "gone", gone).await?;
    until(&bed.claims(), "web-root", "gone", gone).await?;
    assert_eq!(bed.disk("data").await?, "blank");
    Ok(())
}
