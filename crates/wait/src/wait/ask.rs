//! What a wait asks of Argo CD.

use std::time::Duration;

use serde_json::json;
use step::Kind;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vm::conditions::{PAUSED_BY, SKIP_RECONCILE, State, Until};

use cluster::{Error, Object};

use super::Wait;
use crate::judge::{Verdict, stale_pause};
use crate::refresh::unanswered;
use crate::sights::Snapshot;

/// A pause is taken back again no sooner than this.
const UNPAUSE: Duration = Duration::from_secs(5);

/// A request to the API server under way, about this object; false if there was no such object.
pub(super) type Asking = Option<(Object, JoinHandle<Result<bool, Error>>)>;

impl Wait {
    /// Ask Argo CD to look at Git, if that is due; returns when it will be.
    pub(super) fn ask_argo_cd(&mut self, verdict: &Verdict, seen: &Snapshot) -> Option<Instant> {
        if verdict.live || self.refreshing.is_some() {
            return None;
        }
        let there = seen.application.as_ref().filter(|a| a.known())?.object();
        // a leaf is made, and taken away, by its parent
        let (name, object) = match (there, self.wanted.until) {
            (Some(leaf), Until::Ready | Until::Stopped) => (self.wanted.application.as_ref()?, Some(leaf)),
            (Some(_), Until::Absent) | (None, Until::Ready | Until::Stopped) => {
                (self.wanted.parent_application.as_ref()?, seen.parent.as_ref()?.object())
            }
            (None, Until::Absent) => return None,
        };
        let target = Object { kind: cluster::APPLICATION, name: name.clone() };
        if self.refreshed.as_ref() != Some(&target) {
            self.refresh.restart();
            self.refreshed = Some(target.clone());
        }
        let due = self.refresh.due();
        if due > Instant::now() {
            return Some(due);
        }
        let reason = match &verdict.state {
            State::Pending(pending) => pending.reason.as_str(),
            _ => "",
        };
        let idle = matches!(reason, "Syncing" | "SyncRetry" | "OutOfSync" | "Deleting" | "Unread");
        self.refresh.sent(!idle && !object.is_some_and(unanswered));
        let (cluster, object) = (self.sights.cluster().clone(), target.clone());
        self.refreshing = Some((target, tokio::spawn(async move { cluster.refresh(&object).await })));
        None
    }

    /// Take back the pause of the Application that an earlier operation has left behind. At each look at most once.
    pub(super) fn unpause(&mut self, seen: &Snapshot) {
        let Some((hold, name)) = self.hold.as_ref().zip(self.wanted.application.clone()) else { return };
        if self.unpausing.is_some() || self.unpause_due > Instant::now() || hold.check().is_err() {
            return;
        }
        let Some(by) = stale_pause(seen, &self.wanted, hold.holder()) else { return };
        let at = |annotation: &str| format!("/metadata/annotations/{}", annotation.replace('/', "~1"));
        let patch = json!([
            {"op": "test", "path": at(PAUSED_BY), "value": by},
            {"op": "remove", "path": at(PAUSED_BY)},
            {"op": "remove", "path": at(SKIP_RECONCILE)},
        ]);
        let target = Object { kind: cluster::APPLICATION, name };
        tracing::info!("taking back the pause of {target}, left by request `{by}`");
        let (cluster, object) = (self.sights.cluster().clone(), target.clone());
        let work = async move { cluster.json_patch(&object, &patch).await.map(|done| done.is_some()) };
        self.unpause_due = Instant::now() + UNPAUSE;
        self.unpausing = Some((target, tokio::spawn(work)));
    }

    /// Resolves when a request is answered: a refresh, or the end of a pause; never if none is under way.
    pub(super) async fn answered(refreshing: &mut Asking, unpausing: &mut Asking) -> Answer {
        tokio::select! {
            (object, answer) = answer(refreshing) => Answer::Refresh(object, answer),
            (object, answer) = answer(unpausing) => Answer::Unpause(object, answer),
        }
    }

    /// What is to be done about an answer.
    pub(super) fn learn_answer(&mut self, answer: Answer) {
        let (what, object, error) = match answer {
            Answer::Refresh(object, answer) => {
                self.refreshing = None;
                let error = answer.err();
                if error.is_some() {
                    self.refresh.not_sent();
                }
                ("ask for a refresh", object, error)
            }
            Answer::Unpause(object, answer) => {
                self.unpausing = None;
                // somebody else has changed it meanwhile: look again
                ("take back the pause", object, answer.err().filter(|error| !error.test_failed()))
            }
        };
        if let Some(error) = error.filter(|error| matches!(error.kind(), Kind::Permission | Kind::Refused)) {
            tracing::warn!("cannot {what} of {object}: {error}");
        }
    }
}

/// An answer to what was asked.
pub(super) enum Answer {
    Refresh(Object, Result<bool, Error>),
    Unpause(Object, Result<bool, Error>),
}

async fn answer(asking: &mut Asking) -> (Object, Result<bool, Error>) {
    match asking {
        // a task that panicked has asked nothing
        Some((object, work)) => (object.clone(), work.await.unwrap_or(Ok(false))),
        None => std::future::pending().await,
    }
}
