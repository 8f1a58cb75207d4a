//! The disk of a stopped machine is changed by virt-customize.
//!
//! Three roles, in the steps of one pod, so that what holds a token never touches a disk and what touches the disk holds none:
//!
//! 1. `--check before`, with a token: the machine is declared stopped, has no instance, and no other pod has the disk. It
//!    leaves a *permit* in a file that the steps share, and takes the machine's Lease for as long as the run may take.
//! 2. `--disk`, in an image of libguestfs, without a token: takes the permit, runs virt-customize. `--install` puts this
//!    program where that image finds it.
//! 3. `--check after`, with a token: all of it still holds, so nobody wrote to the disk at the same time.
//!
//! virt-customize is neither atomic nor idempotent: a run that began and did not end well leaves a disk that nobody can
//! vouch for. The Lease remembers that a run began: it is never run over itself, but reported, so that the snapshot from before
//! is restored. While the pod that began is still there, another run of the same request waits for it.

mod check;
mod commands;
mod customize;
mod install;
mod output;
mod permit;
mod users;

use std::path::PathBuf;

use clap::ArgAction;
use cluster::{ClusterArgs, LeaseArgs, Name};
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use vm::name::{Label, Subdomain};

/// What the disk is: `Filesystem` (a file `disk.img` on a volume) or `Block`.
pub const VOLUME_MODE: &str = "volume-mode";
/// One word for why it may not be, or was not, patched, such as `HalfPatched`; empty when all is well.
pub const REASON: &str = "reason";

/// Change the disk of a stopped virtual machine with virt-customize
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "patch-disk", version)]
#[command(group = clap::ArgGroup::new("role").required(true).args(["install", "check", "disk"]))]
pub struct Args {
    /// Copy this program to a file and do nothing else
    #[arg(long, value_name = "FILE")]
    pub install: Option<PathBuf>,
    /// Check that nothing but this pod uses the disk, before or after it is patched
    #[arg(long, value_enum, value_name = "WHEN", requires_all = ["vm", "claim", "pod", "permit"])]
    pub check: Option<When>,
    /// The disk to patch: a file such as `/disk/disk.img`, or a block device
    #[arg(long, value_name = "FILE", requires = "permit")]
    pub disk: Option<PathBuf>,
    /// The file by which the steps of one pod hand on the right to patch; on a volume that only they share
    #[arg(long, value_name = "FILE")]
    pub permit: Option<PathBuf>,
    /// The virtual machine
    #[arg(long, value_name = "NAMESPACE/NAME", help_heading = "Check")]
    pub vm: Option<Name>,
    /// The claim of the disk
    #[arg(long, value_name = "NAME", help_heading = "Check")]
    pub claim: Option<Subdomain>,
    /// This pod's own name
    #[arg(long, value_name = "NAME", help_heading = "Check")]
    pub pod: Option<Subdomain>,
    /// What the claim has to be, because the steps after this mount it so
    #[arg(long, value_enum, value_name = "MODE", help_heading = "Check")]
    pub volume_mode: Option<VolumeMode>,
    /// What to do to the disk: commands as virt-customize's `--commands-from-file` reads them
    #[arg(long, value_name = "FILE", conflicts_with = "profile", help_heading = "Patch")]
    pub commands_file: Option<PathBuf>,
    /// The same as the name of a file of the site: `<name>.commands` in the folder of `--profiles`
    #[arg(long, value_name = "NAME", requires = "profiles", help_heading = "Patch")]
    pub profile: Option<Label>,
    /// The site's folder of profiles
    #[arg(long, value_name = "DIR", help_heading = "Patch")]
    pub profiles: Option<PathBuf>,
    /// Let the guest label its files anew, as RHEL and Fedora with their mandatory access control need it
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true, help_heading = "Patch")]
    pub selinux_relabel: bool,
    /// Let commands reach the network, as installing packages needs it
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true, num_args = 1, require_equals = true, help_heading = "Patch")]
    pub network: bool,
    /// The program to run
    #[arg(long, value_name = "FILE", default_value = "virt-customize", help_heading = "Patch")]
    pub virt_customize: PathBuf,
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

/// Before or after the disk is patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// May it be patched?
    Before,
    /// Did nobody else use it meanwhile?
    After,
}

/// What a claim is to a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "PascalCase")]
pub enum VolumeMode {
    /// A file system with the file `disk.img`.
    Filesystem,
    /// A block device.
    Block,
}

impl VolumeMode {
    /// The word of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Filesystem => "Filesystem",
            Self::Block => "Block",
        }
    }
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[VOLUME_MODE, REASON];
    const TIMEOUT: Timeout = Timeout::seconds(1800);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Whichever role the flags name.
pub async fn patch_disk(args: Args, context: Context) -> Result<Done, Failure> {
    if let Some(path) = &args.install {
        return install::install(path);
    }
    if let Some(when) = args.check {
        return check::check(&args, when, &context).await;
    }
    match &args.disk {
        Some(disk) => customize::customize(&args, disk, &context).await,
        None => Err(Failure::new(Kind::Usage, "none of `--install`, `--check` and `--disk` is given")),
    }
}
