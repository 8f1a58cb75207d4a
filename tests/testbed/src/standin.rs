//! What the stand-in controllers have in common: objects as JSON, and a loop that looks again whenever something changed.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, Result};
use futures::{Stream, TryStreamExt as _};
use kube::{Client, core::WatchEvent};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time};

/// After a failure, of the API server or of a write that lost a race, and between two looks at a busy cluster.
const BREATH: Duration = Duration::from_millis(50);

/// Where objects of one kind live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `/apis/kubevirt.io/v1`, `/api/v1`.
    pub(crate) prefix: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

impl Kind {
    pub(crate) fn new(api_version: &str, plural: &str) -> Self {
        let root = if api_version.contains('/') { "/apis" } else { "/api" };
        Self { prefix: format!("{root}/{api_version}"), plural: plural.to_owned(), namespaced: true }
    }

    /// The URL path of one object, or of its namespace's collection where `name` is empty.
    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        let Self { prefix, plural, namespaced } = self;
        let namespace = if *namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        format!("{prefix}{namespace}/{plural}/{name}").trim_end_matches('/').to_owned()
    }

    pub(crate) fn of(&self, object: &Value) -> String {
        self.path(text(object, "/metadata/namespace"), text(object, "/metadata/name"))
    }
}

pub(crate) fn machines() -> Kind {
    Kind::new("kubevirt.io/v1", "virtualmachines")
}
pub(crate) fn instances() -> Kind {
    Kind::new("kubevirt.io/v1", "virtualmachineinstances")
}
pub(crate) fn volumes() -> Kind {
    Kind::new("cdi.kubevirt.io/v1beta1", "datavolumes")
}
pub(crate) fn claims() -> Kind {
    Kind::new("v1", "persistentvolumeclaims")
}
pub(crate) fn data_sources() -> Kind {
    Kind::new("cdi.kubevirt.io/v1beta1", "datasources")
}
pub(crate) fn volume_snapshots() -> Kind {
    Kind::new("snapshot.storage.k8s.io/v1", "volumesnapshots")
}
pub(crate) fn snapshots() -> Kind {
    Kind::new("snapshot.kubevirt.io/v1beta1", "virtualmachinesnapshots")
}
pub(crate) fn contents() -> Kind {
    Kind::new("snapshot.kubevirt.io/v1beta1", "virtualmachinesnapshotcontents")
}
pub(crate) fn restores() -> Kind {
    Kind::new("snapshot.kubevirt.io/v1beta1", "virtualmachinerestores")
}
pub(crate) fn revisions() -> Kind {
    Kind::new("apps/v1", "controllerrevisions")
}
pub(crate) fn applications() -> Kind {
    Kind::new("argoproj.io/v1alpha1", "applications")
}

/// The API server, spoken to in JSON.
#[derive(Clone)]
pub(crate) struct Objects(Client);

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Objects")
    }
}

impl Objects {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    /// All objects of a kind, in all namespaces.
    pub(crate) async fn list(&self, kind: &Kind) -> Result<Vec<Value>> {
        let mut list = self.read(&format!("{}/{}", kind.prefix, kind.plural)).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => anyhow::bail!("a list without items"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>> {
        absent(self.read(path).await)
    }

    pub(crate) async fn read(&self, path: &str) -> kube::Result<Value> {
        let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.0.request(request).await
    }

    pub(crate) async fn create(&self, kind: &Kind, object: &Value) -> Result<Value> {
        let path = kind.path(text(object, "/metadata/namespace"), "");
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(object)?)?;
        Ok(self.0.request(request).await?)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let request = http::Request::delete(path).body(Vec::new())?;
        absent(self.0.request::<Value>(request).await).map(drop)
    }

    /// Delete an object and what it owns: `Foreground` or `Background`. It may be gone already.
    pub(crate) async fn delete_with(&self, path: &str, policy: &str) -> kube::Result<()> {
        let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy });
        let request = http::Request::delete(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&options).map_err(kube::Error::SerdeError)?)
            .map_err(kube::Error::HttpError)?;
        match self.0.request::<Value>(request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Merge `fields` into an object; nothing happens where it is gone.
    pub(crate) async fn merge(&self, path: &str, fields: &Value) -> Result<()> {
        absent(self.patch(path, "application/merge-patch+json", fields).await).map(drop)
    }

    /// Replace parts of `object`, at JSON pointers, in one write; it is refused where another object has the name by now.
    /// `Value::Null` removes.
    pub(crate) async fn set(&self, path: &str, object: &Value, parts: &[(&str, Value)]) -> Result<()> {
        let mut steps =
            vec![json!({ "op": "test", "path": "/metadata/uid", "value": object["metadata"]["uid"] })];
        for (pointer, value) in parts {
            if !value.is_null() {
                steps.push(json!({ "op": "add", "path": pointer, "value": value }));
            } else if object.pointer(pointer).is_some() {
                steps.push(json!({ "op": "remove", "path": pointer }));
            }
        }
        absent(self.patch(path, "application/json-patch+json", &Value::Array(steps)).await).map(drop)
    }

    /// As [`Objects::set`], and refused where anybody wrote to the object since it was read.
    pub(crate) async fn set_unchanged(
        &self,
        path: &str,
        object: &Value,
        parts: &[(&str, Value)],
    ) -> Result<()> {
        let version = [("/metadata/resourceVersion", object["metadata"]["resourceVersion"].clone())];
        self.set(path, object, &[&version, parts].concat()).await
    }

    /// Apply an object server-side.
    pub(crate) async fn apply(&self, path: &str, object: &Value, dry_run: bool) -> kube::Result<Value> {
        let dry_run = if dry_run { "&dryRun=All" } else { "" };
        let path = format!("{path}?fieldManager=argocd-controller&force=true{dry_run}");
        self.patch(&path, "application/apply-patch+yaml", object).await
    }

    async fn patch(&self, path: &str, content_type: &str, body: &Value) -> kube::Result<Value> {
        let request = http::Request::patch(path)
            .header("content-type", content_type)
            .body(serde_json::to_vec(body).map_err(kube::Error::SerdeError)?)
            .map_err(kube::Error::HttpError)?;
        self.0.request(request).await
    }

    /// Tell `changed` of every event of a kind, for ever; a watch that breaks is begun again.
    async fn watch(self, kind: Kind, changed: watch::Sender<()>) {
        loop {
            if let Err(error) = self.watch_once(&kind, &changed).await {
                tracing::debug!("watching {}: {error:#}", kind.plural);
            }
            changed.send_replace(());
            time::sleep(BREATH).await;
        }
    }

    /// What there is at a path of the API, then every change of it, for some minutes.
    pub(crate) async fn events(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<Value>>> + use<>> {
        let path = format!("{path}?watch=true&resourceVersion=0&timeoutSeconds=240");
        Ok(self.0.request_events::<Value>(http::Request::get(path).body(Vec::new())?).await?)
    }

    async fn watch_once(&self, kind: &Kind, changed: &watch::Sender<()>) -> Result<()> {
        let events = self.events(&format!("{}/{}", kind.prefix, kind.plural)).await?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Error(status) = event {
                anyhow::bail!("{}", status.message);
            }
            changed.send_replace(());
        }
        Ok(())
    }
}

/// A controller: looks at everything and brings it one step on.
pub(crate) trait Controller: Send + 'static {
    /// One look. Returns after how long to look again although nothing changed; none: only on a change.
    fn look(&mut self) -> impl Future<Output = Result<Option<Duration>>> + Send;
}

/// A running controller; dropping it stops the controller at once, whatever it is doing, as a crash would.
#[derive(Debug)]
pub(crate) struct Running {
    tasks: Vec<JoinHandle<()>>,
    poke: watch::Sender<()>,
}

impl Running {
    pub(crate) fn start(objects: &Objects, kinds: Vec<Kind>, mut controller: impl Controller) -> Self {
        let (poke, mut changed) = watch::channel(());
        let mut tasks = Vec::new();
        for kind in kinds {
            tasks.push(tokio::spawn(objects.clone().watch(kind, poke.clone())));
        }
        tasks.push(tokio::spawn(async move {
            loop {
                changed.mark_unchanged();
                let again = match controller.look().await {
                    Ok(again) => again,
                    Err(error) => {
                        // A lost race or an API server that restarts: what is on the cluster decides next time.
                        tracing::debug!("looking again: {error:#}");
                        Some(BREATH)
                    }
                };
                let again = again.unwrap_or(Duration::from_secs(5));
                // An ended channel means that this task is being stopped as well.
                let _ = time::timeout(again, changed.changed()).await;
                time::sleep(BREATH).await;
            }
        }));
        Self { tasks, poke }
    }

    /// Look now: a knob was turned.
    pub(crate) fn poke(&self) {
        self.poke.send_replace(());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The namespaces that a stand-in looks after, so that tests in one process do not disturb each other.
#[derive(Debug, Clone)]
pub(crate) struct Scope(pub(crate) Vec<String>);

impl Scope {
    /// All namespaces where none is named.
    pub(crate) fn holds(&self, object: &Value) -> bool {
        let namespace = text(object, "/metadata/namespace");
        self.0.is_empty() || self.0.iter().any(|name| name == namespace)
    }
}

fn absent(answer: kube::Result<Value>) -> Result<Option<Value>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error).context("asking the API server"),
    }
}

/// The string at a JSON pointer, or none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items at a JSON pointer, or none.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Namespace and name.
pub(crate) fn key(object: &Value) -> (String, String) {
    (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
}

/// The time as Kubernetes writes it, to the second.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The owner reference of a controller.
pub(crate) fn owner(api_version: &str, kind: &str, object: &Value) -> Value {
    json!([{
        "apiVersion": api_version, "kind": kind, "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Put a condition into `conditions`, in its place if it is there. Its time moves with its status only.
pub(crate) fn set_condition(conditions: &mut Vec<Value>, mut condition: Value) {
    let same = |other: &&mut Value| other["type"] == condition["type"];
    match conditions.iter_mut().find(same) {
        Some(there) => {
            if there["status"] == condition["status"] && there["reason"] == condition["reason"] {
                for time in ["lastTransitionTime", "lastProbeTime", "lastHeartbeatTime"] {
                    if let (Some(new), Some(old)) = (condition.get_mut(time), there.get(time)) {
                        *new = old.clone();
                    }
                }
            }
            *there = condition;
        }
        None => conditions.push(condition),
    }
}

pub(crate) fn remove_condition(conditions: &mut Vec<Value>, kind: &str) {
    conditions.retain(|condition| condition["type"] != kind);
}

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|condition| condition["type"] == kind)
}

/// A list without one name; null where nothing is left, as [`Objects::set`] removes it.
pub(crate) fn remove_item(list: &[Value], name: &str) -> Value {
    let rest: Vec<_> = list.iter().filter(|other| *other != name).cloned().collect();
    if rest.is_empty() { Value::Null } else { Value::Array(rest) }
}
