//! A running machine is patched by its own shell, over SSH, once.
//!
//! For machines that may not be stopped. Two roles, in steps of one pod, so that what holds a token holds no key:
//!
//! 1. `--action address`, with a token: the request is one to patch in the guest, the site has its profile, the machine runs.
//!    Its address goes into a file that the steps share.
//! 2. `--action patch`, with the key: the site's `<profile>.sh` goes to the guest over standard input, never as part of a command
//!    line. The guest runs it detached from the connection, and this step follows it.
//!
//! Exactly once: the guest makes a folder named by the request's id, atomically, before it runs the script, and writes the exit
//! status there after it. A step that is run again, or whose connection was lost, follows what runs already. What began and was
//! ended from outside (the guest was started anew, the process was killed) is reported, never run again.

mod address;
mod follow;
mod guest;
mod hosts;
mod remote;
mod wanted;

use std::path::PathBuf;

use cluster::ClusterArgs;
use step::{Context, Done, EdgeArgs, Failure, Step, Timeout};
use vm::name::User;

use crate::remote::StateDirectory;
use crate::wanted::Wanted;

/// The machine, `<namespace>/<name>`.
pub const VM: &str = "vm";
/// The machine's first IP address, which the SSH server is expected at.
pub const IP: &str = "ip";
/// What the profile ended with in the guest; empty before.
pub const EXIT_STATUS: &str = "exit-status";
/// One word for why it is not patched, such as `Rebooted`; empty when all is well.
pub const REASON: &str = "reason";
/// Whether ready needs the guest agent: `true` or `false`.
pub const REQUIRE_GUEST_AGENT: &str = "require-guest-agent";
/// Whether ready needs an address: `true` or `false`.
pub const REQUIRE_IP: &str = "require-ip";
/// The TCP port that ready needs; empty for none.
pub const REQUIRE_TCP_PORT: &str = "require-tcp-port";

/// Run a file of commands in a running virtual machine over SSH, once for each request
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "patch-guest", version)]
pub struct Args {
    /// What to do
    #[arg(long, value_enum, default_value_t = Action::Patch, value_name = "ACTION")]
    pub action: Action,
    /// The normalised request: it says which machine and which profile, and its id is what is done once
    #[arg(long, value_name = "FILE")]
    pub request_file: PathBuf,
    /// The site's files for guests, `<profile>.sh`, which their `/bin/sh` runs
    #[arg(long, value_name = "DIR")]
    pub profiles: PathBuf,
    /// Where the steps of one pod hand on the machine's address
    #[arg(long, value_name = "FILE")]
    pub address_file: PathBuf,
    /// Private keys `id_ed25519`, `id_ecdsa`, `id_rsa` or `ssh-privatekey`, and the file `known_hosts` with the machine's host key
    /// under `<namespace>/<name>` or its address
    #[arg(long, value_name = "DIR", help_heading = "Guest")]
    pub ssh_directory: Option<PathBuf>,
    /// Who logs in, such as the default user of the image
    #[arg(long, value_name = "NAME", help_heading = "Guest")]
    pub user: Option<User>,
    /// Where the SSH server listens
    #[arg(long, value_name = "PORT", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Guest")]
    pub port: u16,
    /// How the user becomes root
    #[arg(long = "become", value_enum, default_value_t = Become::Sudo, value_name = "HOW", help_heading = "Guest")]
    pub becomes: Become,
    /// Where the guest keeps what was done
    #[arg(long, value_name = "GUEST-DIR", default_value = "/var/lib/vm-lifecycle", help_heading = "Guest")]
    pub state_directory: StateDirectory,
    /// Where the machine is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Kubeconfig of the machine's own cluster, where it is not the one of the Lease; like `--kubeconfig`
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub machine_kubeconfig: Option<PathBuf>,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Find the address of the running machine, with a token.
    Address,
    /// Run the profile in it, with the key.
    Patch,
}

/// How the user becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Become {
    /// `sudo` without a password.
    Sudo,
    /// Not at all: it is root, or what the profile does needs no root.
    None,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] =
        &[VM, IP, EXIT_STATUS, REASON, REQUIRE_GUEST_AGENT, REQUIRE_IP, REQUIRE_TCP_PORT];
    const TIMEOUT: Timeout = Timeout::seconds(1800);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Whichever role the flags name.
pub async fn patch_guest(args: Args, context: Context) -> Result<Done, Failure> {
    let wanted = Wanted::read(&args, &context)?;
    match args.action {
        Action::Address => address::address(&args, &wanted, &context).await,
        Action::Patch => follow::patch(&args, wanted, context).await,
    }
}
