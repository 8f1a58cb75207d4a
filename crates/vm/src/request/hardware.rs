//! Devices of the node that the machine has to itself.

use serde::{Deserialize, Serialize};

use crate::name::{DeviceName, Label};

/// Devices of the node, as `KubeVirt` lists them in `spec.domain.devices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Devices {
    /// Graphics cards, whole or virtual (`gpus`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Device>,
    /// Other devices (`hostDevices`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_devices: Vec<Device>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Its name within the machine.
    pub name: Label,
    /// The resource that the node offers it as; the cluster's `permittedHostDevices` has to list it.
    pub device_name: DeviceName,
}

impl Devices {
    pub(super) const fn is_empty(&self) -> bool {
        self.gpus.is_empty() && self.host_devices.is_empty()
    }
}
