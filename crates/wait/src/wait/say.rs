//! What a wait says: results, progress, and how it ended.

use std::time::Duration;

use step::{Done, Failure, Kind, human};
use tokio::time::Instant;
use vm::conditions::{Failed, Pending, State, Until, ip_of, node_of, short};

use super::{BLIP, PROGRESS, Wait};
use crate::judge::{Verdict, Who, status};
use crate::sights::Snapshot;
use crate::words::way_out;
use crate::{IP, NODE, REASON, REVISION, VM_STATUS};

/// Lines that differ in a detail only, such as a percentage, are this far apart.
const DETAIL: Duration = Duration::from_secs(5);
/// What does not mend while RBAC or credentials are being rolled out is refused for good.
const REFUSED: Duration = Duration::from_mins(1);

impl Wait {
    pub(super) fn report(&self, verdict: &Verdict, seen: &Snapshot) {
        let result = |name, value: &str| self.context.result(name, value);
        result(VM_STATUS, status(seen));
        result(NODE, seen.vmi.object().map_or("", node_of));
        result(IP, seen.vmi.object().map_or("", ip_of));
        result(REVISION, verdict.revision.as_deref().unwrap_or_default());
        result(
            REASON,
            match &verdict.state {
                State::Pending(Pending { reason, .. }) | State::Failed(Failed { reason, .. }) => reason,
                State::Superseded(_) => "Superseded",
                State::Ready => "",
            },
        );
    }

    pub(super) fn done(&mut self, verdict: &Verdict) -> Done {
        let seen = self.sights.snapshot();
        self.report(verdict, &seen);
        let word = word(self.wanted.until);
        let at =
            verdict.revision.as_ref().map_or_else(String::new, |revision| format!(" at {}", short(revision)));
        let node = seen.vmi.object().map_or("", node_of);
        let on = if node.is_empty() { String::new() } else { format!(" on node `{node}`") };
        Done::new(format!("{} is {word}{at}{on}", verdict.object))
    }

    /// A verdict or an error that ends the wait.
    pub(super) fn over(&self, verdict: &Verdict) -> Option<Failure> {
        let failure = match &verdict.state {
            State::Failed(Failed { reason, message }) => {
                let failure = Failure::new(Kind::Failed, format!("{} {message}", verdict.object));
                way_out(reason).into_iter().fold(failure, Failure::hint)
            }
            State::Superseded(message) => {
                Failure::new(Kind::Superseded, format!("{} {message}", verdict.object))
                    .hint("a later change decides what this machine is; look at the history of its folder")
            }
            _ => {
                // an outage ends; an answer that refuses us does not mend itself
                let refused = |kind| matches!(kind, Kind::Permission | Kind::Failed);
                let (object, trouble) = self.sights.all().find_map(|(object, sight)| {
                    let trouble =
                        sight.trouble.filter(|t| refused(t.kind) && t.since.elapsed() >= REFUSED)?;
                    Some((object.clone(), trouble))
                })?;
                Failure::new(
                    trouble.kind,
                    format!("cannot read {object} for {}: {}", human(REFUSED), trouble.message),
                )
                .hint("the ServiceAccount or kubeconfig user needs `get` and `watch` on it")
            }
        };
        Some(failure)
    }

    /// Why a machine crashes or does not get on stands in no status, only in events, which last an hour.
    pub(super) async fn with_event(&self, failure: Failure, verdict: &Verdict) -> Failure {
        let silent = match &verdict.state {
            State::Failed(Failed { reason, .. }) => matches!(reason.as_str(), "CrashLoopBackOff" | "Failed"),
            _ => failure.kind() == Kind::Timeout && !self.context.stopping(),
        };
        if verdict.who != Who::KubeVirt || !silent {
            return failure;
        }
        match self.sights.last_warning().await {
            Some(words) => {
                let hint = failure.hint_text().map(str::to_owned);
                let failure =
                    Failure::new(failure.kind(), format!("{}; last warning: {words}", failure.message()));
                hint.into_iter().fold(failure, Failure::hint)
            }
            None => failure,
        }
    }

    /// What is waited for and last seen.
    pub(super) fn line(&self, verdict: &Verdict) -> (Kind, String) {
        let message = match &verdict.state {
            State::Pending(pending) => pending.message.as_str(),
            _ => "is as wanted",
        };
        let git = self.history.trouble().filter(|_| verdict.who == Who::ArgoCd);
        let git = git.map_or_else(String::new, |words| format!("; git cannot be asked: {words}"));
        let line = format!("{}: {} {message}{git}", verdict.who.words(), verdict.object);
        let trouble = self.sights.all().find_map(|(object, sight)| {
            sight.trouble.filter(|t| t.since.elapsed() >= BLIP).map(|t| (object.clone(), t))
        });
        match trouble {
            None if self.may_not_release(verdict) => (Kind::Permission, line),
            None => (Kind::Timeout, line),
            Some((object, trouble)) => {
                let kind = if trouble.kind == Kind::Permission { Kind::Permission } else { Kind::Transient };
                let server = Who::Server.words();
                (kind, format!("{server}: cannot read {object}: {}; last seen: {line}", trouble.message))
            }
        }
    }

    /// A line at each change and every 30 s.
    pub(super) fn say(&mut self, verdict: &Verdict) {
        let State::Pending(pending) = &verdict.state else { return };
        if pending.reason == "Unread" && self.patience.lasted() < BLIP {
            return;
        }
        let (_, line) = self.line(verdict);
        let key = format!("{} {}", verdict.object, pending.reason);
        let due = self.said.as_ref().is_none_or(|(known, last, at)| {
            at.elapsed() >= PROGRESS || *known != key || (*last != line && at.elapsed() >= DETAIL)
        });
        if due {
            tracing::info!("waiting for {line}, {} left", human(self.context.left()));
            self.said = Some((key, line, Instant::now()));
        }
    }
}

pub(super) const fn word(until: Until) -> &'static str {
    match until {
        Until::Ready => "ready",
        Until::Stopped => "stopped",
        Until::Absent => "absent",
    }
}
