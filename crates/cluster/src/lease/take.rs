//! Taking a Lease.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use step::{Failure, Kind};
use tokio::time::Instant;

use super::hold::Hold;
use super::record::{self, Holder};
use crate::client::Cluster;
use crate::error::Error;
use crate::object::{LEASE, Name, Object};
use crate::verbs::Created;

/// How long a Lease lasts after a renewal: longer than the gap between two steps that renew it, where a pod is started.
const LASTS: Duration = Duration::from_mins(5);
/// An expired Lease of somebody else is watched for this long before it is taken, or for as long as it lasts, if that is
/// shorter: longer than a living step needs to renew, so that clocks that differ take nothing from anybody at work.
const WITNESS: Duration = Duration::from_secs(15);

/// Takes one Lease, in as many attempts as it needs.
#[derive(Debug)]
pub struct Taker {
    cluster: Cluster,
    object: Object,
    holder: String,
    run: Option<String>,
    operation: Option<String>,
    vm: Option<String>,
    lasts: Duration,
    /// The record of another holder as it was first seen, and when.
    watched: Option<(Value, Instant)>,
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Taken(Hold),
    /// Somebody else holds it.
    Held(Holder),
    /// Somebody else held it and has not renewed it in time; it can be taken at this time, if that stays so.
    Expired {
        /// The last holder.
        holder: Holder,
        /// When to try again.
        again: Instant,
    },
    /// Somebody changed it between read and write: try again at once.
    Raced,
}

impl Taker {
    /// Take this Lease for this holder. Nothing is asked yet.
    pub fn new(cluster: &Cluster, lease: &Name, holder: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            object: Object { kind: LEASE, name: lease.clone() },
            holder: holder.to_owned(),
            run: None,
            operation: None,
            vm: None,
            lasts: LASTS,
            watched: None,
        }
    }

    /// Say in the Lease which operation (`restart`) holds which machine (`cluster/namespace/name`).
    #[must_use]
    pub fn about(mut self, operation: Option<&str>, vm: Option<&str>) -> Self {
        (self.operation, self.vm) = (operation.map(str::to_owned), vm.map(str::to_owned));
        self
    }

    /// Note that this run of the request works under the Lease, so that another one's end does not free it: a name without
    /// commas, of at most 63 characters. The newest 16 are known.
    #[must_use]
    pub fn run(mut self, name: Option<&str>) -> Self {
        self.run = name.map(str::to_owned);
        self
    }

    /// Let it last this long after each renewal, in whole seconds, at least one; five minutes unless said.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasts = duration.max(Duration::from_secs(1));
        self
    }

    /// What is taken.
    pub const fn object(&self) -> &Object {
        &self.object
    }

    /// Read it, and take it if that may be. One read and at most one write.
    pub async fn attempt(&mut self) -> Result<Attempt, Error> {
        let began = Instant::now();
        let Some(mut lease) = self.cluster.get(&self.object).await? else {
            let mut lease = json!({"metadata": {}});
            self.claim(&mut lease);
            return Ok(match self.cluster.create(&self.object, &lease).await? {
                Created::New(_) => Attempt::Taken(self.held(began)),
                Created::Exists => Attempt::Raced,
            });
        };
        if let Some(other) = record::holder(&lease).filter(|h| h.id != self.holder)
            && let Some(held) = self.judge(&lease, other)
        {
            return Ok(held);
        }
        self.claim(&mut lease);
        Ok(match self.cluster.replace(&self.object, &lease).await? {
            Some(_) => Attempt::Taken(self.held(began)),
            None => Attempt::Raced,
        })
    }

    /// The failure of a step that may not work because of this holder.
    pub fn conflict(&self, holder: &Holder) -> Failure {
        let what = format!("{} is held by {holder}", self.object);
        Failure::new(Kind::Conflict, what)
            .hint("one operation works on a machine at a time: run this one again when that one is over")
    }

    fn claim(&self, lease: &mut Value) {
        let claim = record::Claim {
            id: &self.holder,
            run: self.run.as_deref(),
            operation: self.operation.as_deref(),
            vm: self.vm.as_deref(),
        };
        record::take(lease, &claim, self.lasts);
    }

    fn held(&self, since: Instant) -> Hold {
        Hold::new(self.cluster.clone(), self.object.clone(), self.holder.clone(), self.lasts, since)
    }

    /// Why another holder's Lease may not be taken now; none if it may. Two ways to have expired: its time is over by our
    /// clock and nobody renewed it while we looked; or we have looked for as long as it lasts (client-go's way, whatever
    /// the clocks say).
    fn judge(&mut self, lease: &Value, holder: Holder) -> Option<Attempt> {
        let mark = record::mark(lease);
        let since = match &self.watched {
            Some((known, since)) if *known == mark => *since,
            _ => {
                let now = Instant::now();
                self.watched = Some((mark, now));
                now
            }
        };
        let lasts = record::duration(lease);
        let over = holder.until.is_none_or(|until| until < Timestamp::now());
        let again = since + if over { lasts.min(WITNESS) } else { lasts };
        if Instant::now() >= again {
            return None;
        }
        Some(if over { Attempt::Expired { holder, again } } else { Attempt::Held(holder) })
    }
}
