//! Where the machine's SSH server is, handed from the step with the token to the step with the key.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cluster::{Cluster, Object, VIRTUAL_MACHINE_INSTANCE};
use serde_json::{Value, json};
use step::{Context, Done, Failure, Kind, human};
use tokio::time::{Instant, sleep_until};
use vm::conditions::ip_of;

use crate::wanted::Wanted;
use crate::{Args, IP, REASON};

/// Looked at this often.
const LOOK: Duration = Duration::from_secs(2);

/// Write the address of the machine, which has to run.
pub(crate) async fn address(args: &Args, wanted: &Wanted, context: &Context) -> Result<Done, Failure> {
    let kubeconfig = args.machine_kubeconfig.as_deref().or(args.cluster.kubeconfig.as_deref());
    let cluster = Cluster::connect(kubeconfig).await?;
    let instance = Object { kind: VIRTUAL_MACHINE_INSTANCE, name: wanted.vm.clone() };
    let deadline = Instant::from_std(context.deadline());
    loop {
        let pending = match cluster.get(&instance).await {
            Ok(seen) => match find(seen.as_ref()) {
                Ok(address) => return write(args, wanted, context, address),
                Err(Missing::Stopped(why)) => {
                    context.result(REASON, "NotRunning");
                    let what =
                        format!("virtual machine `{}` cannot be patched in its guest: {why}", wanted.vm);
                    return Err(
                        Failure::new(Kind::Refused, what).hint("start it first, or ask for method `offline`")
                    );
                }
                Err(Missing::Yet) => {
                    context.result(REASON, "NoAddress");
                    let what = format!("virtual machine `{}` has no IP address", wanted.vm);
                    Failure::new(Kind::Timeout, format!("{what} (after {})", human(context.timeout())))
                }
            },
            Err(error) if error.kind() == Kind::Transient => {
                error.failure(&format!("cannot read {instance}"))
            }
            Err(error) => return Err(error.failure(&format!("cannot read {instance}"))),
        };
        tokio::select! {
            () = sleep_until((Instant::now() + LOOK).min(deadline)) => {}
            () = context.stopped() => return Err(pending),
        }
        if Instant::now() >= deadline {
            return Err(pending);
        }
    }
}

/// Why there is no address.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// It has none yet.
    Yet,
    /// There is nobody to have one.
    Stopped(String),
}

fn find(instance: Option<&Value>) -> Result<IpAddr, Missing> {
    let stopped = |why: &str| Err(Missing::Stopped(why.to_owned()));
    let Some(instance) = instance else { return stopped("it does not run") };
    if instance.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null()) {
        return stopped("it is shutting down");
    }
    match instance.pointer("/status/phase").and_then(Value::as_str) {
        Some("Running") => ip_of(instance).parse().map_err(|_| Missing::Yet),
        Some("Failed" | "Succeeded") => stopped("its instance has ended"),
        _ => Err(Missing::Yet),
    }
}

fn write(args: &Args, wanted: &Wanted, context: &Context, address: IpAddr) -> Result<Done, Failure> {
    context.result(IP, address.to_string());
    context.result(REASON, "");
    let handed = json!({"vm": wanted.vm.to_string(), "address": address.to_string()});
    std::fs::write(&args.address_file, handed.to_string()).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot write `{}`: {error}", args.address_file.display()))
    })?;
    Ok(Done::new(format!("virtual machine `{}` runs and has the address {address}", wanted.vm)))
}

/// What the step before this one wrote.
pub(crate) fn read(path: &Path, wanted: &Wanted) -> Result<IpAddr, Failure> {
    let cannot = |why: &str| {
        Failure::new(Kind::Usage, format!("cannot use address file `{}`: {why}", path.display()))
            .hint("`--action address` writes it, in an earlier step of this pod")
    };
    let text = std::fs::read_to_string(path).map_err(|e| cannot(&e.to_string()))?;
    let handed: Value = serde_json::from_str(&text).map_err(|e| cannot(&e.to_string()))?;
    let field = |name: &str| handed.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("vm") != wanted.vm.to_string() {
        return Err(cannot(&format!("it is of `{}`, and the request is about `{}`", field("vm"), wanted.vm)));
    }
    field("address").parse().map_err(|_| cannot("it holds no IP address"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Missing, find};

    #[test]
    fn only_a_running_instance_has_an_address() {
        let stopped = |why: &str| Err(Missing::Stopped(why.to_owned()));
        let running = |ip: &str| json!({"status": {"phase": "Running", "interfaces": [{"name": "default", "ipAddress": ip}]}});
        assert_eq!(find(Some(&running("10.1.2.3"))), Ok("10.1.2.3".parse().unwrap()));
        assert_eq!(find(Some(&running("fd00::7"))), Ok("fd00::7".parse().unwrap()));
        assert_eq!(find(Some(&running(""))), Err(Missing::Yet));
        assert_eq!(find(Some(&json!({"status": {"phase": "Scheduling"}}))), Err(Missing::Yet));
        assert_eq!(find(Some(&json!({"status": {"phase": "Succeeded"}}))), stopped("its instance has ended"));
        assert_eq!(find(None), stopped("it does not run"));
        let mut ending = running("10.1.2.3");
        ending["metadata"] = json!({"deletionTimestamp": "2026-11-21T12:00:00Z"});
        assert_eq!(find(Some(&ending)), stopped("it is shutting down"));
    }
}
