//! Argo CD, paused and resumed.
//!
//! An Application with `argocd.argoproj.io/skip-reconcile: "true"` is neither compared nor synced (argo-cd 3.5.7
//! `controller/appcontroller.go`, `canProcessApp`). An operation that runs when it is set may stop half way, so it is set when none
//! does. Who set it stands beside it: what people paused stays paused.

use cluster::Object;
use serde_json::{Value, json};
use snapshots::{Follow, Look, Work, text};
use step::{Failure, Kind};
use tokio::time::Instant;

use crate::wanted::{Stop, annotation};

/// Argo CD's own.
const SKIP: &str = "argocd.argoproj.io/skip-reconcile";
/// The id of the request that set it.
const PAUSED_BY: &str = "vmlifecycle.dev/paused-by";

/// The Application of the machine, if Argo CD is to be paused at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause<'a> {
    pub(crate) application: Option<&'a Object>,
    /// The request's id.
    pub(crate) by: &'a str,
}

/// Who paused an Application.
#[derive(Debug, PartialEq, Eq)]
enum Paused {
    /// Nobody.
    No,
    /// This request.
    Ours,
    /// A request of this id, which has not resumed it.
    Other(String),
    /// People: there is no word about who.
    People,
}

impl Pause<'_> {
    fn paused(&self, application: &Value) -> Paused {
        // as strconv.ParseBool has it
        let skips = matches!(annotation(application, SKIP), "1" | "t" | "T" | "true" | "TRUE" | "True");
        match (skips, annotation(application, PAUSED_BY)) {
            (false, _) => Paused::No,
            (true, "") => Paused::People,
            (true, by) if by == self.by => Paused::Ours,
            (true, by) => Paused::Other(by.to_owned()),
        }
    }

    /// Pause it, and see that it is.
    pub(crate) async fn set(&self, work: &Work) -> Result<(), Stop> {
        let Some(object) = self.application else { return Ok(()) };
        let mut set = false;
        loop {
            let application = self.read(work, object).await?;
            let raced = set && operating(&application);
            match self.paused(&application) {
                Paused::Ours if raced => {
                    self.lift(work).await?;
                    set = false;
                }
                Paused::Ours => return Ok(()),
                Paused::People => {
                    tracing::info!("{object} is paused by people, and is left so");
                    return Ok(());
                }
                // with the machine's Lease in hand, whoever paused it is no longer at work
                Paused::Other(by) if work.hold.is_none() => {
                    let failure =
                        Failure::new(Kind::Conflict, format!("{object} is paused by request `{by}`"))
                            .hint("run it again when that request is over");
                    return Err(Stop::new("Busy", failure));
                }
                Paused::No | Paused::Other(_) => {
                    self.idle(work, object).await?;
                    work.check()?;
                    self.patch(work, object, json!("true"), json!(self.by)).await?;
                    set = true;
                }
            }
        }
    }

    /// Resume it, if this request paused it; `status.reconciledAt` as it is until Argo CD compares again.
    pub(crate) async fn lift(&self, work: &Work) -> Result<Option<String>, Failure> {
        let Some(object) = self.application else { return Ok(None) };
        let what = format!("read {object}");
        let Some(application) = work.ask(&what, async || work.home.get(object).await).await? else {
            return Ok(None);
        };
        match self.paused(&application) {
            Paused::No => {}
            Paused::Ours => self.patch(work, object, Value::Null, Value::Null).await?,
            Paused::People | Paused::Other(_) => return Ok(None),
        }
        Ok(Some(text(&application, "/status/reconciledAt").to_owned()))
    }

    async fn read(&self, work: &Work, object: &Object) -> Result<Value, Stop> {
        let found = work.ask(&format!("read {object}"), async || work.home.get(object).await).await?;
        found.ok_or_else(|| {
            let failure = Failure::new(Kind::Failed, format!("{object} does not exist"))
                .hint("name the machine's Application by `--application`, and its cluster by `--kubeconfig`");
            Stop::new("ApplicationMissing", failure)
        })
    }

    async fn patch(&self, work: &Work, object: &Object, skip: Value, by: Value) -> Result<(), Failure> {
        let patch = json!({"metadata": {"annotations": {SKIP: skip, PAUSED_BY: by}}});
        let what = format!("pause or resume {object}");
        work.ask(&what, async || work.home.merge_patch(object, &patch).await).await.map(drop)
    }

    /// Wait until no operation runs.
    async fn idle(&self, work: &Work, object: &Object) -> Result<(), Stop> {
        let follow = Follow::new([(&work.home, object.clone())]);
        let limit = Instant::from_std(work.context.deadline());
        let seen = follow.until(work, limit, |sights| match sights.first().and_then(|s| s.object()) {
            Some(application) if operating(application) => {
                let message = text(application, "/status/operationState/message");
                Look::Wait(format!("{object}, whose operation runs: {message}"))
            }
            _ => Look::Over(()),
        });
        seen.await.map_err(|ended| Stop::new("Busy", ended.failure(&format!("{object} was not idle"))))
    }
}

/// Whether an operation was asked for or is under way.
pub(crate) fn operating(application: &Value) -> bool {
    application.get("operation").is_some_and(|o| !o.is_null())
        || matches!(text(application, "/status/operationState/phase"), "Running" | "Terminating")
}
