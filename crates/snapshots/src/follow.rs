//! Objects, followed until there is a verdict.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, Object, Seen, Sight, Watched};
use step::{Failure, Kind, human};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::work::Work;

/// A line of progress at least this often.
const PROGRESS: Duration = Duration::from_secs(30);
/// What does not mend while RBAC is being rolled out is refused for good.
const REFUSED: Duration = Duration::from_mins(1);
/// What is answered or mended within this is not worth a word.
const BLIP: Duration = Duration::from_secs(5);

/// What the objects, looked at together, come to.
#[derive(Debug)]
pub enum Look<T> {
    /// It is over, well or not.
    Over(T),
    /// Not yet: what is waited for and what is seen, for people.
    Wait(String),
}

/// Why there was no verdict.
#[derive(Debug)]
pub enum Ended {
    /// The time is up; what was seen last.
    Late(String),
    /// A signal, or the deadline of the whole step; what was seen last.
    Stopped(String),
    /// It cannot be known, or the Lease is lost.
    Failed(Failure),
}

impl Ended {
    /// The failure of a step that can do nothing more; `what` says what did not come about.
    pub fn failure(self, what: &str) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Late(line) => Failure::new(Kind::Timeout, format!("{what} in time: waited for {line}"))
                .hint("run it again to wait longer: what is done already is found and kept"),
            Self::Stopped(line) => Failure::new(Kind::Timeout, format!("stopped while waiting for {line}"))
                .hint("run it again to wait longer: what is done already is found and kept"),
        }
    }
}

/// Objects that are followed until this is dropped.
#[derive(Debug)]
pub struct Follow {
    bell: Arc<Notify>,
    watched: Vec<Watched>,
}

impl Follow {
    /// Follow these objects; [`Follow::until`] shows them in this order.
    pub fn new<'a>(objects: impl IntoIterator<Item = (&'a Cluster, Object)>) -> Self {
        let bell = Arc::new(Notify::new());
        let watched =
            objects.into_iter().map(|(cluster, object)| Watched::new(cluster, object, Arc::clone(&bell)));
        Self { watched: watched.collect(), bell }
    }

    /// Look at the objects at each change, until there is a verdict or `limit` or the step's own deadline has come.
    pub async fn until<T>(
        &self,
        work: &Work,
        limit: Instant,
        mut look: impl FnMut(&[Sight]) -> Look<T>,
    ) -> Result<T, Ended> {
        let deadline = Instant::from_std(work.context.deadline());
        let mut said: Option<(String, Instant)> = None;
        let began = Instant::now();
        loop {
            let sights: Vec<Sight> = self.watched.iter().map(Watched::sight).collect();
            let unread = self.unread(&sights);
            let quiet = unread.is_some() && began.elapsed() < BLIP;
            let line = match unread {
                Some(line) => line,
                None => match look(&sights) {
                    Look::Over(verdict) => return Ok(verdict),
                    Look::Wait(line) => line,
                },
            };
            let line = self.troubled(&sights).map_err(Ended::Failed)?.map_or_else(
                || line.clone(),
                |trouble| format!("the api server: {trouble}; last seen: {line}"),
            );
            let due = said.as_ref().is_none_or(|(last, at)| *last != line || at.elapsed() >= PROGRESS);
            if due && !quiet {
                let left = limit.min(deadline).saturating_duration_since(Instant::now());
                tracing::info!("waiting for {line}, {} left", human(left));
                said = Some((line.clone(), Instant::now()));
            }
            tokio::select! {
                () = self.bell.notified() => {}
                () = sleep_until(Instant::now() + PROGRESS) => {}
                () = work.context.stopped() => return Err(Ended::Stopped(line)),
                () = sleep_until(deadline) => return Err(Ended::Stopped(line)),
                // a limit that is the step's own end is told as that, whichever of two timers is the first
                () = sleep_until(limit), if limit < deadline => return Err(Ended::Late(line)),
                failure = lost(work) => return Err(Ended::Failed(failure)),
            }
        }
    }

    /// The first object of which nothing is known.
    fn unread(&self, sights: &[Sight]) -> Option<String> {
        let mut pairs = self.watched.iter().zip(sights);
        let (watched, _) = pairs.find(|(_, sight)| matches!(sight.seen, Seen::NotYet | Seen::NotServed))?;
        Some(format!("an answer about {}", watched.object()))
    }

    /// The first error worth a word, or the failure that it has become.
    fn troubled(&self, sights: &[Sight]) -> Result<Option<String>, Failure> {
        for (watched, sight) in self.watched.iter().zip(sights) {
            let object = watched.object();
            if sight.seen == Seen::NotServed {
                return Err(Failure::new(
                    Kind::Failed,
                    format!("this cluster does not serve {object}'s kind"),
                )
                .hint(
                    "install what serves it, or name the machine's own cluster by `--machine-kubeconfig`",
                ));
            }
            let Some(trouble) = &sight.trouble else { continue };
            let lasted = trouble.since.elapsed();
            if matches!(trouble.kind, Kind::Permission | Kind::Failed) && lasted >= REFUSED {
                let what = format!("cannot read {object} for {}: {}", human(REFUSED), trouble.message);
                return Err(Failure::new(trouble.kind, what)
                    .hint("the ServiceAccount or kubeconfig user needs `get` and `watch` on it"));
            }
            if lasted >= BLIP {
                return Ok(Some(format!("cannot read {object}: {}", trouble.message)));
            }
        }
        Ok(None)
    }
}

/// Resolves when the Lease is lost.
async fn lost(work: &Work) -> Failure {
    match &work.hold {
        Some(hold) => hold.lost().await,
        None => std::future::pending().await,
    }
}
