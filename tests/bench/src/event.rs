//! How soon `wait-synced` ends once the API server has said yes to what it waits for, and how much it asks meanwhile.
//!
//! The API server is a real one; what Argo CD and KubeVirt would write is written here.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

const NAMESPACE: &str = "bench";
const COMMIT: &str = "9f8e7d6000000000000000000000000000000000";
/// A line that tells that everything is there but the machine.
const WAITS: &str = "waiting for kubevirt";

/// The machines, one API server, one program.
#[derive(Debug)]
pub struct Bed<'a> {
    plane: &'a ControlPlane,
    wait_synced: &'a Path,
}

impl<'a> Bed<'a> {
    /// On this API server.
    pub async fn new(plane: &'a ControlPlane, wait_synced: &'a Path) -> Result<Self> {
        plane.ensure_namespace(NAMESPACE).await?;
        Ok(Self { plane, wait_synced })
    }

    /// From the API server's yes to the end of the process, for so many machines one after the other, in order of time.
    pub async fn latencies(&self, machines: u32) -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        for n in 0..machines {
            let name = format!("vm-{n}");
            let wait = self.waits(&name).await?;
            took.push(self.end(&name, wait).await?);
        }
        took.sort_unstable();
        Ok(took)
    }

    /// The same for a peer that waits for the machine's instance alone.
    pub async fn latencies_of_kubectl(&self, kubectl: &Path, machines: u32) -> Result<Vec<Duration>> {
        let mut took = Vec::new();
        for n in 0..machines {
            let name = format!("kubectl-{n}");
            self.machine(&name, false).await?;
            let child = Command::new(kubectl)
                .arg(format!("--kubeconfig={}", self.plane.kubeconfig().display()))
                .args(["wait", "--for=condition=Ready", "--timeout=60s", "-n", NAMESPACE, "-v=6"])
                .arg(format!("virtualmachineinstances/{name}"))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            // at this level it tells each request: its watch has begun
            let wait = Waiting::begin(child, "watch=true").await?;
            took.push(self.end(&name, wait).await?);
        }
        took.sort_unstable();
        Ok(took)
    }

    /// Let the machine run: from the API server's yes to the end of what waits for it.
    async fn end(&self, name: &str, wait: Waiting) -> Result<Duration> {
        self.machine(name, true).await?;
        let start = Instant::now();
        wait.end().await?;
        Ok(start.elapsed())
    }

    /// How many requests a wait makes while nothing happens, in the minutes from `after` for `length`.
    pub async fn idle(&self, after: Duration, length: Duration) -> Result<u64> {
        let name = "idle";
        let wait = self.waits(name).await?;
        tokio::time::sleep(after).await;
        let before = self.requests().await?;
        tokio::time::sleep(length).await;
        let asked = self.requests().await? - before;
        self.end(name, wait).await?;
        Ok(asked)
    }

    /// A wait that has come as far as the machine, which does not run yet.
    async fn waits(&self, name: &str) -> Result<Waiting> {
        self.machine(name, false).await?;
        self.application(name, 0).await?;
        let folder = tempfile::tempdir()?;
        let child = Command::new(self.wait_synced)
            .arg(format!("--kubeconfig={}", self.plane.kubeconfig().display()))
            .arg(format!("--outcome-path={}", folder.path().join("outcome").display()))
            .arg(format!("--application={NAMESPACE}/{name}"))
            .arg(format!("--vm={NAMESPACE}/{name}"))
            .arg(format!("--commit={COMMIT}"))
            .arg("--timeout=15m")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let path = application(name);
        let asked = async {
            loop {
                let annotations = self.get(&path).await?["metadata"]["annotations"].take();
                if !annotations["argocd.argoproj.io/refresh"].is_null() {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked).await.context("no refresh is asked for")??;
        self.application(name, 1).await?;
        let mut waiting = Waiting::begin(child, WAITS).await?;
        waiting.folder = Some(folder);
        Ok(waiting)
    }

    /// What Argo CD writes when it has compared for the nth time.
    async fn application(&self, name: &str, time: u32) -> Result<()> {
        let source = json!({"repoURL": "https://git.example/vms.git", "path": format!("vms/in-cluster/{NAMESPACE}/{name}"), "targetRevision": "main"});
        let destination = json!({"server": "https://kubernetes.default.svc", "namespace": NAMESPACE});
        let machine = json!({"group": "kubevirt.io", "version": "v1", "kind": "VirtualMachine", "namespace": NAMESPACE, "name": name, "status": "Synced"});
        let object = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name},
            "spec": {"project": "default", "source": source, "destination": destination, "syncPolicy": {"automated": {}}},
            "status": {
                "sync": {"status": "Synced", "revision": COMMIT, "comparedTo": {"source": source, "destination": destination}},
                "reconciledAt": format!("2026-11-21T06:00:{time:02}Z"), "resources": [machine]
            }
        });
        let path = application(name);
        self.put(&path, &object).await?;
        let answered = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": null}}});
        self.patch(&path, "application/merge-patch+json", &answered).await
    }

    /// The machine and its instance as KubeVirt shows them before and after it runs; its word for the instance comes last.
    async fn machine(&self, name: &str, runs: bool) -> Result<()> {
        let status = if runs { "True" } else { "False" };
        let ready =
            json!([{"type": "Ready", "status": status, "message": "Guest VM is not reported as running"}]);
        let volumes = json!([{"name": "root", "containerDisk": {"image": "quay.io/disks/linux:1"}}]);
        let template = json!({"spec": {"domain": {"devices": {}}, "volumes": volumes}});
        let vm = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name},
            "spec": {"runStrategy": "Always", "template": template},
        });
        let path = path("virtualmachines", name);
        self.put(&path, &vm).await?;
        let word = if runs { "Running" } else { "Starting" };
        let status = json!({"printableStatus": word, "created": true, "ready": runs, "desiredGeneration": 1, "observedGeneration": 1, "conditions": ready});
        self.put(&format!("{path}/status"), &with_status(vm, status)).await?;
        let vmi = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": name},
            "spec": {"domain": {"devices": {}}, "volumes": volumes},
            "status": {"phase": if runs { "Running" } else { "Scheduling" }, "nodeName": "node1", "conditions": ready}
        });
        self.put(&self::path("virtualmachineinstances", name), &vmi).await
    }

    async fn put(&self, path: &str, object: &Value) -> Result<()> {
        self.patch(&format!("{path}?fieldManager=bench&force=true"), "application/apply-patch+yaml", object)
            .await
    }

    async fn patch(&self, path: &str, form: &str, change: &Value) -> Result<()> {
        let request =
            Request::patch(path).header("content-type", form).body(change.to_string().into_bytes())?;
        let _: Value = self.plane.client().await?.request(request).await.with_context(|| path.to_owned())?;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.plane.client().await?.request(Request::get(path).body(Vec::new())?).await?)
    }

    /// How many requests about the three kinds the API server has begun, of everybody.
    async fn requests(&self) -> Result<u64> {
        let request = Request::get("/metrics").body(Vec::new())?;
        let text: String = self.plane.client().await?.request_text(request).await?;
        let kinds = ["applications", "virtualmachines", "virtualmachineinstances"];
        let counted = |line: &&str| {
            line.starts_with("apiserver_request_total{")
                && kinds.iter().any(|kind| line.contains(&format!("resource=\"{kind}\"")))
        };
        let counts =
            text.lines().filter(counted).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Ok(counts.sum::<f64>() as u64)
    }
}

fn with_status(mut object: Value, status: Value) -> Value {
    object["status"] = status;
    object
}

fn path(kinds: &str, name: &str) -> String {
    format!("/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/{kinds}/{name}")
}

fn application(name: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/applications/{name}")
}

/// A process that waits.
struct Waiting {
    child: Child,
    /// What it says, in a thread: a pipe that nobody reads fills.
    said: std::thread::JoinHandle<String>,
    /// Where it writes.
    folder: Option<tempfile::TempDir>,
}

impl Waiting {
    /// Once it has said this.
    async fn begin(mut child: Child, word: &'static str) -> Result<Self> {
        let lines = BufReader::new(child.stderr.take().context("no standard error")?).lines();
        let (found, mut heard) = tokio::sync::mpsc::channel(1);
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            for line in lines.map_while(Result::ok) {
                if line.contains(word) {
                    // told once is told
                    let _ = found.try_send(());
                }
                text += &line;
                text.push('\n');
            }
            text
        });
        let heard = tokio::time::timeout(Duration::from_mins(1), heard.recv()).await;
        if !matches!(heard, Ok(Some(()))) {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("it never said `{word}`:\n{}", said.join().unwrap_or_default());
        }
        Ok(Self { child, said, folder: None })
    }

    async fn end(self) -> Result<()> {
        let Self { mut child, said, folder } = self;
        let status = tokio::task::spawn_blocking(move || child.wait()).await??;
        drop(folder);
        ensure!(status.success(), "it ended with {status}:\n{}", said.join().unwrap_or_default());
        Ok(())
    }
}
