//! How long to wait before the next attempt.

use std::time::{Duration, Instant};

use step::Context;

/// The first wait is at most this long, each next at most twice as long as the one before.
const FIRST: Duration = Duration::from_millis(200);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(20);
/// How soon a wish to stop is seen.
const GLANCE: Duration = Duration::from_millis(50);

/// The bound of the wait after attempt `n`, which starts at 0.
fn bound(n: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(n)).min(LONGEST)
}

/// Wait for a random part of the bound: writers that lost one race together must not meet again ("full jitter"). Ends
/// early at the deadline or when asked to stop.
pub(crate) fn pause(n: u32, context: &Context) {
    let until = Instant::now() + bound(n).mul_f64(rand::random_range(0.0..=1.0)).min(context.left());
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if context.stopping() {
            return;
        }
        std::thread::sleep(left.min(GLANCE));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use step::Context;

    use super::{bound, pause};

    #[test]
    fn waits_double_up_to_twenty_seconds() {
        let bounds: Vec<_> = (0..9).map(|n| bound(n).as_millis()).collect();
        assert_eq!(bounds, [200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000]);
        assert_eq!(bound(u32::MAX), Duration::from_secs(20));
    }

    #[test]
    fn a_wait_ends_when_asked_to_stop_and_at_the_deadline() {
        let (stopped, over) = (Context::new(Duration::from_hours(1)), Context::new(Duration::ZERO));
        stopped.stop();
        let start = Instant::now();
        (0..20).for_each(|_| pause(30, &stopped));
        (0..20).for_each(|_| pause(30, &over));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
