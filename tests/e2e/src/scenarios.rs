//! What users do and what goes wrong, each on the real thing.

mod access;
mod disks;
mod ends;
mod layouts;
mod patch;
mod power;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::git::Entry;

use crate::report::Ended;
use crate::setup::{BLANK, World};
use crate::until;

/// A scenario looks at the world through PipelineRuns.
pub(crate) type Scenario = fn(&World) -> Result<()>;

/// What runs first, one after the other; the machines `plain` and `clone` are theirs.
pub(crate) const FIRST: [(&str, Scenario); 8] = [
    ("admission-accepts-every-sample", admission),
    ("provision-to-running", provision),
    ("same-request-again", again),
    ("another-request-for-that-machine", conflict),
    ("bad-request", bad),
    ("power-off-at-birth", off),
    ("later-change-is-kept", later_change),
    ("data-source-clone-with-data-disk", clone),
];

/// What runs then, side by side; within a lane a scenario may build on the machine of an earlier one.
pub(crate) const LANES: [&[(&str, Scenario)]; 3] = [
    &[
        ("stop-and-start", power::stop_and_start),
        ("restart-once", power::restart_once),
        ("resize-compute", disks::resize_compute),
        ("power-by-the-api-refused", power::by_api_refused),
        ("a-guest-that-ignores-acpi", power::force_after),
        ("layout-helm-values", layouts::helm_values),
        ("one-operation-per-machine", power::one_at_a_time),
        ("power-by-the-api", power::by_api),
    ],
    &[
        ("snapshot-and-restore", disks::snapshot_and_restore),
        ("provision-from-snapshot", disks::provision_from_snapshot),
        ("restore-of-nothing", disks::restore_of_nothing),
        ("patch-by-a-stand-in", patch::patched),
        ("patch-taken-back", patch::taken_back),
        ("repave", disks::repave),
        ("repave-rolled-back", disks::repave_rolled_back),
        ("resize-with-disks", disks::resize_with_disks),
        ("deprovision-retain-and-undelete", ends::retain_and_undelete),
    ],
    &[
        ("deprovision-protected", ends::protected),
        ("deprovision-delete", ends::delete_all),
        ("image-missing", image_missing),
        ("unschedulable", unschedulable),
        ("claim-missing", claim_missing),
        ("layout-kustomize", layouts::kustomize),
        ("cancel-during-the-wait", cancel),
        ("git-over-ssh", access::over_ssh),
        ("git-credentials-of-the-service-account", access::of_the_service_account),
        ("data-volume-by-http", http),
        ("eight-at-once", eight),
    ],
];

/// A small machine from the blank disk: it runs, and finds nothing to boot.
fn request(world: &World, id: &str, name: &str) -> Value {
    json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {"requestId": format!("{}-{id}", world.run), "requestedBy": "e2e", "reason": "e2e"},
        "spec": {
            "operation": "provision",
            "target": {"name": name, "namespace": world.machines},
            "compute": {"cpu": 1, "memory": "128Mi", "preference": world.machines},
            "image": {"source": "container-disk", "reference": BLANK},
            "lifecycle": {"gracePeriodSeconds": 5}
        }
    })
}

/// A request for a machine that is there.
fn day_two(world: &World, id: &str, operation: &str, name: &str, spec: Value) -> Value {
    let mut request = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {"requestId": format!("{}-{id}", world.run), "requestedBy": "e2e", "reason": "e2e"},
        "spec": {"operation": operation, "target": {"name": name, "namespace": world.machines}},
    });
    if spec.as_object().is_some_and(|fields| !fields.is_empty()) {
        request["spec"]["operationSpec"] = spec;
    }
    request
}

/// The outcome that the requester is told, and Tekton's own verdict, agree with what is expected.
fn expect(ended: &Ended, outcome: &str) -> Result<String> {
    let report = ended.report()?;
    let (told, message) = (report.result("flow-outcome"), report.result("flow-message"));
    say!("  told: {told}: {message}");
    ensure!(told == outcome, "told `{told}` instead of `{outcome}`: {message}");
    ensure!(ended.succeeded == (outcome == "ok"), "Tekton says {}", ended.reason());
    Ok(message)
}

fn ensure_holds(message: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(message.contains(word), "the message lacks `{word}`: {message}");
    }
    Ok(())
}

fn ready_since(machine: &Value) -> &Value {
    let conditions = machine["status"]["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Ready"));
    ready.map_or(&Value::Null, |c| &c["lastTransitionTime"])
}

/// The flow says ok, and the cluster says the same: Running, Ready, with the digest that Git holds.
fn runs(world: &World, ended: &Ended, name: &str) -> Result<()> {
    expect(ended, "ok")?;
    let machine = world.machine(name)?.with_context(|| format!("no VirtualMachine {name}"))?;
    ensure!(machine["status"]["printableStatus"] == "Running", "{}", machine["status"]);
    ensure!(machine["status"]["ready"] == true, "{}", machine["status"]);
    let digest = ended.task("publish-vm")?.result("digest");
    let annotation = &machine["metadata"]["annotations"]["vmlifecycle.dev/request-digest"];
    ensure!(annotation == &digest, "the machine carries {annotation}, git-push said {digest}");
    ensure!(ended.task("await-vm")?.result("vm-status") == "Running", "result vm-status");
    ensure!(ended.tasks.len() <= 3, "{} pods", ended.tasks.len());
    say!("  on top of Argo CD and KubeVirt: {}s", ended.on_top(ready_since(&machine))?);
    Ok(())
}

/// Every sample, rendered by the shipped binaries, passes KubeVirt's, CDI's and the API server's admission, and the machine of every
/// request that tests hold valid passes KubeVirt's, but one with host devices, for which a cluster needs a feature gate.
fn admission(world: &World) -> Result<()> {
    for (sample, files) in world.rendered_samples()? {
        for file in files {
            let said = world
                .kubectl
                .run(&["apply", "--dry-run=server", "--validate=strict", "-f", &file.display().to_string()])
                .with_context(|| sample.clone())?;
            say!("  {sample}: {}", said.trim());
        }
    }
    for (name, file, devices) in world.rendered_fixtures()? {
        let said = world.kubectl.run(&[
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            &file.display().to_string(),
        ]);
        match (said, devices) {
            (Ok(_), false) => {}
            (Err(error), true) => {
                let words = "Host Devices feature gate is not enabled";
                ensure!(format!("{error:#}").contains(words), "{name}: {error:#}");
            }
            (Err(error), false) => return Err(error.context(name)),
            (Ok(_), true) => bail!("{name}: host devices are admitted without their feature gate"),
        }
        say!("  {name}: {}", if devices { "refused for its host devices" } else { "admitted" });
    }
    Ok(())
}

fn provision(world: &World) -> Result<()> {
    let ended = world.provision("plain", &request(world, "plain", "plain"))?;
    runs(world, &ended, "plain")?;
    ensure!(ended.task("publish-vm")?.result("changed") == "true", "result changed");
    let folder = format!("vms/in-cluster/{}/plain", world.machines);
    let files = world.git().files("main")?;
    for file in ["request.yaml", "kustomization.yaml", "virtual-machine.yaml"] {
        ensure!(files.contains(&format!("{folder}/{file}")), "{file} is not in Git: {files:?}");
    }
    Ok(())
}

fn again(world: &World) -> Result<()> {
    let first = world.kubectl.get(&["pipelinerun", "plain", "-n", &world.namespace])?;
    let before = world.git().tip()?;
    let ended = world.provision("plain-again", &request(world, "plain", "plain"))?;
    runs(world, &ended, "plain")?;
    let publish = ended.task("publish-vm")?;
    ensure!(publish.result("changed") == "false", "result changed");
    ensure!(world.git().tip()? == before, "the branch moved");
    let commit = |run: &Value| {
        let results = run["status"]["results"].as_array().cloned().unwrap_or_default();
        results.into_iter().find(|r| r["name"] == "commit").map(|r| r["value"].clone())
    };
    ensure!(
        commit(&first) == Some(publish.result("commit").into()),
        "another commit: {}",
        publish.result("commit")
    );
    Ok(())
}

fn conflict(world: &World) -> Result<()> {
    let before = world.git().tip()?;
    let mut other = request(world, "other", "plain");
    other["spec"]["compute"]["memory"] = "256Mi".into();
    let ended = world.provision("other", &other)?;
    let message = expect(&ended, "conflict")?;
    ensure_holds(&message, &["there already", "plain"])?;
    ensure!(world.git().tip()? == before, "the branch moved");
    let machine = world.machine("plain")?.context("the machine is gone")?;
    ensure!(
        machine["spec"]["template"]["spec"]["domain"]["memory"]["guest"] == "128Mi",
        "the machine changed"
    );
    Ok(())
}

fn bad(world: &World) -> Result<()> {
    let before = world.git().tip()?;
    let mut bad = request(world, "bad", "bad");
    bad["spec"]["compute"]["memory"] = "lots".into();
    bad["spec"]["compute"]["cpuu"] = 2.into();
    let ended = world.provision("bad", &bad)?;
    let message = expect(&ended, "invalid")?;
    ensure_holds(&message, &["/spec/compute/"])?;
    ensure!(world.git().tip()? == before, "the branch moved");
    let broken = world.provision("broken", &Value::String("{\"apiVersion\": ".to_owned()))?;
    expect(&broken, "invalid").map(drop)
}

fn off(world: &World) -> Result<()> {
    let mut off = request(world, "off", "off");
    off["spec"]["power"] = "off".into();
    let ended = world.provision("off", &off)?;
    expect(&ended, "ok")?;
    ensure!(ended.task("await-vm")?.result("vm-status") == "Stopped", "result vm-status");
    let machine = world.machine("off")?.context("no VirtualMachine off")?;
    ensure!(machine["spec"]["runStrategy"] == "Halted", "{}", machine["spec"]["runStrategy"]);
    let instance = world.kubectl.find(&["virtualmachineinstance", "off", "-n", &world.machines])?;
    ensure!(instance.is_none(), "there is a VirtualMachineInstance");
    Ok(())
}

/// A small node has room for a dozen machines: one that has served is stopped, by its flow.
fn served(world: &World, name: &str) -> Result<()> {
    power::power(world, &format!("{name}-off"), "stop", name)?;
    power::stopped(world, name)
}

fn image_missing(world: &World) -> Result<()> {
    let mut request = request(world, "no-image", "no-image");
    request["spec"]["image"]["reference"] = "registry.local/absent:1".into();
    let ended = world.provision("no-image", &request)?;
    ensure_holds(&expect(&ended, "failed")?, &["no-image", "registry.local/absent:1"])?;
    served(world, "no-image")
}

fn unschedulable(world: &World) -> Result<()> {
    let mut request = request(world, "too-large", "too-large");
    request["spec"]["compute"]["memory"] = "900Gi".into();
    let ended = world.provision("too-large", &request)?;
    ensure_holds(&expect(&ended, "failed")?, &["too-large", "Insufficient memory"])
}

fn claim_missing(world: &World) -> Result<()> {
    let mut request = request(world, "no-claim", "no-claim");
    request["spec"]["image"] = json!({"source": "pvc", "claim": "absent"});
    let ended = world.provision("no-claim", &request)?;
    ensure_holds(&expect(&ended, "failed")?, &["no-claim", "absent"])
}

/// Cancelled while it waits for a port that never opens: told as cancelled, and the machine is left as it is.
fn cancel(world: &World) -> Result<()> {
    let mut request = request(world, "cancel", "cancel");
    request["spec"]["checks"] = json!({"tcpPort": 9});
    world.start("cancel", &request, &[])?;
    until("the machine that is waited for", Duration::from_mins(3), || {
        let machine = world.machine("cancel")?;
        let status = machine.map_or(Value::Null, |m| m["status"]["printableStatus"].clone());
        Ok(if status == "Running" { Ok(()) } else { Err(status.to_string()) })
    })?;
    let patch = r#"{"spec":{"status":"CancelledRunFinally"}}"#;
    world.kubectl.run(&[
        "patch",
        "pipelinerun",
        "cancel",
        "-n",
        &world.namespace,
        "--type=merge",
        "-p",
        patch,
    ])?;
    let ended = world.ended("cancel")?;
    let report = ended.report()?;
    say!("  told: {}: {}", report.result("flow-outcome"), report.result("flow-message"));
    ensure!(report.result("flow-outcome") == "cancelled", "told `{}`", report.result("flow-outcome"));
    let machine = world.machine("cancel")?.context("the machine is gone")?;
    ensure!(machine["status"]["printableStatus"] == "Running", "{}", machine["status"]);
    served(world, "cancel")
}

fn http(world: &World) -> Result<()> {
    let mut request = request(world, "http", "http");
    request["spec"]["image"] = json!({"source": "http", "url": world.disk_url});
    request["spec"]["disks"] = json!([{"name": "root", "role": "root", "size": "64Mi"}]);
    let ended = world.provision("http", &request)?;
    runs(world, &ended, "http")?;
    served(world, "http")
}

fn clone(world: &World) -> Result<()> {
    world.golden_image("golden-1", &world.disk_url)?;
    let ended = world.provision("clone", &disks::with_disks(world, "clone", "clone"))?;
    runs(world, &ended, "clone")?;
    let machine = world.machine("clone")?.context("no VirtualMachine clone")?;
    let volumes = machine["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    let volume = volumes.iter().find(|v| v["name"] == "data").context("no volume `data`")?;
    let claim = volume["persistentVolumeClaim"]["claimName"].as_str().context("no claim")?;
    ensure!(claim.starts_with("clone-data-"), "the claim is called {claim}");
    let data = world.kubectl.get(&["datavolume", claim, "-n", &world.machines])?;
    let options = &data["metadata"]["annotations"]["argocd.argoproj.io/sync-options"];
    ensure!(options == "Prune=false,Delete=false", "the data disk has sync-options {options}");
    ensure!(data["metadata"]["ownerReferences"].is_null(), "the data disk is owned: {}", data["metadata"]);
    Ok(())
}

/// Somebody edits the machine's file after us; the same request again is done already and leaves that edit alone.
fn later_change(world: &World) -> Result<()> {
    let file = format!("vms/in-cluster/{}/off/virtual-machine.yaml", world.machines);
    let mut text = b"# edited by hand\n".to_vec();
    text.extend(world.git().read("main", &file)?);
    let edited = world.git().commit(&[Entry::file(&file, text)], "edited by hand")?;
    let mut off = request(world, "off", "off");
    off["spec"]["power"] = "off".into();
    let ended = world.provision("off-again", &off)?;
    expect(&ended, "ok")?;
    ensure!(world.git().tip()? == edited, "the branch moved");
    Ok(())
}

fn eight(world: &World) -> Result<()> {
    let names: Vec<String> = (1..=8).map(|n| format!("eight-{n}")).collect();
    for name in &names {
        world.start(name, &request(world, name, name), &[])?;
    }
    for name in &names {
        runs(world, &world.ended(name)?, name)?;
    }
    for name in &names {
        let commits = world.git().log_of(&format!("vms/in-cluster/{}/{name}", world.machines))?.len();
        ensure!(commits == 1, "{commits} commits for {name}");
    }
    ensure!(world.git().not_linear()? == 1, "the history is not linear");
    world.git().fsck()
}
