//! One object, followed.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;
use step::Kind;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Cluster, REQUEST};
use crate::error::Error;
use crate::gate;
use crate::object::Object;

/// A watch is begun anew after this, with a read before it: the second witness, should events get lost.
const WATCH: Duration = Duration::from_secs(30);
/// A watch that the server ends sooner than this counts as a failed one, or the loop would turn freely.
const EARLY: Duration = Duration::from_secs(5);
/// The longest pause between watches that end early; what they miss meanwhile is read after it.
const PAUSE: Duration = Duration::from_secs(5);
/// A kind that is not served for this long is not installed; a server that has just started needs a few seconds.
const UNSERVED: Duration = Duration::from_secs(30);

/// What is known of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Seen {
    /// Nothing yet.
    #[default]
    NotYet,
    /// This cluster does not have its kind.
    NotServed,
    /// It is not there.
    Absent,
    /// As it was last read.
    Present(Arc<Value>),
}

/// Why nothing newer is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The class of the last error.
    pub kind: Kind,
    /// Its text.
    pub message: String,
    /// Since when errors of this class have come without an answer in between.
    pub since: Instant,
}

/// What is known of an object, and what keeps us from knowing more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sight {
    /// The last state.
    pub seen: Seen,
    /// The last error, if nothing was read since.
    pub trouble: Option<Trouble>,
}

impl Sight {
    /// The object, if it is there.
    pub fn object(&self) -> Option<&Value> {
        match &self.seen {
            Seen::Present(object) => Some(object),
            _ => None,
        }
    }

    /// Whether the object's being there or not is known.
    pub const fn known(&self) -> bool {
        matches!(self.seen, Seen::Absent | Seen::Present(_))
    }
}

/// An object that is followed until this is dropped.
#[derive(Debug)]
pub struct Watched {
    object: Object,
    sight: watch::Receiver<Sight>,
    work: JoinHandle<()>,
}

impl Watched {
    /// Follow an object; `bell` rings at each change.
    pub fn new(cluster: &Cluster, object: Object, bell: Arc<Notify>) -> Self {
        let (publish, sight) = watch::channel(Sight::default());
        let follower = Follower { cluster: cluster.clone(), object: object.clone(), publish, bell };
        Self { object, sight, work: tokio::spawn(follower.follow()) }
    }

    /// What is followed.
    pub const fn object(&self) -> &Object {
        &self.object
    }

    /// What is known now.
    pub fn sight(&self) -> Sight {
        self.sight.borrow().clone()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.work.abort();
    }
}

struct Follower {
    cluster: Cluster,
    object: Object,
    publish: watch::Sender<Sight>,
    bell: Arc<Notify>,
}

impl Follower {
    async fn follow(self) {
        let mut short: u32 = 0;
        loop {
            let began = Instant::now();
            let ended = self.read_and_watch().await;
            // the gate makes requests wait while the server is down; what is left are answers that would come at once
            let pause = match ended {
                Ok(()) if began.elapsed() >= EARLY => {
                    short = 0;
                    Duration::ZERO
                }
                Ok(()) => {
                    short = short.saturating_add(1);
                    gate::pause(short).min(PAUSE)
                }
                Err(error) => {
                    let outage = error.outage();
                    self.troubled(&error);
                    if outage {
                        Duration::ZERO
                    } else {
                        short = short.saturating_add(1);
                        gate::pause(short)
                    }
                }
            };
            sleep(pause).await;
        }
    }

    /// One round: a read, then events from there on. Ends well when the watch is over or has to begin anew.
    async fn read_and_watch(&self) -> Result<(), Error> {
        let object = self.cluster.get(&self.object).await?;
        let version = object
            .as_ref()
            .and_then(|o| Some(o.get("metadata")?.get("resourceVersion")?.as_str()?.to_owned()));
        self.show(object);
        let end = Instant::now() + WATCH + REQUEST;
        let events = match self.cluster.events(&self.object, version.as_deref(), WATCH).await {
            Err(error) if error.expired() => return Ok(()),
            events => events?,
        };
        let mut events = std::pin::pin!(events);
        // the server ends the watch; a connection that died silently is left behind a little later
        while let Ok(Some(event)) = timeout_at(end, events.next()).await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => self.show(Some(object)),
                WatchEvent::Deleted(_) => self.show(None),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => {
                    let error = Error::from(&*status);
                    return if error.expired() { Ok(()) } else { Err(error) };
                }
            }
        }
        Ok(())
    }

    fn show(&self, object: Option<Value>) {
        let seen = object.map_or(Seen::Absent, |o| Seen::Present(Arc::new(o)));
        self.change(Sight { seen, trouble: None });
    }

    fn troubled(&self, error: &Error) {
        let Sight { mut seen, trouble } = self.publish.borrow().clone();
        let since = trouble.filter(|t| t.kind == error.kind()).map_or_else(Instant::now, |t| t.since);
        if error.not_served() && since.elapsed() >= UNSERVED {
            seen = Seen::NotServed;
        }
        let trouble = Trouble { kind: error.kind(), message: error.to_string(), since };
        self.change(Sight { seen, trouble: Some(trouble) });
    }

    fn change(&self, sight: Sight) {
        let changed = self.publish.send_if_modified(|old| {
            let changed = *old != sight;
            *old = sight;
            changed
        });
        if changed {
            self.bell.notify_one();
        }
    }
}
