//! That nothing but this pod uses the disk, before and after.

use std::time::Duration;

use cluster::{
    Attempt, Cluster, Error, Hold, Name, Object, PERSISTENT_VOLUME_CLAIM, POD, Taker, VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_INSTANCE,
};
use serde_json::Value;
use step::{CHANGED, Context, Done, Failure, Kind, Timeout};
use tokio::time::{Instant, sleep_until};

use crate::customize::{self, half_patched};
use crate::permit::{Permit, State};
use crate::users::{Own, Sight, Verdict, has_it, judge};
use crate::{Args, REASON, VOLUME_MODE, VolumeMode, When};

/// Looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// How long the Lease lasts while the disk is patched, when nobody can renew it, unless `--lease-for` says so: longer than all
/// that comes between the two checks.
const PATCHING: Duration = Duration::from_hours(1);
/// Lengths after which the Lease is the flow's again.
const AFTERWARDS: Duration = Duration::from_mins(5);

/// Notes in the Lease about one request: its pod that began, then that it ended well.
const BEGUN: &str = "begun by ";
const ENDED: &str = "ended";

struct Check<'a> {
    args: &'a Args,
    context: &'a Context,
    cluster: Cluster,
    hold: Option<Hold>,
    vm: &'a Name,
    claim: &'a str,
    pod: &'a str,
    /// As it is written in the flag.
    lease: String,
}

pub(crate) async fn check(args: &Args, when: When, context: &Context) -> Result<Done, Failure> {
    let missing = |flag: &str| Failure::new(Kind::Usage, format!("`--check` is given without `{flag}`"));
    let vm = args.vm.as_ref().ok_or_else(|| missing("--vm"))?;
    let claim = args.claim.as_ref().ok_or_else(|| missing("--claim"))?.as_str();
    let pod = args.pod.as_ref().ok_or_else(|| missing("--pod"))?.as_str();
    let path = args.permit.as_deref().ok_or_else(|| missing("--permit"))?;
    let cluster = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
    let lasts = match when {
        When::Before => args.lease.lease_for.map_or(PATCHING, Timeout::get),
        When::After => AFTERWARDS,
    };
    let hold = take(args, &cluster, context, lasts).await?;
    let cluster = cluster.of_machine(args.machine_kubeconfig.as_deref()).await?;
    let lease = args.lease.named()?.map(|(lease, _)| lease.to_string()).unwrap_or_default();
    let check = Check { args, context, cluster, hold: hold.clone(), vm, claim, pod, lease };
    let work = async {
        match when {
            When::Before => check.before(path).await,
            When::After => check.after(path).await,
        }
    };
    match hold {
        Some(hold) => hold.during(work).await,
        None => work.await,
    }
}

/// The Lease for as long as nobody can renew it.
async fn take(
    args: &Args,
    cluster: &Cluster,
    context: &Context,
    lasts: Duration,
) -> Result<Option<Hold>, Failure> {
    let Some((lease, holder)) = args.lease.named()? else { return Ok(None) };
    let mut taker = Taker::new(cluster, &lease, &holder).lasting(lasts);
    let what = format!("cannot take lease `{lease}`");
    let deadline = Instant::from_std(context.deadline());
    loop {
        let again = match taker.attempt().await {
            Ok(Attempt::Taken(hold)) => return Ok(Some(hold)),
            Ok(Attempt::Raced) => Instant::now(),
            Ok(Attempt::Held(holder)) => return Err(taker.conflict(&holder)),
            Ok(Attempt::Expired { again, .. }) => again,
            Err(error) if error.kind() == Kind::Transient => Instant::now() + LOOK,
            Err(error) => return Err(error.failure(&what)),
        };
        tokio::select! {
            () = sleep_until(again.min(deadline)) => {}
            () = context.stopped() => return Err(Failure::new(Kind::Transient, format!("{what}: stopped"))),
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(Kind::Transient, format!("{what}: not done in time")));
        }
    }
}

impl Check<'_> {
    fn note_key(&self, hold: &Hold) -> String {
        format!("{}/patch-disk/{}", hold.holder(), self.claim)
    }

    async fn before(&self, path: &std::path::Path) -> Result<Done, Failure> {
        if let Some(hold) = &self.hold
            && let Some(noted) = hold.noted(&self.note_key(hold)).await?
        {
            return self.behind(hold, noted, path).await;
        }
        if self.args.commands_file.is_some() || self.args.profile.is_some() {
            // what is wrong with them is found out before anything counts as begun
            customize::read_commands(self.args)?;
        }
        let mode = self.until_free().await?;
        self.context.result(VOLUME_MODE, mode.word());
        if let Some(hold) = &self.hold {
            let ours = format!("{BEGUN}{}", self.pod);
            let noted = hold.note_first(&self.note_key(hold), &ours).await?;
            if noted != ours {
                return self.behind(hold, noted, path).await;
            }
            self.context.result(CHANGED, "true");
        } else {
            tracing::warn!("no `--lease` is given: nothing remembers that this disk is being patched");
        }
        let permit = Permit {
            state: State::Granted,
            claim: self.claim.to_owned(),
            volume_mode: mode.word().to_owned(),
        };
        permit.write(path)?;
        Ok(Done::new(format!("disk of claim `{}` is free to be patched: {}", self.claim, mode.word())))
    }

    /// Another run of the same request came first. While its pod is there it may still write; what it leaves is judged then.
    async fn behind(&self, hold: &Hold, mut noted: String, path: &std::path::Path) -> Result<Done, Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        let mut said = false;
        loop {
            let first =
                noted.strip_prefix(BEGUN).filter(|pod| *pod != self.pod).unwrap_or_default().to_owned();
            let sight = self.look_patiently().await?;
            let at_work = has_it(&sight.pods, self.claim, &first);
            // after the pods: it notes that it ended while its pod is still there
            noted = hold.noted(&self.note_key(hold)).await?.unwrap_or(noted);
            if noted == ENDED {
                Permit { state: State::Already, claim: self.claim.to_owned(), volume_mode: String::new() }
                    .write(path)?;
                return Ok(Done::new(format!(
                    "disk of claim `{}` was patched already by this request",
                    self.claim
                )));
            }
            if !at_work {
                let why = "an earlier run of this request began on it and did not end";
                return Err(half_patched(self.context, self.claim, why));
            }
            let why = format!("another run of this request patches it in pod `{first}`");
            if !said {
                tracing::info!("waiting: {why}");
                said = true;
            }
            let left = tokio::select! {
                () = sleep_until((Instant::now() + LOOK).min(deadline)) => deadline > Instant::now(),
                () = self.context.stopped() => false,
            };
            if !left {
                // nothing failed, so nobody may take the disk from the run that is at it
                self.context.result(REASON, "InUse");
                let what = format!("disk of claim `{}` cannot be patched: {why}", self.claim);
                return Err(
                    Failure::new(Kind::Conflict, what).hint("wait for that run, then run this one again")
                );
            }
        }
    }

    async fn after(&self, path: &std::path::Path) -> Result<Done, Failure> {
        let permit = Permit::read(path)?.filter(|p| p.claim == self.claim);
        if let Some(permit) = &permit {
            self.context.result(VOLUME_MODE, &permit.volume_mode);
        }
        match permit.map(|p| p.state) {
            Some(State::Already) => {
                return Ok(Done::new(format!(
                    "disk of claim `{}` was patched already by this request",
                    self.claim
                )));
            }
            // by the step before this one; what this one writes is the word of them all
            Some(State::Patched) => self.context.result(CHANGED, "true"),
            Some(State::Granted | State::Begun) => {
                return Err(half_patched(self.context, self.claim, "virt-customize did not end well"));
            }
            None => {
                let what = format!("no permit for claim `{}` in `{}`", self.claim, path.display());
                return Err(Failure::new(Kind::Usage, what).hint("`--check before` writes it"));
            }
        }
        let sight = self.look_patiently().await?;
        if let Verdict::Busy(_, why) | Verdict::Never(_, why) = judge(&sight, self.own()) {
            return Err(half_patched(
                self.context,
                self.claim,
                &format!("it was not left alone while it was patched: {why}"),
            ));
        }
        if let Some(hold) = &self.hold {
            hold.note(&self.note_key(hold), ENDED).await?;
        }
        Ok(Done::new(format!("disk of claim `{}` is patched, and nothing else used it", self.claim)))
    }

    fn own(&self) -> Own<'_> {
        let lease = self.hold.as_ref().map(|hold| (self.lease.as_str(), hold.holder()));
        Own { claim: self.claim, pod: self.pod, lease }
    }

    /// Until nothing else uses the disk.
    async fn until_free(&self) -> Result<VolumeMode, Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        let mut said = String::new();
        let refuse = |kind: Kind, reason: &str, why: &str| {
            self.context.result(REASON, reason);
            Failure::new(kind, format!("disk of claim `{}` cannot be patched: {why}", self.claim))
        };
        loop {
            let sight = self.look_patiently().await?;
            let (reason, why) = match judge(&sight, self.own()) {
                Verdict::Free(mode) => return self.fits(mode),
                Verdict::Never(reason, why) => return Err(refuse(Kind::Refused, reason, &why)),
                Verdict::Busy(reason, why) => (reason, why),
            };
            if why != said {
                tracing::info!("waiting: {why}");
                said.clone_from(&why);
            }
            tokio::select! {
                () = sleep_until((Instant::now() + LOOK).min(deadline)) => {}
                () = self.context.stopped() => return Err(refuse(Kind::Timeout, reason, &format!("stopped: {why}"))),
            }
            if Instant::now() >= deadline {
                let after = step::human(self.args.edge.timeout.get());
                return Err(refuse(Kind::Timeout, reason, &format!("{why} (after {after})")));
            }
        }
    }

    /// The steps after this one mount the disk in the one way that was foreseen.
    fn fits(&self, mode: VolumeMode) -> Result<VolumeMode, Failure> {
        match self.args.volume_mode {
            Some(wanted) if wanted != mode => {
                self.context.result(REASON, "VolumeMode");
                let what = format!(
                    "disk of claim `{}` cannot be patched: its volume mode is `{}`, and this task mounts `{}`",
                    self.claim,
                    mode.word(),
                    wanted.word()
                );
                Err(Failure::new(Kind::Invalid, what).hint("run the task for the other volume mode"))
            }
            _ => Ok(mode),
        }
    }

    /// Read everything, again until the API server answers.
    async fn look_patiently(&self) -> Result<Sight, Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        loop {
            let error = match self.look().await {
                Ok(sight) => return Ok(sight),
                Err(error) if error.kind() == Kind::Transient => error,
                Err(error) => {
                    return Err(error.failure(&format!("cannot see who uses claim `{}`", self.claim)));
                }
            };
            tokio::select! {
                () = sleep_until((Instant::now() + LOOK).min(deadline)) => {}
                () = self.context.stopped() => return Err(error.failure("stopped")),
            }
            if Instant::now() >= deadline {
                return Err(error.failure(&format!("cannot see who uses claim `{}`", self.claim)));
            }
        }
    }

    /// The pods last: a machine that starts after it was read has its pod in that list.
    async fn look(&self) -> Result<Sight, Error> {
        let get = async |kind, name: &Name| self.cluster.get(&Object { kind, name: name.clone() }).await;
        let vm = get(VIRTUAL_MACHINE, self.vm).await?;
        let vmi = get(VIRTUAL_MACHINE_INSTANCE, self.vm).await?;
        let claim: Option<Value> = match self.vm.sibling(self.claim) {
            Ok(name) => get(PERSISTENT_VOLUME_CLAIM, &name).await?,
            Err(_) => None,
        };
        let pods = self.cluster.list(POD, self.vm.namespace(), None).await?;
        Ok(Sight { vm, vmi, claim, pods })
    }
}
