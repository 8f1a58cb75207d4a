//! `cargo xtask demo`: a flow in about a minute, on embedded real parts.

mod day_two;
mod patch;
mod patch_guest;
mod scenario;
mod scene;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::git;
use testbed::stage::Stage;

use crate::process::{cargo, run};
use scene::Scene;

/// Which flow is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The flow; all but the first are shown on a machine that is provisioned for it
    #[arg(long, value_enum, default_value_t = Shown::Provision, value_name = "NAME")]
    flow: Shown,
    /// Provision a machine in this scenario instead: something goes wrong, or another way, and the last line says what
    #[arg(long, value_name = "NAME", value_parser = scenario::names(), conflicts_with = "flow")]
    scenario: Option<String>,
}

/// A flow that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shown {
    /// From a request to a running machine; the same again; and a bad request refused
    Provision,
    /// Stopped, started and restarted
    Power,
    /// A snapshot, and the same one again
    Snapshot,
    /// A snapshot, other content, and the snapshot's content again
    Restore,
    /// A new boot disk; and an image that never comes, taken back
    Repave,
    /// Commands run on the boot disk; and some that fail, taken back. A script stands in for virt-customize
    Patch,
    /// Commands run in the guest over SSH while it runs, and some that fail. This machine, by a server of its own, is the guest
    PatchGuest,
    /// More memory and a larger disk
    Resize,
    /// Removed, its data disk kept
    Deprovision,
    /// Removed, and brought back
    Undelete,
}

/// Show a flow.
pub(crate) fn demo(root: &Path, options: &Options) -> Result<()> {
    run(cargo(root).args(["build", "--workspace", "--bins", "--locked"]))?;
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        println!("\nreal: the binaries, the order and arguments of pipelines/*.yaml, Git over smart HTTP,");
        println!("  etcd, kube-apiserver and kube-controller-manager with the CRDs of Argo CD, KubeVirt, CDI and Tekton");
        println!("stand-ins: the controllers of Argo CD, KubeVirt and CDI; no machine boots here (e2e shows that)");
        println!("not there: Tekton; its YAML is interpreted here, without pods");
        let server = git::Server::plain().await?;
        let stage = Stage::start(&server).await.context("no control plane can be had here")?;
        let scene = Scene::new(root, &server, &stage).await?;
        if let Some(name) = &options.scenario {
            return scenario::show(&scene, name).await;
        }
        match options.flow {
            Shown::Provision => tokio::task::block_in_place(|| provision(&scene, &server, root))?,
            flow => return day_two::show(&scene, flow).await,
        }
        let machine = stage.machine("payments-prod", "pay-batch-01").await?;
        println!("\n=== the machine, as the API server has it\n{}", serde_json::to_string_pretty(&machine["status"])?);
        Ok(())
    });
    println!("\ndemo: {}s after the build", started.elapsed().as_secs());
    ended
}

/// The machine of `examples/requests/linux.yaml`, the same again, and a bad request.
fn provision(scene: &Scene<'_>, server: &git::Server, root: &Path) -> Result<()> {
    let good = std::fs::read_to_string(root.join("examples/requests/linux.yaml"))?;
    println!("\n=== a request: examples/requests/linux.yaml\n{}", good.trim_end());
    // a param carries JSON
    let good: Value = serde_saphyr::from_str(&good)?;
    scene.done("provision-vm", "provision", &good)?;
    println!("\n=== the commit");
    println!("{}", server.git().git(&["log", "-1", "--stat", "--format=%h %an: %B", "main"])?);
    println!("\n=== what it holds for the machine");
    println!("{}", server.git().git(&["show", "--format=", "main", "--", "vms/**/virtual-machine.yaml"])?);

    println!("\n=== the same request again: done already");
    let tip = server.git().tip()?;
    scene.done("provision-vm", "provision-again", &good)?;
    ensure!(server.git().tip()? == tip, "the branch moved");

    println!("\n=== a bad request");
    let mut bad = good;
    bad["spec"]["compute"]["memory"] = "lots".into();
    bad["spec"]["compute"]["cpus"] = 2.into();
    bad["spec"]["target"]["name"] = "../../etc".into();
    ensure!(!scene.run("provision-vm", "bad", &bad)?.succeeded, "a bad request was accepted");
    ensure!(server.git().tip()? == tip, "the branch moved");
    println!("\nrefused, and nothing was written: the branch is still at {}", &tip[..7]);
    Ok(())
}
