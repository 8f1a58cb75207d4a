//! The recorder.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use kube::core::WatchEvent;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Recording, facet};
use crate::stage::ARGOCD;
use crate::standin::{Kind, Objects, applications, claims, instances, key, machines, volumes};

/// After a watch that broke.
const BREATH: Duration = Duration::from_millis(100);

/// Whose objects are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The machine's namespace.
    pub namespace: String,
    /// The machine's name; its disks are `<name>-<disk>-<generation>`.
    pub name: String,
    /// Namespace and name of its Application.
    pub application: (String, String),
}

impl Subject {
    /// What an object of it is called in a recording; none for somebody else's. CDI's `prime-…` claims are none of ours.
    fn role(&self, kind: &str, object: &Value) -> Option<String> {
        let place = key(object);
        match kind {
            "Application" => (place == self.application).then(|| kind.to_owned()),
            "VirtualMachine" | "VirtualMachineInstance" => (place.1 == self.name).then(|| kind.to_owned()),
            _ => {
                let disk = place.1.strip_prefix(&self.name)?.strip_prefix('-')?;
                Some(format!("{kind} {}", disk.rsplit_once('-').map_or(disk, |(disk, _)| disk)))
            }
        }
    }
}

impl Subject {
    /// The machine of this name on the cluster that Argo CD itself is on, with Argo CD in its usual namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            application: (ARGOCD.to_owned(), format!("in-cluster.{namespace}.{name}")),
        }
    }

    /// Ask Argo CD to compare its Application with Git now.
    pub async fn refresh(&self, client: kube::Client) -> Result<()> {
        let path = applications().path(&self.application.0, &self.application.1);
        let asked = json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "normal" } } });
        Objects::new(client).merge(&path, &asked).await
    }
}

/// Watches the objects of one machine until it is finished or dropped.
#[derive(Debug)]
pub struct Recorder {
    recording: Arc<Mutex<Recording>>,
    changed: watch::Receiver<Instant>,
    watches: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Begin, in the current tokio runtime. Before the machine is asked for: what was there before is recorded as it is found.
    pub fn start(client: kube::Client, subject: &Subject, scenario: &str, on: &str) -> Self {
        let recording =
            Recording { scenario: scenario.to_owned(), on: on.to_owned(), ..Recording::default() };
        let recording = Arc::new(Mutex::new(recording));
        let (tell, changed) = watch::channel(Instant::now());
        let objects = Objects::new(client);
        let kinds = [
            ("VirtualMachine", machines()),
            ("VirtualMachineInstance", instances()),
            ("DataVolume", volumes()),
            ("PersistentVolumeClaim", claims()),
            ("Application", applications()),
        ];
        let watches = kinds.map(|(kind, place)| {
            let (objects, subject) = (objects.clone(), subject.clone());
            let (recording, tell) = (Arc::clone(&recording), tell.clone());
            tokio::spawn(async move {
                loop {
                    let ended = follow(&objects, kind, &place, &subject, &recording, &tell).await;
                    tracing::debug!("watching {kind}: {ended:?}");
                    tokio::time::sleep(BREATH).await;
                }
            })
        });
        Self { recording, changed, watches: watches.into() }
    }

    /// Wait until a facet of an object has this value.
    pub async fn until(&self, object: &str, facet: &str, value: &str, limit: Duration) -> Result<()> {
        let seen = || self.now().last(object, facet).map(str::to_owned);
        let mut changed = self.changed.clone();
        let met = async {
            while seen().as_deref() != Some(value) {
                changed.changed().await.context("the watches are over")?;
            }
            Ok(())
        };
        match timeout(limit, met).await {
            Ok(met) => met,
            Err(_) => bail!("{object} {facet} is not `{value}` after {}s but {:?}", limit.as_secs(), seen()),
        }
    }

    /// Wait until nothing has changed for `quiet`, at most `limit` long: a cluster that never comes to rest is recorded as far as that.
    pub async fn settle(&self, quiet: Duration, limit: Duration) {
        let mut changed = self.changed.clone();
        let deadline = Instant::now() + limit;
        loop {
            let rests_at = *changed.borrow_and_update() + quiet;
            if Instant::now() >= rests_at.min(deadline) {
                return;
            }
            // either is as good: a change moves the moment on
            let _ = tokio::time::timeout_at(rests_at.min(deadline), changed.changed()).await;
        }
    }

    /// What was seen so far.
    pub fn now(&self) -> Recording {
        lock(&self.recording).clone()
    }

    /// Stop, and what was seen.
    pub fn finish(self) -> Recording {
        self.now()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

/// One watch: what is there, then every write. One that is begun again tells what is there once more, which adds nothing.
async fn follow(
    objects: &Objects,
    kind: &'static str,
    place: &Kind,
    subject: &Subject,
    recording: &Mutex<Recording>,
    tell: &watch::Sender<Instant>,
) -> Result<()> {
    let namespace = if kind == "Application" { &subject.application.0 } else { &subject.namespace };
    let events = objects.events(&place.path(namespace, "")).await?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.try_next().await? {
        let (object, seen) = match &event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, facet::of(kind, object)),
            WatchEvent::Deleted(object) => (object, facet::gone()),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(status) => bail!("{}", status.message),
        };
        if let Some(role) = subject.role(kind, object)
            && lock(recording).add(&role, seen)
        {
            tell.send_replace(Instant::now());
        }
    }
    Ok(())
}

fn lock(recording: &Mutex<Recording>) -> MutexGuard<'_, Recording> {
    recording.lock().unwrap_or_else(PoisonError::into_inner)
}
