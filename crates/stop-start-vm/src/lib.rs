//! Power of one machine, off and on, and seen to have happened.
//!
//! Power has one owner. Where Git declares it (`Always`, `Halted` and the like) one value in the repository is changed, every
//! other byte kept, and the machine is followed until it is in that state. Where Git leaves it open (`Manual`,
//! `RerunOnFailure`) KubeVirt's own verbs are used, with `--via api`. Neither is ever done to a machine of the other kind:
//! Argo CD would undo the one, and the other would do nothing.
//!
//! The two halves, Git and cluster, need different rights, so each works alone: without `--url` nothing is committed and the
//! machine is waited for; with `--wait=false` nothing is asked of a cluster.

mod api;
mod declared;
mod eyes;
mod force;
mod git;
mod locate;
mod restart;
mod task;

use clap::ArgAction;
use cluster::LeaseArgs;
use gitops::{FilePath, RemoteArgs, SignArgs};
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use wait::{ChangeArgs, IP, NODE, PlaceArgs, REASON, REVISION, RequireArgs, VM_STATUS};

use crate::task::Task;

/// The commit that declares the power, now or earlier: 40 hex digits. Empty without `--url`.
pub const COMMIT: &str = "commit";
/// The run strategy that was declared before.
pub const PREVIOUS_RUN_STRATEGY: &str = "previous-run-strategy";
/// Whether the machine was restarted by this run: `true` or `false`.
pub const RESTARTED: &str = "restarted";

/// Power a machine off or on, or restart it, and wait until that is seen
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "stop-start-vm", version)]
pub struct Args {
    /// What to do; `as-declared` changes nothing in Git and brings the machine to what it declares
    #[arg(long, value_enum, value_name = "POWER")]
    pub power: Power,
    /// Who owns the machine's power
    #[arg(long, value_enum, default_value_t = Via::Git, value_name = "VIA")]
    pub via: Via,
    /// The machine, and how its change is seen to be live
    #[command(flatten)]
    pub change: ChangeArgs,
    /// File with the machine; without it `vms/<cluster-name>/<namespace>/<vm>/virtual-machine.yaml`
    #[arg(long, value_name = "PATH", conflicts_with = "overlay")]
    pub file: Option<FilePath>,
    /// Folder of the Kustomize overlay that sets the power, or its one patch file
    #[arg(long, value_name = "PATH")]
    pub overlay: Option<FilePath>,
    /// Name of the machine's cluster in the repository
    #[arg(long, value_name = "NAME", default_value = "in-cluster")]
    pub cluster_name: String,
    /// Id of the request, for the commit; a request that is found done and undone again is `superseded`
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Who asks for it, for the commit
    #[arg(long, value_name = "TEXT")]
    pub requested_by: Option<String>,
    /// Why, for the commit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Cut the power of a guest that is still there this long after it was told to stop; without it the machine's own
    /// grace period decides
    #[arg(long, value_name = "DURATION")]
    pub force_after: Option<Timeout>,
    /// Whether `as-declared` may restart a machine that runs what was declared before
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub allow_restart: bool,
    /// Whether to wait until the machine is seen to be so
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub wait: bool,
    /// What ready means
    #[command(flatten)]
    pub require: RequireArgs,
    /// Where the machine is
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The repository; without one nothing is changed there
    #[command(flatten)]
    pub git: RemoteArgs,
    /// The key of its commit
    #[command(flatten)]
    pub sign: SignArgs,
    /// The machine's Lease
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Power {
    /// Stopped: declared so, and no instance of it is left.
    Off,
    /// Runs, and says it is ready.
    On,
    /// Ready as another instance than now.
    Restart,
    /// Whatever is declared: stopped, or ready and running what is declared.
    AsDeclared,
}

/// Who owns the machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Via {
    /// The repository.
    Git,
    /// `KubeVirt`'s API, for machines with run strategy `Manual` or `RerunOnFailure`.
    Api,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] =
        &[COMMIT, REVISION, VM_STATUS, NODE, IP, REASON, PREVIOUS_RUN_STRATEGY, RESTARTED];
    const TIMEOUT: Timeout = Timeout::seconds(1800);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Bring the machine's power to what `args` name, or say why it will not be.
pub async fn stop_start_vm(mut args: Args, context: Context) -> Result<Done, Failure> {
    check(&args)?;
    context.result(RESTARTED, "false");
    let changes_git =
        args.git.is_given() && args.via == Via::Git && matches!(args.power, Power::Off | Power::On);
    // before another thread runs: it sets what is global to the process
    let remote = if changes_git { Some(args.git.open()?.signing(&args.sign)?) } else { None };
    let place = if args.wait {
        let (cluster, machine) = args.place.connect().await?;
        // leases are where the flows run: on the cluster of the Application
        let hold = args.lease.take(&cluster, &context).await?;
        Some((cluster, machine, hold))
    } else {
        None
    };
    let mut done = None;
    if let Some(remote) = remote {
        let changed = git::change(&args, remote, &context).await?;
        args.change.commit = Some(changed.commit);
        args.change.path.get_or_insert(changed.folder);
        done = Some(changed.done);
    }
    let Some((cluster, machine, hold)) = place else {
        return done.ok_or_else(nothing_to_do);
    };
    let task = Task::new(args, cluster, machine, hold, context);
    match (task.args.via, task.args.power) {
        (Via::Api, power) => api::power(&task, power).await,
        (Via::Git, Power::Off) => declared::off(&task).await,
        (Via::Git, Power::On) => declared::on(&task).await,
        (Via::Git, Power::Restart) => restart::asked_for(&task).await,
        (Via::Git, Power::AsDeclared) => declared::as_declared(&task).await,
    }
}

/// Flags that contradict each other.
fn check(args: &Args) -> Result<(), Failure> {
    let usage = |what: &str, hint: &str| Err(Failure::new(Kind::Usage, what).hint(hint));
    match (args.via, args.power) {
        (Via::Api, Power::AsDeclared) => {
            return usage("nothing is declared where power is driven by the API", "leave out `--via api`");
        }
        (Via::Api, _) if !args.wait => {
            return usage(
                "`--via api` without waiting cannot be told from doing nothing",
                "leave out `--wait`",
            );
        }
        (_, Power::Restart | Power::AsDeclared) if !args.wait => {
            return usage("nothing to do: this power changes nothing in Git", "leave out `--wait`");
        }
        _ => {}
    }
    if !args.wait && !args.git.is_given() {
        return Err(nothing_to_do());
    }
    let changes = matches!(args.power, Power::Off | Power::On) && args.via == Via::Git;
    if changes && args.git.is_given() && args.change.commit.is_some() {
        return usage(
            "`--commit` names the commit that is live, and `--url` has this step make another",
            "give one of them",
        );
    }
    Ok(())
}

fn nothing_to_do() -> Failure {
    Failure::new(Kind::Usage, "nothing to do: neither a repository to change nor a machine to wait for")
        .hint("`--url` names the repository")
}
