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

/// The first watch is begun anew after this, with a read before it: the second witness, should events get lost. Each read that shows
/// nothing else than the watch before it doubles the length of the next.
const WATCH: Duration = Duration::from_secs(30);
/// The longest watch: with an Application, a machine, its instance and a disk that is two requests a minute.
const LONGEST: Duration = Duration::from_mins(4);
/// A watch on which nothing came for this long may be dead. An API server sends a bookmark every minute (Kubernetes v1.36
/// `apiserver/pkg/storage/cacher/cacher.go`, `defaultBookmarkFrequency`); one that does not is read this often.
const SILENCE: Duration = Duration::from_secs(90);
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
        let (mut short, mut length) = (0_u32, WATCH);
        loop {
            let began = Instant::now();
            let ended = self.read_and_watch(&mut length).await;
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
    async fn read_and_watch(&self, length: &mut Duration) -> Result<(), Error> {
        let object = self.cluster.get(&self.object).await?;
        let version = object
            .as_ref()
            .and_then(|o| Some(o.get("metadata")?.get("resourceVersion")?.as_str()?.to_owned()));
        *length = if self.show(object) { WATCH } else { (*length * 2).min(LONGEST) };
        let end = Instant::now() + *length + REQUEST;
        let events = match self.cluster.events(&self.object, version.as_deref(), *length).await {
            Err(error) if error.expired() => return Ok(()),
            events => events?,
        };
        let mut events = std::pin::pin!(events);
        // the server ends the watch; a connection that died silently is left behind a little later
        while let Ok(Some(event)) = timeout_at(end.min(Instant::now() + SILENCE), events.next()).await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.show(Some(object));
                }
                WatchEvent::Deleted(_) => {
                    self.show(None);
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => {
                    let error = Error::from(&*status);
                    return if error.expired() { Ok(()) } else { Err(error) };
                }
            }
        }
        Ok(())
    }

    /// Whether that is news.
    fn show(&self, object: Option<Value>) -> bool {
        let seen = object.map_or(Seen::Absent, |o| Seen::Present(Arc::new(o)));
        self.change(Sight { seen, trouble: None })
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

    fn change(&self, sight: Sight) -> bool {
        let changed = self.publish.send_if_modified(|old| {
            let changed = *old != sight;
            *old = sight;
            changed
        });
        if changed {
            self.bell.notify_one();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::{Stream, StreamExt as _, stream};
    use http::{Request, Response};
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use hyper::body::{Bytes, Frame};
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::Notify;
    use tokio::time::{Instant, sleep};

    use super::Watched;
    use crate::client::Cluster;
    use crate::object::{APPLICATION, Object};

    type Line = Result<Frame<Bytes>, Infallible>;

    /// When each request came, in seconds, and for how long a watch was asked.
    type Asked = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

    /// Follow an object that never changes, on a server that says this while it is watched.
    async fn follow<S>(
        length: Duration,
        says: impl Fn(u64) -> S + Send + Sync + 'static,
    ) -> Vec<(u64, Option<u64>)>
    where
        S: Stream<Item = Line> + Send + 'static,
    {
        let (asked, began) = (Asked::default(), Instant::now());
        let (heard, says) = (Arc::clone(&asked), Arc::new(says));
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let seconds = query.split('&').find_map(|p| p.strip_prefix("timeoutSeconds="));
            let seconds = seconds.map(|s| s.parse().unwrap());
            heard.lock().unwrap().push((began.elapsed().as_secs(), seconds));
            let object = json!({"metadata": {"name": "a", "resourceVersion": "1"}}).to_string();
            let body = match seconds {
                Some(seconds) => StreamBody::new(says(seconds).boxed()).boxed_unsync(),
                None => Full::new(Bytes::from(object)).boxed_unsync(),
            };
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let cluster = Cluster::asking(Client::new(service, "default"));
        let object = Object { kind: APPLICATION, name: "argocd/a".parse().unwrap() };
        let watched = Watched::new(&cluster, object, Arc::new(Notify::new()));
        sleep(length).await;
        drop(watched);
        asked.lock().unwrap().clone()
    }

    /// A bookmark each minute, as an API server sends them, and an end.
    fn bookmarks(seconds: u64) -> impl Stream<Item = Line> + Send {
        let line = json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "A", "metadata": {"resourceVersion": "2"}}});
        let line = line.to_string() + "\n";
        stream::unfold(seconds, move |left| {
            let line = line.clone();
            async move {
                if left < 60 {
                    sleep(Duration::from_secs(left)).await;
                    return None;
                }
                sleep(Duration::from_mins(1)).await;
                Some((Ok(Frame::data(Bytes::from(line))), left - 60))
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn the_longer_nothing_happens_the_less_is_asked() {
        let asked = follow(Duration::from_mins(15), bookmarks).await;
        let watches: Vec<_> = asked.iter().filter_map(|(at, length)| Some((*at, (*length)?))).collect();
        assert_eq!(watches, [(0, 30), (30, 60), (90, 120), (210, 240), (450, 240), (690, 240)]);
        assert_eq!(asked.len(), 2 * watches.len(), "each with a read before it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_says_nothing_is_left_behind() {
        let asked = follow(Duration::from_mins(7), |_| stream::pending()).await;
        let watches: Vec<_> = asked.iter().filter_map(|(at, length)| Some((*at, (*length)?))).collect();
        // the first is left behind when it should have ended, and a request's time is over
        assert_eq!(watches, [(0, 30), (40, 60), (110, 120), (200, 240), (290, 240), (380, 240)]);
    }
}
