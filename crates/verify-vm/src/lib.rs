//! One machine is checked, and a report written.
//!
//! Every expectation is one check, and every check is answered, so that one run says all that is wrong. A check that may
//! still come true is waited for (a guest agent, an address, a port); one that will not (an old size with
//! `RestartRequired`, a data disk that dies with its machine) ends the run at once. What is read is what the instance
//! has, not what the machine declares: a machine that still runs the old hardware is found out.
//!
//! **Restarts.** The API holds no count of them: an instance that is made anew is another object. The column RESTARTS is what
//! can be known: failed starts in a row as KubeVirt counts them (`status.startFailure.consecutiveFailCount`), and the times
//! that the instance was replaced while this program looked. A reboot inside the guest shows nowhere.

mod checks;
mod disks;
mod facts;
mod look;
mod probe;
mod report;
mod verify;
mod wanted;

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use cluster::{ClusterArgs, LeaseArgs, Name};
use step::{Context, Done, EdgeArgs, Failure, Step, Timeout};
use vm::name::{Label, Subdomain};
use vm::quantity::Quantity;

pub use probe::Http;

/// KubeVirt's word for the machine, such as `Running`.
pub const VM_STATUS: &str = "vm-status";
/// The node that the machine runs on.
pub const NODE: &str = "node";
/// The machine's first IP address.
pub const IP: &str = "ip";
/// One word for the first check that does not hold, such as `RestartRequired`; empty when all do.
pub const REASON: &str = "reason";
/// Failed starts in a row, and instances replaced while this program looked.
pub const RESTARTS: &str = "restarts";
/// How many checks hold, of how many: `7/7`.
pub const CHECKS: &str = "checks";

/// Check one machine and write a report
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "verify-vm", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Args {
    /// The virtual machine; without it, that of the request
    #[arg(long, value_name = "NAMESPACE/NAME", required_unless_present = "request_file")]
    pub vm: Option<Name>,
    /// The state that it has to be in; of a stopped machine the disks are checked
    #[arg(long, value_enum, default_value_t = Until::Ready, value_name = "STATE")]
    pub until: Until,
    /// Check the disks alone, whatever state the machine is in: each is there and bound, and no data disk would be deleted
    /// with its machine
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub disks_only: bool,
    /// Data disks may be deleted with their machine, or be gone already
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub allow_delete: bool,
    /// A machine that does not exist is as it should be: a removal that is run again
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub allow_absent: bool,
    /// The normalised request; what it asks for is expected, where no flag says otherwise
    #[arg(long, value_name = "FILE")]
    pub request_file: Option<PathBuf>,
    /// Virtual CPUs that the instance has
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub expect_cpu: Option<u32>,
    /// Memory that the guest has, such as `8Gi`
    #[arg(long, value_name = "AMOUNT")]
    pub expect_memory: Option<Quantity>,
    /// Instance type that the instance was made with
    #[arg(long, value_name = "NAME")]
    pub expect_instance_type: Option<Subdomain>,
    /// Claim that the machine boots from
    #[arg(long, value_name = "NAME")]
    pub expect_boot_claim: Option<Subdomain>,
    /// Claims that the machine has among its disks, separated by commas
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub expect_claims: Vec<Subdomain>,
    /// Node that the machine runs on
    #[arg(long, value_name = "NAME")]
    pub expect_node: Option<Subdomain>,
    /// Host name of the guest: the declared one, and the guest's own where a guest agent tells it
    #[arg(long, value_name = "NAME")]
    pub expect_hostname: Option<Label>,
    /// The guest agent has to answer
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub require_guest_agent: bool,
    /// The machine has to have an IP address
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub require_ip: bool,
    /// This TCP port of the machine's IP address has to accept a connection
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub require_tcp_port: Option<u16>,
    /// An SSH server has to greet on this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub require_ssh_port: Option<u16>,
    /// A web server has to answer this path on this port with a status below 400, such as `/healthz:8080`; plain HTTP
    #[arg(long, value_name = "PATH:PORT")]
    pub require_http: Option<Http>,
    /// All of this has to hold for this long, with the same instance
    #[arg(long, value_name = "DURATION")]
    pub stable_for: Option<Timeout>,
    /// Like `--stable-for`, of a change that is taken back if it fails: the longer one holds, and this comes on top of `--timeout`
    #[arg(long, value_name = "DURATION")]
    pub prove_for: Option<Timeout>,
    /// File to write the report to, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// What to print to standard output
    #[arg(long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    pub output: Output,
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

impl Args {
    /// How long all has to hold: the longer of `--stable-for` and `--prove-for`.
    fn steady_for(&self) -> Option<Timeout> {
        self.stable_for.into_iter().chain(self.prove_for).max_by_key(|t| t.get())
    }
}

/// The state that the machine has to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// It runs what was declared, and says it is ready.
    Ready,
    /// It is declared stopped, and no instance of it is left.
    Stopped,
}

/// What to print to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// One line: NAME STATUS RESTARTS AGE NODE NETWORKS(IP)
    Table,
    /// The report
    Json,
    /// Nothing
    None,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[VM_STATUS, NODE, IP, REASON, RESTARTS, CHECKS];
    const TIMEOUT: Timeout = Timeout::seconds(600);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }

    fn limit(&self) -> Duration {
        self.edge.timeout.get() + self.prove_for.map_or(Duration::ZERO, Timeout::get)
    }
}

/// Check the machine until all holds, or say what does not.
pub async fn verify_vm(args: Args, context: Context) -> Result<Done, Failure> {
    verify::Verify::begin(args, context).await?.run().await
}
