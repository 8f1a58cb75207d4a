//! What the tests of the stand-ins start and ask.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, WatchEvent, WatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use testbed::{
    argocd::{self, ArgoCd},
    cdi::{self, Cdi},
    control_plane::ControlPlane,
    kubevirt::{self, KubeVirt},
};

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

    fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
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
        if start.elapsed() > Duration::from_mins(1) {
            bail!("{what}: not within 60 s, last seen {seen:#}");
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

/// Every version of an object from now on, each told in one line by `tell`; equal ones in a row count once.
pub(crate) fn record(
    api: Api<DynamicObject>,
    name: &'static str,
    tell: fn(&Value) -> String,
) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lines);
    tokio::spawn(async move {
        let Ok(events) = api.watch(&WatchParams::default(), "0").await else { return };
        let mut events = events.boxed();
        while let Ok(Some(event)) = events.try_next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
            if object.metadata.name.as_deref() == Some(name) {
                let line = tell(&serde_json::to_value(object).unwrap_or_default());
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.last() != Some(&line) {
                    told.push(line);
                }
            }
        }
    });
    lines
}
