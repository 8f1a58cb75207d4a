//! Disks of a machine become larger.
//!
//! A data volume cannot be changed, so the claim is: its request is raised, never lowered, and its storage follows. Whether
//! the storage can grow at all is looked up before anything is changed.
//!
//! A disk on a file system is a file, which needs a part of the volume for the file system itself: the claim is raised by
//! CDI's own allowance on top of what is asked for, so that the disk is as large as asked.

mod claim;
mod disks;
mod grow;

use std::path::PathBuf;

use cluster::{ClusterArgs, LeaseArgs, Name};
use step::{Context, Done, EdgeArgs, Failure, Step, Timeout};

pub use disks::Disks;

/// The disks with the capacity of their claims, `claim=bytes`, separated by commas.
pub const GROWN: &str = "grown";
/// One word for why a disk has not grown yet, such as `FileSystemResizePending`; empty when all have.
pub const REASON: &str = "reason";

/// Make disks of one virtual machine larger
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "grow-disk", version)]
pub struct Args {
    /// The virtual machine
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub vm: Name,
    /// Claims of the machine's disks with their new sizes, such as `web01-data-1a2b3c=20Gi`, separated by commas; none is
    /// nothing to do
    #[arg(long, value_name = "CLAIM=SIZE,…", default_value = "")]
    pub disks: Disks,
    /// Where the Lease is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Kubeconfig of the machine's own cluster, where it is not the one of the Lease; like `--kubeconfig`
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub machine_kubeconfig: Option<PathBuf>,
    /// Under which Lease
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[GROWN, REASON];
    const TIMEOUT: Timeout = Timeout::seconds(600);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Raise what the claims request, and wait until they have it.
pub async fn grow_disk(args: Args, context: Context) -> Result<Done, Failure> {
    grow::grow(args, context).await
}
