//! A machine and its Application on the stand-in API server, and the built binary beside it. What Argo CD and KubeVirt
//! would do is done by the test: these are scripts, not controllers.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::standin::Standin;

pub(crate) const APPLICATION: &str =
    "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/in-cluster.team-a.web01";
pub(crate) const PARENT: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/vms";
pub(crate) const VM: &str = "/apis/kubevirt.io/v1/namespaces/team-a/virtualmachines/web01";
pub(crate) const VMI: &str = "/apis/kubevirt.io/v1/namespaces/team-a/virtualmachineinstances/web01";
pub(crate) const DISK: &str = "/apis/cdi.kubevirt.io/v1beta1/namespaces/team-a/datavolumes/web01-root";
pub(crate) const OURS: &str = "9f8e7d6000000000000000000000000000000000";
pub(crate) const OLD: &str = "0d0d0d0000000000000000000000000000000000";
pub(crate) const DIGEST: &str = "sha256:aa";

/// An Application that was compared at this revision, in this second of one minute.
pub(crate) fn application(revision: &str, status: &str, second: u32) -> Value {
    let source = json!({"repoURL": "https://git.example/vms.git", "path": "vms/in-cluster/team-a/web01", "targetRevision": "main"});
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": "team-a"});
    json!({
        "metadata": {"name": "in-cluster.team-a.web01", "namespace": "argocd"},
        "spec": {"source": source, "destination": destination, "syncPolicy": {"automated": {}}},
        "status": {
            "sync": {"status": status, "revision": revision, "comparedTo": {"source": source, "destination": destination}},
            "reconciledAt": format!("2026-11-21T06:00:{second:02}Z"),
            "resources": [{"group": "kubevirt.io", "kind": "VirtualMachine", "namespace": "team-a", "name": "web01", "status": status}]
        }
    })
}

/// A machine of this request, with KubeVirt's word for it and one disk.
pub(crate) fn vm(digest: &str, status: &str) -> Value {
    json!({
        "metadata": {"name": "web01", "namespace": "team-a", "generation": 1, "annotations": {"vmlifecycle.dev/request-digest": digest}},
        "spec": {"runStrategy": "Always", "template": {"spec": {"volumes": [{"name": "root", "persistentVolumeClaim": {"claimName": "web01-root"}}]}}},
        "status": {"printableStatus": status, "created": true, "desiredGeneration": 1, "conditions": [
            {"type": "Ready", "status": if status == "Running" { "True" } else { "False" }, "message": "Guest VM is not reported as running"}]}
    })
}

pub(crate) fn vmi(phase: &str, condition: &Value) -> Value {
    json!({
        "metadata": {"name": "web01", "namespace": "team-a"},
        "status": {"phase": phase, "nodeName": "node1", "interfaces": [{"ipAddress": "127.0.0.1"}], "conditions": [condition]}
    })
}

/// A machine of this request that runs.
pub(crate) fn runs(standin: &Standin, digest: &str) {
    standin.put(VMI, vmi("Running", &json!({"type": "AgentConnected", "status": "True"})));
    standin.put(VM, vm(digest, "Running"));
    standin.put(DISK, json!({"metadata": {"name": "web01-root"}, "status": {"phase": "Succeeded"}}));
}

/// A binary at work.
pub(crate) struct Run {
    child: Child,
    folder: tempfile::TempDir,
}

/// What it ended with: the code, standard error with times cut off, and a result.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) log: Vec<String>,
    folder: tempfile::TempDir,
}

impl Run {
    /// Begin a wait with the flags that every scenario has, and these.
    pub(crate) fn begin(standin: &Standin, timeout: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(&config, standin.kubeconfig("token")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_wait-synced"))
            .arg(format!("--kubeconfig={}", config.display()))
            .arg(format!("--outcome-path={}", folder.path().join("results/outcome").display()))
            .args(["--application=argocd/in-cluster.team-a.web01", "--vm=team-a/web01"])
            .arg(format!("--timeout={timeout}"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_at_work(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Wait for its end.
    pub(crate) async fn end(self) -> Ended {
        let Self { child, folder } = self;
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        let Output { status, stdout, stderr } = output;
        assert_eq!(String::from_utf8(stdout).unwrap(), "");
        let log = String::from_utf8(stderr).unwrap().lines().map(without_time).collect();
        Ended { code: status.code().unwrap(), log, folder }
    }
}

impl Ended {
    pub(crate) fn result(&self, name: &str) -> String {
        read(&self.folder.path().join("results").join(name))
    }

    /// The last line but hints.
    pub(crate) fn last(&self) -> &str {
        self.log.iter().rev().find(|l| !l.starts_with("hint: ")).map_or("", String::as_str)
    }

    #[track_caller]
    pub(crate) fn is(&self, code: i32, last: &str) {
        assert_eq!((self.code, self.last()), (code, last), "{:#?}", self.log);
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `…, 29m40s left` differs from run to run.
fn without_time(line: &str) -> String {
    match line.rsplit_once(", ") {
        Some((line, time)) if time.ends_with(" left") => line.to_owned(),
        _ => line.to_owned(),
    }
}

/// Until the stand-in has seen this many requests that meet a condition.
pub(crate) async fn until(what: &str, met: impl Fn() -> bool) {
    let wait = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {what}");
}
