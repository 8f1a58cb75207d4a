//! How long to wait before the next attempt.
//!
//! A branch takes one push at a time, so writers who all try at once only take the server's time from the one who could land. How many
//! wait cannot be asked; what can be seen is how long an attempt takes, which grows with the crowd at the server, and how many
//! commits land meanwhile. A lost race therefore waits for a random part of a bound that is at least twice the last attempt,
//! and that grows while the branch is busy and shrinks while it is not.
//!
//! A server that is not well is another matter: after the first trouble, which most often is an answer that was lost, it is asked
//! again soon, and from then on at most once a second on average, as an attempt is up to four requests.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use step::Context;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(200);
/// The bound of the wait after the second trouble; a wait is at least half of its bound from there on.
const AGAIN: Duration = Duration::from_secs(2);
/// No wait for a server that is not well is longer.
const LONGEST: Duration = Duration::from_secs(20);
/// A server that says when it is to be asked again is believed up to this.
const OBEYED: Duration = Duration::from_mins(5);
/// No wait after a lost race is longer.
const CROWD: Duration = Duration::from_mins(1);
/// A branch is busy if commits land for so much of the time, were each to take as long as our attempt.
const BUSY: f64 = 0.6;
/// What a lost race does to the bound while the branch is busy, and while it is not.
const STEPS: (f64, f64) = (1.3, 0.7);
/// How soon a wish to stop is seen.
const GLANCE: Duration = Duration::from_millis(50);

/// How long the next wait is.
#[derive(Debug)]
pub(crate) struct Pace {
    bound: Duration,
    /// The server was not well before.
    troubled: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bound: FIRST, troubled: false }
    }
}

impl Pace {
    /// The server did not answer, or not well, or the branch is held by somebody who does not move it.
    /// Where the server has said when it is to be asked again, that is no sooner, up to five minutes.
    pub(crate) fn trouble(&mut self, again: Option<Duration>, context: &Context) {
        let (least, most) = self.troubled().into_inner();
        let again = again.unwrap_or_default().min(OBEYED);
        // those who were told the same do not come back together
        pause(least.max(again)..=most.max(again + most), context);
    }

    /// From when to when the next wait may last: each the double of the one before.
    fn troubled(&mut self) -> RangeInclusive<Duration> {
        if !std::mem::replace(&mut self.troubled, true) {
            return Duration::ZERO..=self.bound.min(LONGEST);
        }
        self.bound = (self.bound * 2).clamp(AGAIN, LONGEST);
        self.bound / 2..=self.bound
    }

    /// Somebody else was faster, in an attempt that took `took`. In the time between our looks at the branch, `since`, at least `landed`
    /// commits have; nothing is known of that after the first look.
    pub(crate) fn lost(&mut self, took: Duration, course: Option<(Duration, usize)>, context: &Context) {
        self.bound = after(self.bound, took, course);
        pause(Duration::ZERO..=self.bound, context);
    }
}

fn after(bound: Duration, took: Duration, course: Option<(Duration, usize)>) -> Duration {
    let step = match course {
        None => 1.0,
        Some((since, landed)) => {
            let each = took.min(since).as_secs_f64() / since.as_secs_f64().max(f64::EPSILON);
            // so many are many: more would not change the answer
            let landed = f64::from(u16::try_from(landed).unwrap_or(u16::MAX));
            if landed * each >= BUSY { STEPS.0 } else { STEPS.1 }
        }
    };
    bound.mul_f64(step).max(took * 2).clamp(FIRST, CROWD)
}

/// Wait for a random time in this range: writers that failed together must not meet again ("jitter"). Ends early at the deadline
/// or when asked to stop.
fn pause(range: RangeInclusive<Duration>, context: &Context) {
    let until = Instant::now() + rand::random_range(range).min(context.left());
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

    use super::{FIRST, Pace, after};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_crowd_at_the_server_makes_everybody_wait_longer_and_a_branch_that_rests_shorter() {
        let took = Duration::from_millis(50);
        assert_eq!(after(FIRST, took, None), FIRST, "nothing is known yet");
        assert_eq!(after(FIRST, SECOND * 3, None), SECOND * 6, "an attempt takes long");
        assert_eq!(after(SECOND, took, Some((SECOND, 12))), SECOND.mul_f64(1.3));
        assert_eq!(after(SECOND, took, Some((SECOND, 11))), SECOND.mul_f64(0.7));
        assert_eq!(after(SECOND, SECOND * 4, Some((SECOND, 1))), SECOND * 8, "all the time between looks");
        assert_eq!(after(SECOND, took, Some((Duration::ZERO, 0))), SECOND.mul_f64(0.7));
        assert_eq!(after(SECOND * 59, took, Some((SECOND, 70_000))), SECOND * 60);
        assert_eq!(after(FIRST, took, Some((SECOND * 9, 1))), FIRST);
    }

    #[test]
    fn a_server_that_is_not_well_is_asked_again_soon_and_then_seldom() {
        let mut pace = Pace::default();
        assert_eq!(pace.troubled(), Duration::ZERO..=FIRST);
        for bound in [2, 4, 8, 16, 20, 20] {
            assert_eq!(pace.troubled(), SECOND * bound / 2..=SECOND * bound);
        }
        // a crowd that has made the waits long does not make them shorter
        let mut pace = Pace { bound: SECOND * 60, troubled: false };
        assert_eq!(pace.troubled(), Duration::ZERO..=SECOND * 20);
        assert_eq!(pace.troubled(), SECOND * 10..=SECOND * 20);
    }

    #[test]
    fn a_wait_ends_when_asked_to_stop_and_at_the_deadline() {
        let (stopped, over) = (Context::new(Duration::from_hours(1)), Context::new(Duration::ZERO));
        stopped.stop();
        let start = Instant::now();
        let mut pace = Pace::default();
        (0..20).for_each(|_| pace.trouble(None, &stopped));
        assert_eq!(pace.bound, SECOND * 20);
        (0..20).for_each(|_| pace.lost(SECOND * 30, None, &over));
        assert!(start.elapsed() < SECOND * 5);
    }
}
