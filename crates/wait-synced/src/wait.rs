//! The wait itself: look, judge, say, ask again; until it is over.

use std::time::Duration;

use cluster::{Cluster, Error, Object};
use step::{Context, Done, Failure, Kind, human};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use vm::conditions::{
    Failed, Pending, Relation, State, compared_revisions, ip_of, last_crash, node_of, reconciled_at, short,
};

use crate::history::{History, ask};
use crate::judge::{Known, Verdict, Who, judge, status};
use crate::patience::Patience;
use crate::probe;
use crate::refresh::{Refresh, unanswered};
use crate::sights::{Sights, Snapshot};
use crate::words::way_out;
use crate::{Args, IP, NODE, REASON, REVISION, Until, VM_STATUS};

/// A line of progress at least this often.
const PROGRESS: Duration = Duration::from_secs(30);
/// Lines that differ in a detail only, such as a percentage, are this far apart.
const DETAIL: Duration = Duration::from_secs(5);
/// What does not mend while RBAC or credentials are being rolled out is refused for good.
const REFUSED: Duration = Duration::from_mins(1);
/// Errors younger than this are not worth a word: a server that restarts, a watch that is cut.
const BLIP: Duration = Duration::from_secs(5);
/// What was there and is missing for longer than this makes us look at the branch.
const DOUBT: Duration = Duration::from_secs(3);
/// The same for an Application that was never there: its parent takes its time.
const MAKING: Duration = Duration::from_secs(20);
/// The pause before the port is tried and everything is read once more, when that said otherwise than the watches.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct Wait {
    args: Args,
    context: Context,
    sights: Sights,
    history: History,
    patience: Patience,
    refresh: Refresh,
    refreshing: Option<(Object, JoinHandle<Result<bool, Error>>)>,
    refreshed: Option<Object>,
    /// `status.reconciledAt` when the Application was first seen, or seen to be absent.
    reconciled_before: Option<String>,
    application_was_there: bool,
    crashed_before: String,
    said: Option<(String, String, Instant)>,
}

impl Wait {
    pub(crate) async fn begin(args: Args, context: Context) -> Result<Self, Failure> {
        let cluster = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
        let machine_cluster = match args.machine_kubeconfig.as_deref() {
            Some(path) => Cluster::connect(Some(path)).await?,
            None => cluster.clone(),
        };
        let history = History::new(ask(&args.git, args.commit.as_deref(), args.path.as_deref(), &context)?);
        Ok(Self {
            sights: Sights::new(&args, cluster, machine_cluster),
            args,
            context,
            history,
            patience: Patience::default(),
            refresh: Refresh::default(),
            refreshing: None,
            refreshed: None,
            reconciled_before: None,
            application_was_there: false,
            crashed_before: String::new(),
            said: None,
        })
    }

    pub(crate) async fn run(mut self) -> Result<Done, Failure> {
        loop {
            let seen = self.sights.snapshot();
            self.learn(&seen);
            let mut verdict = self.judge(&seen);
            let mut wake = Instant::now() + PROGRESS;
            if verdict.state == State::Ready {
                verdict = self.settle(verdict, &seen).await;
                if verdict.state == State::Ready {
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
            if let Some(due) = self.ask_argo_cd(&verdict, &seen) {
                wake = wake.min(due);
            }
            let dues = [self.patience.ends(&verdict.state), self.history.due(), self.doubt_due()];
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
            application.object().or(parent).map(|a| compared_revisions(a, self.args.path.as_deref()));
        let ours = self.args.commit.as_deref();
        self.history.want(revisions.unwrap_or_default().into_iter().map(Some).filter(|r| *r != ours));
    }

    fn judge(&mut self, seen: &Snapshot) -> Verdict {
        let relation = |revision: &str| self.history.relation(Some(revision));
        let known = Known {
            args: &self.args,
            reconciled_before: self.reconciled_before.as_deref().unwrap_or_default(),
            crashed_before: &self.crashed_before,
            relation: &relation,
        };
        let verdict = judge(seen, &known);
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
        let port = self.args.require_tcp_port.filter(|_| self.args.until == Until::Ready);
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

    fn report(&self, verdict: &Verdict, seen: &Snapshot) {
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

    fn done(&mut self, verdict: &Verdict) -> Done {
        let seen = self.sights.snapshot();
        self.report(verdict, &seen);
        let word = self.args.until.word();
        let at =
            verdict.revision.as_ref().map_or_else(String::new, |revision| format!(" at {}", short(revision)));
        let node = seen.vmi.object().map_or("", node_of);
        let on = if node.is_empty() { String::new() } else { format!(" on node `{node}`") };
        Done::new(format!("{} is {word}{at}{on}", verdict.object))
    }

    /// What is gone, or is not what we pushed, may have been replaced by a later commit: the branch knows.
    fn doubt(&mut self, verdict: &mut Verdict) {
        let State::Pending(pending) = &verdict.state else { return };
        let doubtful =
            ["ApplicationMissing", "Deleting", "Missing", "OtherDigest", "StillThere", "Terminating"];
        if !doubtful.contains(&pending.reason.as_str()) || self.doubt_due().is_some() {
            return;
        }
        self.history.want([None]);
        if self.history.relation(None) == Some(Relation::Replaced) {
            let message = format!(
                "{}, and branch `{}` holds another state of it",
                pending.message,
                self.args.git.branch()
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

    /// A verdict or an error that ends the wait.
    fn over(&self, verdict: &Verdict) -> Option<Failure> {
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
    async fn with_event(&self, failure: Failure, verdict: &Verdict) -> Failure {
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
    fn line(&self, verdict: &Verdict) -> (Kind, String) {
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
            None => (Kind::Timeout, line),
            Some((object, trouble)) => {
                let kind = if trouble.kind == Kind::Permission { Kind::Permission } else { Kind::Transient };
                let server = Who::Server.words();
                (kind, format!("{server}: cannot read {object}: {}; last seen: {line}", trouble.message))
            }
        }
    }

    /// A line at each change and every 30 s.
    fn say(&mut self, verdict: &Verdict) {
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

    /// Ask Argo CD to look at Git, if that is due; returns when it will be.
    fn ask_argo_cd(&mut self, verdict: &Verdict, seen: &Snapshot) -> Option<Instant> {
        if verdict.live || self.refreshing.is_some() {
            return None;
        }
        let there = seen.application.as_ref().filter(|a| a.known())?.object();
        // a leaf is made, and taken away, by its parent
        let (name, object) = match (there, self.args.until) {
            (Some(leaf), Until::Ready | Until::Stopped) => (self.args.application.as_ref()?, Some(leaf)),
            (Some(_), Until::Absent) | (None, Until::Ready | Until::Stopped) => {
                (self.args.parent_application.as_ref()?, seen.parent.as_ref()?.object())
            }
            (None, Until::Absent) => return None,
        };
        let target = Object { kind: cluster::APPLICATION, name: name.clone() };
        if self.refreshed.as_ref() != Some(&target) {
            self.refresh.restart();
            self.refreshed = Some(target.clone());
        }
        let due = self.refresh.due();
        if due > Instant::now() {
            return Some(due);
        }
        let reason = match &verdict.state {
            State::Pending(pending) => pending.reason.as_str(),
            _ => "",
        };
        let idle = matches!(reason, "Syncing" | "SyncRetry" | "OutOfSync" | "Deleting" | "Unread");
        self.refresh.sent(!idle && !object.is_some_and(unanswered));
        let (cluster, object) = (self.sights.cluster().clone(), target.clone());
        self.refreshing = Some((target, tokio::spawn(async move { cluster.refresh(&object).await })));
        None
    }

    /// Until something changes, or `wake`, or it is over.
    async fn rest(&mut self, wake: Instant, verdict: &Verdict) -> Option<Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        let refreshing =
            async |refreshing: &mut Option<(Object, JoinHandle<Result<bool, Error>>)>| match refreshing {
                Some((object, work)) => (object.clone(), work.await),
                None => std::future::pending().await,
            };
        tokio::select! {
            () = self.sights.changed() => {}
            () = self.history.answered() => {}
            (object, answer) = refreshing(&mut self.refreshing) => {
                self.refreshing = None;
                if let Ok(Err(error)) = answer {
                    self.refresh.not_sent();
                    if error.kind() == Kind::Permission {
                        tracing::warn!("cannot ask for a refresh of {object}: {error}");
                    }
                }
            }
            () = sleep_until(wake) => {}
            () = self.context.stopped() => {
                let (_, line) = self.line(verdict);
                return Some(Failure::new(Kind::Timeout, format!("stopped while waiting for {line}")));
            }
            () = sleep_until(deadline) => {
                let (kind, line) = self.line(verdict);
                let timeout = human(self.args.edge.timeout.get());
                let what = format!("virtual machine `{}` is not {} after {timeout}", self.args.vm, self.args.until.word());
                return Some(Failure::new(kind, format!("{what}: waited for {line}"))
                    .hint("run it again to wait longer: what is done already is found and kept"));
            }
        }
        None
    }
}
