//! The network interfaces of a new machine.

use serde::{Deserialize, Serialize};

use crate::name::{Label, MacAddress, NetworkName};

/// A network interface.
///
/// What came after the first version is not written when it is absent, so that the digests of earlier requests stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// Its name within the machine.
    pub name: Label,
    /// What it hangs on.
    #[serde(default, rename = "type")]
    pub kind: NetworkKind,
    /// The `NetworkAttachmentDefinition`, with [`NetworkKind::Multus`] alone; accepted with its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_name: Option<NetworkName>,
    /// How it is connected. Absent on the pod network, which has only masquerade; else accepted as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Whether it takes the place of the pod network (`multus.default`), with [`NetworkKind::Multus`] alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub primary: bool,
    /// The card that the guest sees; absent means virtio, or with SR-IOV the device itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<NetworkModel>,
    /// Its address; absent means one made from the machine's place and request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<MacAddress>,
}

/// What a network interface hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// The pod network, by masquerade.
    #[default]
    Pod,
    /// A network that a `NetworkAttachmentDefinition` defines, by Multus.
    Multus,
}

/// How an interface is connected (KubeVirt user guide, "Interfaces and Networks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// Addresses translated; KubeVirt has it for the pod network alone.
    Masquerade,
    /// The guest stands in the network by itself. Not for the pod network here: such a machine cannot migrate.
    Bridge,
    /// A virtual function of the node's card, passed through.
    Sriov,
}

/// The card that the guest sees, by KubeVirt's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkModel {
    /// Paravirtual.
    #[serde(rename = "virtio")]
    Virtio,
    /// Intel 82540EM: the one that guests without virtio drivers most likely know.
    #[serde(rename = "e1000")]
    E1000,
    /// Intel 82574L.
    #[serde(rename = "e1000e")]
    E1000e,
    /// NE2000 on PCI.
    #[serde(rename = "ne2k_pci")]
    Ne2kPci,
    /// AMD `PCnet`.
    #[serde(rename = "pcnet")]
    Pcnet,
    /// Realtek RTL8139.
    #[serde(rename = "rtl8139")]
    Rtl8139,
}

impl Network {
    /// One interface, on the pod network.
    pub fn pod(name: Label) -> Self {
        Self {
            name,
            kind: NetworkKind::Pod,
            network_name: None,
            binding: None,
            primary: false,
            model: None,
            mac_address: None,
        }
    }

    pub(super) fn pod_only() -> Vec<Self> {
        vec![Self::pod(crate::layout::default_network())]
    }

    /// How it is connected, whether the request says so or not.
    pub const fn bound(&self) -> Binding {
        match (self.binding, self.kind) {
            (Some(binding), _) => binding,
            (None, NetworkKind::Pod) => Binding::Masquerade,
            (None, NetworkKind::Multus) => Binding::Bridge,
        }
    }
}
