//! How long the same bad sign has lasted.

use std::time::Duration;

use tokio::time::Instant;
use vm::conditions::{Failed, Pending, State};

/// Remembers since when the present reason is there.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    present: Option<(String, Instant)>,
}

impl Patience {
    /// The state, or failed if it is one that may not last and has lasted too long. The reasons of two objects are told
    /// apart by `of`.
    pub(crate) fn judge(&mut self, of: &str, state: State) -> State {
        let State::Pending(Pending { reason, message, patience }) = state else {
            self.present = None;
            return state;
        };
        let key = format!("{of} {reason}");
        if self.present.as_ref().is_none_or(|(known, _)| *known != key) {
            self.present = Some((key, Instant::now()));
        }
        match patience {
            Some(most) if self.lasted() >= most => {
                State::Failed(Failed { reason, message: format!("{message} (for {})", step::human(most)) })
            }
            _ => State::Pending(Pending { reason, message, patience }),
        }
    }

    /// When the present state turns into failed, if it may not last.
    pub(crate) fn ends(&self, state: &State) -> Option<Instant> {
        match (state, &self.present) {
            (State::Pending(Pending { patience: Some(most), .. }), Some((_, since))) => Some(*since + *most),
            _ => None,
        }
    }

    /// How long the present reason has been there.
    pub(crate) fn lasted(&self) -> Duration {
        self.present.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vm::conditions::{Failed, Pending, State};

    use super::Patience;

    fn pending(reason: &str, patience: Option<u64>) -> State {
        let patience = patience.map(Duration::from_secs);
        State::Pending(Pending { reason: reason.to_owned(), message: "is so".to_owned(), patience })
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_same_reason_of_the_same_object_runs_out() {
        let mut patience = Patience::default();
        let wait = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let slow = pending("Slow", Some(10));
        assert_eq!(patience.judge("a", slow.clone()), slow);
        wait(9).await;
        assert_eq!(patience.judge("b", slow.clone()), slow, "another object");
        wait(9).await;
        assert_eq!(patience.judge("b", pending("Other", None)), pending("Other", None));
        wait(3600).await;
        assert_eq!(
            patience.judge("b", pending("Other", None)),
            pending("Other", None),
            "no patience, no end"
        );
        assert_eq!(patience.judge("b", slow.clone()), slow);
        wait(10).await;
        let failed = Failed { reason: "Slow".to_owned(), message: "is so (for 10s)".to_owned() };
        assert_eq!(patience.judge("b", slow.clone()), State::Failed(failed));
        assert_eq!(patience.judge("b", State::Ready), State::Ready);
        assert_eq!(patience.judge("b", slow.clone()), slow, "after a good state it begins anew");
    }
}
