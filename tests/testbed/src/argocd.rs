//! A stand-in for Argo CD 3.5.7: Applications are compared with a Git repository and synced.
//!
//! It plays, write by write as seen on the real controller: the refresh annotation and its removal together with the status it led to;
//! `sync.status`, `sync.revision`, `comparedTo`, `reconciledAt`; automated sync with `operation`, `operationState` (Running, then
//! Succeeded, or Running again with `finishedAt` and `retryCount` until the retries are used up, then Failed) and `history`; no
//! operation where a commit changes nothing; conditions `ComparisonError` and `SyncError`; health of the application alone, by
//! Argo CD's rules for `VirtualMachine`, `DataVolume` and claims, moved without `reconciledAt`; `status.resources` without health;
//! options `CreateNamespace=true`, `Prune=false`, `Delete=false`, `prune`, the finalizer `resources-finalizer.argocd.argoproj.io`.
//!
//! It does not play: clusters other than its own, projects, several sources, Helm, Kustomize beyond `resources` of files, hooks
//! and waves, `ignoreDifferences`, self-heal without a refresh, sync windows, operations that people start, polling unless asked
//! for. It applies server-side with force, where Argo CD merges three ways by default.
//!
//! What goes wrong on demand: refreshes that are lost, a controller that is away, a comparison that is stale, a sync that fails.

mod compare;
mod health;
mod operation;
mod source;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use kube::Client;
use serde_json::{Value, json};

use self::source::Repository;
use crate::standin::{
    Controller, Kind, Objects, Running, Scope, applications, claims, items, key, machines, now, text, volumes,
};

const REFRESH: &str = "argocd.argoproj.io/refresh";

/// How an [`ArgoCd`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces whose Applications it looks after.
    pub namespaces: Vec<String>,
    /// The repositories it can read: the URL as Applications name it, and the folder with the bare repository.
    pub repositories: Vec<(String, PathBuf)>,
    /// How often it compares by itself (really 2 to 3 minutes); none: only on a refresh, a new or a changed Application.
    pub poll: Option<Duration>,
    /// How long it takes from one write of the status to the next.
    pub pace: Duration,
    /// The wait before the first retry of a failed sync, doubled each time (really 10 s).
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: vec!["argocd".to_owned()],
            repositories: Vec::new(),
            poll: None,
            pace: Duration::from_millis(50),
            retry: Duration::from_millis(500),
        }
    }
}

#[derive(Debug, Default, Clone)]
struct Knobs {
    lose: usize,
    paused: bool,
    frozen: bool,
    failure: Option<String>,
}

/// A running stand-in for Argo CD; it stops when dropped.
#[derive(Debug)]
pub struct ArgoCd {
    running: Running,
    knobs: Arc<Mutex<Knobs>>,
}

impl ArgoCd {
    /// Start it, in the current tokio runtime.
    pub fn start(client: Client, options: Options) -> Self {
        let knobs = Arc::default();
        let objects = Objects::new(client);
        let repositories = options
            .repositories
            .iter()
            .map(|(url, path)| Repository { url: url.clone(), path: path.clone() })
            .collect();
        let controller = Syncer {
            objects: objects.clone(),
            scope: Scope(options.namespaces.clone()),
            repositories,
            options,
            knobs: Arc::clone(&knobs),
            kinds: HashMap::new(),
            compared_at: HashMap::new(),
            retry_at: HashMap::new(),
        };
        let kinds = vec![applications(), machines(), volumes(), claims()];
        Self { running: Running::start(&objects, kinds, controller), knobs }
    }

    /// Lose the next `count` refreshes: the annotation goes, and nothing else moves (argo-cd#28392).
    pub fn lose_refreshes(&self, count: usize) {
        self.turn(|knobs| knobs.lose = count);
    }

    /// How many refreshes are still to be lost.
    pub fn refreshes_to_lose(&self) -> usize {
        self.knobs().lose
    }

    /// Be away: nothing is looked at until [`ArgoCd::resume`], which finds the newest commit and never saw those between.
    pub fn pause(&self) {
        self.turn(|knobs| knobs.paused = true);
    }

    /// Be back.
    pub fn resume(&self) {
        self.turn(|knobs| knobs.paused = false);
    }

    /// Compare with the commit of the last comparison, whatever the branch holds: `reconciledAt` moves on, Synced and the old
    /// revision stay, until [`ArgoCd::thaw`].
    pub fn freeze(&self) {
        self.turn(|knobs| knobs.frozen = true);
    }

    /// Read the branch again.
    pub fn thaw(&self) {
        self.turn(|knobs| knobs.frozen = false);
    }

    /// Let every sync fail in these words, until [`ArgoCd::let_syncs_succeed`].
    pub fn fail_syncs(&self, words: &str) {
        self.turn(|knobs| knobs.failure = Some(words.to_owned()));
    }

    /// Take back [`ArgoCd::fail_syncs`].
    pub fn let_syncs_succeed(&self) {
        self.turn(|knobs| knobs.failure = None);
    }

    fn turn(&self, change: impl FnOnce(&mut Knobs)) {
        change(&mut self.knobs());
        self.running.poke();
    }

    fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.knobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Syncer {
    objects: Objects,
    scope: Scope,
    repositories: Vec<Repository>,
    options: Options,
    knobs: Arc<Mutex<Knobs>>,
    /// Where objects of a kind live, by apiVersion and kind.
    kinds: HashMap<(String, String), Kind>,
    /// When an Application, by uid, was last compared.
    compared_at: HashMap<String, Instant>,
    /// When the failed operation of an Application, by uid, is tried again.
    retry_at: HashMap<String, Instant>,
}

impl Controller for Syncer {
    async fn look(&mut self) -> Result<Option<Duration>> {
        let mut failed = None;
        let live = health::Live::read(&self.objects).await?;
        for application in self.objects.list(&applications()).await? {
            if !self.scope.holds(&application) || self.knobs().paused {
                continue;
            }
            // One Application that cannot be written must not hold up the others.
            if let Err(error) = self.one(&application, &live).await {
                failed = Some(error.context(text(&application, "/metadata/name").to_owned()));
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let now = Instant::now();
        let retry = self.retry_at.values().min().map(|at| at.saturating_duration_since(now));
        Ok([retry, self.options.poll].into_iter().flatten().min())
    }
}

impl Syncer {
    fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.knobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn one(&mut self, application: &Value, live: &health::Live) -> Result<()> {
        let id = text(application, "/metadata/uid").to_owned();
        if application["metadata"].get("deletionTimestamp").is_some() {
            return self.finalize(application).await;
        }
        let asked = application["metadata"]["annotations"].get(REFRESH).is_some();
        if asked && self.lose() {
            return self.objects.set(&applications().of(application), application, &[unasked()]).await;
        }
        // An operation that no retry waits for was broken off, by an API server that went away.
        let in_flight = application.get("operation").is_some();
        if in_flight && self.retry_at.get(&id).is_none_or(|at| *at <= Instant::now()) {
            self.retry_at.remove(&id);
            return self.operate(application, live, application["status"].clone()).await;
        }
        let poll = self
            .options
            .poll
            .is_some_and(|poll| self.compared_at.get(&id).is_none_or(|at| at.elapsed() >= poll));
        let changed = application["status"]["sync"]["comparedTo"] != compared_to(application);
        if asked || poll || changed {
            return self.refresh(application, live).await;
        }
        self.update_health(application, live).await
    }

    /// Whether this refresh is one to lose.
    fn lose(&self) -> bool {
        let mut knobs = self.knobs();
        let lose = knobs.lose > 0;
        knobs.lose = knobs.lose.saturating_sub(1);
        lose
    }

    /// Compare, say so, and sync where that is due.
    async fn refresh(&mut self, application: &Value, live: &health::Live) -> Result<()> {
        let id = text(application, "/metadata/uid").to_owned();
        let path = applications().of(application);
        self.compared_at.insert(id.clone(), Instant::now());
        let mut status = self.compare(application, live).await?;
        let due = operation::due(application, &mut status) && !self.retry_at.contains_key(&id);
        if due {
            // As the real controller: the operation first, and with it goes what the last one said.
            let revision = text(&status, "/sync/revision").to_owned();
            let operation = operation::automated(application, &revision);
            let parts = [("/operation", operation), ("/status/operationState", Value::Null)];
            self.objects.set(&path, application, &parts).await?;
            if let Some(status) = status.as_object_mut() {
                status.remove("operationState");
            }
            tokio::time::sleep(self.options.pace).await;
        }
        let mut parts = vec![("/status", status.clone())];
        if application["metadata"]["annotations"].get(REFRESH).is_some() {
            parts.push(unasked());
        }
        self.objects.set(&path, application, &parts).await?;
        if due { self.operate(application, live, status).await } else { Ok(()) }
    }

    /// Health moves without a comparison, and without `reconciledAt`.
    async fn update_health(&self, application: &Value, live: &health::Live) -> Result<()> {
        let health = live.of(items(application, "/status/resources"));
        if application["status"]["health"]["status"] == health || application.get("status").is_none() {
            return Ok(());
        }
        let value = json!({ "status": health, "lastTransitionTime": now() });
        self.objects.set(&applications().of(application), application, &[("/status/health", value)]).await
    }

    /// Delete what the Application brought, then let it go.
    async fn finalize(&mut self, application: &Value) -> Result<()> {
        let finalizers = items(application, "/metadata/finalizers");
        if finalizers.is_empty() {
            return Ok(());
        }
        let mut left = false;
        if finalizers.iter().any(|name| text(name, "").starts_with("resources-finalizer.argocd.argoproj.io"))
        {
            for resource in items(application, "/status/resources") {
                let path = self.path_of(resource).await?;
                let Some(object) = self.objects.get(&path).await? else { continue };
                if compare::option(&object, "Delete=false") || !compare::ours(&object, application) {
                    continue;
                }
                left = true;
                if object["metadata"].get("deletionTimestamp").is_none() {
                    self.objects.delete(&path).await?;
                }
            }
        }
        if left {
            return Ok(());
        }
        let path = applications().of(application);
        self.objects.set(&path, application, &[("/metadata/finalizers", Value::Null)]).await
    }
}

/// The annotation's removal, as a part for [`Objects::set`].
fn unasked() -> (&'static str, Value) {
    ("/metadata/annotations/argocd.argoproj.io~1refresh", Value::Null)
}

/// What a comparison is of: source and destination, as they are in the spec.
fn compared_to(application: &Value) -> Value {
    json!({ "destination": application["spec"]["destination"], "source": application["spec"]["source"] })
}

fn tracking_prefix(application: &Value) -> String {
    format!("{}:", key(application).1)
}
