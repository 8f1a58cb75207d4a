//! Who may log in, and what of that the cluster keeps.

use serde::{Deserialize, Serialize};

use crate::name::{PublicKey, Subdomain, User};

/// Who may log in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// The first user; absent means the image's own default user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Their public keys.
    #[serde(default)]
    pub ssh_keys: Vec<PublicKey>,
    /// Secrets of the machine's namespace with public keys, where the policy allows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_key_secrets: Vec<SshKeySecret>,
    /// A Secret of the machine's namespace with passwords, the user's name as key, where the policy allows it. The guest agent
    /// sets them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<Subdomain>,
}

/// A Secret with public keys, one or several as the value of each of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshKeySecret {
    /// Its name.
    pub name: Subdomain,
    /// How the keys come into the guest.
    #[serde(default)]
    pub propagation_method: Propagation,
    /// Whose keys they are, with [`Propagation::QemuGuestAgent`] alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
}

/// How keys come into the guest, by `KubeVirt`'s words (user guide, "Dynamically injecting SSH keys").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Propagation {
    /// By cloud-init at the first boot, for its default user.
    #[default]
    NoCloud,
    /// Likewise, for guests that read a configuration drive of `OpenStack` alone.
    ConfigDrive,
    /// By the guest agent, again whenever the Secret changes.
    QemuGuestAgent,
}
