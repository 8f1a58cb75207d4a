//! A network interface of the machine, and the network that it hangs on.

use serde_json::{Value, json};
use vm::request::{Binding, Network, NetworkKind, Request};

use crate::files::{Refused, refused};

/// What the template may place. The network has its namespace always: without one, Multus looks for the machine's first
/// network in a namespace of its own, and for all others in that of the machine.
pub(crate) fn context(request: &Request, network: &Network) -> Result<Value, Refused> {
    let (name, binding) = (&network.name, network.bound());
    let refuse = |why: &str| Err(refused(format!("the network `{name}` {why}")));
    let network_name = match (network.kind, &network.network_name) {
        (NetworkKind::Pod, None) => None,
        (NetworkKind::Multus, Some(found)) => Some(found.within(&request.spec.target.namespace)),
        (NetworkKind::Pod, Some(_)) => return refuse("is the pod network, and has a `networkName`"),
        (NetworkKind::Multus, None) => return refuse("has no `networkName`"),
    };
    if (binding == Binding::Masquerade) != (network.kind == NetworkKind::Pod) {
        return refuse("has a `binding` of another `type`");
    }
    if network.primary && network.kind == NetworkKind::Pod {
        return refuse("is the pod network, which is `primary` by itself");
    }
    if network.model.is_some() && binding == Binding::Sriov {
        return refuse("has a `model`, and with `sriov` the guest sees the device itself");
    }
    let address = network.mac_address.as_ref().map(ToString::to_string);
    Ok(json!({
        "name": name,
        "model": network.model,
        "mac_address": address.unwrap_or_else(|| request.mac_address(name)),
        "bridge": binding == Binding::Bridge,
        "sriov": binding == Binding::Sriov,
        "network_name": network_name,
        "primary": network.primary,
    }))
}

/// Only one interface is where the machine's pod has its own address: KubeVirt refuses a second.
pub(crate) fn one_primary(networks: &[Network]) -> Result<(), Refused> {
    let first = |network: &&Network| network.primary || network.kind == NetworkKind::Pod;
    match networks.iter().filter(first).nth(1) {
        Some(second) => Err(refused(format!("the network `{}` is a second primary one", second.name))),
        None => Ok(()),
    }
}
