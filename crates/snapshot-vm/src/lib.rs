//! One snapshot of a machine, ready to use; and the list, the removal and the pruning of those there are.
//!
//! KubeVirt calls a snapshot succeeded that holds no disk at all, one that is not ready, and one that loses a disk later. Here
//! it counts when it is of this very machine, holds every disk that it has to, is ready, and was read once more. A snapshot
//! belongs to one request by its name, so a step that is run again finds its own.

mod create;
mod prune;
mod sources;
mod table;
mod wanted;

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use cluster::Name;
use snapshots::{Work, WorkArgs};
use step::{Context, Done, EdgeArgs, Failure, PolicyArgs, Step, Timeout};

use crate::wanted::Wanted;

/// The snapshot that was made, found or removed; with `list` and `prune` the newest one that is ready.
pub const SNAPSHOT_NAME: &str = "snapshot-name";
/// Its uid.
pub const SNAPSHOT_UID: &str = "snapshot-uid";
/// How it was taken, such as `Online,GuestAgent`; empty for a machine that was off.
pub const INDICATIONS: &str = "indications";
/// The machine's volumes that it holds, such as `root,data`.
pub const INCLUDED_VOLUMES: &str = "included-volumes";
/// From which volume snapshots a new machine's disks can be made, and how large each has to be at least, such as
/// `root=vmsnapshot-…-volume-root:43Gi,data=…`; `…` at the end where there are more than fit, `--action sources` prints them all.
pub const SOURCES: &str = "sources";

/// Snapshot a machine, or say whether that can be done, or list, remove or prune its snapshots
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "snapshot-vm", version)]
pub struct Args {
    /// What to do
    #[arg(long, value_enum, default_value_t = Action::Create, value_name = "ACTION")]
    pub action: Action,
    /// The virtual machine; without it, that of the request
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub vm: Option<Name>,
    /// Name of the snapshot; without it, that of the request's own
    #[arg(long, value_name = "NAME")]
    pub snapshot_name: Option<String>,
    /// Accepted request that says what is wanted, as validate-request writes it
    #[arg(long, value_name = "FILE")]
    pub request_file: Option<PathBuf>,
    /// Fail unless the guest's file systems were frozen, or the machine was off
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub require_quiesced: bool,
    /// Volumes that it has to hold, with commas; without it, every disk of the machine
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub require_volumes: Vec<String>,
    /// A snapshot that is not ready after this long has failed; without it, the request's or `5m`
    #[arg(long, value_name = "DURATION")]
    pub deadline: Option<Timeout>,
    /// Keep at most this many that are ready, the newest; without it, as many as there are
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep_count: Option<u16>,
    /// Remove those older than this many days; without it, none for its age
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep_days: Option<u16>,
    /// Label the snapshot as one that is never pruned
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub protected: bool,
    /// File for the table of `list` and the JSON of `sources`; without it, standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the machine's environment allows
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// The clusters and the Lease
    #[command(flatten)]
    pub work: WorkArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Take a snapshot, unless this request's is there, and wait until it is ready; then prune, if it is said what to keep.
    Create,
    /// Say whether one can be taken, and change nothing.
    Check,
    /// Print those there are.
    List,
    /// Remove one, and wait until it is gone.
    Delete,
    /// Remove those that are too many or too old: only ready ones that this program took of this very machine, never the newest,
    /// never the newest that a patch took, never a protected one, never one that a restore uses.
    Prune,
    /// Print from which volume snapshots a new machine's disks can be made.
    Sources,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] =
        &[SNAPSHOT_NAME, SNAPSHOT_UID, INDICATIONS, INCLUDED_VOLUMES, SOURCES];
    const TIMEOUT: Timeout = Timeout::seconds(1800);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// What a removal may take: finalizers of the storage.
pub(crate) const REMOVAL: Duration = Duration::from_mins(5);

/// Do what `args` say.
pub async fn snapshot_vm(args: Args, context: Context) -> Result<Done, Failure> {
    let wanted = Wanted::new(&args)?;
    let work = Work::begin(&args.work, context).await?;
    match args.action {
        Action::Create => create::create(&work, &wanted).await,
        Action::Check => create::check(&work, &wanted).await,
        Action::List => table::list(&work, &wanted, args.output.as_deref()).await,
        Action::Delete => prune::delete(&work, &wanted).await,
        Action::Prune => prune::prune(&work, &wanted).await,
        Action::Sources => sources::sources(&work, &wanted, args.output.as_deref()).await,
    }
}
