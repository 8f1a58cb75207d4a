//! The machine and its instance, followed until something is seen of them.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Hold, Object, Seen, Sight, Watched};
use serde_json::Value;
use step::{Failure, Kind, human};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::task::Task;

/// What does not mend while RBAC or credentials are being rolled out is refused for good.
const REFUSED: Duration = Duration::from_mins(1);
/// Looked at again without a sign this often.
const AGAIN: Duration = Duration::from_secs(30);
/// The pause after a look that a watch was behind, and after a read that failed.
const SOON: Duration = Duration::from_secs(1);

/// What is made of a look.
pub(crate) enum Look<T> {
    Done(T),
    /// Not yet: what is seen, as a predicate of the machine; nothing is said of it where it is empty.
    Wait(String),
    Failed(Failure),
}

/// The machine and its instance, followed.
pub(crate) struct Eyes<'t> {
    task: &'t Task,
    vm: Watched,
    vmi: Watched,
    bell: Arc<Notify>,
}

impl<'t> Eyes<'t> {
    pub(crate) fn on(task: &'t Task) -> Self {
        let bell = Arc::new(Notify::new());
        Self {
            vm: Watched::new(&task.machine, task.vm(), Arc::clone(&bell)),
            vmi: Watched::new(&task.machine, task.vmi(), Arc::clone(&bell)),
            task,
            bell,
        }
    }

    /// Look at each change of the machine and its instance until it is done, or the time is up.
    pub(crate) async fn until<T>(
        &self,
        mut judge: impl FnMut(Option<&Value>, Option<&Value>) -> Look<T>,
    ) -> Result<T, Failure> {
        let mut said = String::new();
        loop {
            let (vm, vmi) = (self.vm.sight(), self.vmi.sight());
            let known = vm.known() && vmi.known();
            let waits_for = if known {
                match judge(vm.object(), vmi.object()) {
                    Look::Done(done) => return Ok(done),
                    Look::Failed(failure) => return Err(failure),
                    Look::Wait(words) => words,
                }
            } else {
                unread(&[&vm, &vmi])
            };
            let line = format!("{} {waits_for}", self.task.vm());
            if known && said != line && !waits_for.is_empty() {
                tracing::info!("waiting for kubevirt: {line}");
                said.clone_from(&line);
            }
            self.rest(&[vm, vmi], &line).await?;
        }
    }

    /// As [`Eyes::until`], and judged once more by what is read of the server after that: a watch may be behind what this step, or whoever
    /// it has waited for, did.
    pub(crate) async fn sure<T>(
        &self,
        mut judge: impl FnMut(Option<&Value>, Option<&Value>) -> Look<T>,
    ) -> Result<T, Failure> {
        loop {
            let seen = |vm: Option<&Value>, vmi: Option<&Value>| match judge(vm, vmi) {
                Look::Wait(words) => Look::Wait(words),
                Look::Done(_) | Look::Failed(_) => Look::Done(()),
            };
            self.until(seen).await?;
            let (vm, vmi) = (self.read(&self.task.vm()).await?, self.read(&self.task.vmi()).await?);
            match judge(vm.as_ref(), vmi.as_ref()) {
                Look::Done(done) => return Ok(done),
                Look::Failed(failure) => return Err(failure),
                Look::Wait(_) => sleep(SOON.min(self.task.context.left())).await,
            }
        }
    }

    async fn read(&self, object: &Object) -> Result<Option<Value>, Failure> {
        let context = &self.task.context;
        loop {
            match self.task.machine.get(object).await {
                Err(error)
                    if error.kind() == Kind::Transient
                        && !context.stopping()
                        && !context.left().is_zero() =>
                {
                    tracing::debug!("cannot read {object}: {error}");
                    sleep(SOON.min(context.left())).await;
                }
                read => return read.map_err(|error| error.failure(&format!("cannot read {object}"))),
            }
        }
    }

    /// Until something changes; an error once it is over.
    async fn rest(&self, sights: &[Sight; 2], line: &str) -> Result<(), Failure> {
        let context = &self.task.context;
        let refused = |t: &&cluster::Trouble| t.kind == Kind::Permission && t.since.elapsed() >= REFUSED;
        if let Some(trouble) = sights.iter().filter_map(|s| s.trouble.as_ref()).find(refused) {
            let what = format!("cannot read {} for {}: {}", self.task.vm(), human(REFUSED), trouble.message);
            return Err(Failure::new(Kind::Permission, what).hint(
                "the ServiceAccount or kubeconfig user needs `get` and `watch` on it and its instance",
            ));
        }
        let lost = async {
            match &self.task.hold {
                Some(hold) => Hold::lost(hold).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.bell.notified() => Ok(()),
            () = sleep(AGAIN) => Ok(()),
            failure = lost => Err(failure),
            () = context.stopped() => {
                Err(Failure::new(Kind::Timeout, format!("stopped while waiting for kubevirt: {line}")))
            }
            () = sleep_until(Instant::from_std(context.deadline())) => {
                let trouble = sights.iter().find_map(|s| s.trouble.as_ref());
                let (kind, words) = trouble.map_or_else(
                    || (Kind::Timeout, String::new()),
                    |t| (if t.kind == Kind::Permission { t.kind } else { Kind::Transient }, format!("; {}", t.message)),
                );
                let what = format!("not done after {}: {line}{words}", human(context.timeout()));
                Err(Failure::new(kind, what)
                    .hint("run it again to wait longer: what is done already is found and kept"))
            }
        }
    }
}

fn unread(sights: &[&Sight; 2]) -> String {
    if sights.iter().any(|s| s.seen == Seen::NotServed) {
        "is of a kind that this cluster does not have".to_owned()
    } else {
        "is not read yet".to_owned()
    }
}
