//! A namespace on a real API server, where the test itself writes what controllers would, and the built binaries beside it.
//! What is written here is what those controllers were seen to write; nothing shows what they do. The tests of
//! `resolve-image`, `grow-disk`, `patch-disk` and `patch-guest` use it as well.
#![expect(dead_code, reason = "each test uses what it needs")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

/// One namespace.
pub(crate) struct Bed {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: &'static str,
}

impl Bed {
    pub(crate) async fn new(namespace: &'static str) -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        plane.ensure_namespace(namespace).await.unwrap();
        Self { plane, namespace }
    }

    /// The path of an object of the namespace.
    pub(crate) fn path(&self, api: &str, plural: &str, name: &str) -> String {
        let root = if api.contains('/') { "apis" } else { "api" };
        format!("/{root}/{api}/namespaces/{}/{plural}/{name}", self.namespace)
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Value,
    ) -> Result<Value, String> {
        let request = http::Request::builder().method(method).uri(path).header("content-type", content_type);
        let request = request.body(body.to_string().into_bytes()).unwrap();
        self.plane.client().await.unwrap().request(request).await.map_err(|error| error.to_string())
    }

    /// Make or change an object, and its status, which only controllers may write.
    pub(crate) async fn put(&self, api: &str, kind: &str, plural: &str, name: &str, mut object: Value) {
        let path = self.path(api, plural, name);
        object["apiVersion"] = json!(api);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(self.namespace);
        let status = object.as_object_mut().unwrap().remove("status");
        let apply = format!("{path}?fieldManager=test&force=true");
        // the account that pods need is made by a controller, a moment after its namespace
        let mut tries = 0;
        while let Err(error) =
            self.request("PATCH", &apply, "application/apply-patch+yaml", object.clone()).await
        {
            tries += 1;
            assert!(tries < 100 && error.contains("serviceaccount"), "{path}: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if let Some(status) = status {
            self.status(&path, status).await;
        }
    }

    /// Put this in the place of what the status holds under the same names.
    pub(crate) async fn status(&self, path: &str, status: Value) {
        let body = json!({"status": status});
        let kind = "application/merge-patch+json";
        match self.request("PATCH", &format!("{path}/status"), kind, body.clone()).await {
            Ok(_) => {}
            // a kind whose status is a field like any other
            Err(error) if error.contains("NotFound") => {
                self.request("PATCH", path, kind, body).await.unwrap();
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) async fn merge(&self, path: &str, change: Value) {
        self.request("PATCH", path, "application/merge-patch+json", change).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.request("GET", path, "application/json", json!(null)).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.request("DELETE", path, "application/json", json!({"gracePeriodSeconds": 0})).await.unwrap();
    }

    /// Delete it, and wait until its finalizers let it go.
    pub(crate) async fn gone(&self, path: &str) {
        self.delete(path).await;
        let wait = async {
            while self.request("GET", path, "application/json", json!(null)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "still there: {path}");
    }

    pub(crate) fn vm_path(&self) -> String {
        self.path("kubevirt.io/v1", "virtualmachines", "web01")
    }

    pub(crate) fn vmi_path(&self) -> String {
        self.path("kubevirt.io/v1", "virtualmachineinstances", "web01")
    }

    pub(crate) fn claim_path(&self, name: &str) -> String {
        self.path("v1", "persistentvolumeclaims", name)
    }

    pub(crate) fn volume_path(&self, name: &str) -> String {
        self.path("cdi.kubevirt.io/v1beta1", "datavolumes", name)
    }

    /// A machine `web01` with a boot disk `web01-root` and a data disk `web01-data`, both there.
    pub(crate) async fn machine(&self, strategy: &str) {
        for disk in ["web01-root", "web01-data"] {
            self.volume(disk, "Succeeded").await;
            self.claim(disk, "Filesystem", "Bound").await;
        }
        let disk = |name: &str| json!({"name": name, "disk": {"bus": "virtio"}});
        let volume = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": format!("web01-{name}")}});
        let vm = json!({
            "spec": {"runStrategy": strategy, "template": {"spec": {
                "domain": {"cpu": {"sockets": 2}, "memory": {"guest": "2Gi"}, "devices": {"disks": [disk("root"), disk("data")]}},
                "volumes": [volume("root"), volume("data")]
            }}},
            "status": {"printableStatus": "Stopped", "conditions": [{"type": "Ready", "status": "False", "reason": "VMINotExists"}]}
        });
        self.put("kubevirt.io/v1", "VirtualMachine", "virtualmachines", "web01", vm).await;
    }

    /// The machine runs and is ready, as an instance of 2 CPUs and 2Gi at 127.0.0.1.
    pub(crate) async fn runs(&self) {
        self.machine("Always").await;
        self.instance().await;
        let generation = self.get(&self.vm_path()).await["metadata"]["generation"].clone();
        self.status(
            &self.vm_path(),
            json!({
                "printableStatus": "Running", "created": true, "ready": true,
                "observedGeneration": generation, "desiredGeneration": generation,
                "conditions": [{"type": "Ready", "status": "True"}]
            }),
        )
        .await;
    }

    /// The instance of a machine that runs.
    pub(crate) async fn instance(&self) {
        let disk = |name: &str| json!({"name": name, "disk": {"bus": "virtio"}});
        let volume = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": format!("web01-{name}")}});
        let vmi = json!({
            "spec": {
                "domain": {"cpu": {"sockets": 2, "cores": 1, "threads": 1}, "memory": {"guest": "2Gi"}, "devices": {"disks": [disk("root"), disk("data")]}},
                "volumes": [volume("root"), volume("data")]
            },
            "status": {
                "phase": "Running", "nodeName": "node1",
                "interfaces": [{"name": "default", "ipAddress": "127.0.0.1", "ipAddresses": ["127.0.0.1"]}],
                "currentCPUTopology": {"sockets": 2, "cores": 1, "threads": 1},
                "memory": {"guestAtBoot": "2Gi", "guestCurrent": "2Gi"},
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T08:00:00Z"}]
            }
        });
        self.put("kubevirt.io/v1", "VirtualMachineInstance", "virtualmachineinstances", "web01", vmi).await;
    }

    /// A data volume as render-vm makes data disks.
    pub(crate) async fn volume(&self, name: &str, phase: &str) {
        let volume = json!({
            "metadata": {"annotations": {"argocd.argoproj.io/sync-options": "Prune=false,Delete=false"}},
            "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}},
            "status": {"phase": phase}
        });
        self.put("cdi.kubevirt.io/v1beta1", "DataVolume", "datavolumes", name, volume).await;
    }

    /// A claim of 1Gi and storage class `fast`.
    pub(crate) async fn claim(&self, name: &str, mode: &str, phase: &str) {
        let capacity = if phase == "Bound" { json!({"storage": "1Gi"}) } else { json!({}) };
        let claim = json!({
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeMode": mode, "volumeName": format!("pv-{name}"),
                "resources": {"requests": {"storage": "1Gi"}}
            },
            "status": {"phase": phase, "capacity": capacity, "accessModes": ["ReadWriteOnce"]}
        });
        self.put("v1", "PersistentVolumeClaim", "persistentvolumeclaims", name, claim).await;
    }

    /// A pod with this claim.
    pub(crate) async fn pod(&self, name: &str, claim: &str) {
        let pod = json!({
            "spec": {
                "containers": [{"name": "c", "image": "registry.local/none:1"}], "automountServiceAccountToken": false,
                "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": claim}}]
            },
            "status": {"phase": "Running"}
        });
        self.put("v1", "Pod", "pods", name, pod).await;
    }

    /// A ServiceAccount with these rules in the namespace, as its kubeconfig.
    pub(crate) async fn account(&self, name: &str, rules: Value) -> PathBuf {
        let api = "rbac.authorization.k8s.io/v1";
        self.put(api, "Role", "roles", name, json!({"rules": rules})).await;
        let binding = json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}]
        });
        self.put(api, "RoleBinding", "rolebindings", name, binding).await;
        self.plane.kubeconfig_for_service_account(self.namespace, name).await.unwrap()
    }

    /// Until this holds of an object.
    pub(crate) async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) {
        let wait = async {
            while !holds(&self.get(path).await) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {path}");
    }
}

/// A binary at work.
pub(crate) struct Run {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
    folder: tempfile::TempDir,
}

/// What it ended with.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) log: Vec<String>,
    pub(crate) output: String,
    folder: tempfile::TempDir,
}

impl Run {
    /// Begin with these flags, as whoever this kubeconfig names.
    pub(crate) fn begin(program: &str, kubeconfig: &Path, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--outcome-path={}", folder.path().join("results/outcome").display()))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, lines) =
            (Arc::new(Mutex::new(Vec::new())), BufReader::new(child.stderr.take().unwrap()).lines());
        let said = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| said.lock().unwrap().push(without_time(&line)));
        });
        Self { child, log, reader, folder }
    }

    /// Until it has said a line with these words.
    pub(crate) async fn says(&self, words: &str) {
        let wait = async {
            while !self.log.lock().unwrap().iter().any(|l| l.contains(words)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let said = tokio::time::timeout(Duration::from_mins(1), wait).await;
        assert!(said.is_ok(), "never said: {words}: {:#?}", self.log.lock().unwrap());
    }

    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) async fn end(self) -> Ended {
        let Self { child, log, reader, folder } = self;
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        let Output { status, stdout, .. } = output;
        reader.join().unwrap();
        let log = log.lock().unwrap().clone();
        Ended { code: status.code(), log, output: String::from_utf8(stdout).unwrap(), folder }
    }
}

impl Ended {
    pub(crate) fn result(&self, name: &str) -> String {
        let path = self.folder.path().join("results").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The last line but hints.
    pub(crate) fn last(&self) -> &str {
        self.log.iter().rev().find(|l| !l.starts_with("hint: ")).map_or("", String::as_str)
    }

    #[track_caller]
    pub(crate) fn is(&self, code: i32, last: &str) {
        assert_eq!((self.code, self.last()), (Some(code), last), "{:#?}", self.log);
    }
}

/// `…, 29m40s left` differs from run to run.
fn without_time(line: &str) -> String {
    match line.rsplit_once(", ") {
        Some((line, time)) if time.ends_with(" left") => line.to_owned(),
        _ => line.to_owned(),
    }
}
