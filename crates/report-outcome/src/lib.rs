//! How a flow ended, in one line for the requester, from what its tasks left behind; and the machine's Lease given back.
//!
//! Runs in `finally`, so it has to cope with every ending: tasks that wrote their results, tasks that were cancelled or lost
//! before they could, tasks that never started. It reads the TaskRuns of its PipelineRun from the API, because Tekton skips a
//! `finally` task that refers to a result that was never written.

mod flow;

use std::time::Duration;

use clap::ArgAction;
use cluster::{Cluster, ClusterArgs, LeaseArgs, Name, Object, PIPELINE_RUN, Released, TASK_RUN};
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};

use crate::flow::{Ended, Flow};

/// How the flow ended: `ok` or the word of the failure, see [`step::Kind::word`].
pub const FLOW_OUTCOME: &str = "flow-outcome";
/// The line for the requester: what was done, or what went wrong and the way out.
pub const FLOW_MESSAGE: &str = "flow-message";

/// Between two attempts, besides what the cluster's own gate makes them wait.
const PAUSE: Duration = Duration::from_secs(1);

/// Say how a flow ended, in one line for the requester
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "report-outcome", version)]
pub struct Args {
    /// The PipelineRun whose tasks are reported
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub pipeline_run: Name,
    /// Give back the machine's Lease that the flow took
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub release_lease: bool,
    /// Where the PipelineRun is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[FLOW_OUTCOME, FLOW_MESSAGE];
    const TIMEOUT: Timeout = Timeout::seconds(60);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Work out the flow's outcome and write it down.
///
/// A failure that Tekton shows by itself is only reported. Where Tekton would call the run a success though a task failed
/// (`onError: continue`), this step fails in its place, with the flow's own exit code.
pub async fn report_outcome(args: &Args, context: &Context) -> Result<Done, Failure> {
    let cluster = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
    let flow = read(&cluster, &args.pipeline_run, context).await?;
    let Ended { outcome, message, shown } = flow.ended();
    tracing::info!("{outcome}: {message}");
    context.result(FLOW_OUTCOME, &outcome);
    context.result(FLOW_MESSAGE, &message);
    if let Some((lease, holder)) = flow.lease().filter(|_| args.release_lease) {
        release(&cluster, lease, holder, &args.pipeline_run, context).await;
    }
    let kind = Kind::ALL.into_iter().find(|kind| kind.word() == outcome);
    match kind {
        Some(kind) if !shown => Err(Failure::new(kind, message)),
        None if outcome != "ok" && !shown => Err(Failure::new(Kind::Unknown, message)),
        _ => Ok(Done::new(format!("reported `{outcome}`"))),
    }
}

/// Give the Lease back for this run, and for those of the same request that ended without doing so. Where that cannot be done it
/// expires by itself, so it takes nothing from the report.
async fn release(cluster: &Cluster, lease: &str, holder: &str, run: &Name, context: &Context) {
    let Ok(name) = lease.parse::<Name>() else {
        tracing::warn!("`{lease}` is no name of a lease; it is left alone");
        return;
    };
    let args = LeaseArgs { lease: Some(name), holder: Some(holder.to_owned()), ..LeaseArgs::default() };
    let mut released = args.release(cluster, Some(run.name()), context).await;
    if let Ok(Released::Shared(runs)) = &released {
        for other in runs.clone() {
            if over(cluster, run.namespace(), &other).await {
                tracing::info!("`{other}` is over");
                released = args.release(cluster, Some(&other), context).await;
            }
        }
    }
    match released {
        Ok(Released::Free) => tracing::info!("released lease `{lease}`"),
        Ok(Released::Shared(runs)) => {
            tracing::info!("lease `{lease}` is still held by `{}` of the same request", runs.join("`, `"));
        }
        Ok(Released::Already) => tracing::info!("lease `{lease}` was free already"),
        Ok(Released::Other(other)) => tracing::info!("lease `{lease}` was not ours, but of {other}"),
        Err(failure) => tracing::warn!("{failure}; it expires by itself"),
    }
}

/// Whether this PipelineRun has ended, its `finally` too. One that is not there may be in another namespace, and one that cannot
/// be read may work still: the Lease's expiry is for those.
async fn over(cluster: &Cluster, namespace: &str, name: &str) -> bool {
    let Ok(name) = format!("{namespace}/{name}").parse() else { return false };
    let run = cluster.get(&Object { kind: PIPELINE_RUN, name }).await;
    run.ok().flatten().is_some_and(|run| flow::over(&run))
}

async fn read(cluster: &Cluster, name: &Name, context: &Context) -> Result<Flow, Failure> {
    let object = Object { kind: PIPELINE_RUN, name: name.clone() };
    let run =
        patiently(context, &format!("cannot read {object}"), async || cluster.get(&object).await).await?;
    let run = run.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("there is no {object}"))
            .hint("`--pipeline-run` is `$(context.pipelineRun.namespace)/$(context.pipelineRun.name)`")
    })?;
    let selector = format!("tekton.dev/pipelineRun={}", name.name());
    let what = format!("cannot list the task runs of {object}");
    let tasks =
        patiently(context, &what, async || cluster.list(TASK_RUN, name.namespace(), Some(&selector)).await);
    Ok(Flow::new(&run, &tasks.await?))
}

/// Ask again while the server does not answer, until the deadline: nobody runs this task a second time.
async fn patiently<T>(
    context: &Context,
    what: &str,
    ask: impl AsyncFn() -> Result<T, cluster::Error>,
) -> Result<T, Failure> {
    loop {
        match ask().await {
            Err(e) if e.kind() == Kind::Transient && context.left() > PAUSE && !context.stopping() => {
                tracing::debug!("{what}: {e}");
                tokio::time::sleep(PAUSE).await;
            }
            answer => return answer.map_err(|e| e.failure(what)),
        }
    }
}
