//! Holding a Lease.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use step::{Failure, Kind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::Released;
use super::record;
use crate::client::Cluster;
use crate::error::Error;
use crate::object::Object;

/// Renewed this often, or three times in its length, if that is more often: an observer looks for 15 s.
const RENEW: Duration = Duration::from_secs(10);
/// The pause before a renewal is tried again after an answer that was not one.
const AGAIN: Duration = Duration::from_secs(2);

/// A Lease that is ours, renewed in the background until this and its clones are dropped. Dropping does not release it:
/// the next step of the flow goes on with it.
#[derive(Debug, Clone)]
pub struct Hold {
    lease: Arc<Held>,
    /// Why it is no longer ours.
    lost: watch::Receiver<Option<String>>,
    renewal: Arc<Renewal>,
}

/// What is to be written down.
#[derive(Debug, Clone, Copy)]
struct Note<'a> {
    key: &'a str,
    value: &'a str,
    /// What is noted there already stays.
    keep: bool,
}

#[derive(Debug)]
struct Held {
    cluster: Cluster,
    object: Object,
    holder: String,
    lasts: Duration,
    lost: watch::Sender<Option<String>>,
    /// Until when it is ours, by our own clock, whatever happens to the connection.
    until: watch::Sender<Instant>,
}

#[derive(Debug)]
struct Renewal(JoinHandle<()>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Hold {
    /// `since` is a time before the Lease was written.
    pub(super) fn new(
        cluster: Cluster,
        object: Object,
        holder: String,
        lasts: Duration,
        since: Instant,
    ) -> Self {
        let (lost, why) = watch::channel(None);
        let (until, _) = watch::channel(since + safe(lasts));
        let lease = Arc::new(Held { cluster, object, holder, lasts, lost, until });
        let renewal = tokio::spawn(Arc::clone(&lease).renew());
        Self { lease, lost: why, renewal: Arc::new(Renewal(renewal)) }
    }

    /// Whose it is: the request's id.
    pub fn holder(&self) -> &str {
        &self.lease.holder
    }

    /// The Lease.
    pub fn object(&self) -> &Object {
        &self.lease.object
    }

    /// It is still ours; ask before each change of the machine. [`Kind::Conflict`] once it is lost.
    pub fn check(&self) -> Result<(), Failure> {
        self.lease.check()
    }

    /// Resolves when it is lost, with the failure to end with; never before.
    pub async fn lost(&self) -> Failure {
        let mut lost = self.lost.clone();
        // the sender is kept by `self`
        let _ = lost.wait_for(Option::is_some).await;
        self.lease.failure()
    }

    /// Do this as long as it is ours; what is under way when it is lost is given up.
    pub async fn during<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            failure = self.lost() => Err(failure),
            done = work => done,
        }
    }

    /// Write down that something was done, so that a later run knows; the newest notes are kept, 64 KiB of them, in the Lease
    /// itself. Key and value have at most 1024 bytes together.
    pub async fn note(&self, key: &str, value: &str) -> Result<(), Failure> {
        self.put(Note { key, value, keep: false }).await?;
        Ok(())
    }

    /// The same, unless something is noted under this key already, by another run of the same request perhaps: what is noted
    /// there now. Of two that do this at once, both are told the same.
    pub async fn note_first(&self, key: &str, value: &str) -> Result<String, Failure> {
        let lease = self.put(Note { key, value, keep: true }).await?;
        Ok(record::noted(&lease, key).unwrap_or_else(|| value.to_owned()))
    }

    async fn put(&self, note: Note<'_>) -> Result<Value, Failure> {
        let Note { key, value, .. } = note;
        if !record::fits(key, value) {
            let what = format!("note `{key}` is too long: {} bytes", key.len() + value.len());
            return Err(Failure::new(Kind::Internal, what));
        }
        self.insist(&format!("cannot note `{key}`"), Some(note)).await
    }

    /// What was noted under this key, by us or by an earlier holder: a quorum read.
    pub async fn noted(&self, key: &str) -> Result<Option<String>, Failure> {
        let lease = self.insist(&format!("cannot read note `{key}`"), None).await?;
        Ok(record::noted(&lease, key))
    }

    /// Give it back, if it is still ours, for all runs of its holder; what was noted stays. Errors are those of the API server.
    pub async fn release(self) -> Result<Released, Error> {
        // a renewal under way would be a lost race for one of the two
        self.renewal.0.abort();
        release(&self.lease.cluster, &self.lease.object, &self.lease.holder, None).await
    }

    /// Write this note, or only read, until there is an answer, while it is ours.
    async fn insist(&self, what: &str, note: Option<Note<'_>>) -> Result<Value, Failure> {
        loop {
            self.check()?;
            let answer = match note {
                Some(_) => self.lease.write(note).await,
                None => self.lease.read().await,
            };
            match answer {
                Ok(Some(lease)) => return Ok(lease),
                Ok(None) => return Err(self.lease.failure()),
                Err(error) if error.kind() == Kind::Transient => sleep(AGAIN).await,
                Err(error) => return Err(error.failure(&format!("{what} in {}", self.lease.object))),
            }
        }
    }
}

impl Held {
    fn check(&self) -> Result<(), Failure> {
        if self.lost.borrow().is_none() && Instant::now() >= *self.until.borrow() {
            self.lose(format!("could not be renewed for {}", step::human(safe(self.lasts))));
        }
        if self.lost.borrow().is_some() { Err(self.failure()) } else { Ok(()) }
    }

    fn lose(&self, why: String) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert(why);
            first
        });
    }

    fn failure(&self) -> Failure {
        let why = self.lost.borrow().clone().unwrap_or_default();
        Failure::new(Kind::Conflict, format!("{} is lost: it {why}", self.object))
            .hint("another operation may work on the machine now: run this one again when that one is over")
    }

    async fn renew(self: Arc<Self>) {
        let every = RENEW.min(self.lasts / 3);
        loop {
            sleep(every).await;
            let until = *self.until.borrow();
            tokio::select! {
                () = self.renew_once() => {}
                () = sleep_until(until) => {}
            }
            if self.check().is_err() {
                return;
            }
        }
    }

    async fn renew_once(&self) {
        loop {
            match self.write(None).await {
                Ok(_) => return,
                Err(error) => tracing::debug!("cannot renew {}: {error}", self.object),
            }
            sleep(AGAIN.min(self.lasts / 10)).await;
        }
    }

    /// The Lease as it is; none if it is lost.
    async fn read(&self) -> Result<Option<Value>, Error> {
        let lease = self.cluster.get(&self.object).await?;
        self.lose(match (&lease, lease.as_ref().and_then(record::holder)) {
            (Some(_), Some(holder)) if holder.id == self.holder => return Ok(lease),
            (_, Some(holder)) => format!("was taken by {holder}"),
            (Some(_), None) => "was released".to_owned(),
            (None, None) => "was deleted".to_owned(),
        });
        Ok(None)
    }

    /// Read, note, renew, write; again if another write came between. None if it is lost.
    async fn write(&self, note: Option<Note<'_>>) -> Result<Option<Value>, Error> {
        loop {
            let began = Instant::now();
            let Some(mut lease) = self.read().await? else { return Ok(None) };
            if let Some(Note { key, value, keep }) = note
                && !(keep && record::noted(&lease, key).is_some())
            {
                record::note(&mut lease, key, value);
            }
            record::renew(&mut lease, self.lasts);
            if let Some(lease) = self.cluster.replace(&self.object, &lease).await? {
                self.until.send_replace(began + safe(self.lasts));
                return Ok(Some(lease));
            }
        }
    }
}

/// For how long after a renewal it is surely ours: a sixth is left for requests that are under way when it is lost.
fn safe(lasts: Duration) -> Duration {
    lasts.mul_f64(5.0 / 6.0)
}

/// Free it, if this holder has it; with a run, take that one out first, and free it only if it was the last.
pub(super) async fn release(
    cluster: &Cluster,
    object: &Object,
    holder: &str,
    run: Option<&str>,
) -> Result<Released, Error> {
    loop {
        let Some(mut lease) = cluster.get(object).await? else { return Ok(Released::Already) };
        match record::holder(&lease) {
            None => return Ok(Released::Already),
            Some(other) if other.id != holder => return Ok(Released::Other(other)),
            Some(_) => {}
        }
        let left = run.map(|run| record::leave(&mut lease, run)).unwrap_or_default();
        if left.is_empty() {
            record::free(&mut lease);
        }
        // the time of the runs that are left goes on as it did: this one does not renew it
        if cluster.replace(object, &lease).await?.is_some() {
            return Ok(if left.is_empty() { Released::Free } else { Released::Shared(left) });
        }
    }
}
