//! Removing an object, and seeing it gone.

use cluster::{Deleted, Object, Seen};
use step::{Failure, Kind};
use tokio::time::Instant;

use crate::follow::{Follow, Look};
use crate::work::{Work, text};

/// What came of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It was there and is gone.
    Now,
    /// It was not there.
    Already,
}

/// Delete the object that has this uid, and wait until it is gone. An object that was made anew meanwhile is not touched: ours
/// is gone then.
pub async fn remove(work: &Work, object: &Object, uid: &str, limit: Instant) -> Result<Removed, Failure> {
    let asked =
        work.ask(&format!("delete {object}"), async || work.cluster.delete(object, Some(uid)).await).await?;
    if asked != Deleted::Asked {
        return Ok(Removed::Already);
    }
    let follow = Follow::new([(&work.cluster, object.clone())]);
    let gone = follow.until(work, limit, |sights| match sights.first().map(|s| &s.seen) {
        Some(Seen::Present(found)) if text(found, "/metadata/uid") == uid => {
            let finalizers = found.pointer("/metadata/finalizers").and_then(|f| f.as_array());
            let names: Vec<&str> = finalizers.into_iter().flatten().filter_map(|f| f.as_str()).collect();
            let kept = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            Look::Wait(format!("{object} to go, which is kept by {kept}"))
        }
        _ => Look::Over(()),
    });
    match gone.await {
        Ok(()) => Ok(Removed::Now),
        Err(ended) => {
            let failure = ended.failure(&format!("{object} is not gone"));
            Err(match failure.kind() {
                Kind::Timeout => Failure::new(Kind::Timeout, failure.message())
                    .hint("whoever put the finalizer there has to take it away; its deletion goes on"),
                _ => failure,
            })
        }
    }
}
