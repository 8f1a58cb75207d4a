//! `cargo xtask e2e`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::image;
use crate::process::{cargo, run};

/// Where the cluster that comes with this workplace is, seen from the repository's root.
const CLUSTER: &str = "../shared/cluster/cluster";
/// The address of this machine on that cluster's bridge.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 1));

/// Where recordings of conformance are left.
const CONFORMANCE: &str = "target/conformance";

/// Arguments of `cargo xtask e2e`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Command that makes an OCI archive known to the cluster's nodes, the archive being its last argument; where
    /// `../shared/cluster/cluster` is, the default is its `load`
    #[arg(long, value_name = "COMMAND")]
    load_command: Option<String>,
    /// Address of this machine that pods and Argo CD reach
    #[arg(long, value_name = "ADDRESS", default_value_t = GATEWAY)]
    address: IpAddr,
    /// Only the scenarios whose name holds one of these, separated by commas
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Begin no scenario later than that after the start of this command, and name those left out; none takes longer than about five
    /// minutes
    #[arg(long, value_name = "MINUTES")]
    begin_within: Option<u64>,
    /// Leave everything in the cluster for looking at
    #[arg(long)]
    keep: bool,
    /// Run the scenarios that a real cluster can show on it and on the stand-ins, and compare what their objects go through
    #[arg(long)]
    conformance: bool,
    /// Compare with what was recorded on a cluster, in this folder; nothing is asked of one
    #[arg(long, value_name = "FOLDER", requires = "conformance")]
    recorded: Option<PathBuf>,
}

/// Build the image and run the scenarios.
pub(crate) fn e2e(root: &Path, options: Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = root.join(CONFORMANCE);
    if let Some(files) = options.recorded {
        run(cargo(root).args(["build", "--workspace", "--bins", "--locked"]))?;
        let real = e2e::Real::Recorded(files);
        return runtime.block_on(e2e::conformance(real, options.only.as_deref(), &folder));
    }
    let begin_until = options.begin_within.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let default = root.join(CLUSTER).is_file().then(|| format!("{CLUSTER} load"));
    let load_command = options.load_command.or(default);
    let load_command =
        load_command.context("`--load-command` is needed: how does an image get to the nodes?")?;
    let built = image::image(root, &image::Options::default())?;
    let ours = e2e::Options {
        root: root.to_owned(),
        images: vec![built.archive, image::stand_in(root)?],
        binaries: built.binaries,
        load_command: load_command.split_whitespace().map(str::to_owned).collect(),
        address: options.address,
        only: options.only,
        begin_until,
        keep: options.keep,
    };
    if options.conformance {
        run(cargo(root).args(["build", "--workspace", "--bins", "--locked"]))?;
        let only = ours.only.clone();
        return runtime.block_on(e2e::conformance(
            e2e::Real::Cluster(Box::new(ours)),
            only.as_deref(),
            &folder,
        ));
    }
    runtime.block_on(e2e::run(ours))
}
