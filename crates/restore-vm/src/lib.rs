//! A machine's disks as a snapshot holds them, and nothing that undoes it.
//!
//! KubeVirt restores a machine by giving it disks with new names, owned by the machine. With Argo CD that loses the data: it puts
//! the old names back, and the machine starts from the golden image. So the restore here is done in place, under the names that
//! Git has; of a machine that is off and stays so; with Argo CD paused, and resumed only when every disk is whole; and owned by
//! nobody that deletes them. What the cluster shows after it is checked, and once more after Argo CD has compared. Whether it
//! can be done at all is found out before the machine is stopped for it, by `--check`.

mod after;
mod before;
mod finish;
mod pause;
mod run;
mod wanted;

use std::path::PathBuf;

use clap::ArgAction;
use cluster::Name;
use snapshots::{Work, WorkArgs};
use step::{Context, Done, EdgeArgs, Failure, Step, Timeout};

use crate::wanted::Wanted;

/// The snapshot that was restored.
pub const SNAPSHOT_NAME: &str = "snapshot-name";
/// The machine's volumes that are the snapshot's now, such as `root,data`.
pub const RESTORED_VOLUMES: &str = "restored-volumes";
/// One word for why it is not as wanted, such as `NotStopped`; empty when it is.
pub const REASON: &str = "reason";

/// Restore a machine's disks from a snapshot, in place
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "restore-vm", version)]
pub struct Args {
    /// The virtual machine; without it, that of the request
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub vm: Option<Name>,
    /// Snapshot to restore; without it, the one that the request names
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<String>,
    /// Name of the restore, which makes it one and the same however often it is run; without it, the request's own
    #[arg(long, value_name = "NAME")]
    pub restore_name: Option<String>,
    /// Accepted request that says what is wanted, as validate-request writes it
    #[arg(long, value_name = "FILE")]
    pub request_file: Option<PathBuf>,
    /// Argo CD Application of the machine, paused meanwhile; without it, Argo CD is not asked about anything
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub application: Option<Name>,
    /// Say whether it can be done, of a machine that may still run, and change nothing
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub check: bool,
    /// A restore that is not complete after this long has failed
    #[arg(long, value_name = "DURATION", default_value_t = Timeout::seconds(600))]
    pub deadline: Timeout,
    /// The clusters and the Lease
    #[command(flatten)]
    pub work: WorkArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[SNAPSHOT_NAME, RESTORED_VOLUMES, REASON];
    const TIMEOUT: Timeout = Timeout::seconds(1800);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Restore the machine as `args` say, unless that was done before.
pub async fn restore_vm(args: Args, context: Context) -> Result<Done, Failure> {
    let wanted = Wanted::new(&args)?;
    context.result(SNAPSHOT_NAME, wanted.snapshot.name.name());
    let work = Work::begin(&args.work, context.clone()).await?;
    let ended = if args.check { run::check(&work, &wanted).await } else { run::run(&work, &wanted).await };
    ended.map_err(|stop| {
        context.result(REASON, stop.reason);
        stop.failure
    })
}
