//! The golden image that a data source means now.
//!
//! A new boot disk names the data source, and CDI follows it when the disk is made. What it will follow is looked up here
//! first: the data source is ready, it points at a volume or a snapshot, and that is there. So a request is refused before
//! anything is changed, and the report can say which image it was. An image name may be collected later (CDI keeps three),
//! so the name is a record and the data source stays what the disk is made from.

mod image;
mod resolve;

use std::path::PathBuf;

use cluster::{ClusterArgs, LeaseArgs, Name};
use step::{Context, Done, EdgeArgs, Failure, Step, Timeout};

/// The image, `<namespace>/<name>`; empty where the boot disk is not made from a data source.
pub const IMAGE_SOURCE: &str = "image-source";
/// What the image is: `pvc` or `snapshot`.
pub const IMAGE_KIND: &str = "image-kind";
/// How large a disk from it has to be at least, as the cluster writes it, such as `10Gi`; empty where that is not said.
pub const IMAGE_SIZE: &str = "image-size";
/// The data source, `<namespace>/<name>`.
pub const DATA_SOURCE: &str = "data-source";

/// Find the golden image that a data source means now
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "resolve-image", version)]
pub struct Args {
    /// The normalised request; its image's data source is looked up, where it has one
    #[arg(long, value_name = "FILE", required_unless_present = "data_source")]
    pub request_file: Option<PathBuf>,
    /// The data source to look up, instead of the request's
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub data_source: Option<Name>,
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
    const RESULTS: &'static [&'static str] = &[IMAGE_SOURCE, IMAGE_KIND, IMAGE_SIZE, DATA_SOURCE];
    const TIMEOUT: Timeout = Timeout::seconds(300);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Look the image up, and wait until it is there.
pub async fn resolve_image(args: Args, context: Context) -> Result<Done, Failure> {
    resolve::resolve(args, context).await
}
