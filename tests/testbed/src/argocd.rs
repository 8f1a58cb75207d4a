//! A stand-in for Argo CD 3.5.7: Applications are compared with a Git repository and synced.
//!
//! It plays, write by write as seen on the real controller: the refresh annotation and its removal together with the status it led to;
//! `sync.status`, `sync.revision`, `comparedTo`, `reconciledAt`; automated sync with `operation`, `operationState` (Running, then
//! Succeeded, or Running again with `finishedAt` and `retryCount` until the retries are used up, then Failed) and `history`; no
//! operation where a commit changes nothing; conditions `ComparisonError` and `SyncError`; health of the application alone, by
//! Argo CD's rules for `VirtualMachine`, `DataVolume` and claims, moved without `reconciledAt`; `status.resources` without health;
//! options `CreateNamespace=true`, `Prune=false`, `Prune=confirm`, `Delete=false`, `Delete=confirm`; `prune`, which waits for what it
//! deleted and refuses to take away everything unless `allowEmpty`; the finalizer `resources-finalizer.argocd.argoproj.io`, with the
//! condition `DeletionError`; self-heal of machines, volumes, claims and Applications as soon as they are changed, then after 2, 6, 18 s;
//! the annotation `skip-reconcile`, which stops everything, deletion included.
//!
//! It does not play: clusters other than its own, projects, several sources, Helm, Kustomize beyond `resources` of files, hooks
//! and waves, `ignoreDifferences`, self-heal of other kinds without a refresh, sync windows, operations that people start, polling
//! unless asked for. It applies server-side with force, where Argo CD merges three ways by default; what it deletes when an
//! Application goes is what `status.resources` names.
//!
//! What goes wrong on demand, with all Applications or with one: [`Fault`].

mod attempt;
mod compare;
mod deletion;
mod fault;
mod heal;
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

pub use self::fault::Fault;
use self::{fault::Faults, operation::Due, source::Repository};
use crate::standin::{
    Controller, Kind, Objects, Running, Scope, applications, claims, items, key, machines, now, text, volumes,
};

const REFRESH: &str = "argocd.argoproj.io/refresh";
const SKIP: &str = "argocd.argoproj.io/skip-reconcile";

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
    /// The wait before self-heal undoes a change for the second time, three times as long each time.
    pub heal: Duration,
    /// How many Applications are looked at side by side (really 20): with one, a single look after the other.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespaces: vec!["argocd".to_owned()],
            repositories: Vec::new(),
            poll: None,
            pace: Duration::from_millis(50),
            retry: Duration::from_millis(500),
            heal: Duration::from_secs(2),
            workers: 1,
        }
    }
}

/// A running stand-in for Argo CD; it stops when dropped.
#[derive(Debug)]
pub struct ArgoCd {
    running: Vec<Running>,
    faults: Arc<Mutex<Faults>>,
}

impl ArgoCd {
    /// Start it, in the current tokio runtime.
    pub fn start(client: Client, options: Options) -> Self {
        let faults = Arc::<Mutex<Faults>>::default();
        let objects = Objects::new(client);
        let repositories: Vec<_> = options
            .repositories
            .iter()
            .map(|(url, path)| Repository { url: url.clone(), path: path.clone() })
            .collect();
        let options = Arc::new(options);
        let worker = |number| Syncer {
            objects: objects.clone(),
            scope: Scope(options.namespaces.clone()),
            number,
            repositories: repositories.clone(),
            options: Arc::clone(&options),
            faults: Arc::clone(&faults),
            kinds: HashMap::new(),
            compared_at: HashMap::new(),
            retry_at: HashMap::new(),
            heal_at: HashMap::new(),
            prints: HashMap::new(),
        };
        let kinds = || vec![applications(), machines(), volumes(), claims()];
        let running = (0..options.workers).map(|number| Running::start(&objects, kinds(), worker(number)));
        Self { running: running.collect(), faults }
    }

    /// Do wrong with the Application of this name, until [`ArgoCd::heal`].
    pub fn fail(&self, application: &str, fault: Fault) {
        self.turn(|faults| faults.set(Some(application), fault));
    }

    /// Take back every [`ArgoCd::fail`] of this Application.
    pub fn heal(&self, application: &str) {
        self.turn(|faults| faults.heal(application));
    }

    /// Lose the next `count` refreshes, of whatever Application.
    pub fn lose_refreshes(&self, count: usize) {
        self.turn(|faults| faults.set(None, Fault::LosesRefreshes(count)));
    }

    /// How many of those are still to be lost.
    pub fn refreshes_to_lose(&self) -> usize {
        self.faults().to_lose()
    }

    /// Be away, until [`ArgoCd::resume`].
    pub fn pause(&self) {
        self.turn(|faults| faults.set(None, Fault::Away));
    }

    /// Be back.
    pub fn resume(&self) {
        self.turn(|faults| faults.unset(None, &Fault::Away));
    }

    /// Be stale, until [`ArgoCd::thaw`].
    pub fn freeze(&self) {
        self.turn(|faults| faults.set(None, Fault::Stale));
    }

    /// Read the branch again.
    pub fn thaw(&self) {
        self.turn(|faults| faults.unset(None, &Fault::Stale));
    }

    /// Let every sync fail in these words.
    pub fn fail_syncs(&self, words: &str) {
        self.turn(|faults| faults.set(None, Fault::SyncFails(words.to_owned(), usize::MAX)));
    }

    fn turn(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults());
        self.running.iter().for_each(Running::poke);
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Syncer {
    objects: Objects,
    scope: Scope,
    /// Which worker it is; each has its own Applications.
    number: usize,
    repositories: Vec<Repository>,
    options: Arc<Options>,
    faults: Arc<Mutex<Faults>>,
    /// Where objects of a kind live, by apiVersion and kind.
    kinds: HashMap<(String, String), Kind>,
    /// When an Application, by uid, was last compared.
    compared_at: HashMap<String, Instant>,
    /// When the failed operation of an Application, by uid, is tried again.
    retry_at: HashMap<String, Instant>,
    /// When self-heal no longer holds back, by uid.
    heal_at: HashMap<String, Instant>,
    /// What the live objects of an Application, by uid, looked like when it was last compared.
    prints: HashMap<String, heal::Print>,
}

impl Controller for Syncer {
    async fn look(&mut self) -> Result<Option<Duration>> {
        let mut failed = None;
        let live = health::Live::read(&self.objects).await?;
        for application in self.objects.list(&applications()).await? {
            let skip = application["metadata"]["annotations"][SKIP].as_str();
            let skip = skip.is_some_and(|skip| matches!(skip, "1" | "t" | "T" | "true" | "TRUE" | "True"));
            let of_another = self.worker_of(&application) != self.number;
            if of_another || !self.scope.holds(&application) || skip || self.has(&application, &Fault::Away) {
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
        let again = heal::soonest(self.retry_at.values().chain(self.heal_at.values()));
        Ok([again, self.options.poll].into_iter().flatten().min())
    }
}

impl Syncer {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is wrong with an Application.
    fn has(&self, application: &Value, fault: &Fault) -> bool {
        self.faults().has(text(application, "/metadata/name"), fault)
    }

    fn worker_of(&self, application: &Value) -> usize {
        let id = text(application, "/metadata/uid").bytes();
        id.fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)))
            % self.options.workers
    }

    async fn one(&mut self, application: &Value, live: &health::Live) -> Result<()> {
        let id = text(application, "/metadata/uid").to_owned();
        let in_flight = application.get("operation").is_some();
        if application["metadata"].get("deletionTimestamp").is_some() && !in_flight {
            self.retry_at.remove(&id);
            return self.finalize(application).await;
        }
        let asked = application["metadata"]["annotations"].get(REFRESH).is_some();
        if asked && self.faults().lose(text(application, "/metadata/name")) {
            return self.objects.set(&applications().of(application), application, &[unasked()]).await;
        }
        // An operation that no retry waits for was broken off, by an API server that went away.
        // A refresh is answered while one waits: those are two queues.
        if in_flight && !asked && self.retry_at.get(&id).is_none_or(|at| *at <= Instant::now()) {
            self.retry_at.remove(&id);
            let operation = application["operation"].clone();
            return self.operate(application, live, application["status"].clone(), operation).await;
        }
        let poll = self
            .options
            .poll
            .is_some_and(|poll| self.compared_at.get(&id).is_none_or(|at| at.elapsed() >= poll));
        let changed = application["status"]["sync"]["comparedTo"] != compared_to(application);
        let held_back = self.heal_at.get(&id).is_some_and(|at| *at > Instant::now());
        let heal = self.heal_at.contains_key(&id) && !held_back;
        if asked || poll || changed || heal {
            self.heal_at.remove(&id);
            return self.refresh(application, live, true).await;
        }
        if application.get("status").is_some()
            && self.prints.get(&id) != Some(&heal::print(application, live))
        {
            return self.refresh(application, live, false).await;
        }
        self.update_health(application, live).await
    }

    /// Compare, with what the branch holds or, not `fully`, with the commit that is known; say so, and sync where that is due.
    async fn refresh(&mut self, application: &Value, live: &health::Live, fully: bool) -> Result<()> {
        let id = text(application, "/metadata/uid").to_owned();
        let path = applications().of(application);
        self.compared_at.insert(id.clone(), Instant::now());
        let mut status = self.compare(application, live, fully).await?;
        self.prints.insert(id.clone(), heal::print(&json!({ "status": status }), live));
        let due = match operation::due(application, &mut status) {
            Due::No => None,
            _ if self.retry_at.contains_key(&id) => None,
            Due::Heal => match heal::hold_back(&application["status"]["operationState"], &self.options) {
                Some(wait) => {
                    self.heal_at.insert(id, Instant::now() + wait);
                    None
                }
                None => Some(Due::Heal),
            },
            Due::Sync => Some(Due::Sync),
        };
        let mut started = None;
        if let Some(due) = &due {
            // As the real controller: the operation first, and with it goes what the last one said.
            let revision = text(&status, "/sync/revision").to_owned();
            let mut operation = operation::automated(application, &revision);
            if *due == Due::Heal {
                let before =
                    application.pointer("/status/operationState/operation/sync/autoHealAttemptsCount");
                let attempts = before.and_then(Value::as_u64).unwrap_or(0) + 1;
                operation["sync"]["autoHealAttemptsCount"] = json!(attempts);
                operation["sync"]["resources"] = heal::changed(&status);
            }
            let parts = [("/operation", operation.clone()), ("/status/operationState", Value::Null)];
            self.objects.set(&path, application, &parts).await?;
            started = Some(operation);
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
        match started {
            Some(operation) => self.operate(application, live, status, operation).await,
            None => Ok(()),
        }
    }

    /// Health moves without a comparison, and without `reconciledAt`.
    async fn update_health(&self, application: &Value, live: &health::Live) -> Result<()> {
        let suspends = self.has(application, &Fault::StoppedIsSuspended);
        let health = live.of(items(application, "/status/resources"), suspends);
        if application["status"]["health"]["status"] == health || application.get("status").is_none() {
            return Ok(());
        }
        let value = json!({ "status": health, "lastTransitionTime": now() });
        self.objects.set(&applications().of(application), application, &[("/status/health", value)]).await
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
