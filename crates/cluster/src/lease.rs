//! One operation per machine at a time: a `coordination.k8s.io` Lease that every cluster step of a flow takes and renews.
//!
//! The holder is the request's id, so a later step of the same flow, and a run of the same request after a crash, go on with
//! it at once. Everybody else takes it only when it is free or has expired. Fields and their meaning are those of
//! client-go's leader election. Runs of one request are one holder: it counts them by name, and is free when the last has left;
//! one that died is forgotten with the expiry. Each change is a PUT with the resourceVersion that was read: two takers cannot both win.
//!
//! Between steps it has to last by itself. Five minutes cover the start of the next pod. Where more comes, the step before says
//! so by `--lease-for`: lease-vm of publish-vm for fetch-vm, render-vm and git-push, which hold no token; the snapshot before a
//! disk is patched for the pull of an image of hundreds of megabytes, during which nothing of that pod runs; and patch-disk's own
//! first check for what touches the disk and holds no token. The contract tests add the times up from the YAML.

mod file;
mod hold;
mod record;
mod take;

use std::path::PathBuf;
use std::time::Duration;

use step::{Context, Failure, Kind, Timeout};
use tokio::time::{Instant, sleep, sleep_until};

pub use file::write_lease;
pub use hold::Hold;
pub use record::Holder;
pub use take::{Attempt, Taker};

use crate::client::Cluster;
use crate::object::{LEASE, Name, Object};

/// Says which operation holds the Lease, for people and for `conflict` messages.
pub const OPERATION_ANNOTATION: &str = "vmlifecycle.dev/operation";
/// Names the runs of the holder that work under the Lease, separated by commas.
pub const RUNS_ANNOTATION: &str = "vmlifecycle.dev/runs";
/// Says which machine the Lease is about, as `cluster/namespace/name`.
pub const VM_ANNOTATION: &str = "vmlifecycle.dev/vm";

/// The pause after an answer that was not one; the gate makes it longer while the server is down.
const AGAIN: Duration = Duration::from_secs(1);

/// The flags that say under which Lease a step works.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Lease")]
pub struct LeaseArgs {
    /// Lease of the machine, taken and renewed while this step works; without it, none is
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "holder")]
    pub lease: Option<Name>,
    /// Who holds the Lease: the request's id
    #[arg(long, value_name = "ID", requires = "lease")]
    pub holder: Option<String>,
    /// Which Lease and whose, as lease-vm wrote it down in the same pod, in place of `--lease` and `--holder`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lease", "holder"])]
    pub lease_file: Option<PathBuf>,
    /// How long the Lease lasts unless it is renewed: longer than all that comes until a later step does; `5m` unless said
    #[arg(long, value_name = "DURATION")]
    pub lease_for: Option<Timeout>,
}

/// What came of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// It was ours and is free now.
    Free,
    /// It was ours, and these runs of the same request work under it still.
    Shared(Vec<String>),
    /// It is not there, or nobody holds it.
    Already,
    /// Somebody else holds it: it was not touched.
    Other(Holder),
}

impl LeaseArgs {
    /// Take the Lease, or none without `--lease`; it lasts for `--lease-for` after each renewal. Another holder is a [`Kind::Conflict`] at once, unless its Lease has expired:
    /// then that is watched for some seconds and taken over. The API server's not answering is waited out until the deadline.
    pub async fn take(&self, cluster: &Cluster, context: &Context) -> Result<Option<Hold>, Failure> {
        let Some((lease, holder)) = self.named()? else { return Ok(None) };
        let what = format!("cannot take lease `{lease}`");
        let mut taker = Taker::new(cluster, &lease, &holder);
        if let Some(lasts) = self.lease_for {
            taker = taker.lasting(lasts.get());
        }
        let work = async {
            loop {
                match taker.attempt().await {
                    Ok(Attempt::Taken(hold)) => return Ok(Some(hold)),
                    Ok(Attempt::Raced) => {}
                    Ok(Attempt::Held(holder)) => return Err(taker.conflict(&holder)),
                    Ok(Attempt::Expired { again, .. }) => sleep_until(again).await,
                    Err(error) if error.kind() == Kind::Transient => {
                        tracing::debug!("{what}: {error}");
                        sleep(AGAIN).await;
                    }
                    Err(error) => return Err(error.failure(&what)),
                }
            }
        };
        // what is dropped here may have been written: the next run of this request takes it again
        within(context, work)
            .await
            .unwrap_or_else(|| Err(Failure::new(Kind::Transient, format!("{what}: not done in time"))))
    }

    /// Give the Lease back, if it is ours; what was noted in it stays. This run is taken out, and the Lease is free when no other
    /// run of the request is left; without a run, it is free for all of them. Without `--lease` there is nothing to do.
    pub async fn release(
        &self,
        cluster: &Cluster,
        run: Option<&str>,
        context: &Context,
    ) -> Result<Released, Failure> {
        let Some((lease, holder)) = self.named()? else { return Ok(Released::Already) };
        let object = Object { kind: LEASE, name: lease.clone() };
        let what = format!("cannot release lease `{lease}`");
        let work = async {
            loop {
                match hold::release(cluster, &object, &holder, run).await {
                    Err(error) if error.kind() == Kind::Transient => {
                        tracing::debug!("{what}: {error}");
                        sleep(AGAIN).await;
                    }
                    answer => return answer.map_err(|e| e.failure(&what)),
                }
            }
        };
        within(context, work)
            .await
            .unwrap_or_else(|| Err(Failure::new(Kind::Transient, format!("{what}: not done in time"))))
    }
}

/// None if the deadline or the wish to stop came first.
async fn within<T>(context: &Context, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = context.stopped() => None,
        () = sleep_until(Instant::from_std(context.deadline())) => None,
    }
}
