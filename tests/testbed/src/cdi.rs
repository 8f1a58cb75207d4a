//! A stand-in for CDI 1.65 and the storage below it: `DataVolumes` become claims and are filled, snapshots and claims are made.
//!
//! It plays: the claim of the same name, owned by the `DataVolume`, with CDI's size (6 % for the filesystem) and labels; the phases
//! `ImportScheduled`, `ImportInProgress`, Succeeded of an import, twice over where it is over HTTP and needs scratch space, and `SnapshotForSmartCloneInProgress`,
//! `CloneFromSnapshotSourceInProgress`, Succeeded of a clone, with progress and conditions in the order seen on a real cluster; an
//! import that fails again and again; a storage class that CDI does not know, which refuses a volume without access modes;
//! claims that are there already and are adopted, or were put there by a restore (`populatedFor`, `prePopulated`); a claim that
//! was deleted and is filled afresh; `DataSources`, resolved when the claim is made. Of the storage: claims without a
//! `DataVolume`, claims from a `VolumeSnapshot`, `VolumeSnapshots`, growth. What is in a disk is told by [`crate::disks`]. What goes
//! wrong on demand, and every other phase, whatever the source: [`Fault`].
//!
//! It does not play: bytes (nothing is fetched), the `prime-…` claims, storage that binds for the first consumer unless asked for,
//! `DataImportCrons`, persistent volumes and `VolumeSnapshotContents`. What CDI's admission refuses is in [`crate::control_plane`].

mod claim;
mod import;
mod phase;
mod source;
mod storage;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use kube::Client;
use serde_json::{Value, json};

pub(crate) use self::claim::{CLASS, bytes};
pub use self::phase::{Fault, PHASES};
use self::{
    claim::{claim_of, storage_class},
    source::Source,
    storage::Storage,
};
use crate::{
    disks::marked,
    standin::{
        Controller, Objects, Running, Scope, claims, condition, data_sources, items, key, now, owner,
        set_condition, text, volume_snapshots, volumes,
    },
};

/// The volume may take over a claim of its name that is there already.
const ADOPT: &str = "cdi.kubevirt.io/allowClaimAdoption";
/// The volume fills no claim: somebody else does.
const PRE_POPULATED: &str = "cdi.kubevirt.io/storage.prePopulated";
/// The claim was filled for the volume of this name.
const POPULATED_FOR: &str = "cdi.kubevirt.io/storage.populatedFor";

/// How a [`Cdi`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces it looks after; none named: all.
    pub namespaces: Vec<String>,
    /// How long each phase lasts.
    pub pace: Duration,
    /// Whether CDI knows access modes for the storage class. If not, a volume has to name them.
    pub storage_is_known: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { namespaces: Vec::new(), pace: Duration::from_millis(150), storage_is_known: true }
    }
}

#[derive(Debug, Default)]
struct Knobs {
    held: bool,
    claims_held: bool,
    failing: HashMap<(String, String), Fault>,
    snapshots_held: bool,
    snapshots_failing: Option<String>,
}

/// A running stand-in for CDI; it stops when dropped.
#[derive(Debug)]
pub struct Cdi {
    running: Running,
    storage: Running,
    knobs: Arc<Mutex<Knobs>>,
}

impl Cdi {
    /// Start it, in the current tokio runtime.
    pub fn start(client: Client, options: Options) -> Self {
        let knobs = Arc::default();
        let objects = Objects::new(client);
        let kinds = vec![volumes(), claims(), data_sources(), volume_snapshots()];
        let scope = Scope(options.namespaces.clone());
        let storage = Storage::new(objects.clone(), scope.clone(), options.pace, Arc::clone(&knobs));
        let filler = Filler {
            objects: objects.clone(),
            options,
            scope,
            knobs: Arc::clone(&knobs),
            since: HashMap::new(),
        };
        Self {
            running: Running::start(&objects, kinds, filler),
            storage: Running::start(&objects, vec![claims(), volume_snapshots()], storage),
            knobs,
        }
    }

    /// Leave every volume in the phase that it is in, until [`Cdi::go_on`].
    pub fn hold(&self) {
        self.knobs().held = true;
    }

    /// Bind no claim that is not a volume's own, as those of restores are, until [`Cdi::go_on`].
    pub fn hold_claims(&self) {
        self.knobs().claims_held = true;
    }

    /// Go on with volumes and claims.
    pub fn go_on(&self) {
        let mut knobs = self.knobs();
        (knobs.held, knobs.claims_held) = (false, false);
        self.running.poke();
        self.storage.poke();
    }

    /// Do wrong with a volume, until [`Cdi::heal`].
    pub fn fail(&self, namespace: &str, name: &str, fault: Fault) {
        self.knobs().failing.insert((namespace.to_owned(), name.to_owned()), fault);
        self.running.poke();
    }

    /// Take back [`Cdi::fail`].
    pub fn heal(&self, namespace: &str, name: &str) {
        self.knobs().failing.remove(&(namespace.to_owned(), name.to_owned()));
        self.running.poke();
    }

    /// Leave every `VolumeSnapshot` unfinished, until [`Cdi::finish_snapshots`]. What is in the disk is kept from when it was asked for.
    pub fn hold_snapshots(&self) {
        self.knobs().snapshots_held = true;
    }

    /// Let every `VolumeSnapshot` that is not ready yet fail in these words, until [`Cdi::finish_snapshots`].
    pub fn fail_snapshots(&self, words: &str) {
        self.knobs().snapshots_failing = Some(words.to_owned());
        self.storage.poke();
    }

    /// Take back [`Cdi::hold_snapshots`] and [`Cdi::fail_snapshots`].
    pub fn finish_snapshots(&self) {
        let mut knobs = self.knobs();
        knobs.snapshots_held = false;
        knobs.snapshots_failing = None;
        self.storage.poke();
    }

    fn knobs(&self) -> MutexGuard<'_, Knobs> {
        self.knobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Filler {
    objects: Objects,
    options: Options,
    scope: Scope,
    knobs: Arc<Mutex<Knobs>>,
    /// Since when a volume, by uid, is in its phase, and its pod as it is.
    since: HashMap<String, (String, Instant)>,
}

impl Controller for Filler {
    async fn look(&mut self) -> Result<Option<Duration>> {
        let mut busy = false;
        for source in self.objects.list(&data_sources()).await? {
            if self.scope.holds(&source) {
                self.say_source(&source).await?;
            }
        }
        for volume in self.objects.list(&volumes()).await? {
            if self.scope.holds(&volume) && volume["metadata"].get("deletionTimestamp").is_none() {
                busy |= self.bring_on(&volume).await?;
            }
        }
        Ok(busy.then_some(self.options.pace / 2))
    }
}

impl Filler {
    /// True if there is more to do for this volume.
    async fn bring_on(&mut self, volume: &Value) -> Result<bool> {
        let phase = text(volume, "/status/phase");
        let id = text(volume, "/metadata/uid").to_owned();
        let running = condition(volume, "Running").map_or("", |running| text(running, "/reason"));
        let now = format!("{phase} {running}");
        let since = self.since.entry(id).or_insert_with(|| (now.clone(), Instant::now()));
        if since.0 != now {
            *since = (now, Instant::now());
        }
        let elapsed = since.1.elapsed() >= self.options.pace;
        let (held, failure) = {
            let knobs = self.knobs.lock().unwrap_or_else(PoisonError::into_inner);
            (knobs.held, knobs.failing.get(&key(volume)).cloned())
        };
        if let Some(Fault::NoClaim(reason, words)) = &failure {
            return self.refuse_claim(volume, reason, words).await;
        }
        if !self.options.storage_is_known
            && volume.pointer("/spec/storage").is_some()
            && items(volume, "/spec/storage/accessModes").is_empty()
        {
            let words = format!("no accessMode specified in StorageProfile {}", storage_class(volume));
            return self.refuse_claim(volume, "ErrClaimNotValid", &words).await;
        }
        let claim = claims().of(volume);
        let there = self.objects.get(&claim).await?;
        let pre_populated = volume["metadata"]["annotations"].get(PRE_POPULATED).is_some();
        let Some(claim_seen) = there else {
            if pre_populated {
                let conditions =
                    [("Bound", "False", "NotFound", "No PVC found".to_owned()), not_ready(), idle()];
                self.write(volume, "Pending", "N/A", &conditions).await?;
            } else {
                self.make_claim(volume, phase).await?;
            }
            return Ok(true);
        };
        if claim_seen["metadata"].get("deletionTimestamp").is_some() {
            return Ok(true);
        }
        let ours = items(&claim_seen, "/metadata/ownerReferences")
            .iter()
            .any(|owner| owner["uid"] == volume["metadata"]["uid"]);
        let name = text(volume, "/metadata/name");
        if !ours {
            let may = volume["metadata"]["annotations"][ADOPT] == "true"
                || claim_seen["metadata"]["annotations"][POPULATED_FOR] == name;
            if may && items(&claim_seen, "/metadata/ownerReferences").is_empty() {
                let owner = owner("cdi.kubevirt.io/v1beta1", "DataVolume", volume);
                self.objects.set(&claim, &claim_seen, &[("/metadata/ownerReferences", owner)]).await?;
            }
            return Ok(may);
        }
        let bound = claim_seen["status"]["phase"] == "Bound";
        // Somebody else filled it: it is as good as what there is.
        if claim_seen["metadata"]["annotations"]["cdi.kubevirt.io/createdForDataVolume"]
            != volume["metadata"]["uid"]
        {
            let (state, reason, message) = if bound {
                ("True", "Bound", format!("PVC {name} Bound"))
            } else {
                ("False", "Pending", pending(volume))
            };
            let conditions =
                [("Bound", state, reason, message), ("Ready", "True", "", String::new()), idle()];
            let progress = if pre_populated { "100.0%" } else { "N/A" };
            self.write(volume, "Succeeded", progress, &conditions).await?;
            return Ok(!bound);
        }
        if phase == "Succeeded" && bound {
            return Ok(false);
        }
        if held || !elapsed {
            return Ok(true);
        }
        self.next(volume, &claim, &claim_seen, failure.as_ref()).await
    }

    async fn refuse_claim(&self, volume: &Value, reason: &'static str, words: &str) -> Result<bool> {
        let conditions = [
            ("Bound", "False", reason, words.to_owned()),
            ("Ready", "False", reason, words.to_owned()),
            idle(),
        ];
        let mut status =
            json!({ "conditions": volume["status"].get("conditions").cloned().unwrap_or(json!([])) });
        fill_conditions(&mut status, &conditions);
        self.put(volume, status).await?;
        Ok(false)
    }

    /// Make the claim of a volume, if what it is to be filled from is there.
    async fn make_claim(&self, volume: &Value, phase: &str) -> Result<()> {
        match self.source(volume).await? {
            Source::Unknown => Ok(()),
            Source::NotNow { reason, message } => {
                let conditions = [
                    ("Bound", "False", reason, message.clone()),
                    ("Ready", "False", reason, message),
                    idle(),
                ];
                self.write(volume, phase, "", &conditions).await
            }
            Source::Found { size, .. } => {
                self.objects.create(&claims(), &claim_of(volume, size.as_deref())).await?;
                let ready = ("Ready", if phase == "Succeeded" { "True" } else { "False" }, "", String::new());
                let conditions = [("Bound", "False", "Pending", pending(volume)), ready, idle()];
                self.write(volume, phase, "N/A", &conditions).await
            }
        }
    }

    /// Fill the claim and bind it; false where the source has gone meanwhile.
    async fn fill(&self, volume: &Value, path: &str, claim: &Value) -> Result<bool> {
        let Source::Found { content, .. } = self.source(volume).await? else { return Ok(false) };
        self.objects.merge(path, &marked(&content)).await?;
        storage::bind(&self.objects, path, claim).await?;
        Ok(true)
    }

    async fn write(
        &self,
        volume: &Value,
        phase: &str,
        progress: &str,
        conditions: &[(&str, &str, &str, String)],
    ) -> Result<()> {
        let mut status = json!({
            "claimName": volume["metadata"]["name"],
            "conditions": volume["status"].get("conditions").cloned().unwrap_or(json!([])),
        });
        if !progress.is_empty() {
            status["progress"] = json!(progress);
        }
        if !phase.is_empty() {
            status["phase"] = json!(phase);
        }
        fill_conditions(&mut status, conditions);
        self.put(volume, status).await
    }

    async fn put(&self, volume: &Value, status: Value) -> Result<()> {
        if volume.get("status") == Some(&status) {
            return Ok(());
        }
        self.objects.set(&format!("{}/status", volumes().of(volume)), volume, &[("/status", status)]).await
    }
}

type Condition = (&'static str, &'static str, &'static str, String);

const fn not_ready() -> Condition {
    ("Ready", "False", "", String::new())
}

const fn idle() -> Condition {
    ("Running", "False", "", String::new())
}

fn fill_conditions(status: &mut Value, conditions: &[(&str, &str, &str, String)]) {
    let Some(list) = status["conditions"].as_array_mut() else { return };
    for (kind, state, reason, message) in conditions {
        let mut condition =
            json!({ "type": kind, "status": state, "lastTransitionTime": now(), "lastHeartbeatTime": now() });
        if !reason.is_empty() {
            condition["reason"] = json!(reason);
        }
        if !message.is_empty() {
            condition["message"] = json!(message);
        }
        set_condition(list, condition);
    }
}

fn pending(volume: &Value) -> String {
    format!("PVC {} Pending", text(volume, "/metadata/name"))
}
