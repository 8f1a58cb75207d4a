//! One gate for all requests to one API server: open while it answers; while it does not, one request at a time, with
//! growing pauses, however many loops are waiting.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

/// The pause after the first failure, doubled by each further one.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause; with what comes on top at random at most three requests a minute.
const LONGEST: Duration = Duration::from_secs(20);

/// The gate.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Held by the one request that goes out during an outage.
    probe: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures in a row; 0 means that the gate is open.
    failures: u32,
    /// Before this no request goes out.
    closed_until: Option<Instant>,
}

/// The right to send one request.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    gate: &'a Gate,
    /// How many failures there were when it was given.
    failures: u32,
    _probe: Option<tokio::sync::MutexGuard<'a, ()>>,
}

impl Gate {
    /// Wait until a request may go out.
    pub(crate) async fn enter(&self) -> Ticket<'_> {
        if self.lock().failures == 0 {
            return Ticket { gate: self, failures: 0, _probe: None };
        }
        let probe = self.probe.lock().await;
        let (failures, closed_until) = {
            let state = self.lock();
            (state.failures, state.closed_until)
        };
        if failures == 0 {
            return Ticket { gate: self, failures, _probe: None };
        }
        if let Some(until) = closed_until {
            tokio::time::sleep_until(until).await;
        }
        Ticket { gate: self, failures, _probe: Some(probe) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // two plain values: whole whatever panicked while they were held
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// The server answered, whatever it said.
    pub(crate) fn answered(self) {
        *self.gate.lock() = State::default();
    }

    /// The server did not answer, or said that it cannot now. Returns how many times in a row; none if another request
    /// that was under way at the same time has reported this failure already.
    pub(crate) fn failed(self, retry_after: Option<Duration>) -> Option<u32> {
        let mut state = self.gate.lock();
        if state.failures != self.failures {
            return None;
        }
        state.failures = state.failures.saturating_add(1);
        let pause = pause(state.failures).max(retry_after.unwrap_or_default().min(LONGEST));
        state.closed_until = Some(Instant::now() + pause);
        Some(state.failures)
    }
}

/// Full jitter while pauses grow; at the longest, a jitter on top of it, to stay within the promised rate.
pub(crate) fn pause(failures: u32) -> Duration {
    let grown = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let share = rand::rng().random_range(0.0..1.0);
    if grown < LONGEST { grown.mul_f64(share) } else { LONGEST + (LONGEST / 4).mul_f64(share) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Gate, pause};

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_asked_about_three_times_a_minute_by_all_loops_together() {
        let gate = Arc::new(Gate::default());
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let began = Instant::now();
        for _ in 0..5 {
            let (gate, asked) = (Arc::clone(&gate), Arc::clone(&asked));
            tokio::spawn(async move {
                loop {
                    let ticket = gate.enter().await;
                    asked.lock().unwrap().push(began.elapsed());
                    // an answer never comes sooner than the next instant
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    ticket.failed(None);
                }
            });
        }
        tokio::time::sleep(Duration::from_mins(30)).await;
        let asked = asked.lock().unwrap().clone();
        for minute in 2..30 {
            let (from, to) = (Duration::from_mins(minute), Duration::from_mins(minute + 1));
            let count = asked.iter().filter(|t| (from..to).contains(*t)).count();
            assert!((2..=3).contains(&count), "minute {minute}: {count}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_opens_the_gate_for_all() {
        let gate = Gate::default();
        assert_eq!(gate.enter().await.failed(None), Some(1));
        assert_eq!(gate.enter().await.failed(Some(Duration::from_hours(1))), Some(2));
        let before = Instant::now();
        gate.enter().await.answered();
        assert_eq!(
            before.elapsed(),
            Duration::from_secs(20),
            "the server's wish counts, up to the longest pause"
        );
        let (one, two) = (gate.enter().await, gate.enter().await);
        assert_eq!(before.elapsed(), Duration::from_secs(20));
        assert_eq!((one.failed(None), two.failed(None)), (Some(1), None), "one outage, counted once");
    }

    #[test]
    fn pauses_grow_to_twenty_seconds() {
        for (failures, least, most) in [
            (1, 0, 250),
            (2, 0, 500),
            (4, 0, 2000),
            (7, 0, 16_000),
            (8, 20_000, 25_000),
            (99, 20_000, 25_000),
        ] {
            for _ in 0..100 {
                let pause = pause(failures).as_millis();
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
    }
}
