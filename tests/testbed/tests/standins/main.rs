//! The stand-ins take a Git repository to a running machine, write by write as the real controllers do.

mod admission;
mod bed;
mod copies;
mod deletion;
mod disks;
mod power;

use anyhow::{Context as _, Result};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{control_plane::ControlPlane, kubevirt::Fault};

use self::bed::{Bed, Record, gone, printed, reason, record, until};

fn machine_file(namespace: &str, strategy: &str, image: &str, disk: Option<&str>) -> String {
    let mut volumes = vec![json!({ "name": "root", "containerDisk": { "image": image } })];
    volumes
        .extend(disk.map(|disk| json!({ "name": "data", "persistentVolumeClaim": { "claimName": disk } })));
    let machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": "web", "namespace": namespace },
        "spec": { "runStrategy": strategy, "template": { "spec": {
            "domain": { "devices": { "interfaces": [{ "name": "default", "masquerade": {} }] }, "memory": { "guest": "64Mi" } },
            "networks": [{ "name": "default", "pod": {} }],
            "volumes": volumes,
        } } },
    });
    format!(
        "{machine:#}
"
    )
}

const DISK: &str = "apiVersion: cdi.kubevirt.io/v1beta1
kind: DataVolume
metadata:
  name: web-data
  annotations:
    argocd.argoproj.io/sync-options: Prune=false,Delete=false
spec:
  source:
    blank: {}
  storage:
    resources:
      requests:
        storage: 64Mi
";
const KUSTOMIZATION: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- disk-data.yaml
- virtual-machine.yaml
";
const IMAGE: &str = "registry.local/blank-disk:1";

fn application_line(application: &Value) -> String {
    let status = &application["status"];
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let revision = text("/sync/revision");
    let asked = application["metadata"]["annotations"].get("argocd.argoproj.io/refresh").is_some();
    format!(
        "{}{}sync {} {}, operation {} {}, health {}",
        if asked { "asked, " } else { "" },
        if application.get("operation").is_some() { "busy, " } else { "" },
        text("/sync/status"),
        if revision == "-" { "-" } else { "commit" },
        text("/operationState/phase"),
        if status["operationState"]["syncResult"].is_object() { "with result" } else { "without" },
        text("/health/status"),
    )
}

fn machine_line(machine: &Value) -> String {
    let status = &machine["status"];
    let ready = reason(machine, "Ready").0;
    let has = |field: &str| if status[field] == true { format!(" {field}") } else { String::new() };
    format!("{}{}{} {ready}", status["printableStatus"].as_str().unwrap_or("-"), has("created"), has("ready"))
}

/// Wait until these lines were seen, in this order, others being between them or not.
async fn seen_in_order(record: &mut Record, wanted: &[&str]) -> Result<()> {
    let in_order = |lines: &[String]| {
        let mut rest = lines.iter();
        wanted.iter().all(|line| rest.any(|other| other == line))
    };
    record.until(in_order).await.with_context(|| format!("in this order:\n{}", wanted.join("\n")))
}

/// What the real controllers were seen to write in this flow (Argo CD 3.5.7, KubeVirt 1.8).
async fn as_the_real_ones_do(applications: &mut Record, machines: &mut Record) -> Result<()> {
    seen_in_order(
        applications,
        &[
            "sync - -, operation - without, health -",
            "busy, sync - -, operation - without, health -",
            "busy, sync OutOfSync commit, operation - without, health Missing",
            "busy, sync OutOfSync commit, operation Running without, health Missing",
            "busy, sync OutOfSync commit, operation Running with result, health Missing",
            "sync OutOfSync commit, operation Succeeded with result, health Missing",
            "sync Synced commit, operation Succeeded with result, health Progressing",
            "sync Synced commit, operation Succeeded with result, health Healthy",
            "asked, sync Synced commit, operation Succeeded with result, health Healthy",
            "sync Synced commit, operation Succeeded with result, health Healthy",
            "asked, busy, sync Synced commit, operation - without, health Healthy",
            "busy, sync OutOfSync commit, operation - without, health Healthy",
            "sync Synced commit, operation Succeeded with result, health Progressing",
            "sync Synced commit, operation Succeeded with result, health Healthy",
        ],
    )
    .await?;
    seen_in_order(
        machines,
        &[
            "Stopped ",
            "Starting created GuestNotRunning",
            "Running created GuestNotRunning",
            "Running created ready ",
            "Stopping created PodTerminating",
            "Stopped created PodTerminating",
            "Stopped VMINotExists",
        ],
    )
    .await
}

#[tokio::test]
async fn a_commit_becomes_a_running_machine_and_a_stopped_one() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    let bed = Bed::new(plane, "standins-run").await?;
    let folder = "vms/in-cluster/standins-run/web";
    let file = |name: &str| format!("{folder}/{name}");
    let (kustomization, disk, machine) =
        (file("kustomization.yaml"), file("disk-data.yaml"), file("virtual-machine.yaml"));
    let always = machine_file(bed.namespace, "Always", IMAGE, Some("web-data"));
    let first =
        bed.repository.commit(&[(&kustomization, KUSTOMIZATION), (&disk, DISK), (&machine, &always)])?;
    let mut applications = record(bed.applications(), "web", application_line).await?;
    let mut machines = record(bed.machines(), "web", machine_line).await?;
    bed.cdi.hold();

    bed.application(folder).await?;
    until(&bed.machines(), "web", "held volume", |machine| {
        reason(machine, "DataVolumesReady")
            == ("NotAllDVsReady".into(), "Not all of the VMI's DVs are ready".into())
    })
    .await?;
    bed.cdi.go_on();
    let running =
        until(&bed.machines(), "web", "running", |machine| machine["status"]["ready"] == true).await?;
    assert_eq!(running["status"]["printableStatus"], "Running");
    assert_eq!(running["status"]["observedGeneration"], running["metadata"]["generation"]);
    let instance = serde_json::to_value(bed.instances().get("web").await?)?;
    assert_eq!(instance["metadata"]["ownerReferences"][0]["uid"], running["metadata"]["uid"]);
    assert_eq!(instance["status"]["nodeName"], "node1");
    assert_eq!(instance["status"]["interfaces"][0]["ipAddress"], "10.244.0.52");
    let claim = serde_json::to_value(bed.claims().get("web-data").await?)?;
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "71135396");
    assert_eq!(claim["metadata"]["ownerReferences"][0]["kind"], "DataVolume");
    let volume = serde_json::to_value(bed.volumes().get("web-data").await?)?;
    assert_eq!(
        (&volume["status"]["phase"], &volume["status"]["progress"]),
        (&json!("Succeeded"), &json!("100.0%"))
    );

    let done = until(&bed.applications(), "web", "healthy", |application| {
        application["status"]["health"]["status"] == "Healthy"
            && application["status"]["sync"]["status"] == "Synced"
    })
    .await?;
    assert_eq!(done["status"]["sync"]["revision"], *first);
    assert_eq!(done["status"]["operationState"]["syncResult"]["revision"], *first);
    assert_eq!(done["status"]["operationState"]["message"], "successfully synced (all tasks run)");
    assert_eq!(
        done["status"]["resources"],
        json!([
            { "kind": "DataVolume", "name": "web-data", "status": "Synced", "version": "v1beta1",
              "group": "cdi.kubevirt.io", "namespace": bed.namespace },
            { "kind": "VirtualMachine", "name": "web", "status": "Synced", "version": "v1",
              "group": "kubevirt.io", "namespace": bed.namespace },
        ])
    );

    // A commit that changes nothing here: the comparison moves, no operation runs.
    let unrelated = bed.repository.commit(&[("README.md", "hello\n")])?;
    let application = bed.refreshed().await?;
    assert_eq!(application["status"]["sync"]["revision"], *unrelated);
    assert_eq!(application["status"]["operationState"]["syncResult"]["revision"], *first);

    let halted = machine_file(bed.namespace, "Halted", IMAGE, Some("web-data"));
    bed.repository.commit(&[(&machine, &halted)])?;
    bed.refresh().await?;
    until(&bed.instances(), "web", "instance gone", gone).await?;
    let stopped =
        until(&bed.machines(), "web", "stopped", |machine| machine["status"].get("created").is_none())
            .await?;
    assert_eq!(stopped["status"]["printableStatus"], "Stopped");
    assert_eq!(reason(&stopped, "Ready"), ("VMINotExists".into(), "VMI does not exist".into()));
    until(&bed.applications(), "web", "healthy when stopped as declared", |application| {
        application["status"]["health"]["status"] == "Healthy"
    })
    .await?;

    as_the_real_ones_do(&mut applications, &mut machines).await?;

    // Deleting the Application deletes what it brought, but for the disk that says not to.
    plane.require_controller_manager()?;
    bed.applications().delete("web", &DeleteParams::default()).await?;
    until(&bed.applications(), "web", "application gone", gone).await?;
    until(&bed.machines(), "web", "machine gone", gone).await?;
    assert!(bed.volumes().get_opt("web-data").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn machines_that_cannot_run_say_why() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "standins-faults").await?;
    let parameters = PatchParams::apply("test").force();
    let apply = async |name: &str, image: &str, disk: Option<&str>| -> Result<()> {
        let mut machine: Value = serde_json::from_str(&machine_file(bed.namespace, "Always", image, disk))?;
        machine["metadata"]["name"] = json!(name);
        bed.machines().patch(name, &parameters, &Patch::Apply(&machine)).await?;
        Ok(())
    };
    apply("image", "registry.local/nothing:1", None).await?;
    apply("crash", "registry.local/crash:1", None).await?;
    apply("claim", IMAGE, Some("nope")).await?;
    bed.kubevirt.fail(
        bed.namespace,
        "node",
        Fault::Unschedulable("0/1 nodes are available: 1 Insufficient cpu.".into()),
    );
    apply("node", IMAGE, None).await?;

    let image = until(&bed.machines(), "image", "no image", printed("ImagePullBackOff")).await?;
    assert_eq!(
        reason(&image, "Synchronized"),
        (
            "ImagePullBackOff".into(),
            "Back-off pulling image \"registry.local/nothing:1\": ErrImagePull: failed to pull and unpack image \
             \"registry.local/nothing:1\": failed to resolve image: registry.local/nothing:1: not found"
                .into()
        )
    );
    let claim = until(&bed.machines(), "claim", "no claim", printed("ErrorPvcNotFound")).await?;
    let words = "PVC standins-faults/nope does not exist, waiting for it to appear";
    assert_eq!(reason(&claim, "Synchronized"), ("FailedPvcNotFound".into(), words.into()));
    let node = until(&bed.machines(), "node", "no node", printed("ErrorUnschedulable")).await?;
    assert_eq!(
        reason(&node, "PodScheduled"),
        ("Unschedulable".into(), "0/1 nodes are available: 1 Insufficient cpu.".into())
    );
    let crash = until(&bed.machines(), "crash", "crash loop", |machine| {
        machine["status"]["startFailure"]["consecutiveFailCount"] == 2 && printed("CrashLoopBackOff")(machine)
    })
    .await?;
    assert!(crash["status"]["startFailure"]["lastFailedVMIUID"].is_string());

    bed.kubevirt.heal(bed.namespace, "node");
    until(&bed.machines(), "node", "healed", printed("Running")).await?;
    Ok(())
}

#[tokio::test]
async fn refreshes_are_lost_comparisons_stale_and_syncs_fail_on_demand() -> Result<()> {
    let bed = Bed::new(ControlPlane::shared().await?, "standins-argocd").await?;
    let first = bed
        .repository
        .commit(&[("web/virtual-machine.yaml", &machine_file(bed.namespace, "Halted", IMAGE, None))])?;
    bed.application("web").await?;
    let synced = |application: &Value| {
        application["status"]["sync"]["status"] == "Synced" && application.get("operation").is_none()
    };
    until(&bed.applications(), "web", "synced", synced).await?;

    // Lost: the annotation goes and nothing moves.
    let second = bed.repository.commit(&[("README.md", "1\n")])?;
    bed.argocd.lose_refreshes(1);
    assert_eq!(bed.refreshed().await?["status"]["sync"]["revision"], *first);
    assert_eq!(bed.argocd.refreshes_to_lose(), 0);
    assert_eq!(bed.refreshed().await?["status"]["sync"]["revision"], *second);

    // Away: it never sees the commit in between.
    bed.argocd.pause();
    bed.refresh().await?;
    bed.repository.commit(&[("README.md", "2\n")])?;
    let fourth = bed.repository.commit(&[("README.md", "3\n")])?;
    bed.argocd.resume();
    assert_eq!(bed.refreshed().await?["status"]["sync"]["revision"], *fourth);

    // Stale: Synced, and to the old commit.
    bed.argocd.freeze();
    let wrong = r#"{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachine","metadata":{"name":"web"},"spec":{"runStrategy":"Halted"}}"#;
    let fifth = bed.repository.commit(&[("web/virtual-machine.yaml", wrong)])?;
    let stale = bed.refreshed().await?;
    assert_eq!(
        (&stale["status"]["sync"]["status"], &stale["status"]["sync"]["revision"]),
        (&json!("Synced"), &json!(fourth))
    );

    // Refused by the API server, in its words, and tried again.
    bed.argocd.thaw();
    bed.refresh().await?;
    let phase = |phase: &'static str| {
        move |application: &Value| application["status"]["operationState"]["phase"] == phase
    };
    let retrying = until(&bed.applications(), "web", "retrying", |application| {
        application["status"]["operationState"]["finishedAt"].is_string() && phase("Running")(application)
    })
    .await?;
    let refusal =
        "one or more objects failed to apply, reason: VirtualMachine.kubevirt.io \"web\" is invalid: ";
    let message = retrying["status"]["operationState"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with(refusal) && message.contains(". Retrying attempt #"), "{message}");
    assert_eq!(retrying["status"]["sync"]["status"], "OutOfSync");
    let failed = until(&bed.applications(), "web", "failed", phase("Failed")).await?;
    let message = failed["status"]["operationState"]["message"].as_str().unwrap();
    assert!(message.starts_with(refusal) && message.ends_with(" (retried 5 times)."), "{message}");
    assert_eq!(failed["status"]["operationState"]["syncResult"]["revision"], *fifth);
    until(&bed.applications(), "web", "sync error", |application| {
        let conditions = &application["status"]["conditions"][0];
        conditions["type"] == "SyncError"
            && conditions["message"] == format!("Failed last sync attempt to [{fifth}]: {message}")
    })
    .await?;

    // Manifests that cannot be made: the revision is the branch.
    bed.repository.commit(&[("web/virtual-machine.yaml", ""), ("web/kustomization.yaml", KUSTOMIZATION)])?;
    let broken = bed.refreshed().await?;
    assert_eq!(
        (&broken["status"]["sync"]["status"], &broken["status"]["sync"]["revision"]),
        (&json!("Unknown"), &json!("main"))
    );
    let seen = "<path to cached source>/web/disk-data.yaml";
    let why = format!("evalsymlink failure on '{seen}' : lstat {seen}: no such file or directory");
    assert_eq!(
        broken["status"]["conditions"][0]["message"],
        format!(
            "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = `kustomize \
             build <path to cached source>/web` failed exit status 1: Error: accumulating resources: accumulation \
             err='accumulating resources from 'disk-data.yaml': {why}': must build at directory: not a valid directory: {why}"
        )
    );
    Ok(())
}

/// The parent Application brings up the machine's own; meanwhile the API server crashes again and again.
#[tokio::test]
async fn all_go_on_after_the_api_server_came_back() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let bed = Bed::new(&plane, "standins-crash").await?;
    let leaf = serde_json::to_string(&bed.application_file("leaf", "vms/web"))?;
    let machine = machine_file(bed.namespace, "Always", IMAGE, Some("web-data"));
    bed.repository.commit(&[
        ("applications/in-cluster/leaf.yaml", &leaf),
        ("vms/web/kustomization.yaml", KUSTOMIZATION),
        ("vms/web/disk-data.yaml", DISK),
        ("vms/web/virtual-machine.yaml", &machine),
    ])?;
    bed.application("applications").await?;
    for _ in 0..3 {
        plane.start_api_server().await?;
    }
    until(&bed.machines(), "web", "running", |machine| machine["status"]["ready"] == true).await?;
    for name in ["web", "leaf"] {
        until(&bed.applications(), name, "done", |application| {
            let status = &application["status"];
            status["health"]["status"] == "Healthy"
                && status["sync"]["status"] == "Synced"
                && status["operationState"]["phase"] == "Succeeded"
                && application.get("operation").is_none()
        })
        .await?;
    }
    Ok(())
}
