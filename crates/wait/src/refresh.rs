//! When to ask Argo CD to look at Git again.
//!
//! Released versions lose a refresh that arrives while a comparison is under way (argoproj/argo-cd#28392), so one is never
//! enough; and each one makes Argo CD ask the Git server, so they are few.

use std::time::Duration;

use rand::RngExt as _;
use serde_json::Value;
use tokio::time::Instant;

/// The pauses after the first refreshes: a lost one costs little.
const FIRST: [u64; 4] = [2, 4, 8, 16];
/// The first pause after those, each further one twice as long; up to a third is added at random, so that many waits do not ask together.
const IDLE: Duration = Duration::from_secs(24);
/// The longest: Argo CD looks by itself every two to three minutes.
const LONGEST: Duration = Duration::from_mins(3);

/// When the next refresh is due.
#[derive(Debug, Default)]
pub(crate) struct Refresh {
    asked: usize,
    /// How many of them were none to hurry.
    idle: u32,
    due: Option<Instant>,
}

impl Refresh {
    /// A new object to ask: the first refresh is due now.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// When the next one is due: not before the last one can have been answered.
    pub(crate) fn due(&self) -> Instant {
        self.due.unwrap_or_else(Instant::now)
    }

    /// One was sent. `hurry` says that nothing but a refresh brings us on, so a lost one is worth finding out soon.
    pub(crate) fn sent(&mut self, hurry: bool) {
        let pause = match FIRST.get(self.asked) {
            Some(seconds) if hurry => Duration::from_secs(*seconds),
            _ => {
                let pause = IDLE.saturating_mul(1 << self.idle.min(8)).min(LONGEST);
                self.idle += 1;
                pause + pause.mul_f64(rand::rng().random_range(0.0..0.33))
            }
        };
        self.asked += 1;
        self.due = Some(Instant::now() + pause);
    }

    /// One could not be sent.
    pub(crate) fn not_sent(&mut self) {
        self.due = Some(Instant::now() + Duration::from_secs(5));
    }
}

/// Whether a refresh is still to be answered: Argo CD has not taken the annotation away.
pub(crate) fn unanswered(application: &Value) -> bool {
    let annotations = application.get("metadata").and_then(|m| m.get("annotations"));
    annotations.is_some_and(|a| a.get("argocd.argoproj.io/refresh").is_some())
}
