//! All questions first, then all changes, then the wait.

use std::time::Duration;

use cluster::{
    CDI_CONFIG, Cluster, Error, Hold, Object, PERSISTENT_VOLUME_CLAIM, STORAGE_CLASS, VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_INSTANCE,
};
use serde_json::{Value, json};
use step::{CHANGED, Context, Done, Failure, Kind, human};
use tokio::time::{Instant, sleep_until};
use vm::quantity::Quantity;

use crate::claim::{Progress, capacity, needed, on_file_system, overhead, progress, requested, text};
use crate::{Args, GROWN, REASON};

/// Looked at this often; a volume grows within seconds.
const LOOK: Duration = Duration::from_secs(2);
/// An API server that does not answer is asked again this often; the gate makes it longer during an outage.
const AGAIN: Duration = Duration::from_secs(1);
/// What CDI calls its settings.
const SETTINGS: &str = "config";

/// One disk on its way.
struct Disk {
    object: Object,
    /// What was asked for.
    size: Quantity,
    /// Bytes that its claim has to have.
    wanted: u64,
    /// The claim requests that much already.
    raised: bool,
}

struct Grow {
    args: Args,
    context: Context,
    cluster: Cluster,
    hold: Option<Hold>,
}

pub(crate) async fn grow(args: Args, context: Context) -> Result<Done, Failure> {
    if args.disks.0.is_empty() {
        return Ok(Done::new("no disk to grow"));
    }
    let cluster = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
    let hold = args.lease.take(&cluster, &context).await?;
    let cluster = cluster.of_machine(args.machine_kubeconfig.as_deref()).await?;
    let grow = Grow { args, context, cluster, hold };
    match &grow.hold {
        Some(hold) => hold.during(grow.run()).await,
        None => grow.run().await,
    }
}

impl Grow {
    async fn run(&self) -> Result<Done, Failure> {
        let disks = self.questions().await?;
        let mut changed = false;
        for disk in disks.iter().filter(|d| !d.raised) {
            self.raise(disk).await?;
            changed = true;
            self.context.result(CHANGED, "true");
            tracing::info!("{} requests {} bytes now", disk.object, disk.wanted);
        }
        let notes = self.wait(&disks).await?;
        let names: Vec<String> =
            disks.iter().map(|d| format!("`{}` to {}", d.object.name.name(), d.size)).collect();
        let word = if changed { "grew" } else { "already grown:" };
        Ok(Done::new(format!("{word} {}{notes}", names.join(", "))))
    }

    /// Everything that could keep a disk from growing, before any is touched.
    async fn questions(&self) -> Result<Vec<Disk>, Failure> {
        let vm = Object { kind: VIRTUAL_MACHINE, name: self.args.vm.clone() };
        let what = format!("cannot grow disks of {vm}");
        let Some(machine) = self.read(&vm).await? else {
            return Err(Failure::new(Kind::Failed, format!("{what}: it does not exist")));
        };
        let claims = vm::conditions::claims(&machine);
        let (mut disks, mut faults) = (Vec::new(), Vec::new());
        for (claim, size) in &self.args.disks.0 {
            if !claims.contains(&claim.as_str()) {
                faults.push((Kind::Invalid, format!("claim `{claim}` is not one of its disks")));
                continue;
            }
            match self.question(claim.as_str(), *size).await? {
                Ok(disk) => disks.push(disk),
                Err(fault) => faults.push(fault),
            }
        }
        // one fault is all in the last line
        let details =
            if faults.len() > 1 { faults.iter().map(|(_, why)| why.clone()).collect() } else { Vec::new() };
        match faults.into_iter().next() {
            None => Ok(disks),
            Some((kind, why)) => {
                Err(Failure::new(kind, format!("{what}: {why}; nothing was changed")).details(details))
            }
        }
    }

    /// One disk, or why it cannot grow.
    async fn question(&self, claim: &str, size: Quantity) -> Result<Result<Disk, (Kind, String)>, Failure> {
        let name = self.args.vm.sibling(claim).map_err(|why| Failure::new(Kind::Usage, why))?;
        let object = Object { kind: PERSISTENT_VOLUME_CLAIM, name };
        let failed = |why: String| Ok(Err((Kind::Failed, why)));
        let Some(read) = self.read(&object).await? else { return failed(format!("{object} does not exist")) };
        if !text(&read, "/metadata/deletionTimestamp").is_empty() {
            return failed(format!("{object} is being deleted"));
        }
        if text(&read, "/status/phase") != "Bound" {
            return failed(format!("{object} is {}, not bound", text(&read, "/status/phase")));
        }
        let class = text(&read, "/spec/storageClassName");
        let part = if on_file_system(&read) {
            // readable by few; without it CDI's default holds
            let settings = self.cluster.get_wide(CDI_CONFIG, SETTINGS).await.ok().flatten();
            Some(overhead(settings.as_ref(), class))
        } else {
            None
        };
        let wanted = needed(size, part);
        let raised = requested(&read) >= wanted;
        if !raised && capacity(&read) < wanted {
            if class.is_empty() {
                return Ok(Err((
                    Kind::Refused,
                    format!("{object} has no storage class, so its storage cannot grow"),
                )));
            }
            match self.expands(class).await? {
                Some(true) => {}
                Some(false) => {
                    let why = format!(
                        "storage class `{class}` of {object} does not let volumes grow (`allowVolumeExpansion`)"
                    );
                    return Ok(Err((Kind::Refused, why)));
                }
                None => return failed(format!("storage class `{class}` of {object} does not exist")),
            }
        }
        Ok(Ok(Disk { object, size, wanted, raised }))
    }

    async fn expands(&self, class: &str) -> Result<Option<bool>, Failure> {
        let what = format!("cannot read storage class `{class}`");
        let class = self.insist(&what, async || self.cluster.get_wide(STORAGE_CLASS, class).await).await?;
        let allowed = |c: &Value| c.get("allowVolumeExpansion").and_then(Value::as_bool).unwrap_or_default();
        Ok(class.as_ref().map(allowed))
    }

    /// Raise the request; what was read is tested again, so that nobody's larger request is lowered.
    async fn raise(&self, disk: &Disk) -> Result<(), Failure> {
        let what = format!("cannot grow {}", disk.object);
        loop {
            let Some(claim) = self.read(&disk.object).await? else {
                return Err(Failure::new(Kind::Failed, format!("{what}: it does not exist any more")));
            };
            if requested(&claim) >= disk.wanted {
                return Ok(());
            }
            if let Some(hold) = &self.hold {
                hold.check()?;
            }
            let field = "/spec/resources/requests/storage";
            let patch = json!([
                {"op": "test", "path": "/metadata/uid", "value": text(&claim, "/metadata/uid")},
                {"op": "test", "path": field, "value": text(&claim, field)},
                {"op": "replace", "path": field, "value": disk.wanted.to_string()},
            ]);
            let answer =
                self.insist(&what, async || match self.cluster.json_patch(&disk.object, &patch).await {
                    Err(error) if error.test_failed() => Ok(false),
                    answer => answer.map(|_| true),
                });
            if answer.await? {
                return Ok(());
            }
        }
    }

    /// Until all have grown; with what is to be said of those that grow when their machine runs.
    async fn wait(&self, disks: &[Disk]) -> Result<String, Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        let mut said = String::new();
        loop {
            let (mut grown, mut pending, mut mounting) = (Vec::new(), None, Vec::new());
            for disk in disks {
                let Some(claim) = self.read(&disk.object).await? else {
                    return Err(Failure::new(
                        Kind::Failed,
                        format!("{} does not exist any more", disk.object),
                    ));
                };
                grown.push(format!("{}={}", disk.object.name.name(), capacity(&claim)));
                match progress(&claim, disk.wanted) {
                    Progress::Done => {}
                    Progress::Mounting => mounting.push(disk.object.name.name()),
                    Progress::Pending(reason, words) => {
                        pending.get_or_insert((reason, format!("{}{}", disk.object, with(&words))));
                    }
                    Progress::Failed(reason, words) => {
                        self.context.result(REASON, reason.clone());
                        return Err(Failure::new(
                            Kind::Failed,
                            format!("{} cannot grow: {reason}{}", disk.object, with(&words)),
                        ));
                    }
                }
            }
            self.context.result(GROWN, grown.join(","));
            let runs = !mounting.is_empty() && self.runs().await?;
            let why = match pending {
                None if mounting.is_empty() => {
                    self.context.result(REASON, "");
                    return Ok(String::new());
                }
                None if !runs => {
                    self.context.result(REASON, "FileSystemResizePending");
                    return Ok(format!(
                        "; the file system of `{}` grows when the machine runs",
                        mounting.join("`, `")
                    ));
                }
                None => (
                    "FileSystemResizePending".to_owned(),
                    format!("the file system of `{}`", mounting.join("`, `")),
                ),
                Some(pending) => pending,
            };
            self.context.result(REASON, why.0.clone());
            let line = format!("{}: {}", why.0, why.1);
            if line != said {
                tracing::info!("waiting for {line}, {} left", human(self.context.left()));
                said.clone_from(&line);
            }
            tokio::select! {
                () = sleep_until((Instant::now() + LOOK).min(deadline)) => {}
                () = self.context.stopped() => return Err(Failure::new(Kind::Timeout, format!("stopped while waiting for {line}"))),
            }
            if Instant::now() >= deadline {
                let after = human(self.args.edge.timeout.get());
                return Err(Failure::new(
                    Kind::Timeout,
                    format!("not grown after {after}: waited for {line}"),
                )
                .hint("run it again to wait longer: what is raised already stays"));
            }
        }
    }

    /// An instance of the machine is there, so its node grows the file system.
    async fn runs(&self) -> Result<bool, Failure> {
        let instance = Object { kind: VIRTUAL_MACHINE_INSTANCE, name: self.args.vm.clone() };
        Ok(self.read(&instance).await?.is_some())
    }

    async fn read(&self, object: &Object) -> Result<Option<Value>, Failure> {
        self.insist(&format!("cannot read {object}"), async || self.cluster.get(object).await).await
    }

    /// Ask until there is an answer, or the deadline.
    async fn insist<T>(&self, what: &str, ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.kind() == Kind::Transient => error,
                Err(error) => return Err(error.failure(what)),
            };
            tokio::select! {
                () = sleep_until((Instant::now() + AGAIN).min(deadline)) => {}
                () = self.context.stopped() => return Err(error.failure(&format!("stopped: {what}"))),
            }
            if Instant::now() >= deadline {
                return Err(error.failure(what));
            }
        }
    }
}

fn with(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}
