//! What a running step may ask of its edge.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The deadline, the wish to stop, and the results gathered so far. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Context {
    timeout: Duration,
    deadline: Instant,
    stop: CancellationToken,
    results: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Context {
    /// A context that ends after `timeout`. Binaries get theirs from [`crate::run`]; tests make their own.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            deadline: Instant::now() + timeout,
            stop: CancellationToken::new(),
            results: Arc::default(),
        }
    }

    /// How long the work may take altogether.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the work has to be over, on the monotonic clock.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long is left until the deadline; zero once it has passed.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether a signal asked to stop: start nothing new, let what is under way finish.
    pub fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves when a signal asks to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Ask everybody who shares this context to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Set a result. What was set is written at the end however the step ends, so set each as soon as it is known.
    pub fn result(&self, name: &'static str, value: impl Into<String>) {
        self.lock().insert(name, value.into());
    }

    /// The results set so far.
    pub fn results(&self) -> BTreeMap<&'static str, String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        // a map of strings is whole whatever panicked while it was held
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
