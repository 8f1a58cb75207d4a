//! From the request to the restored machine, whichever part of it an earlier run has done.

use cluster::{Created, Object};
use serde_json::Value;
use snapshots::{Ended, Follow, Look, Work, remove, text};
use step::{CHANGED, Done, Failure, Kind, human};
use tokio::time::{Duration, Instant};
use vm::conditions::State;
use vm::conditions::restore::{last_restore, restore_state, restored_by, touched};
use vm::conditions::snapshot::listed;

use crate::REASON;
use crate::after::{self, Power, Restored, whole};
use crate::before::{self, Plan};
use crate::finish;
use crate::pause::Pause;
use crate::wanted::{Stop, Wanted, annotation, followed_before};

/// How long a restore that has failed may take to go.
const REMOVAL: Duration = Duration::from_mins(2);

/// Where an earlier run has left it.
#[derive(Debug)]
enum Stage {
    /// Nothing was begun.
    New,
    /// There is the restore, and it has failed: it is removed and made anew.
    Failed {
        /// Its uid.
        uid: String,
        /// Why, as a predicate.
        why: String,
    },
    /// There is the restore.
    UnderWay(Value),
    /// It was complete, and is removed.
    Complete(Restored),
    /// It was complete, and the machine was restored again since.
    Past,
}

/// Restore the machine.
pub(crate) async fn run(work: &Work, wanted: &Wanted) -> Result<Done, Stop> {
    let pause = Pause { application: wanted.application.as_ref(), by: &wanted.id };
    let (restored, disks) = match stage(work, wanted).await? {
        Stage::Complete(restored) => {
            tracing::info!("{} was complete already", wanted.restore);
            let disks = after::verify(work, wanted, &restored).await?;
            return finish::finish(work, wanted, &pause, &restored, &disks).await;
        }
        Stage::Past => return Err(past(wanted)),
        stage => {
            if let Stage::Failed { uid, why } = &stage {
                tracing::info!("{} of an earlier run {why}: it is removed and made anew", wanted.restore);
                discard(work, wanted, uid).await?;
            }
            let plan = match stage {
                Stage::UnderWay(_) => None,
                _ => Some(before::check(work, wanted).await?),
            };
            pause.set(work).await?;
            match paused(work, wanted, stage, plan).await {
                Ok(restored) => restored,
                Err(Broken { stop, resume }) => return Err(give_up(work, &pause, stop, resume).await),
            }
        }
    };
    finish::finish(work, wanted, &pause, &restored, &disks).await
}

/// Say whether the machine can be restored, and change nothing: what would be refused once it is off is refused while it runs.
/// A restore that an earlier run has begun, or done, is gone on with, so nothing is to be said against it.
pub(crate) async fn check(work: &Work, wanted: &Wanted) -> Result<Done, Stop> {
    let said = match stage(work, wanted).await? {
        Stage::New | Stage::Failed { .. } => {
            let plan = before::possible(work, wanted).await?;
            let volumes: Vec<&str> = plan.disks.iter().map(|(volume, _)| volume.as_str()).collect();
            format!("{} can be restored from {}: {}", wanted.vm, wanted.snapshot, listed(&volumes))
        }
        Stage::UnderWay(_) => format!("{} is there already: it is gone on with", wanted.restore),
        Stage::Complete(_) | Stage::Past => format!("{} was complete already", wanted.restore),
    };
    work.context.result(REASON, "");
    Ok(Done::new(said))
}

/// Why the restore did not come to its end, and whether Argo CD may look at the disks again.
struct Broken {
    stop: Stop,
    resume: bool,
}

impl Broken {
    fn untouched(stop: impl Into<Stop>) -> Self {
        Self { stop: stop.into(), resume: true }
    }
}

async fn give_up(work: &Work, pause: &Pause<'_>, stop: Stop, resume: bool) -> Stop {
    let Stop { reason, failure } = stop;
    let mut told = vec!["the machine stays stopped".to_owned()];
    if resume {
        if let Err(failure) = pause.lift(work).await {
            told.push(format!("Argo CD stays paused: {}", failure.message()));
        }
    } else if pause.application.is_some() {
        told.push("Argo CD stays paused".to_owned());
    }
    let message = format!("{}; {}", failure.message(), told.join(", "));
    let hint = failure.hint_text().map(str::to_owned);
    Stop::new(reason, hint.into_iter().fold(Failure::new(failure.kind(), message), Failure::hint))
}

/// What an earlier run of this request has done.
async fn stage(work: &Work, wanted: &Wanted) -> Result<Stage, Stop> {
    let vm = work.read(&wanted.vm).await?.ok_or_else(|| {
        let failure = Failure::new(Kind::Failed, format!("{} does not exist", wanted.vm))
            .hint("a machine that was removed is brought back by undelete, or made anew from the snapshot's volumes");
        Stop::new("Missing", failure)
    })?;
    if let Some(found) = work.read(&wanted.restore).await? {
        if !wanted.owns(&found) {
            let failure = Failure::new(
                Kind::Conflict,
                format!("{} is there already, and is another request's", wanted.restore),
            )
            .hint("give a new request id, or another `--restore-name`");
            return Err(Stop::new("Conflict", failure));
        }
        return match restore_state(&found) {
            State::Failed(failed) => {
                Ok(Stage::Failed { uid: text(&found, "/metadata/uid").to_owned(), why: failed.message })
            }
            _ => Ok(Stage::UnderWay(found)),
        };
    }
    let marked =
        work.read(&wanted.snapshot).await?.is_some_and(|s| !annotation(&s, &wanted.mark()).is_empty());
    let noted = match &work.hold {
        Some(hold) => hold.noted(&wanted.note()).await?.is_some(),
        None => false,
    };
    if restored_by(&vm, wanted.restore.name.name()) {
        let power = if marked || noted { Power::Any } else { Power::Off };
        let stamp = last_restore(&vm).to_owned();
        return Ok(Stage::Complete(Restored { stamp, uid: None, followed: Vec::new(), power }));
    }
    Ok(if marked || noted { Stage::Past } else { Stage::New })
}

fn past(wanted: &Wanted) -> Stop {
    let failure = Failure::new(
        Kind::Superseded,
        format!("{} is complete, and {} was restored again since", wanted.restore, wanted.vm),
    )
    .hint("send a new request if this snapshot is wanted once more");
    Stop::new("Superseded", failure)
}

async fn discard(work: &Work, wanted: &Wanted, uid: &str) -> Result<(), Failure> {
    work.check()?;
    remove(work, &wanted.restore, uid, Instant::now() + REMOVAL).await.map(drop)
}

/// While Argo CD is paused: make the restore, unless there is one, see it complete, and check what it has made.
async fn paused(
    work: &Work,
    wanted: &Wanted,
    stage: Stage,
    plan: Option<Plan>,
) -> Result<(Restored, Vec<after::Disk>), Broken> {
    let restore = match (stage, plan) {
        (Stage::UnderWay(found), _) => found,
        (_, Some(plan)) => create(work, wanted, &plan).await.map_err(Broken::untouched)?,
        (_, None) => return Err(Broken::untouched(Failure::new(Kind::Internal, "a restore without a plan"))),
    };
    let restore = complete(work, wanted, restore).await?;
    let uid = text(&restore, "/metadata/uid");
    let restored = Restored {
        stamp: format!("{}-{uid}", wanted.restore.name.name()),
        uid: Some(uid.to_owned()),
        followed: followed_before(&restore),
        power: Power::Off,
    };
    // the disks are the snapshot's; what is found wrong with them is not mended by an Argo CD that looks
    match after::verify(work, wanted, &restored).await {
        Ok(disks) => Ok((restored, disks)),
        Err(stop) => Err(Broken { stop, resume: false }),
    }
}

/// Look at the machine once more, now that nothing syncs it, and make the restore.
async fn create(work: &Work, wanted: &Wanted, plan: &Plan) -> Result<Value, Stop> {
    let gone = || Failure::new(Kind::Failed, format!("{} is gone", wanted.vm));
    let vm = work.read(&wanted.vm).await?.ok_or_else(gone)?;
    before::off(work, wanted, &vm).await?;
    work.check()?;
    let body = wanted.body(plan.ownership, &vm);
    let what = format!("create {}", wanted.restore);
    let made = work.ask(&what, async || work.cluster.create(&wanted.restore, &body).await).await;
    let made = made.map_err(|failure| Stop::new("Refused", failure))?;
    let volumes: Vec<&str> = plan.disks.iter().map(|(volume, _)| volume.as_str()).collect();
    tracing::info!("{} restores {} from {}", wanted.restore, volumes.join(", "), wanted.snapshot);
    work.context.result(CHANGED, "true");
    match made {
        Created::New(restore) => Ok(restore),
        // an earlier attempt whose answer was lost; or somebody who has our name
        Created::Exists => match work.read(&wanted.restore).await? {
            Some(found) if wanted.owns(&found) => Ok(found),
            _ => Err(Stop::new(
                "Conflict",
                Failure::new(Kind::Conflict, format!("{} is another request's", wanted.restore)),
            )),
        },
    }
}

/// Wait until it is complete. Once it has begun with the disks it is left to go on, whatever happens to us: only its end makes
/// them whole.
async fn complete(work: &Work, wanted: &Wanted, restore: Value) -> Result<Value, Broken> {
    let uid = text(&restore, "/metadata/uid").to_owned();
    let mut begun = touched(&restore);
    let follow = Follow::new([(&work.cluster, wanted.restore.clone())]);
    let limit = Instant::now() + wanted.deadline;
    let seen = follow.until(work, limit, |sights| match sights.first().and_then(|s| s.object()) {
        Some(restore) if text(restore, "/metadata/uid") == uid => {
            begun |= touched(restore);
            match restore_state(restore) {
                State::Ready => Look::Over(Ok(restore.clone())),
                State::Failed(failed) => Look::Over(Err(failed.message)),
                State::Pending(pending) => {
                    Look::Wait(format!("{}, which {}", wanted.restore, pending.message))
                }
                State::Superseded(why) => Look::Over(Err(why)),
            }
        }
        _ => Look::Over(Err("is gone: somebody has removed it".to_owned())),
    });
    let in_flight = |stop: Stop| Broken { stop, resume: false };
    match seen.await {
        Ok(Ok(restore)) => Ok(restore),
        Ok(Err(why)) => {
            let failure = Failure::new(Kind::Failed, format!("{} {why}", wanted.restore));
            broken(work, wanted, &uid, Stop::new("RestoreFailed", failure)).await
        }
        Err(Ended::Late(line)) if !begun => {
            let what = format!(
                "{} is not complete after {}: waited for {line}",
                wanted.restore,
                human(wanted.deadline)
            );
            let failure = Failure::new(Kind::Timeout, what);
            broken(work, wanted, &uid, Stop::new("Late", failure)).await
        }
        Err(ended) => {
            let failure = ended.failure(&format!("{} is not complete", wanted.restore));
            let message = format!("{}; it is left to go on", failure.message());
            let failure = Failure::new(failure.kind(), message).hint(
                "run the same request again: it goes on with this restore, and resumes Argo CD after it",
            );
            Err(in_flight(Stop::new("InFlight", failure)))
        }
    }
}

/// It will not be complete: it is removed, for it would block the next one, and the disks are looked at.
async fn broken<T>(work: &Work, wanted: &Wanted, uid: &str, stop: Stop) -> Result<T, Broken> {
    let Stop { reason, failure } = stop;
    let mut message = failure.message().to_owned();
    if let Err(failure) = discard(work, wanted, uid).await {
        message = format!("{message}; it cannot be removed: {}", failure.message());
    }
    let lost = match whole(work, wanted).await {
        Ok(lost) => lost,
        Err(failure) => Some(format!("its disks cannot be looked at: {}", failure.message())),
    };
    let resume = lost.is_none();
    let failure = match lost {
        Some(lost) => Failure::new(failure.kind(), format!("{message}; {lost}"))
            .hint("the snapshot still holds the data: run the same request again, and do not start the machine before"),
        None => Failure::new(failure.kind(), format!("{message}; its disks are as they were")),
    };
    Err(Broken { stop: Stop::new(reason, failure), resume })
}

/// An object beside the machine.
pub(crate) fn beside(wanted: &Wanted, kind: cluster::Kind, name: &str) -> Result<Object, Failure> {
    let name =
        wanted.vm.name.sibling(name).map_err(|why| Failure::new(Kind::Failed, format!("`{name}`: {why}")))?;
    Ok(Object { kind, name })
}
