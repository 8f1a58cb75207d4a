//! What was measured: as JSON, and as a table for people.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A run of the benchmark.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The commit that was measured.
    pub commit: String,
    /// On what, such as `2 processors, Linux 6.1.0`.
    pub machine: String,
    /// One after the other.
    pub measures: Vec<Measure>,
}

/// One measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measure {
    /// What was measured.
    pub what: String,
    /// What it came to, in `unit`.
    pub ours: f64,
    /// Such as `ms`.
    pub unit: String,
    /// What does the same, in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// What it is to be at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// What is measured beside ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its command.
    pub what: String,
    /// What it came to, in the unit of ours.
    pub value: f64,
}

/// The most that something may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    /// In the unit of the measure.
    AtMost(f64),
    /// As a share of the peer's.
    OfPeer(f64),
}

impl Measure {
    /// Without peer and budget.
    pub fn new(what: impl Into<String>, ours: f64, unit: &str) -> Self {
        Self { what: what.into(), ours, unit: unit.to_owned(), peer: None, budget: None }
    }

    /// Beside this.
    #[must_use]
    pub fn beside(mut self, what: &str, value: f64) -> Self {
        self.peer = Some(Peer { what: what.to_owned(), value });
        self
    }

    /// At most this.
    #[must_use]
    pub const fn within(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Ours as a share of the peer's.
    pub fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|peer| self.ours / peer.value)
    }

    /// Whether the budget holds; none where there is none, or nothing to compare with.
    pub fn holds(&self) -> Option<bool> {
        match self.budget? {
            Budget::AtMost(most) => Some(self.ours <= most),
            Budget::OfPeer(share) => self.ratio().map(|ratio| ratio <= share),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{}: {} {}", self.what, number(self.ours), self.unit)];
        if let (Some(peer), Some(ratio)) = (&self.peer, self.ratio()) {
            parts.push(format!("{} takes {}: {} of it", peer.what, number(peer.value), number(ratio)));
        }
        if let (Some(budget), Some(holds)) = (self.budget, self.holds()) {
            let most = match budget {
                Budget::AtMost(most) => format!("{} {}", number(most), self.unit),
                Budget::OfPeer(share) => format!("{} of it", number(share)),
            };
            parts.push(format!("budget {most}: {}", if holds { "held" } else { "MISSED" }));
        }
        parts.join("; ")
    }
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// So many bytes in a unit of so many, as 1e6 for MB.
#[expect(clippy::cast_precision_loss, reason = "three digits are told")]
pub fn bytes_in(unit: f64, bytes: u64) -> f64 {
    bytes as f64 / unit
}

/// Bytes of a KiB and of a MiB.
pub const KIB: f64 = 1024.0;
/// See [`KIB`].
pub const MIB: f64 = 1024.0 * KIB;

/// Three digits are enough.
pub(crate) fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Measure};

    #[test]
    fn a_budget_is_held_or_missed() {
        let measure = Measure::new("a start", 1.5, "ms").beside("git --version", 2.0);
        let held = measure.clone().within(Budget::AtMost(3.0));
        assert_eq!(
            held.line(),
            "a start: 1.50 ms; git --version takes 2.00: 0.75 of it; budget 3.00 ms: held"
        );
        let missed = measure.within(Budget::OfPeer(0.5));
        assert_eq!(
            missed.line(),
            "a start: 1.50 ms; git --version takes 2.00: 0.75 of it; budget 0.50 of it: MISSED"
        );
        assert_eq!(Measure::new("a start", 1.5, "ms").within(Budget::OfPeer(0.5)).holds(), None);
    }
}
