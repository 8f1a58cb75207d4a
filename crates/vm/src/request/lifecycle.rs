//! How a machine is shut down, what it is for, whose it is, how long it is to be, and when it may be worked on.

use serde::{Deserialize, Serialize};

use crate::name::{Label, LabelValue, MaintenanceWindow};

/// How the machine is shut down, whether it may be removed, what it is for, whose it is, until when, and when it may be worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lifecycle {
    /// Seconds between asking the guest to shut down and pulling the plug, 1 to 3600. KubeVirt's own 30 s is a power cut
    /// for databases, so the default is 180.
    #[serde(default = "Lifecycle::default_grace")]
    pub grace_period_seconds: u16,
    /// Whether a request to remove the machine has to name it once more. Not written when false, so that the digests of
    /// requests that came before this field stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
    /// What it is for, such as `prod`, as the policy's `environments` have it: its label `vmlifecycle.dev/environment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Label>,
    /// Whose machine it is: its label `vmlifecycle.dev/owner`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<LabelValue>,
    /// Who pays for it: its label `vmlifecycle.dev/cost-center`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_center: Option<LabelValue>,
    /// Its last day, in UTC: its annotation `vmlifecycle.dev/expires-at`. Nothing here acts on it; a site does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<jiff::civil::Date>,
    /// When it may be worked on: its annotation `vmlifecycle.dev/maintenance-window`. Nothing here acts on it; a site does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_window: Option<MaintenanceWindow>,
}

impl Lifecycle {
    const fn default_grace() -> u16 {
        180
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            grace_period_seconds: Self::default_grace(),
            protected: false,
            environment: None,
            owner: None,
            cost_center: None,
            expires_at: None,
            maintenance_window: None,
        }
    }
}
