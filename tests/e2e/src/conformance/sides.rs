//! Where a scenario is shown.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::cdi::Fault;
use testbed::control_plane::Client;
use testbed::git;
use testbed::kubevirt;
use testbed::stage::{ARGOCD, PARENT};

use super::cases::Facts;
use crate::setup::World;

/// Longer than any scenario takes to be shown, and shorter than the flow would wait for what does not come.
const TIMEOUT: &str = "90s";

/// A cluster that Argo CD applies a repository to.
pub(super) trait Side {
    /// For people.
    fn name(&self) -> String;
    fn client(&self) -> Client;
    fn git(&self) -> &git::Repository;
    /// Run `provision-vm` with this request, however it ends; while it runs, or after it, `shown` waits and acts.
    fn provision(
        &self,
        run: &str,
        request: &Value,
        fault: Option<Fault>,
        shown: &dyn Fn() -> Result<()>,
    ) -> Result<()>;
}

/// The real thing.
pub(super) struct Cluster<'w> {
    world: &'w World,
    client: Client,
}

impl<'w> Cluster<'w> {
    pub(super) async fn new(world: &'w World) -> Result<Self> {
        let kubeconfig = std::env::var("KUBECONFIG").context("KUBECONFIG names no file")?;
        let client = testbed::control_plane::client(Path::new(&kubeconfig)).await?;
        Ok(Self { world, client })
    }
}

impl Side for Cluster<'_> {
    fn name(&self) -> String {
        format!("Kubernetes {}", self.world.version)
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn git(&self) -> &git::Repository {
        self.world.git()
    }

    fn provision(
        &self,
        run: &str,
        request: &Value,
        _: Option<Fault>,
        shown: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        self.world.start(run, request, &[("timeout", TIMEOUT)])?;
        let was_shown = shown();
        let ended = self.world.ended(run)?;
        println!("{}", ended.lines());
        was_shown
    }
}

/// The stand-ins, each with a real API server below it.
pub(super) struct StandIns {
    world: flows::World,
    client: Client,
    /// With `policy.yaml`: what the site of the cluster allows besides what every site does.
    policy: tempfile::TempDir,
}

impl StandIns {
    pub(super) async fn start(facts: &Facts) -> Result<Self> {
        let world = flows::World::start().await?;
        world.stage.plane().ensure_namespace(&facts.namespace).await?;
        let client = world.stage.plane().client().await?;
        let policy = tempfile::tempdir()?;
        let spec = json!({"storageClasses": ["*"], "images": {"urlPrefixes": [facts.url_prefix()]}});
        let text =
            json!({"apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMPolicy", "spec": spec}).to_string();
        fs::write(policy.path().join("policy.yaml"), text)?;
        Ok(Self { world, client, policy })
    }
}

impl Side for StandIns {
    fn name(&self) -> String {
        "stand-ins".to_owned()
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn git(&self) -> &git::Repository {
        self.world.server.git()
    }

    fn provision(
        &self,
        run: &str,
        request: &Value,
        fault: Option<Fault>,
        shown: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let target = |field: &str| request["spec"]["target"][field].as_str().unwrap_or_default();
        // the disk that the cluster has is blank
        self.world.stage.kubevirt.fail(target("namespace"), target("name"), kubevirt::Fault::Deaf);
        if let Some(fault) = fault {
            self.world.stage.cdi.fail(target("namespace"), &flows::volume(request, "root")?, fault);
        }
        let mut flow = self.world.flow("provision-vm", run, request)?;
        flow.params.insert("timeout".to_owned(), TIMEOUT.to_owned());
        flow.params.insert("parent-application".to_owned(), format!("{ARGOCD}/{PARENT}"));
        flow.workspaces.insert("policy".to_owned(), self.policy.path().to_owned());
        thread::scope(|scope| {
            let ended = scope.spawn(|| self.world.hear(&flow));
            let was_shown = shown();
            // how it ended is the business of the scenarios of `tests/flows`
            ended.join().ok().context("a flow that panicked")??;
            was_shown
        })
    }
}

impl World {
    /// A storage class that makes volumes for their first consumer, if the cluster has one.
    pub(crate) fn first_consumer(&self) -> Result<Option<String>> {
        let classes = self.kubectl.get(&["storageclass"])?["items"].as_array().cloned().unwrap_or_default();
        Ok(classes
            .iter()
            .find(|class| waits(class))
            .and_then(|class| class["metadata"]["name"].as_str())
            .map(str::to_owned))
    }

    /// Whether CDI leaves volumes of such a class to their first consumer.
    pub(crate) fn consumer_is_waited_for(&self) -> Result<bool> {
        let config = self.kubectl.get(&["cdiconfig", "config"])?;
        let gates = config["spec"]["featureGates"].as_array().cloned().unwrap_or_default();
        Ok(gates.iter().any(|gate| gate == "HonorWaitForFirstConsumer"))
    }
}

/// Whether a storage class makes volumes for their first consumer.
pub(crate) fn waits(class: &Value) -> bool {
    class["volumeBindingMode"] == "WaitForFirstConsumer"
}
