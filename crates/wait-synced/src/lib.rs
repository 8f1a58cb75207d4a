//! Until the cluster shows what was pushed.
//!
//! Argo CD is asked to look at Git, and watched until our change is live; then the machine itself is watched, on its own
//! cluster, until it is in the declared state. That our change is live has three witnesses: the Application was compared
//! at our commit; or at a later one that holds our folder unchanged, which Git is asked about; or the machine itself
//! carries our request's digest. What the watches show is read once more before it counts as done.

mod history;
mod judge;
mod patience;
mod probe;
mod refresh;
mod sights;
mod wait;
mod words;

use std::path::PathBuf;

use clap::ArgAction;
use cluster::{ClusterArgs, Name};
use gitops::RemoteArgs;
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use vm::conditions::is_commit;

use crate::wait::Wait;

/// The commit that Argo CD showed when the machine was in its state: ours or a later one.
pub const REVISION: &str = "revision";
/// KubeVirt's word for the machine, such as `Running`.
pub const VM_STATUS: &str = "vm-status";
/// The node that the machine runs on.
pub const NODE: &str = "node";
/// The machine's first IP address.
pub const IP: &str = "ip";
/// One word for why it is not as wanted, such as `ErrorUnschedulable`; empty when it is.
pub const REASON: &str = "reason";

/// Wait until the cluster shows what was pushed
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "wait-synced", version)]
pub struct Args {
    /// Argo CD Application of the machine; it may not exist yet
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub application: Option<Name>,
    /// Application that makes it, asked to refresh until it has
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "application")]
    pub parent_application: Option<Name>,
    /// Full id of the commit to be live
    #[arg(long, value_name = "COMMIT", value_parser = commit)]
    pub commit: Option<String>,
    /// Digest of the request that the machine has to carry, such as `sha256:…`
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// The machine's folder in Git: a later commit that leaves it unchanged counts, one that changes it supersedes ours
    #[arg(long, value_name = "FOLDER")]
    pub path: Option<String>,
    /// The virtual machine
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub vm: Name,
    /// The state to wait for
    #[arg(long, value_enum, default_value_t = Until::Ready, value_name = "STATE")]
    pub until: Until,
    /// Ready only with a guest agent that answers
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub require_guest_agent: bool,
    /// Ready only with an IP address
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub require_ip: bool,
    /// Ready only when this TCP port of the machine's IP address accepts a connection
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub require_tcp_port: Option<u16>,
    /// Where Argo CD's Application is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Kubeconfig of the machine's own cluster, where it is not the one of the Application; like `--kubeconfig`
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub machine_kubeconfig: Option<PathBuf>,
    /// The repository to ask whether a later commit holds ours
    #[command(flatten)]
    pub git: RemoteArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// The state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// It runs what was declared, and says it is ready.
    Ready,
    /// It is declared stopped, and no instance of it is left.
    Stopped,
    /// Neither it, nor an instance of it, nor its Application is left.
    Absent,
}

impl Until {
    const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
        }
    }
}

impl From<Until> for vm::conditions::Until {
    fn from(until: Until) -> Self {
        match until {
            Until::Ready => Self::Ready,
            Until::Stopped => Self::Stopped,
            Until::Absent => Self::Absent,
        }
    }
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[REVISION, VM_STATUS, NODE, IP, REASON];
    const TIMEOUT: Timeout = Timeout::seconds(1800);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Wait until the machine is in the state that `args` name, or say why it will not be.
pub async fn wait_synced(args: Args, context: Context) -> Result<Done, Failure> {
    witnessed(&args)?;
    Wait::begin(args, context).await?.run().await
}

/// Without a witness that the change is live, an old state would pass for the new one.
fn witnessed(args: &Args) -> Result<(), Failure> {
    let fault = match args.until {
        Until::Absent => return Ok(()),
        _ if args.application.is_none() && args.digest.is_none() => {
            "neither `--application` nor `--digest` is given"
        }
        _ if args.application.is_some() && args.commit.is_none() && args.digest.is_none() => {
            "`--application` is given without `--commit` or `--digest`"
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Kind::Usage, format!("cannot tell the new state from the old: {fault}"))
        .hint("give `--application` with the `commit` result of git-push"))
}

fn commit(text: &str) -> Result<String, String> {
    if is_commit(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a full commit id: 40 or 64 hex digits".to_owned())
    }
}
