//! The wait itself: look, judge, say, ask again; until it is over.

mod ask;
mod release;
mod say;

use std::sync::Arc;
use std::time::Duration;

use cluster::{Hold, Object};
use gitops::RemoteArgs;
use serde_json::Value;
use step::{Context, Done, Failure, Kind, human};
use tokio::time::{Instant, sleep_until};
use vm::conditions::{Pending, Relation, State, Until, compared_revisions, ip_of, last_crash, reconciled_at};

use crate::history::{History, ask};
use crate::judge::{Known, Verdict, judge};
use crate::patience::Patience;
use crate::probe;
use crate::refresh::Refresh;
use crate::sights::{Sights, Snapshot};
use crate::wait::ask::Asking;
use crate::wait::release::Release;
use crate::wait::say::word;
use crate::{Connections, Wanted};

/// A line of progress at least this often.
const PROGRESS: Duration = Duration::from_secs(30);
/// Errors younger than this are not worth a word: a server that restarts, a watch that is cut.
const BLIP: Duration = Duration::from_secs(5);
/// What was there and is missing for longer than this makes us look at the branch.
const DOUBT: Duration = Duration::from_secs(3);
/// The same for an Application that was never there: its parent takes its time.
const MAKING: Duration = Duration::from_secs(20);
/// The pause before the port is tried and everything is read once more, when that said otherwise than the watches.
const AGAIN: Duration = Duration::from_secs(1);

/// One wait. Results ([`crate::RESULTS`]) are set as it goes; what was last seen can be asked for at any time.
#[derive(Debug)]
pub struct Wait {
    wanted: Wanted,
    git: Option<RemoteArgs>,
    hold: Option<Hold>,
    context: Context,
    sights: Sights,
    history: History,
    patience: Patience,
    refresh: Refresh,
    refreshing: Asking,
    refreshed: Option<Object>,
    unpausing: Asking,
    unpause_due: Instant,
    release: Release,
    /// `status.reconciledAt` when the Application was first seen, or seen to be absent.
    reconciled_before: Option<String>,
    application_was_there: bool,
    crashed_before: String,
    said: Option<(String, String, Instant)>,
}

impl Wait {
    /// Begin to look: all objects are followed from here on. To be called within a tokio runtime.
    pub fn begin(wanted: Wanted, connections: Connections, context: Context) -> Result<Self, Failure> {
        let Connections { cluster, machine, git, hold } = connections;
        let ask = match &git {
            Some(git) => ask(git, wanted.commit.as_deref(), wanted.path.as_deref(), &context)?,
            None => None,
        };
        Ok(Self {
            sights: Sights::new(&wanted, cluster, machine),
            history: History::new(ask),
            wanted,
            git,
            hold,
            context,
            patience: Patience::default(),
            refresh: Refresh::default(),
            refreshing: None,
            refreshed: None,
            unpausing: None,
            unpause_due: Instant::now(),
            release: Release::default(),
            reconciled_before: None,
            application_was_there: false,
            crashed_before: String::new(),
            said: None,
        })
    }

    /// The machine as last read, if it is there.
    pub fn vm(&self) -> Option<Arc<Value>> {
        self.sights.vm()
    }

    /// Its instance as last read, if it is there.
    pub fn vmi(&self) -> Option<Arc<Value>> {
        self.sights.vmi()
    }

    /// Wait until our change is live, whatever state the machine is in, or say why it will not be.
    pub async fn live(&mut self) -> Result<(), Failure> {
        self.until(true).await.map(|_| ())
    }

    /// Wait until it is as wanted, or say why it will not be.
    pub async fn run(&mut self) -> Result<Done, Failure> {
        self.until(false).await
    }

    async fn until(&mut self, live_is_enough: bool) -> Result<Done, Failure> {
        loop {
            let seen = self.sights.snapshot();
            self.learn(&seen);
            let mut verdict = self.judge(&seen);
            if live_is_enough && verdict.live {
                return Ok(Done::new("the change is live"));
            }
            let mut wake = Instant::now() + PROGRESS;
            if verdict.state == State::Ready {
                verdict = self.settle(verdict, &seen).await;
                if verdict.state == State::Ready {
                    self.hold.as_ref().map_or(Ok(()), Hold::check)?;
                    return Ok(self.done(&verdict));
                }
                wake = Instant::now() + AGAIN;
            }
            self.report(&verdict, &seen);
            verdict.state = self.patience.judge(&verdict.object, verdict.state);
            self.doubt(&mut verdict);
            if let Some(failure) = self.over(&verdict) {
                return Err(self.with_event(failure, &verdict).await);
            }
            self.say(&verdict);
            self.unpause(&seen);
            let dues = [
                self.ask_argo_cd(&verdict, &seen),
                self.release(&seen),
                self.patience.ends(&verdict.state),
                self.history.due(),
                self.doubt_due(),
            ];
            wake = dues.into_iter().flatten().fold(wake, Instant::min);
            if let Some(failure) = self.rest(wake, &verdict).await {
                return Err(self.with_event(failure, &verdict).await);
            }
        }
    }

    /// What only the first sight tells, and what Git has to be asked about.
    fn learn(&mut self, seen: &Snapshot) {
        let Some(application) = seen.application.as_ref().filter(|a| a.known()) else { return };
        self.application_was_there |= application.object().is_some();
        let before = application.object().map_or("", reconciled_at);
        self.reconciled_before.get_or_insert_with(|| before.to_owned());
        let parent = seen.parent.as_ref().and_then(|p| p.object());
        let revisions =
            application.object().or(parent).map(|a| compared_revisions(a, self.wanted.path.as_deref()));
        let ours = self.wanted.commit.as_deref();
        self.history.want(revisions.unwrap_or_default().into_iter().map(Some).filter(|r| *r != ours));
    }

    fn judge(&mut self, seen: &Snapshot) -> Verdict {
        let relation = |revision: &str| self.history.relation(Some(revision));
        let known = Known {
            wanted: &self.wanted,
            reconciled_before: self.reconciled_before.as_deref().unwrap_or_default(),
            holder: self.hold.as_ref().map(Hold::holder),
            crashed_before: &self.crashed_before,
            relation: &relation,
        };
        let verdict = self.with_keeper(judge(seen, &known));
        if let Some(vm) = seen.vm.object().filter(|_| !verdict.live) {
            last_crash(vm).clone_into(&mut self.crashed_before);
        }
        verdict
    }

    /// Everything looks done: the port is tried, and all objects are read once more.
    async fn settle(&mut self, verdict: Verdict, seen: &Snapshot) -> Verdict {
        let pending = |reason: &str, message: String| Verdict {
            state: State::Pending(Pending { reason: reason.to_owned(), message, patience: None }),
            ..verdict.clone()
        };
        let ip = seen.vmi.object().map_or("", ip_of);
        let port = self.wanted.require_tcp_port.filter(|_| self.wanted.until == Until::Ready);
        if let Some(port) = port
            && let Err(why) = probe::connect(ip, port).await
        {
            return pending("TcpPort", format!("is ready, and port {port} of {ip} does not answer: {why}"));
        }
        let deadline = Instant::from_std(self.context.deadline());
        let read = tokio::select! {
            read = self.sights.read_again() => read,
            () = sleep_until(deadline) => return pending("Unread", "looks as wanted, and could not be read once more".to_owned()),
            () = self.context.stopped() => return pending("Unread", "looks as wanted, and was not read once more".to_owned()),
        };
        match read {
            Ok(reads) => {
                let verdicts = reads.map(|seen| self.judge(&seen));
                let [_, last] = verdicts.clone();
                verdicts.into_iter().find(|v| v.state != State::Ready).unwrap_or(last)
            }
            Err(error) => {
                pending("Unread", format!("looks as wanted, and could not be read once more: {error}"))
            }
        }
    }

    /// What is gone, or is not what we pushed, may have been replaced by a later commit: the branch knows.
    fn doubt(&mut self, verdict: &mut Verdict) {
        let State::Pending(pending) = &verdict.state else { return };
        let doubtful = [
            "ApplicationMissing",
            "Deleting",
            "Missing",
            "Orphaned",
            "OtherDigest",
            "StillThere",
            "Terminating",
        ];
        if !doubtful.contains(&pending.reason.as_str()) || self.doubt_due().is_some() {
            return;
        }
        self.history.want([None]);
        if self.history.relation(None) == Some(Relation::Replaced) {
            let message = format!(
                "{}, and branch `{}` holds another state of it",
                pending.message,
                self.git.as_ref().map_or("", RemoteArgs::branch)
            );
            verdict.state = State::Superseded(message);
        }
    }

    /// When what is missing becomes doubtful; none if it is.
    fn doubt_due(&self) -> Option<Instant> {
        let after = if self.application_was_there { DOUBT } else { MAKING };
        let left = after.saturating_sub(self.patience.lasted());
        (left > Duration::ZERO).then(|| Instant::now() + left)
    }

    /// Until something changes, or `wake`, or it is over.
    async fn rest(&mut self, wake: Instant, verdict: &Verdict) -> Option<Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        let lost = async |hold: &Option<Hold>| match hold {
            Some(hold) => hold.lost().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            failure = lost(&self.hold) => return Some(failure),
            () = self.sights.changed() => {}
            () = self.history.answered() => {}
            answer = Self::answered(&mut self.refreshing, &mut self.unpausing) => self.learn_answer(answer),
            answer = self.release.answered() => self.release.learn(answer),
            () = sleep_until(wake) => {}
            () = self.context.stopped() => {
                let (_, line) = self.line(verdict);
                return Some(Failure::new(Kind::Timeout, format!("stopped while waiting for {line}")));
            }
            () = sleep_until(deadline) => {
                let (kind, line) = self.line(verdict);
                let timeout = human(self.context.timeout());
                let what = format!("virtual machine `{}` is not {} after {timeout}", self.wanted.vm, word(self.wanted.until));
                return Some(Failure::new(kind, format!("{what}: waited for {line}"))
                    .hint("run it again to wait longer: what is done already is found and kept"));
            }
        }
        None
    }
}
