//! What the tests of the stand-ins start and ask.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use testbed::{
    argocd::{self, ArgoCd},
    cdi::{self, Cdi},
    control_plane::ControlPlane,
    disks::Disks,
    kubevirt::{self, KubeVirt},
};
use tokio::sync::watch;

/// How long a test waits for what it expects.
const PATIENCE: Duration = Duration::from_mins(1);

const URL: &str = "https://git.example/platform/vms.git";

/// A bare repository and a clone to commit from.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new() -> Result<Self> {
        let repository = Self { folder: tempfile::tempdir()? };
        repository.git(&["init", "-q", "--bare", "-b", "main", "bare.git"], ".")?;
        repository.git(&["clone", "-q", "bare.git", "work"], ".")?;
        Ok(repository)
    }

    fn bare(&self) -> PathBuf {
        self.folder.path().join("bare.git")
    }

    fn git(&self, arguments: &[&str], folder: &str) -> Result<String> {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
        let mut git = Command::new("git");
        git.args(identity).args(arguments).current_dir(self.folder.path().join(folder));
        let output = git.env("GIT_CONFIG_GLOBAL", "/dev/null").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Write files (an empty text removes one), commit and push; the new commit.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> Result<String> {
        for (path, text) in files {
            let path = self.folder.path().join("work").join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            if text.is_empty() { std::fs::remove_file(path)? } else { std::fs::write(path, text)? }
        }
        self.git(&["add", "--all"], "work")?;
        self.git(&["commit", "-q", "-m", "change"], "work")?;
        self.git(&["push", "-q", "origin", "HEAD:main"], "work")?;
        self.git(&["rev-parse", "HEAD"], "work")
    }
}

/// Everything a test needs, in a namespace of its own; Applications live there too.
pub(crate) struct Bed {
    pub(crate) client: Client,
    pub(crate) namespace: &'static str,
    pub(crate) repository: Repository,
    pub(crate) argocd: ArgoCd,
    pub(crate) kubevirt: KubeVirt,
    pub(crate) cdi: Cdi,
}

impl Bed {
    pub(crate) async fn new(plane: &ControlPlane, namespace: &'static str) -> Result<Self> {
        plane.ensure_namespace(namespace).await?;
        let client = plane.client().await?;
        let repository = Repository::new()?;
        let namespaces = vec![namespace.to_owned()];
        let argocd = argocd::Options {
            namespaces: namespaces.clone(),
            repositories: vec![(URL.to_owned(), repository.bare())],
            retry: Duration::from_millis(100),
            ..argocd::Options::default()
        };
        let kubevirt = kubevirt::Options { namespaces: namespaces.clone(), ..kubevirt::Options::default() };
        let cdi = cdi::Options { namespaces, ..cdi::Options::default() };
        Ok(Self {
            argocd: ArgoCd::start(client.clone(), argocd),
            kubevirt: KubeVirt::start(client.clone(), kubevirt),
            cdi: Cdi::start(client.clone(), cdi),
            client,
            namespace,
            repository,
        })
    }

    pub(crate) fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), self.namespace, &resource)
    }
    pub(crate) fn applications(&self) -> Api<DynamicObject> {
        self.api("argoproj.io/v1alpha1", "Application")
    }
    pub(crate) fn machines(&self) -> Api<DynamicObject> {
        self.api("kubevirt.io/v1", "VirtualMachine")
    }
    pub(crate) fn instances(&self) -> Api<DynamicObject> {
        self.api("kubevirt.io/v1", "VirtualMachineInstance")
    }
    pub(crate) fn volumes(&self) -> Api<DynamicObject> {
        self.api("cdi.kubevirt.io/v1beta1", "DataVolume")
    }
    pub(crate) fn claims(&self) -> Api<DynamicObject> {
        self.api("v1", "PersistentVolumeClaim")
    }
    pub(crate) fn snapshots(&self) -> Api<DynamicObject> {
        self.api("snapshot.kubevirt.io/v1beta1", "VirtualMachineSnapshot")
    }
    pub(crate) fn restores(&self) -> Api<DynamicObject> {
        self.api("snapshot.kubevirt.io/v1beta1", "VirtualMachineRestore")
    }
    pub(crate) fn contents(&self) -> Api<DynamicObject> {
        self.api("snapshot.kubevirt.io/v1beta1", "VirtualMachineSnapshotContent")
    }
    pub(crate) fn volume_snapshots(&self) -> Api<DynamicObject> {
        self.api("snapshot.storage.k8s.io/v1", "VolumeSnapshot")
    }
    pub(crate) fn data_sources(&self) -> Api<DynamicObject> {
        self.api("cdi.kubevirt.io/v1beta1", "DataSource")
    }

    /// What is in a disk, or that nothing is.
    pub(crate) async fn disk(&self, claim: &str) -> Result<String> {
        let disks = Disks::new(self.client.clone());
        Ok(disks.read(self.namespace, claim).await?.unwrap_or_else(|| "no disk".to_owned()))
    }

    pub(crate) async fn write_disk(&self, claim: &str, word: &str) -> Result<()> {
        Disks::new(self.client.clone()).write(self.namespace, claim, word).await
    }

    /// Make a `DataVolume` and wait until it is filled.
    pub(crate) async fn volume(&self, name: &str, source: Value) -> Result<Value> {
        self.create(&self.volumes(), &volume(name, &source)).await?;
        until(&self.volumes(), name, "filled", |volume| volume["status"]["phase"] == "Succeeded").await
    }

    pub(crate) async fn create(&self, api: &Api<DynamicObject>, object: &Value) -> kube::Result<Value> {
        let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        let made = api.create(&PostParams::default(), &object).await?;
        serde_json::to_value(made).map_err(kube::Error::SerdeError)
    }

    pub(crate) async fn patch(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        fields: Value,
    ) -> kube::Result<()> {
        api.patch(name, &PatchParams::default(), &Patch::Merge(&fields)).await.map(drop)
    }

    /// A machine with the claims `web-root` and `web-data`, and its two disks, filled.
    pub(crate) async fn machine(&self, strategy: &str) -> Result<Value> {
        for name in ["web-root", "web-data"] {
            self.volume(name, json!({ "blank": {} })).await?;
        }
        let volume = |name: &str| json!({ "name": name, "persistentVolumeClaim": { "claimName": format!("web-{name}") } });
        let machine = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": "web" },
            "spec": { "runStrategy": strategy, "template": { "spec": {
                "domain": { "devices": {}, "memory": { "guest": "64Mi" } }, "terminationGracePeriodSeconds": 2,
                "volumes": [volume("root"), volume("data")],
            } } },
        });
        self.create(&self.machines(), &machine).await?;
        let wanted = if strategy == "Always" { "Running" } else { "Stopped" };
        until(&self.machines(), "web", wanted, |machine| {
            printed(wanted)(machine)
                && machine["metadata"]["finalizers"].is_array()
                && (strategy != "Always" || machine["status"]["ready"] == true)
        })
        .await
    }

    pub(crate) async fn snapshot(&self, name: &str, fields: Value) -> kube::Result<Value> {
        let mut snapshot = json!({
            "apiVersion": "snapshot.kubevirt.io/v1beta1", "kind": "VirtualMachineSnapshot", "metadata": { "name": name },
            "spec": { "source": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web" } },
        });
        merge(&mut snapshot["spec"], fields);
        self.create(&self.snapshots(), &snapshot).await
    }

    /// A snapshot that is ready, and let its machine go, which comes a moment later.
    pub(crate) async fn snapshot_ready(&self, name: &str) -> Result<Value> {
        self.snapshot(name, json!({})).await?;
        let ready =
            until(&self.snapshots(), name, "ready", |snapshot| snapshot["status"]["readyToUse"] == true)
                .await?;
        until(&self.machines(), "web", "unlocked", |machine| {
            machine["status"].get("snapshotInProgress").is_none()
        })
        .await?;
        Ok(ready)
    }

    pub(crate) async fn restore(&self, name: &str, snapshot: &str, fields: Value) -> kube::Result<Value> {
        let mut restore = json!({
            "apiVersion": "snapshot.kubevirt.io/v1beta1", "kind": "VirtualMachineRestore", "metadata": { "name": name },
            "spec": {
                "target": { "apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": "web" },
                "virtualMachineSnapshotName": snapshot,
            },
        });
        merge(&mut restore["spec"], fields);
        self.create(&self.restores(), &restore).await
    }

    pub(crate) async fn restored(&self, name: &str) -> Result<Value> {
        until(&self.restores(), name, "complete", |restore| restore["status"]["complete"] == true).await
    }

    /// PUT a subresource of the machine: the code, and the message where there is one.
    pub(crate) async fn subresource(&self, verb: &str, body: &str) -> Result<(u16, String)> {
        loop {
            let answer = self.ask(verb, body).await?;
            // as KubeVirt says it when its controller has written to the machine in between; such a request is made again
            if !(answer.0 == 500 && answer.1.contains("the object has been modified")) {
                return Ok(answer);
            }
        }
    }

    async fn ask(&self, verb: &str, body: &str) -> Result<(u16, String)> {
        let path = format!(
            "/apis/subresources.kubevirt.io/v1/namespaces/{}/virtualmachines/web/{verb}",
            self.namespace
        );
        let request = http::Request::put(path).body(body.as_bytes().to_vec())?;
        let answer = self.client.send(request.map(Into::into)).await?;
        let code = answer.status().as_u16();
        let body = answer.into_body().collect_bytes().await?;
        let status: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok((code, status["message"].as_str().unwrap_or_default().to_owned()))
    }

    /// Halt the machine and wait until it is off.
    pub(crate) async fn halt(&self) -> Result<()> {
        self.patch(&self.machines(), "web", json!({ "spec": { "runStrategy": "Halted" } })).await?;
        until(&self.instances(), "web", "off", gone).await?;
        until(&self.machines(), "web", "stopped", |machine| machine["status"].get("created").is_none())
            .await?;
        Ok(())
    }

    pub(crate) fn application_file(&self, name: &str, path: &str) -> Value {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "name": name, "finalizers": ["resources-finalizer.argocd.argoproj.io"] },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": URL, "targetRevision": "main", "path": path, "directory": { "recurse": true },
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": self.namespace },
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true }, "syncOptions": ["CreateNamespace=true"] },
            },
        })
    }

    pub(crate) async fn application(&self, path: &str) -> Result<()> {
        let parameters = PatchParams::apply("test").force();
        let application = Patch::Apply(self.application_file("web", path));
        self.applications().patch("web", &parameters, &application).await?;
        Ok(())
    }

    pub(crate) async fn refresh(&self) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } });
        self.applications().patch("web", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    pub(crate) async fn refreshed(&self) -> Result<Value> {
        self.refresh().await?;
        until(&self.applications(), "web", "no refresh asked for", |application| {
            application["metadata"]["annotations"].get("argocd.argoproj.io/refresh").is_none()
        })
        .await
    }
}

pub(crate) fn volume(name: &str, source: &Value) -> Value {
    json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": { "name": name },
        "spec": { "source": source, "storage": { "resources": { "requests": { "storage": "64Mi" } } } },
    })
}

pub(crate) fn merge(object: &mut Value, fields: Value) {
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
    }
}

/// What the API server said, with its code.
pub(crate) fn refusal<T>(answer: kube::Result<T>) -> (u16, String) {
    match answer {
        Err(kube::Error::Api(status)) => (status.code, status.message),
        Err(other) => (0, other.to_string()),
        Ok(_) => (200, "taken".to_owned()),
    }
}

/// Wait until an object, as JSON, is as wanted.
pub(crate) async fn until(
    api: &Api<DynamicObject>,
    name: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let start = Instant::now();
    loop {
        let seen = match api.get_opt(name).await? {
            Some(object) => serde_json::to_value(object)?,
            None => Value::Null,
        };
        if wanted(&seen) {
            return Ok(seen);
        }
        if start.elapsed() > PATIENCE {
            bail!("{what}: not within {PATIENCE:?}, last seen {seen:#}");
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

pub(crate) fn gone(object: &Value) -> bool {
    object.is_null()
}

pub(crate) fn printed(status: &'static str) -> impl Fn(&Value) -> bool {
    move |machine| machine["status"]["printableStatus"] == status
}

pub(crate) fn reason(object: &Value, kind: &str) -> (String, String) {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let condition = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

/// What was seen of an object, a line for each version. It is written beside the test: what the test has read from the API server may
/// not have arrived here yet, so a test waits for what it expects.
pub(crate) struct Record(watch::Receiver<Vec<String>>);

impl Record {
    /// Wait until the lines are as wanted.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&[String]) -> bool) -> Result<()> {
        let seen = self.0.wait_for(|lines| wanted(lines));
        let seen = matches!(tokio::time::timeout(PATIENCE, seen).await, Ok(Ok(_)));
        if !seen {
            bail!(
                "not seen within {PATIENCE:?}, or before the watch ended, but:\n{}",
                self.0.borrow().join("\n")
            );
        }
        Ok(())
    }

    /// Wait until the lines are these and no others.
    pub(crate) async fn is(&mut self, wanted: &[&str]) -> Result<()> {
        self.until(|lines| lines == wanted).await.with_context(|| format!("{wanted:?}"))
    }
}

/// Every version of an object from now on, each told in one line by `tell`; equal ones in a row count once.
pub(crate) async fn record(
    api: Api<DynamicObject>,
    name: &'static str,
    tell: fn(&Value) -> String,
) -> Result<Record> {
    let (told, lines) = watch::channel(Vec::new());
    let mut events = api.watch(&WatchParams::default(), "0").await?.boxed();
    tokio::spawn(async move {
        while let Ok(Some(event)) = events.try_next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
            if object.metadata.name.as_deref() == Some(name) {
                let line = tell(&serde_json::to_value(object).unwrap_or_default());
                told.send_if_modified(|lines: &mut Vec<String>| {
                    let news = lines.last() != Some(&line);
                    if news {
                        lines.push(line);
                    }
                    news
                });
            }
        }
    });
    Ok(Record(lines))
}
