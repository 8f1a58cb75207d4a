//! What Git knows of a revision that is not our commit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gitops::RemoteArgs;
use step::{Context, Failure, Kind};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vm::conditions::Relation;

/// Asks how a commit, or the tip of the branch where none is given, stands to ours; may take its time and block.
pub(crate) type Ask = Arc<dyn Fn(Option<&str>) -> Answer + Send + Sync>;

type Answer = Result<Relation, Failure>;

/// An answer "does not hold ours" may be that of a Git server that has not got our push yet, and a tip moves.
const LASTS: Duration = Duration::from_secs(20);
/// The pause after an answer that could not be had.
const RETRY: Duration = Duration::from_secs(10);

/// How to ask, where a repository is given. Nothing is asked of the server yet.
pub(crate) fn ask(
    git: &RemoteArgs,
    commit: Option<&str>,
    path: Option<&str>,
    context: &Context,
) -> Result<Option<Ask>, Failure> {
    let Some(ours) = commit.map(str::to_owned).filter(|_| git.is_given()) else { return Ok(None) };
    let path = path.map(str::to_owned).ok_or_else(|| {
        Failure::new(
            Kind::Usage,
            "cannot tell a later commit that keeps the machine from one that does not: `--path` is missing",
        )
        .hint("give the machine's folder in the repository beside `--url`")
    })?;
    let (remote, context) = (Mutex::new(git.open()?), context.clone());
    Ok(Some(Arc::new(move |revision| {
        // what a question that panicked has fetched is still good
        let remote = remote.lock().unwrap_or_else(PoisonError::into_inner);
        let live = match revision {
            Some(live) => live.to_owned(),
            None => remote.tip(&context)?.ok_or_else(|| {
                Failure::new(Kind::Failed, format!("there is no branch `{}`", remote.branch()))
            })?,
        };
        remote.relation(&ours, &live, &path, &context)
    })))
}

/// The answers so far, and the question under way.
pub(crate) struct History {
    ask: Option<Ask>,
    /// By revision; none is the tip.
    known: BTreeMap<Option<String>, (Relation, Instant)>,
    asking: Option<(Option<String>, JoinHandle<Answer>)>,
    trouble: Option<(String, Instant)>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("known", &self.known).finish_non_exhaustive()
    }
}

impl History {
    /// A history that can be asked, or one that knows nothing.
    pub(crate) const fn new(ask: Option<Ask>) -> Self {
        Self { ask, known: BTreeMap::new(), asking: None, trouble: None }
    }

    /// How this revision, or the tip, stands to ours, if it was found out.
    pub(crate) fn relation(&self, revision: Option<&str>) -> Option<Relation> {
        self.known.get(&revision.map(str::to_owned)).map(|(relation, _)| *relation)
    }

    /// Why Git could not be asked the last time.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|(words, _)| words.as_str())
    }

    /// Find out about the first of these that is not known, unless a question is under way. None is the tip.
    pub(crate) fn want<'a>(&mut self, revisions: impl IntoIterator<Item = Option<&'a str>>) {
        let Some(ask) = self.ask.clone().filter(|_| self.asking.is_none()) else { return };
        if self.trouble.as_ref().is_some_and(|(_, since)| since.elapsed() < RETRY) {
            return;
        }
        let mut revisions = revisions.into_iter().map(|r| r.map(str::to_owned));
        let unknown = revisions.find(|r| match self.known.get(r) {
            Some((relation, since)) => passing(r.as_deref(), *relation) && since.elapsed() >= LASTS,
            None => true,
        });
        if let Some(revision) = unknown {
            let of = revision.clone();
            self.asking = Some((revision, tokio::task::spawn_blocking(move || ask(of.as_deref()))));
        }
    }

    /// Resolves when the question under way is answered; never if there is none.
    pub(crate) async fn answered(&mut self) {
        let Some((revision, work)) = &mut self.asking else {
            return std::future::pending().await;
        };
        let (answer, revision) = (work.await, revision.clone());
        self.asking = None;
        let words = match answer {
            Ok(Ok(relation)) => {
                self.trouble = None;
                self.known.insert(revision, (relation, Instant::now()));
                return;
            }
            Ok(Err(failure)) => failure.message().to_owned(),
            Err(error) => error.to_string(),
        };
        if self.trouble.is_none() {
            let what = revision.as_deref().map_or("the branch", vm::conditions::short);
            tracing::warn!("cannot ask git about {what}: {words}");
        }
        self.trouble = Some((words, Instant::now()));
    }

    /// When it is worth calling [`Self::want`] again though nothing has changed.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.ask.as_ref()?;
        let passing = self.known.iter().filter(|(r, (relation, _))| passing(r.as_deref(), *relation));
        let retry = self.trouble.as_ref().map(|(_, since)| *since + RETRY);
        let due = passing.map(|(_, (_, since))| *since + LASTS).chain(retry);
        due.filter(|due| *due > Instant::now()).min()
    }
}

/// Whether an answer may be another the next time. That a later commit replaced ours stays true whatever comes after.
fn passing(revision: Option<&str>, relation: Relation) -> bool {
    relation == Relation::Lacks || (revision.is_none() && relation == Relation::Contains)
}
