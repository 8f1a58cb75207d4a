//! Flag groups for steps that wait.

use std::path::PathBuf;

use clap::ArgAction;
use cluster::{Cluster, ClusterArgs, Name};
use step::Failure;
use vm::conditions::is_commit;

/// What was changed, of which machine, and what shows that it is live.
#[derive(Debug, Clone, clap::Args)]
pub struct ChangeArgs {
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
}

/// What a machine has to show to be ready.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RequireArgs {
    /// Ready only with a guest agent that answers
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub require_guest_agent: bool,
    /// Ready only with an IP address
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub require_ip: bool,
    /// Ready only when this TCP port of the machine's IP address accepts a connection
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub require_tcp_port: Option<u16>,
}

/// The cluster of the Application, and that of the machine.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PlaceArgs {
    /// Where Argo CD's Application is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Kubeconfig of the machine's own cluster, where it is not the one of the Application; like `--kubeconfig`
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub machine_kubeconfig: Option<PathBuf>,
}

impl PlaceArgs {
    /// The cluster of the Application, and that of the machine, which may be the same. No request is made.
    pub async fn connect(&self) -> Result<(Cluster, Cluster), Failure> {
        let cluster = Cluster::connect(self.cluster.kubeconfig.as_deref()).await?;
        let machine = cluster.of_machine(self.machine_kubeconfig.as_deref()).await?;
        Ok((cluster, machine))
    }
}

fn commit(text: &str) -> Result<String, String> {
    if is_commit(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a full commit id: 40 or 64 hex digits".to_owned())
    }
}
