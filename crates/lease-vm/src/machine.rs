//! Which machine, for whom, and under which Lease.

use std::path::Path;

use cluster::Name;
use step::{Failure, Kind, one_line};
use vm::name::Label;
use vm::request::Accepted;

use crate::Args;

/// Where the kubelet writes the namespace of the pod.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// What is to be held.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) lease: Name,
    pub(crate) holder: String,
    /// `cluster/namespace/name`.
    pub(crate) vm: String,
    pub(crate) operation: Option<&'static str>,
}

impl Claim {
    /// By the request, or by the flags.
    pub(crate) fn read(args: &Args) -> Result<Self, Failure> {
        let (cluster, namespace, name, holder, operation) = match (&args.request_file, &args.vm, &args.holder)
        {
            (Some(path), ..) => {
                let request = read_request(path)?;
                let target = request.target();
                let [cluster, namespace, name] =
                    [&target.cluster, &target.namespace, &target.name].map(ToString::to_string);
                (cluster, namespace, name, request.request_id().to_string(), Some(request.operation_word()))
            }
            (None, Some(vm), Some(holder)) => {
                let (namespace, name) = (vm.namespace().to_owned(), vm.name().to_owned());
                (args.cluster_name.to_string(), namespace, name, holder.to_string(), None)
            }
            (None, ..) => {
                return Err(Failure::new(
                    Kind::Usage,
                    "neither `--request-file` nor `--vm` with `--holder` is given",
                ));
            }
        };
        let lease =
            format!("{}/{cluster}.{namespace}.{name}", lease_namespace(args.lease_namespace.as_ref())?);
        let vm = format!("{cluster}/{namespace}/{name}");
        let lease = lease
            .parse()
            .map_err(|why| Failure::new(Kind::Usage, format!("`{lease}` cannot name a lease: {why}")))?;
        Ok(Self { lease, holder, vm, operation })
    }
}

fn read_request(path: &Path) -> Result<Accepted, Failure> {
    let cannot = |kind, why: &str| {
        Failure::new(kind, format!("cannot read request file `{}`: {why}", path.display()))
            .hint("`--request-file` is the file that `validate-request` wrote")
    };
    let text = std::fs::read_to_string(path).map_err(|e| cannot(Kind::Usage, &e.to_string()))?;
    Accepted::parse(&text).map_err(|problem| cannot(Kind::Invalid, &one_line(&problem.to_string(), 300)))
}

fn lease_namespace(given: Option<&Label>) -> Result<String, Failure> {
    if let Some(namespace) = given {
        return Ok(namespace.to_string());
    }
    let text = std::fs::read_to_string(NAMESPACE).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot tell the namespace of the lease: {NAMESPACE}: {error}"))
            .hint("give `--lease-namespace`, or run in a pod with a ServiceAccount")
    })?;
    Ok(text.trim().to_owned())
}
