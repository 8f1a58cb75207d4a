//! Waiting for the Lease.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Attempt, Cluster, Hold, Holder, Taker, Watched};
use jiff::Timestamp;
use step::{Context, Done, Failure, Kind, human};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use vm::name::Label;

use crate::HOLDER;
use crate::machine::Claim;

/// A line of progress at least this often; the Lease is read as often, should the watch be deaf.
const PROGRESS: Duration = Duration::from_secs(30);
/// The pause after an answer that was not one.
const AGAIN: Duration = Duration::from_secs(2);
/// An answer that refuses us while RBAC or credentials are being rolled out may mend itself.
const REFUSED: Duration = Duration::from_secs(30);

/// Take it, however long others hold it.
pub(crate) async fn take(
    cluster: &Cluster,
    claim: &Claim,
    run: Option<&Label>,
    lasts: Duration,
    context: &Context,
) -> Result<Done, Failure> {
    let taker = Taker::new(cluster, &claim.lease, &claim.holder).about(claim.operation, Some(&claim.vm));
    let run = run.map(ToString::to_string);
    let taker = taker.run(run.as_deref()).lasting(lasts);
    let bell = Arc::new(Notify::new());
    let _watched = Watched::new(cluster, taker.object().clone(), Arc::clone(&bell));
    let waiting =
        Waiting { claim, context, bell, last: None, said: None, refused: None, trouble: String::new() };
    let hold = waiting.until_ours(taker).await?;
    context.result(HOLDER, hold.holder());
    Ok(Done::new(format!("virtual machine `{}` is held by request `{}`", claim.vm, claim.holder)))
}

struct Waiting<'a> {
    claim: &'a Claim,
    context: &'a Context,
    /// Rings when the Lease changes.
    bell: Arc<Notify>,
    /// Who holds it.
    last: Option<Holder>,
    said: Option<(String, Instant)>,
    /// Since when the API server refuses us.
    refused: Option<Instant>,
    /// Why nothing newer is known.
    trouble: String,
}

impl Waiting<'_> {
    async fn until_ours(mut self, mut taker: Taker) -> Result<Hold, Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        loop {
            let attempt = tokio::select! {
                attempt = taker.attempt() => attempt,
                () = sleep_until(deadline) => return Err(self.late(&taker)),
                () = self.context.stopped() => return Err(self.stopped()),
            };
            let wake = match attempt {
                Ok(Attempt::Taken(hold)) => return Ok(hold),
                Ok(Attempt::Raced) => continue,
                Ok(Attempt::Held(holder)) => {
                    let wake = expires(&holder);
                    self.see(holder);
                    wake
                }
                Ok(Attempt::Expired { holder, again }) => {
                    self.see(holder);
                    again
                }
                Err(error) => {
                    let refused = matches!(error.kind(), Kind::Permission | Kind::Failed | Kind::Refused);
                    let since = refused.then(|| *self.refused.get_or_insert_with(Instant::now));
                    self.trouble = error.to_string();
                    if since.is_some_and(|since| since.elapsed() >= REFUSED) {
                        return Err(error
                            .failure(&format!(
                                "cannot take lease `{}` for {}",
                                self.claim.lease,
                                human(REFUSED)
                            ))
                            .hint(
                                "the ServiceAccount needs `get`, `watch`, `create` and `update` on leases",
                            ));
                    }
                    self.say(&format!("the api server: {error}"));
                    Instant::now() + AGAIN
                }
            };
            tokio::select! {
                () = self.bell.notified() => {}
                () = sleep_until(wake.min(Instant::now() + PROGRESS)) => {}
                () = sleep_until(deadline) => return Err(self.late(&taker)),
                () = self.context.stopped() => return Err(self.stopped()),
            }
        }
    }

    fn see(&mut self, holder: Holder) {
        self.context.result(HOLDER, &holder.id);
        self.say(&format!("lease `{}`: held by {holder}", self.claim.lease));
        (self.refused, self.trouble) = (None, String::new());
        self.last = Some(holder);
    }

    /// A line at each other holder and every 30 s: a renewal alone is no news.
    fn say(&mut self, line: &str) {
        let key = line.split(", until ").next().unwrap_or(line);
        if self.said.as_ref().is_some_and(|(known, at)| known == key && at.elapsed() < PROGRESS) {
            return;
        }
        tracing::info!("waiting for {line}, {} left", human(self.context.left()));
        self.said = Some((key.to_owned(), Instant::now()));
    }

    /// The deadline.
    fn late(&self, taker: &Taker) -> Failure {
        let timeout = human(self.context.timeout());
        match &self.last {
            Some(holder) if self.trouble.is_empty() => {
                let conflict = taker.conflict(holder);
                let message = format!(
                    "virtual machine `{}` is not free after {timeout}: {}",
                    self.claim.vm,
                    conflict.message()
                );
                let failure = Failure::new(conflict.kind(), message);
                conflict.hint_text().map(str::to_owned).into_iter().fold(failure, Failure::hint)
            }
            _ => {
                let why = if self.trouble.is_empty() { "no answer" } else { &self.trouble };
                Failure::new(
                    Kind::Transient,
                    format!("cannot take lease `{}` after {timeout}: {why}", self.claim.lease),
                )
            }
        }
    }

    fn stopped(&self) -> Failure {
        let held = self.last.as_ref().map_or_else(String::new, |holder| format!(", held by {holder}"));
        Failure::new(Kind::Timeout, format!("stopped while waiting for lease `{}`{held}", self.claim.lease))
    }
}

/// When the holder's time is over by our clock; soon, if it is.
fn expires(holder: &Holder) -> Instant {
    let left = holder.until.map(|until| until.duration_since(Timestamp::now()));
    let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default();
    Instant::now() + left.min(PROGRESS) + Duration::from_millis(10)
}
