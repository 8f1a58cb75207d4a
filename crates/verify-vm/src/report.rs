//! What was found, for programs and for people.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use vm::conditions::{ip_of, node_of};

use crate::checks::{Answer, Check, status};
use crate::facts::{self, text};
use crate::look::Looked;

/// The report, as `--report` and `--output json` have it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// `namespace/name`.
    pub(crate) vm: String,
    /// When it was looked at, RFC 3339.
    pub(crate) at: String,
    /// `ok` or the class of the failure.
    pub(crate) outcome: String,
    /// KubeVirt's word, such as `Running`.
    pub(crate) status: String,
    /// Failed starts in a row, and instances replaced during the check.
    pub(crate) restarts: u64,
    /// When the machine was made, RFC 3339.
    pub(crate) created_at: String,
    /// When its instance was made, RFC 3339; empty if there is none.
    pub(crate) started_at: String,
    pub(crate) instance_uid: String,
    pub(crate) node: String,
    pub(crate) ip: String,
    /// `default(10.244.0.5)`, joined by commas.
    pub(crate) networks: String,
    pub(crate) cpu: Option<u64>,
    /// Bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) instance_type: String,
    /// The guest's operating system, where its agent tells it.
    pub(crate) guest_os: String,
    pub(crate) checks: Vec<Check>,
}

impl Report {
    pub(crate) fn new(vm: String, looked: &Looked, checks: &[Check]) -> Self {
        let machine = looked.vm.as_ref();
        let vmi = looked.vmi.as_ref();
        let of = |pointer| vmi.map_or("", |v| text(v, pointer)).to_owned();
        Self {
            vm,
            at: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            outcome: String::new(),
            status: status(looked).to_owned(),
            restarts: machine.map_or(0, facts::failed_starts),
            created_at: machine.map_or("", |v| text(v, "/metadata/creationTimestamp")).to_owned(),
            started_at: of("/metadata/creationTimestamp"),
            instance_uid: of("/metadata/uid"),
            node: vmi.map_or("", node_of).to_owned(),
            ip: vmi.map_or("", ip_of).to_owned(),
            networks: vmi.map(facts::networks).unwrap_or_default(),
            cpu: vmi.map(facts::cpus),
            memory: vmi.and_then(facts::memory),
            instance_type: vmi.map_or("", facts::instance_type).to_owned(),
            guest_os: of("/status/guestOSInfo/prettyName"),
            checks: checks.to_vec(),
        }
    }

    /// `7/7`: how many hold, of how many.
    pub(crate) fn count(&self) -> String {
        let passed = self.checks.iter().filter(|c| c.answer == Answer::Passed).count();
        format!("{passed}/{}", self.checks.len())
    }

    pub(crate) fn json(&self) -> String {
        // a value made of strings and numbers cannot fail to serialise
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Two lines, columns as wide as they need: NAME STATUS RESTARTS AGE NODE NETWORKS(IP).
    pub(crate) fn table(&self) -> String {
        let name = self.vm.rsplit('/').next().unwrap_or_default();
        let age = self.created_at.parse::<Timestamp>().ok().zip(self.at.parse::<Timestamp>().ok());
        let age = age.map(|(created, at)| age_words(at.as_second() - created.as_second()));
        let restarts = self.restarts.to_string();
        let heads = ["NAME", "STATUS", "RESTARTS", "AGE", "NODE", "NETWORKS(IP)"];
        let cells =
            [name, &self.status, &restarts, age.as_deref().unwrap_or_default(), &self.node, &self.networks];
        let cells =
            cells.map(|cell| if cell.is_empty() { "<none>" } else { cell }).map(|c| step::one_line(c, 200));
        let mut lines = [String::new(), String::new()];
        for (head, cell) in heads.into_iter().zip(&cells) {
            let width = head.chars().count().max(cell.chars().count());
            // writing to a String cannot fail
            let _ = write!(lines[0], "{head:width$}   ");
            let _ = write!(lines[1], "{cell:width$}   ");
        }
        format!("{}\n{}\n", lines[0].trim_end(), lines[1].trim_end())
    }
}

/// Roughly as kubectl writes ages: what matters less the older it is is left out.
fn age_words(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    match seconds {
        0..600 => step::human(std::time::Duration::from_secs(seconds)),
        600..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        172_800..864_000 => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, age_words};

    #[test]
    fn the_table_has_these_columns() {
        let mut report = Report {
            vm: "team-a/web01".to_owned(),
            at: "2026-11-21T08:00:00Z".to_owned(),
            created_at: "2026-11-21T07:38:00Z".to_owned(),
            status: "Running".to_owned(),
            node: "node1".to_owned(),
            networks: "default(10.244.0.5)".to_owned(),
            ..Report::default()
        };
        assert_eq!(
            report.table(),
            "NAME    STATUS    RESTARTS   AGE   NODE    NETWORKS(IP)\n\
             web01   Running   0          22m   node1   default(10.244.0.5)\n"
        );
        (report.status, report.node, report.networks) = ("Stopped".to_owned(), String::new(), String::new());
        assert_eq!(
            report.table(),
            "NAME    STATUS    RESTARTS   AGE   NODE     NETWORKS(IP)\n\
             web01   Stopped   0          22m   <none>   <none>\n"
        );
    }

    #[test]
    fn ages_are_short() {
        for (seconds, words) in [
            (0, "0s"),
            (75, "1m15s"),
            (600, "10m"),
            (7300, "121m"),
            (40_000, "11h"),
            (180_000, "2d2h"),
            (9_000_000, "104d"),
        ] {
            assert_eq!(age_words(seconds), words);
        }
    }
}
