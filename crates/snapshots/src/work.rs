//! What a step works with: the clusters, the Lease, the clock.

use std::path::PathBuf;

use cluster::{Cluster, ClusterArgs, Error, Hold, Kind, LeaseArgs, Name, Object};
use serde_json::Value;
use step::{Context, Failure, Kind as Class};
use vm::request::Accepted;

use crate::ask::ask;

/// The flags that say where the machine is and under which Lease it is worked on.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WorkArgs {
    /// Where the Lease and Argo CD's Application are
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Kubeconfig of the machine's own cluster, where it is not the one of the Lease; like `--kubeconfig`
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub machine_kubeconfig: Option<PathBuf>,
    /// Under which Lease
    #[command(flatten)]
    pub lease: LeaseArgs,
}

/// The clusters, the Lease, the clock.
#[derive(Debug, Clone)]
pub struct Work {
    /// The deadline, the wish to stop, the results.
    pub context: Context,
    /// Where the Lease and the Application are.
    pub home: Cluster,
    /// Where the machine is.
    pub cluster: Cluster,
    /// The Lease, where one was named.
    pub hold: Option<Hold>,
}

impl Work {
    /// Connect, and take the Lease.
    pub async fn begin(args: &WorkArgs, context: Context) -> Result<Self, Failure> {
        let home = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
        let cluster = home.of_machine(args.machine_kubeconfig.as_deref()).await?;
        let hold = args.lease.take(&home, &context).await?;
        Ok(Self { context, home, cluster, hold })
    }

    /// Fails if another operation may be at work on the machine: ask before each change.
    pub fn check(&self) -> Result<(), Failure> {
        if self.context.stopping() {
            return Err(Failure::new(Class::Timeout, "stopped before the next change"));
        }
        self.hold.as_ref().map_or(Ok(()), Hold::check)
    }

    /// Make a request until there is an answer: an API server that is down is waited for until the deadline. `what` is what
    /// cannot be done, such as `read virtual machine …`.
    pub async fn ask<T>(
        &self,
        what: &str,
        request: impl AsyncFn() -> Result<T, Error>,
    ) -> Result<T, Failure> {
        ask(&self.context, self.hold.as_ref(), what, request).await
    }

    /// An object of the machine's cluster as the server has it now.
    pub async fn read(&self, object: &Object) -> Result<Option<Value>, Failure> {
        self.ask(&format!("read {object}"), async || self.cluster.get(object).await).await
    }

    /// All objects of a kind in the machine's namespace, as the server has them now.
    pub async fn list(&self, kind: Kind, namespace: &str) -> Result<Vec<Value>, Failure> {
        let what = format!("list the {}s of namespace `{namespace}`", kind.word());
        self.ask(&what, async || self.cluster.list(kind, namespace, None).await).await
    }
}

/// The machine that the flags or the request name.
pub fn machine(vm: Option<&Name>, request: Option<&Accepted>) -> Result<Name, Failure> {
    let usage = |what: String| Failure::new(Class::Usage, what);
    let of_request = request
        .map(|r| format!("{}/{}", r.target().namespace, r.target().name).parse::<Name>())
        .transpose()
        .map_err(|why| usage(format!("the request names no machine: {why}")))?;
    match (vm, of_request) {
        (Some(vm), Some(other)) if *vm != other => {
            Err(usage(format!("`--vm` says `{vm}`, and the request is about `{other}`")))
        }
        (Some(vm), _) => Ok(vm.clone()),
        (None, Some(vm)) => Ok(vm),
        (None, None) => Err(usage("neither `--vm` nor `--request-file` says which machine".to_owned())),
    }
}

/// The text at a pointer, or the empty text.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
