//! The shipped pipelines on the testbed: real Git over smart HTTP, a real control plane, stand-ins for the controllers.
//!
//! Order, arguments and results are those of `pipelines/*.yaml` and `tekton/tasks/*.yaml`; the steps are the built binaries as
//! processes. What is shown here is shown of the binaries and the wiring, not of Tekton, Argo CD or KubeVirt: those are
//! real in `cargo xtask e2e`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::argocd;
use testbed::control_plane::Release;
use testbed::git;
use testbed::pipeline::{Ended, Event, Flow, Kill, Run};
use testbed::stage::{ARGOCD, PARENT, Stage};

/// The namespace of machines.
pub const MACHINES: &str = "team-a";
/// The namespace of the flows.
pub const FLOWS: &str = "vm-lifecycle";

/// A whole cluster and a repository, for one test.
#[derive(Debug)]
pub struct World {
    /// The repository's server.
    pub server: git::Server,
    /// The cluster.
    pub stage: Stage,
    root: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    /// Start everything.
    pub async fn start() -> Result<Self> {
        Self::start_with(argocd::Options::default()).await
    }

    /// Start everything, for many machines at once: Argo CD's stand-in looks at so many Applications side by side.
    pub async fn start_wide(workers: usize) -> Result<Self> {
        Self::start_with(argocd::Options { workers, ..argocd::Options::default() }).await
    }

    async fn start_with(argocd: argocd::Options) -> Result<Self> {
        let server = git::Server::plain().await?;
        let stage = Stage::start_with(&server, Release::default(), argocd).await?;
        for namespace in [MACHINES, FLOWS] {
            stage.plane().ensure_namespace(namespace).await?;
        }
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("no repository")?.to_owned();
        let world = Self { server, stage, root, folder: tempfile::tempdir()? };
        world.lay_out()?;
        Ok(world)
    }

    /// The folders that a PipelineRun would mount as workspaces.
    fn lay_out(&self) -> Result<()> {
        let credentials = self.workspace("basic-auth")?;
        fs::write(credentials.join(".git-credentials"), format!("{}\n", self.server.url_with_credentials()))?;
        fs::write(credentials.join(".gitconfig"), "[credential]\n\thelper = store\n")?;
        let kubeconfig = self.workspace("kubeconfig")?.join("kubeconfig");
        fs::copy(self.stage.plane().kubeconfig(), kubeconfig)?;
        Ok(())
    }

    fn workspace(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The folder with the built binaries.
    fn binaries() -> Result<PathBuf> {
        // tests are in target/<profile>/deps, binaries one above, where `cargo xtask` is as well
        let test = std::env::current_exe()?;
        let folder = test.ancestors().skip(1).take(2).find(|folder| folder.join("git-push").is_file());
        Ok(folder.context("build the binaries first: `cargo build --workspace --bins`")?.to_owned())
    }

    /// A flow with this request, ready to be run.
    pub fn flow(&self, pipeline: &str, run: &str, request: &Value) -> Result<Flow> {
        let file = self.root.join(format!("pipelines/{pipeline}.yaml"));
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let yaml: Value = serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?;
        let takes = |kind: &str, name: &str| {
            yaml["spec"][kind].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name))
        };
        let mut params = BTreeMap::new();
        for (name, value) in [
            ("request", request.to_string()),
            ("git-url", self.server.url()),
            ("parent-application", format!("{ARGOCD}/{PARENT}")),
            // a flow takes seconds; this is for a machine that is busy with something else
            ("timeout", "5m".to_owned()),
        ] {
            if takes("params", name) {
                params.insert(name.to_owned(), value);
            }
        }
        let mut workspaces = BTreeMap::new();
        for (name, folder) in
            [("basic-auth", "basic-auth"), ("basic-auth-read", "basic-auth"), ("kubeconfig", "kubeconfig")]
        {
            if takes("workspaces", name) {
                workspaces.insert(name.to_owned(), self.workspace(folder)?);
            }
        }
        let kubeconfig = Some(self.stage.plane().kubeconfig());
        Ok(Flow {
            pipeline: file,
            tasks: self.root.join("tekton/tasks"),
            binaries: Self::binaries()?,
            params,
            workspaces,
            run: Run { namespace: FLOWS.to_owned(), name: run.to_owned(), kubeconfig },
            ..Flow::default()
        })
    }

    /// Run a flow; whatever its steps say is printed, and so shown where a test fails.
    pub fn run(&self, pipeline: &str, run: &str, request: &Value) -> Result<Ended> {
        play(&self.flow(pipeline, run, request)?)
    }

    /// Run a flow of which a step dies.
    pub fn run_killed(&self, pipeline: &str, run: &str, request: &Value, kill: Kill) -> Result<Ended> {
        play(&Flow { kill: Some(kill), ..self.flow(pipeline, run, request)? })
    }

    /// Run a flow that has to end well; what the requester is told.
    pub fn done(&self, pipeline: &str, run: &str, request: &Value) -> Result<String> {
        let ended = self.run(pipeline, run, request)?;
        let (outcome, message) = told(&ended);
        ensure!(ended.succeeded && outcome == "ok", "{pipeline} {run}: {outcome}: {message}");
        Ok(message)
    }

    /// Run a flow that has to end otherwise; what the requester is told.
    pub fn refused(&self, pipeline: &str, run: &str, request: &Value, outcome: &str) -> Result<String> {
        let ended = self.run(pipeline, run, request)?;
        let (said, message) = told(&ended);
        ensure!(
            !ended.succeeded && said == outcome,
            "{pipeline} {run}: {said} instead of {outcome}: {message}"
        );
        Ok(message)
    }

    /// Provision the machine `name` with a boot disk and a data disk from the image `first`.
    pub fn provision(&self, name: &str) -> Result<()> {
        self.done("provision-vm", &format!("provision-{name}"), &machine(name)).map(drop)
    }

    /// What the file that holds the machine says, as Git has it.
    pub fn file(&self, name: &str) -> Result<String> {
        let path = format!("vms/in-cluster/{MACHINES}/{name}/virtual-machine.yaml");
        Ok(String::from_utf8(self.server.git().read("main", &path)?)?)
    }
}

impl World {
    /// Run a flow as it is; whatever its steps say is printed, and so shown where a test fails.
    pub fn play(&self, flow: &Flow) -> Result<Ended> {
        play(flow)
    }

    /// Run a flow as it is; how it ended, and every line that its steps said.
    pub fn hear(&self, flow: &Flow) -> Result<(Ended, String)> {
        hear(flow)
    }

    /// Run a flow as it is, and do this as soon as a step says these words; if none does, that is an error.
    pub fn play_until(
        &self,
        flow: &Flow,
        words: &str,
        act: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Ended> {
        let (mut act, mut acted) = (Some(act), Ok(()));
        let (ended, _) = hear_with(flow, &mut |line| {
            if let Some(act) = act.take_if(|_| line.contains(words)) {
                let runtime = tokio::runtime::Handle::current();
                acted = tokio::task::block_in_place(|| runtime.block_on(act()));
            }
        })?;
        ensure!(act.is_none(), "no step said `{words}`");
        acted.map(|()| ended)
    }

    /// The repository that this is a part of.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Make an object, or change what is named of it, at a path of the API.
    pub async fn put(&self, path: &str, object: &Value) -> Result<()> {
        let request = http::Request::patch(format!("{path}?fieldManager=test&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(serde_json::to_vec(object)?)?;
        self.stage.plane().client().await?.request::<Value>(request).await.context(path.to_owned()).map(drop)
    }

    /// Delete the object at a path of the API.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let request = http::Request::delete(path).body(Vec::new())?;
        self.stage.plane().client().await?.request::<Value>(request).await.context(path.to_owned()).map(drop)
    }

    /// An object in the namespace of machines: `group/version` or `v1`, plural, name.
    pub async fn object(&self, version: &str, plural: &str, name: &str) -> Result<Option<Value>> {
        self.get(version, MACHINES, plural, name).await
    }

    /// The machine's Argo CD Application.
    pub async fn application(&self, name: &str) -> Result<Option<Value>> {
        let name = format!("in-cluster.{MACHINES}.{name}");
        self.get("argoproj.io/v1alpha1", ARGOCD, "applications", &name).await
    }

    /// The machine's Lease.
    pub async fn lease(&self, name: &str) -> Result<Option<Value>> {
        let name = format!("in-cluster.{MACHINES}.{name}");
        self.get("coordination.k8s.io/v1", FLOWS, "leases", &name).await
    }

    /// How many objects of a kind there are in the namespace of machines.
    pub async fn count(&self, version: &str, plural: &str) -> Result<usize> {
        let list = self.get(version, MACHINES, plural, "").await?.context("no such kind")?;
        Ok(list["items"].as_array().map_or(0, Vec::len))
    }

    /// How many of them are about this machine: snapshots by their source, restores by their target.
    pub async fn count_of(&self, version: &str, plural: &str, machine: &str) -> Result<usize> {
        let list = self.get(version, MACHINES, plural, "").await?.context("no such kind")?;
        let about = |o: &&Value| {
            ["source", "target"].iter().any(|field| o["spec"][field]["name"].as_str() == Some(machine))
        };
        Ok(list["items"].as_array().map_or(0, |all| all.iter().filter(about).count()))
    }

    /// The claim of a machine's volume, as the machine in the cluster names it.
    pub async fn claim(&self, machine: &str, volume: &str) -> Result<String> {
        let machine = self.stage.machine(MACHINES, machine).await?;
        let volumes = machine["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        let found = volumes.iter().find(|v| v["name"] == volume);
        let claim = found.and_then(|v| v["persistentVolumeClaim"]["claimName"].as_str());
        Ok(claim.with_context(|| format!("no claim for `{volume}`: {volumes:?}"))?.to_owned())
    }

    async fn get(&self, version: &str, namespace: &str, plural: &str, name: &str) -> Result<Option<Value>> {
        let root = if version.contains('/') { "apis" } else { "api" };
        let path = format!("/{root}/{version}/namespaces/{namespace}/{plural}/{name}");
        let request = http::Request::get(path.trim_end_matches('/')).body(Vec::new())?;
        match self.stage.plane().client().await?.request::<Value>(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The volume of a disk that this request makes.
pub fn volume(request: &Value, disk: &str) -> Result<String> {
    let accepted = vm::request::Accepted::parse(&request.to_string());
    Ok(accepted.map_err(|problem| anyhow::anyhow!("{problem}"))?.volume(disk))
}

/// What the requester is told: outcome and message.
pub fn told(ended: &Ended) -> (String, String) {
    let result = |name: &str| ended.results.get(name).cloned().unwrap_or_default();
    (result("outcome"), result("message"))
}

fn play(flow: &Flow) -> Result<Ended> {
    hear(flow).map(|(ended, _)| ended)
}

fn hear(flow: &Flow) -> Result<(Ended, String)> {
    hear_with(flow, &mut |_| ())
}

fn hear_with(flow: &Flow, heard: &mut dyn FnMut(&str)) -> Result<(Ended, String)> {
    let mut lines = String::new();
    let mut tell = |event: Event<'_>| {
        let line = match event {
            Event::Begun { task, step, .. } => format!("▶ {task} / {step}"),
            Event::Line { text, .. } => format!("  {text}"),
            Event::Ended { code, .. } => format!("  exit {code}"),
            Event::Skipped { task, reason } => format!("▷ {task}: {reason}"),
        };
        heard(&line);
        lines.push_str(&line);
        lines.push('\n');
    };
    let ended = flow.run(&mut tell);
    show(&flow.run.name, &lines);
    Ok((ended?, lines))
}

#[expect(clippy::print_stdout, reason = "what a test shows where it fails")]
fn show(name: &str, lines: &str) {
    println!("=== {name}\n{lines}");
}

/// The request for a machine with a boot disk from the image `first` and a data disk.
pub fn machine(name: &str) -> Value {
    json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {"requestId": format!("make-{name}"), "requestedBy": "a test"},
        "spec": {
            "operation": "provision",
            "target": {"name": name, "namespace": MACHINES},
            "compute": {"cpu": 1, "memory": "1Gi"},
            "image": {"source": "http", "url": "https://images.example.com/first.img"},
            "disks": [{"name": "root", "role": "root", "size": "2Gi"}, {"name": "data", "size": "1Gi"}],
            "lifecycle": {"gracePeriodSeconds": 5},
        },
    })
}

/// A request about a machine that is there.
pub fn request(id: &str, operation: &str, name: &str, spec: &Value) -> Value {
    let mut request = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {"requestId": id, "requestedBy": "a test"},
        "spec": {"operation": operation, "target": {"name": name, "namespace": MACHINES}},
    });
    if spec.as_object().is_some_and(|fields| !fields.is_empty()) {
        request["spec"]["operationSpec"] = spec.clone();
    }
    request
}
