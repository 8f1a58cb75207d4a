//! What Git knows of a revision that is not our commit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use step::Failure;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vm::conditions::Relation;

/// Asks how a commit stands to ours; may take its time and block.
pub(crate) type Ask = Arc<dyn Fn(&str) -> Result<Relation, Failure> + Send + Sync>;

/// An answer "does not hold ours" may be that of a Git server that has not got our push yet.
const LACKS: Duration = Duration::from_secs(20);
/// The pause after an answer that could not be had.
const RETRY: Duration = Duration::from_secs(10);

/// The answers so far, and the question under way.
pub(crate) struct History {
    ask: Option<Ask>,
    known: BTreeMap<String, (Relation, Instant)>,
    asking: Option<(String, JoinHandle<Result<Relation, Failure>>)>,
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

    /// How this revision stands to ours, if it was found out.
    pub(crate) fn relation(&self, revision: &str) -> Option<Relation> {
        self.known.get(revision).map(|(relation, _)| *relation)
    }

    /// Why Git could not be asked the last time.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|(words, _)| words.as_str())
    }

    /// Find out about the first of these that is not known, unless a question is under way.
    pub(crate) fn want<'a>(&mut self, revisions: impl IntoIterator<Item = &'a str>) {
        let Some(ask) = self.ask.clone().filter(|_| self.asking.is_none()) else { return };
        if self.trouble.as_ref().is_some_and(|(_, since)| since.elapsed() < RETRY) {
            return;
        }
        let unknown = revisions.into_iter().find(|r| match self.known.get(*r) {
            Some((Relation::Lacks, since)) => since.elapsed() >= LACKS,
            Some(_) => false,
            None => true,
        });
        if let Some(revision) = unknown.map(str::to_owned) {
            let of = revision.clone();
            self.asking = Some((revision, tokio::task::spawn_blocking(move || ask(&of))));
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
            tracing::warn!("cannot ask git about {}: {words}", vm::conditions::short(&revision));
        }
        self.trouble = Some((words, Instant::now()));
    }

    /// When it is worth calling [`Self::want`] again though nothing has changed.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.ask.as_ref()?;
        let lacking =
            self.known.values().filter(|(r, _)| *r == Relation::Lacks).map(|(_, since)| *since + LACKS);
        let retry = self.trouble.as_ref().map(|(_, since)| *since + RETRY);
        lacking.chain(retry).filter(|due| *due > Instant::now()).min()
    }
}
