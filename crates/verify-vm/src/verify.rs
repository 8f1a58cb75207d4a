//! Look, answer every check, wait for those that may come true; until it is over.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, Error, Hold, Name, Object, VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE, Watched};
use step::{Context, Done, Failure, Kind, human};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use vm::conditions::ip_of;

use crate::checks::{Answer, Check, checks};
use crate::facts::text;
use crate::look::{Looked, look};
use crate::report::Report;
use crate::wanted::Wanted;
use crate::{Args, CHECKS, IP, NODE, Output, REASON, RESTARTS, VM_STATUS, probe};

/// What the watches do not show (ports, disks, the guest agent's words) is looked at this often.
const LOOK: Duration = Duration::from_secs(3);
/// A bad answer is believed when it was given twice, this far apart: a controller may be about to write the good one.
const TWICE: Duration = Duration::from_secs(1);
/// What does not mend while RBAC or credentials are being rolled out is refused for good.
const REFUSED: Duration = Duration::from_secs(30);
/// A line of progress at least this often.
const PROGRESS: Duration = Duration::from_secs(30);

pub(crate) struct Verify {
    args: Args,
    vm: Name,
    wanted: Wanted,
    context: Context,
    cluster: Cluster,
    hold: Option<Hold>,
    bell: Arc<Notify>,
    /// Followed so that a change is seen at once; what counts is read anew.
    _watched: [Watched; 2],
    steady: Option<Steady>,
    said: Option<(String, Instant)>,
}

/// Everything holds, since then, with this instance.
struct Steady {
    since: Instant,
    instance: String,
    /// When the machine last became ready, where KubeVirt says so: it changes with each short absence.
    ready_since: String,
    failed_starts: u64,
    /// Something did not hold in between.
    broken: bool,
}

impl Steady {
    /// The machine was started again, or tried to.
    fn restarted(&self, now: &Self) -> bool {
        self.instance != now.instance || self.failed_starts < now.failed_starts
    }
}

impl Verify {
    pub(crate) async fn begin(args: Args, context: Context) -> Result<Self, Failure> {
        let (wanted, vm) = Wanted::new(&args)?;
        if let Some(stable) = args.stable_for.filter(|s| s.get() >= context.timeout()) {
            let what =
                format!("`--stable-for {stable}` cannot be over before `--timeout {}`", args.edge.timeout);
            return Err(Failure::new(Kind::Usage, what));
        }
        let home = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
        let cluster = home.of_machine(args.machine_kubeconfig.as_deref()).await?;
        let hold = args.lease.take(&home, &context).await?;
        let bell = Arc::new(Notify::new());
        let watch = |kind| Watched::new(&cluster, Object { kind, name: vm.clone() }, Arc::clone(&bell));
        let watched = [watch(VIRTUAL_MACHINE), watch(VIRTUAL_MACHINE_INSTANCE)];
        Ok(Self {
            args,
            vm,
            wanted,
            context,
            cluster,
            hold,
            bell,
            _watched: watched,
            steady: None,
            said: None,
        })
    }

    pub(crate) async fn run(mut self) -> Result<Done, Failure> {
        let mut report = Report { vm: self.vm.to_string(), ..Report::default() };
        let ended = match self.hold.clone() {
            Some(hold) => hold.during(self.until_over(&mut report)).await,
            None => self.until_over(&mut report).await,
        };
        ended.as_ref().err().map_or("ok", |failure| failure.kind().word()).clone_into(&mut report.outcome);
        self.publish(&report)?;
        ended
    }

    /// To the end, or to the deadline, with the last report in `report`.
    async fn until_over(&mut self, report: &mut Report) -> Result<Done, Failure> {
        let mut bad: Option<(String, Instant)> = None;
        let mut trouble: Option<(Instant, Error)> = None;
        loop {
            let mut wake = Instant::now() + LOOK;
            match self.answer().await {
                Ok((looked, checks)) => {
                    trouble = None;
                    *report = Report::new(self.vm.to_string(), &looked, &checks);
                    self.results(report);
                    match judge(&checks) {
                        None => match self.steady(&looked, report)? {
                            None => return Ok(self.done(report)),
                            Some(end) => wake = wake.min(end),
                        },
                        Some(check) if check.answer == Answer::Failed => {
                            if bad
                                .as_ref()
                                .is_some_and(|(name, since)| *name == check.name && since.elapsed() >= TWICE)
                            {
                                return Err(self.failed(report, Kind::Failed, ""));
                            }
                            let known = bad.take().filter(|(name, _)| *name == check.name);
                            let (_, since) =
                                bad.insert(known.unwrap_or_else(|| (check.name.clone(), Instant::now())));
                            wake = *since + TWICE;
                        }
                        Some(check) => {
                            bad = None;
                            self.steady.iter_mut().for_each(|s| s.broken = true);
                            self.say(check);
                        }
                    }
                }
                Err(error) => {
                    let since = trouble
                        .take()
                        .filter(|(_, e)| e.kind() == error.kind())
                        .map_or_else(Instant::now, |t| t.0);
                    if error.kind() == Kind::Permission && since.elapsed() >= REFUSED {
                        return Err(error.failure(&format!("cannot read virtual machine `{}`", self.vm)));
                    }
                    trouble = Some((since, error));
                }
            }
            self.rest(wake, report, trouble.as_ref().map(|(_, e)| e)).await?;
        }
    }

    /// Read everything and answer every check; services are tried only when all else holds, or their absence would hide why.
    async fn answer(&self) -> Result<(Looked, Vec<Check>), Error> {
        let looked = look(&self.cluster, &self.vm, &self.wanted).await?;
        if looked.vm.is_none() && self.args.allow_absent && looked.vmi.is_none() {
            return Ok((looked, vec![Check::passed("exists", "does not exist, as it may")]));
        }
        let mut checks = checks(&looked, &self.wanted);
        if !self.wanted.stopped && !self.wanted.disks_only && looked.vm.is_some() {
            let ip = looked.vmi.as_ref().map_or("", ip_of);
            self.services(ip, &mut checks).await;
        }
        Ok((looked, checks))
    }

    async fn services(&self, ip: &str, checks: &mut Vec<Check>) {
        let Wanted { tcp_port, ssh_port, http, .. } = &self.wanted;
        let no_ip = || Err("it has no IP address".to_owned());
        if let Some(port) = *tcp_port {
            let answer = if ip.is_empty() { no_ip() } else { probe::tcp(ip, port).await };
            checks.push(service("tcp-port", "TcpPort", &format!("port {port}"), answer));
        }
        if let Some(port) = *ssh_port {
            let answer = if ip.is_empty() { no_ip() } else { probe::ssh(ip, port).await };
            checks.push(service("ssh-port", "SshPort", &format!("the SSH server on port {port}"), answer));
        }
        if let Some(http) = http {
            let answer = if ip.is_empty() { no_ip() } else { probe::http(ip, http).await };
            checks.push(service("http", "Http", &format!("the web server at `{http}`"), answer));
        }
    }

    /// All checks hold: now for as long as is asked, and when read once more. When to look again, or none if it is over.
    fn steady(&mut self, looked: &Looked, report: &mut Report) -> Result<Option<Instant>, Failure> {
        let now = steadiness(looked);
        let wanted = self.args.steady_for().map_or(Duration::ZERO, step::Timeout::get);
        match &self.steady {
            Some(before) if wanted > Duration::ZERO && before.restarted(&now) => {
                let after = human(before.since.elapsed());
                let message = format!("was restarted, {after} after all checks held");
                report.restarts += u64::from(before.instance != now.instance);
                report.checks.push(Check::failed("stable", "Restarted", message));
                self.results(report);
                Err(self.failed(report, Kind::Failed, ""))
            }
            Some(before) if !before.broken && before.ready_since == now.ready_since => {
                let end = before.since + wanted;
                Ok((Instant::now() < end).then_some(end))
            }
            // from here on it has to last; if nothing has to, it is read once more
            _ => {
                self.steady = Some(now);
                if let Some(stable) = self.args.steady_for() {
                    tracing::info!("all checks hold; now for {stable}");
                }
                Ok(Some(Instant::now() + wanted.min(LOOK)))
            }
        }
    }

    fn done(&self, report: &Report) -> Done {
        let place =
            if report.node.is_empty() { String::new() } else { format!(" on node `{}`", report.node) };
        let stable = self.args.steady_for().map_or_else(String::new, |s| format!(", for {s}"));
        Done::new(format!(
            "virtual machine `{}` passes all checks ({}){place}{stable}",
            self.vm,
            report.count()
        ))
    }

    /// Every check that does not hold, the first of them in the last line.
    fn failed(&self, report: &Report, kind: Kind, before: &str) -> Failure {
        let bad: Vec<&Check> = ordered(&report.checks);
        let all = report.checks.len();
        let what = format!("virtual machine `{}`", self.vm);
        let Some(first) = bad.first() else {
            let seen =
                if all == 0 { "was not looked at" } else { "passes all checks, and not for long enough yet" };
            return Failure::new(kind, format!("{before}{what} {seen}"));
        };
        self.context.result(REASON, &first.reason);
        self.context.result(CHECKS, report.count());
        let details = bad.iter().map(|c| format!("{}: {} {}", c.name, c.reason, c.message)).collect();
        let failure =
            Failure::new(kind, format!("{before}{what} {} ({} checks hold)", first.message, report.count()))
                .details(details);
        way_out(&first.reason).into_iter().fold(failure, Failure::hint)
    }

    fn results(&self, report: &Report) {
        let result = |name, value: &str| self.context.result(name, value);
        result(VM_STATUS, &report.status);
        result(NODE, &report.node);
        result(IP, &report.ip);
        result(RESTARTS, &report.restarts.to_string());
        result(CHECKS, &report.count());
        result(REASON, judge(&report.checks).map_or("", |c| c.reason.as_str()));
    }

    fn publish(&self, report: &Report) -> Result<(), Failure> {
        if let Some(path) = &self.args.report {
            write(path, &report.json()).map_err(|error| {
                Failure::new(Kind::Usage, format!("cannot write report `{}`: {error}", path.display()))
            })?;
        }
        let text = match self.args.output {
            Output::Table => report.table(),
            Output::Json => report.json(),
            Output::None => return Ok(()),
        };
        // nobody is left to tell if standard output is closed
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
        Ok(())
    }

    fn say(&mut self, check: &Check) {
        let line = format!("{}: {}", check.name, check.message);
        if self.said.as_ref().is_none_or(|(said, at)| *said != line || at.elapsed() >= PROGRESS) {
            tracing::info!("waiting for {line}, {} left", human(self.context.left()));
            self.said = Some((line, Instant::now()));
        }
    }

    /// Until something changes, or `wake`, or it is over.
    async fn rest(&self, wake: Instant, report: &Report, trouble: Option<&Error>) -> Result<(), Failure> {
        let deadline = Instant::from_std(self.context.deadline());
        let give_up = |words: &str| {
            let kind = trouble.map_or(Kind::Timeout, Error::kind);
            let trouble = trouble.map_or_else(String::new, |e| format!("cannot read: {e}; "));
            self.failed(report, kind, &format!("{words}: {trouble}"))
        };
        tokio::select! {
            () = self.bell.notified() => Ok(()),
            () = sleep_until(wake) => Ok(()),
            () = self.context.stopped() => Err(give_up("stopped")),
            () = sleep_until(deadline) => Err(give_up(&format!("after {}", human(self.context.timeout())))),
        }
    }
}

/// The check that decides: the first that failed, else the first that is not there yet.
fn judge(checks: &[Check]) -> Option<&Check> {
    ordered(checks).first().copied()
}

/// Those that do not hold: failed ones first, each in the order of the report.
fn ordered(checks: &[Check]) -> Vec<&Check> {
    let of = |answer| checks.iter().filter(move |c| c.answer == answer);
    of(Answer::Failed).chain(of(Answer::Pending)).collect()
}

fn service(name: &str, reason: &str, what: &str, answer: Result<(), String>) -> Check {
    match answer {
        Ok(()) => Check::passed(name, format!("answers: {what}")),
        Err(why) => Check::pending(name, reason, format!("does not answer as wanted: {what}: {why}")),
    }
}

fn steadiness(looked: &Looked) -> Steady {
    let (vm, vmi) = (looked.vm.as_ref(), looked.vmi.as_ref());
    let ready = vmi.and_then(|v| crate::facts::holds(v, "Ready"));
    Steady {
        since: Instant::now(),
        instance: vmi.map_or("", |v| text(v, "/metadata/uid")).to_owned(),
        ready_since: ready.map_or("", |c| text(c, "/lastTransitionTime")).to_owned(),
        failed_starts: vm.map_or(0, crate::facts::failed_starts),
        broken: false,
    }
}

fn way_out(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "RestartRequired" => "restart the machine: the change takes effect when it starts",
        "DiskOwned" => {
            "remove the owner reference from the claim and its data volume before anything is removed"
        }
        "DiskPrunable" => {
            "annotate it with `argocd.argoproj.io/sync-options: Prune=false,Delete=false` in Git"
        }
        "DiskMissing" | "DiskLost" | "DiskDeleted" => "restore a snapshot that holds the disk",
        "GuestAgent" => "install and start `qemu-guest-agent` in the guest",
        _ => return None,
    })
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, path)
}
