//! What is done to a machine after its first day.

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use testbed::cdi::Fault;
use tokio::task::block_in_place;

use super::scene::{Scene, play};
use super::{Shown, patch, patch_guest};

/// The machine of the demo, and its namespace.
const MACHINE: &str = "pay-db-01";
pub(super) const NAMESPACE: &str = "payments-prod";

/// Provision a machine with a boot disk and a data disk, then run the flow on it.
pub(super) async fn show(scene: &Scene<'_>, flow: Shown) -> Result<()> {
    println!("\n=== a machine with a boot disk and a data disk");
    let machine = request(
        "demo-provision",
        "provision",
        &json!({
            "compute": {"cpu": 1, "memory": "1Gi"},
            "image": {"source": "http", "url": "https://images.corp.example/first.img"},
            "disks": [{"name": "root", "role": "root", "size": "10Gi"}, {"name": "data", "size": "10Gi"}],
        }),
    );
    block_in_place(|| run(scene, "provision-vm", &machine))?;
    write(scene, "root", "written by the guest before").await?;
    write(scene, "data", "the data of the guest").await?;
    disks(scene, "before").await?;
    match flow {
        Shown::Power => {
            for operation in ["stop", "start", "restart"] {
                println!("\n=== {operation}");
                flow_of(scene, "power-vm", operation, &Value::Null)?;
                machine_state(scene).await?;
            }
        }
        Shown::Snapshot => {
            flow_of(scene, "snapshot-vm", "snapshot", &Value::Null)?;
            println!("\n=== the same request again: the same snapshot");
            flow_of(scene, "snapshot-vm", "snapshot", &Value::Null)?;
        }
        Shown::Restore => restore(scene).await?,
        Shown::Repave => repave(scene).await?,
        Shown::Patch => patch::show(scene).await?,
        Shown::PatchGuest => patch_guest::show(scene, MACHINE).await?,
        Shown::Resize => {
            println!("\n=== more memory and a larger disk");
            let spec = json!({
                "compute": {"memory": "2Gi"}, "disks": [{"name": "data", "size": "20Gi"}], "allowRestart": true,
            });
            flow_of(scene, "resize-vm", "resize", &spec)?;
            machine_state(scene).await?;
        }
        Shown::Deprovision | Shown::Undelete => remove(scene, flow == Shown::Undelete).await?,
        Shown::Provision => {}
    }
    Ok(())
}

async fn restore(scene: &Scene<'_>) -> Result<()> {
    println!("\n=== a snapshot");
    let ended = flow_of(scene, "snapshot-vm", "snapshot", &Value::Null)?;
    let name = ended.get("snapshot-name").context("no snapshot")?;
    write(scene, "root", "broken by the guest").await?;
    write(scene, "data", "deleted by the guest").await?;
    disks(scene, "after the guest went on").await?;
    println!("\n=== back to the snapshot");
    flow_of(scene, "restore-vm", "restore", &json!({"snapshot": name}))?;
    disks(scene, "after the restore").await?;
    machine_state(scene).await
}

async fn repave(scene: &Scene<'_>) -> Result<()> {
    println!("\n=== a new boot disk");
    let image = |name: &str| json!({"image": {"source": "http", "url": format!("https://images.corp.example/{name}.img")}});
    flow_of(scene, "repave-vm", "repave", &image("second"))?;
    disks(scene, "after the repave").await?;
    println!("\n=== an image that never comes: taken back");
    let root = claim(scene, "root").await?;
    let bad = request("demo-repave-2", "repave", &json!({"operationSpec": image("broken")}));
    let accepted = vm::request::Accepted::parse(&bad.to_string()).map_err(|problem| anyhow!("{problem}"))?;
    let fault = Fault::Import("Error", "Unable to connect to http data source".to_owned());
    scene.stage.cdi.fail(NAMESPACE, &accepted.volume("root"), fault);
    let mut flow = scene.flow("repave-vm", "demo-repave-2", &bad)?;
    flow.params.insert("timeout".to_owned(), "20s".to_owned());
    let ended = block_in_place(|| play(&flow))?;
    ensure!(!ended.succeeded, "a machine without a boot disk counts as ready");
    ensure!(claim(scene, "root").await? == root, "the machine boots from another disk");
    disks(scene, "after the rollback").await
}

async fn remove(scene: &Scene<'_>, back: bool) -> Result<()> {
    let claims = [claim(scene, "root").await?, claim(scene, "data").await?];
    println!("\n=== removed; its data disk is kept");
    flow_of(scene, "deprovision-vm", "deprovision", &json!({"confirmName": MACHINE}))?;
    println!("\n=== what Git has of it");
    println!("{}", scene.server.git().git(&["ls-tree", "-r", "--name-only", "main"])?);
    for claim in &claims {
        let word = scene.stage.disk(NAMESPACE, claim).await?;
        println!("  disk {claim}: {}", word.as_deref().unwrap_or("gone"));
    }
    if back {
        println!("\n=== brought back");
        flow_of(scene, "undelete-vm", "undelete", &Value::Null)?;
        disks(scene, "after it came back").await?;
        machine_state(scene).await?;
    }
    Ok(())
}

type Results = std::collections::BTreeMap<String, String>;

/// Run a flow for this operation on the machine; its results.
fn flow_of(scene: &Scene<'_>, pipeline: &str, operation: &str, spec: &Value) -> Result<Results> {
    let more = if spec.is_null() { json!({}) } else { json!({"operationSpec": spec}) };
    let request = request(&format!("demo-{operation}"), operation, &more);
    block_in_place(|| run(scene, pipeline, &request))
}

fn run(scene: &Scene<'_>, pipeline: &str, request: &Value) -> Result<Results> {
    println!("{}", serde_json::to_string_pretty(&request["spec"])?);
    let id = request["metadata"]["requestId"].as_str().context("a request without an id")?;
    Ok(scene.done(pipeline, id, request)?.results)
}

pub(super) fn request(id: &str, operation: &str, more: &Value) -> Value {
    let mut spec = json!({"operation": operation, "target": {"name": MACHINE, "namespace": NAMESPACE}});
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {"requestId": id, "requestedBy": "jane@corp.example"},
        "spec": spec,
    })
}

/// The claim of one of the machine's disks, as the machine names it now.
pub(super) async fn claim(scene: &Scene<'_>, volume: &str) -> Result<String> {
    let machine = scene.stage.machine(NAMESPACE, MACHINE).await?;
    let volumes = machine["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    let found = volumes.iter().find(|v| v["name"] == volume);
    let name = found.and_then(|v| v["persistentVolumeClaim"]["claimName"].as_str());
    Ok(name.context("the machine has no such disk")?.to_owned())
}

async fn write(scene: &Scene<'_>, volume: &str, word: &str) -> Result<()> {
    scene.stage.write_disk(NAMESPACE, &claim(scene, volume).await?, word).await
}

pub(super) async fn disks(scene: &Scene<'_>, when: &str) -> Result<()> {
    println!("\n=== what is in the disks, {when}");
    for volume in ["root", "data"] {
        let claim = claim(scene, volume).await?;
        let word = scene.stage.disk(NAMESPACE, &claim).await?;
        println!("  {volume} ({claim}): {}", word.as_deref().unwrap_or("nothing"));
    }
    Ok(())
}

pub(super) async fn machine_state(scene: &Scene<'_>) -> Result<()> {
    let machine = scene.stage.machine(NAMESPACE, MACHINE).await?;
    println!(
        "\n=== the machine: {}, {}",
        machine["spec"]["runStrategy"], machine["status"]["printableStatus"]
    );
    Ok(())
}
