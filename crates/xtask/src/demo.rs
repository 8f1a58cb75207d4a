//! `cargo xtask demo`: the main flow in about a minute, on embedded real parts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::git;
use testbed::pipeline::{Ended, Event, Flow};
use testbed::stage::{ARGOCD, PARENT, Stage};

use crate::process::{cargo, run};

/// Provision the machine of `examples/requests/linux.yaml`, then have a bad request refused.
pub(crate) fn demo(root: &Path) -> Result<()> {
    run(cargo(root).args(["build", "--workspace", "--bins", "--locked"]))?;
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        println!("\nreal: the binaries, the order and arguments of pipelines/provision-vm.yaml, Git over smart HTTP");
        let server = git::Server::plain().await?;
        match Stage::start(&server).await {
            Ok(stage) => {
                println!("real: etcd, kube-apiserver and kube-controller-manager, with the CRDs of Argo CD, KubeVirt and CDI");
                println!("stand-ins: the controllers of Argo CD, KubeVirt and CDI; no machine boots here (e2e shows that)");
                println!("not there: Tekton; its YAML is interpreted here, without pods");
                let scene = Scene::new(root, &server, Some(&stage.plane().kubeconfig()))?;
                tokio::task::block_in_place(|| scene.show())?;
                let machine = stage.machine("payments-prod", "pay-batch-01").await?;
                println!("\n=== the machine, as the API server has it\n{}", serde_json::to_string_pretty(&machine["status"])?);
                Ok(())
            }
            Err(error) => {
                println!("no control plane can be had here, so this demo ends at the commit: {error:#}");
                let scene = Scene::new(root, &server, None)?;
                tokio::task::block_in_place(|| scene.show())
            }
        }
    });
    println!("\ndemo: {}s after the build", started.elapsed().as_secs());
    ended
}

/// What the flow runs on.
struct Scene<'a> {
    root: &'a Path,
    server: &'a git::Server,
    kubeconfig: bool,
    folder: tempfile::TempDir,
}

impl<'a> Scene<'a> {
    /// Lay out the workspaces that a PipelineRun would mount.
    fn new(root: &'a Path, server: &'a git::Server, kubeconfig: Option<&Path>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let credentials = folder.path().join("basic-auth");
        fs::create_dir(&credentials)?;
        fs::write(credentials.join(".git-credentials"), format!("{}\n", server.url_with_credentials()))?;
        fs::write(credentials.join(".gitconfig"), "[credential]\n\thelper = store\n")?;
        let policy = folder.path().join("policy");
        fs::create_dir(&policy)?;
        fs::copy(root.join("examples/policy.yaml"), policy.join("policy.yaml"))?;
        if let Some(file) = kubeconfig {
            fs::create_dir(folder.path().join("kubeconfig"))?;
            fs::copy(file, folder.path().join("kubeconfig/kubeconfig"))?;
        }
        Ok(Self { root, server, kubeconfig: kubeconfig.is_some(), folder })
    }

    /// Both requests through the flow.
    fn show(&self) -> Result<()> {
        let file = self.root.join("examples/requests/linux.yaml");
        let good = fs::read_to_string(&file)?;
        println!("\n=== a request: examples/requests/linux.yaml\n{}", good.trim_end());
        // a param carries JSON
        let good: Value = serde_saphyr::from_str(&good)?;
        let ended = self.provision(&good)?;
        ensure!(ended.succeeded, "the flow failed");
        println!("\n=== the commit");
        println!("{}", self.server.git().git(&["log", "-1", "--stat", "--format=%h %an: %B", "main"])?);
        println!("\n=== what it holds for the machine");
        let diff =
            self.server.git().git(&["show", "--format=", "main", "--", "vms/**/virtual-machine.yaml"])?;
        println!("{diff}");

        println!("\n=== the same request again: done already");
        let tip = self.server.git().tip()?;
        ensure!(self.provision(&good)?.succeeded, "the flow failed");
        ensure!(self.server.git().tip()? == tip, "the branch moved");

        println!("\n=== a bad request");
        let mut bad = good;
        bad["spec"]["compute"]["memory"] = "lots".into();
        bad["spec"]["compute"]["cpus"] = 2.into();
        bad["spec"]["target"]["name"] = "../../etc".into();
        let ended = self.provision(&bad)?;
        ensure!(!ended.succeeded, "a bad request was accepted");
        ensure!(self.server.git().tip()? == tip, "the branch moved");
        println!("\nrefused, and nothing was written: the branch is still at {}", &tip[..7]);
        Ok(())
    }

    fn provision(&self, request: &Value) -> Result<Ended> {
        let mut params: BTreeMap<String, String> =
            [("request", request.to_string()), ("git-url", self.server.url())]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
        let mut workspaces: BTreeMap<String, PathBuf> =
            ["basic-auth", "policy"].map(|name| (name.to_owned(), self.folder.path().join(name))).into();
        let mut pipeline = self.root.join("pipelines/provision-vm.yaml");
        if self.kubeconfig {
            params.insert("parent-application".to_owned(), format!("{ARGOCD}/{PARENT}"));
            workspaces.insert("basic-auth-read".to_owned(), self.folder.path().join("basic-auth"));
            workspaces.insert("kubeconfig".to_owned(), self.folder.path().join("kubeconfig"));
        } else {
            pipeline = self.up_to_the_commit(&pipeline)?;
        }
        let binaries = std::env::current_exe()?.parent().context("a program without a folder")?.to_owned();
        let flow = Flow { pipeline, tasks: self.root.join("tekton/tasks"), binaries, params, workspaces };
        let ended = flow.run(&mut tell)?;
        for (name, value) in ended.results.iter().filter(|(_, value)| !value.is_empty()) {
            println!("  result {name} = {value}");
        }
        Ok(ended)
    }

    /// The Pipeline without what needs a cluster.
    fn up_to_the_commit(&self, pipeline: &Path) -> Result<PathBuf> {
        let mut whole: Value = serde_saphyr::from_str(&fs::read_to_string(pipeline)?)?;
        let spec = &mut whole["spec"];
        spec["tasks"].as_array_mut().context("a Pipeline without tasks")?.truncate(1);
        spec["finally"] = Value::Array(Vec::new());
        spec["results"] = Value::Array(Vec::new());
        let file = self.folder.path().join("up-to-the-commit.yaml");
        fs::write(&file, whole.to_string())?;
        Ok(file)
    }
}

/// Tell what a flow does, as a person follows it.
fn tell(event: Event<'_>) {
    match event {
        Event::Begun { task, step, .. } => println!("\n▶ {task} / {step}"),
        Event::Line { text, .. } => println!("  {text}"),
        Event::Ended { code: 0, .. } | Event::Skipped { .. } => {}
        Event::Ended { code, .. } => println!("  exit {code}"),
    }
}
