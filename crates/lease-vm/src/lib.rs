//! One operation per machine at a time.
//!
//! Every flow begins with this step and ends by giving the Lease back (`report-outcome` does so in `finally`). It is named by
//! the machine, `<cluster>.<namespace>.<vm>`, lies in the namespace of the flows, and its holder is the request's id: each
//! later step renews it by the same name, and a run of the same request after a crash goes on with it at once. Another
//! request waits until it is free or has expired, which is five minutes after the last step that renewed it was killed, or what
//! `--lease-for` says where steps come next that cannot renew it.
//!
//! Two runs of one request are one holder. Each is noted in the Lease by its name, and only the last one's end frees it.

mod machine;
mod take;

use std::path::PathBuf;

use cluster::{Cluster, ClusterArgs, LeaseArgs, Name, Released, write_lease};
use step::{Context, Done, EdgeArgs, Failure, Step, Timeout};
use vm::name::{Label, RequestId};

use crate::machine::Claim;

/// The Lease, `<namespace>/<name>`: what later steps take by `--lease`.
pub const LEASE: &str = "lease";
/// Who holds it now: the id of this request, or of the one that was waited for in vain; empty when nobody does.
pub const HOLDER: &str = "holder";

/// Wait until no other operation holds the machine, and hold it
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "lease-vm", version)]
pub struct Args {
    /// The normalised request: it says which machine, and its id is the holder
    #[arg(long, value_name = "FILE", required_unless_present = "vm")]
    pub request_file: Option<PathBuf>,
    /// The virtual machine, instead of the request's
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "request_file", requires = "holder")]
    pub vm: Option<Name>,
    /// Its cluster, as Argo CD calls it
    #[arg(long, value_name = "NAME", default_value = "in-cluster", conflicts_with = "request_file")]
    pub cluster_name: Label,
    /// Who holds the machine: the request's id
    #[arg(long, value_name = "ID", requires = "vm")]
    pub holder: Option<RequestId>,
    /// The run of the request, by its name: the Lease is free when every run that took it has given it back
    #[arg(long, value_name = "NAME")]
    pub run: Option<Label>,
    /// Namespace of the Lease; without it, the pod's own
    #[arg(long, value_name = "NAMESPACE")]
    pub lease_namespace: Option<Label>,
    /// How long it lasts unless a later step renews it: longer than all that comes until one does
    #[arg(long, value_name = "DURATION", default_value_t = Timeout::seconds(300))]
    pub lease_for: Timeout,
    /// Write down which Lease it is, for later steps of the same pod to hold it on
    #[arg(long, value_name = "FILE")]
    pub lease_file: Option<PathBuf>,
    /// What to do with the Lease
    #[arg(long, value_enum, default_value_t = Action::Take, value_name = "ACTION")]
    pub action: Action,
    /// Where the Lease is
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// What to do with the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Wait for another holder, and take it.
    Take,
    /// Give it back, if it is ours: for this run, or for all of the request without `--run`.
    Release,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[LEASE, HOLDER];
    const TIMEOUT: Timeout = Timeout::seconds(600);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Take the Lease of the machine, or give it back.
pub async fn lease_vm(args: Args, context: Context) -> Result<Done, Failure> {
    let claim = Claim::read(&args)?;
    context.result(LEASE, claim.lease.to_string());
    let cluster = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
    match args.action {
        Action::Take => {
            if let Some(path) = &args.lease_file {
                write_lease(path, &claim.lease, &claim.holder)?;
            }
            take::take(&cluster, &claim, args.run.as_ref(), args.lease_for.get(), &context).await
        }
        Action::Release => release(&cluster, claim, args.run.as_ref(), &context).await,
    }
}

async fn release(
    cluster: &Cluster,
    claim: Claim,
    run: Option<&Label>,
    context: &Context,
) -> Result<Done, Failure> {
    let Claim { lease, holder, .. } = claim;
    let args = LeaseArgs { lease: Some(lease.clone()), holder: Some(holder), ..LeaseArgs::default() };
    let run = run.map(ToString::to_string);
    let words = match args.release(cluster, run.as_deref(), context).await? {
        Released::Free => {
            context.result(step::CHANGED, "true");
            format!("lease `{lease}` is free")
        }
        Released::Shared(runs) => {
            format!("lease `{lease}` is still held by `{}` of the same request", runs.join("`, `"))
        }
        Released::Already => format!("lease `{lease}` was free already"),
        Released::Other(holder) => {
            context.result(HOLDER, &holder.id);
            format!("lease `{lease}` is left alone: it is held by {holder}")
        }
    };
    Ok(Done::new(words))
}
