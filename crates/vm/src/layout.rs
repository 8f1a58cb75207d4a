//! What things are called and where they lie in Git (design.md 5). Everything is derived from the request, so the same
//! request gives the same names wherever and whenever it is rendered.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::name::Label;
use crate::request::{Request, Target};

/// The annotation on the `VirtualMachine` that holds the digest of the request it was rendered from.
pub const DIGEST_ANNOTATION: &str = "vmlifecycle.dev/request-digest";
/// The annotation on the `VirtualMachine` that holds the id of the request it was rendered from.
pub const REQUEST_ID_ANNOTATION: &str = "vmlifecycle.dev/request-id";
/// The file in a machine's folder that holds the accepted request.
pub const REQUEST_FILE: &str = "request.yaml";
/// Files under this folder belong to a namespace, not to one machine: written only where absent.
pub const NAMESPACES: &str = "namespaces";
/// The name of the boot disk.
pub const ROOT: &str = "root";
/// What is appended to the names of machine and disk for the disk's `DataVolume`: `-` and the generation.
pub const VOLUME_SUFFIX: usize = "-".len() + GENERATION;
const GENERATION: usize = 6;

/// Names that would be mistaken for files with a meaning of their own in a repository (`kustomization.yaml`, a chart).
pub const RESERVED: [&str; 4] = ["kustomization", "chart", "values", "namespace"];

impl Request {
    /// The bytes that are digested and committed: JSON with the fields in the order of the types, all defaults explicit.
    /// JSON is YAML, so `request.yaml` can hold it as it is.
    pub fn canonical(&self) -> String {
        // a value made of strings, numbers and lists cannot fail to serialise
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// `sha256:` and 64 hexadecimal digits over [`Request::canonical`].
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex(&Sha256::digest(self.canonical())))
    }

    /// Which generation of disks this request makes: the first 6 hexadecimal digits of the SHA-256 of its id.
    pub fn generation(&self) -> String {
        let mut digits = hex(&Sha256::digest(self.metadata.request_id.as_str()));
        digits.truncate(GENERATION);
        digits
    }

    /// The `DataVolume` of a disk: `<vm>-<disk>-<generation>`. The generation keeps the disks of machine `a-b` from those of
    /// machine `a` with a disk `b-…`, and those of a machine made anew from the data that its namesake left behind.
    pub fn volume(&self, disk: &str) -> String {
        format!("{}-{disk}-{}", self.spec.target.name, self.generation())
    }

    /// The SMBIOS uuid of the machine, in the form `8-4-4-4-12`: by its place and the request that made it, so that a
    /// machine made anew under an old name is another machine to its guest's licences.
    pub fn firmware_uuid(&self) -> String {
        let name = format!("{}/{}", self.spec.target.path(), self.metadata.request_id);
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
    }

    /// The MAC address of an interface: locally administered, unicast (`02:…`), by the same rule as the uuid.
    pub fn mac_address(&self, network: &Label) -> String {
        let name = format!("{}/{}/{network}", self.spec.target.path(), self.metadata.request_id);
        let digest = Sha256::digest(name);
        digest.iter().take(5).fold("02".to_owned(), |mac, byte| format!("{mac}:{byte:02x}"))
    }
}

impl Target {
    /// The machine's folder in Git: `vms/<cluster>/<namespace>/<vm>`.
    pub fn path(&self) -> String {
        format!("vms/{}/{}/{}", self.cluster, self.namespace, self.name)
    }

    /// The Argo CD Application's file.
    pub fn application_path(&self) -> String {
        format!("applications/{}/{}/{}.yaml", self.cluster, self.namespace, self.name)
    }

    /// The namespace's file.
    pub fn namespace_path(&self) -> String {
        format!("{NAMESPACES}/{}/{}/namespace.yaml", self.cluster, self.namespace)
    }

    /// The Argo CD Application's name: `<cluster>.<namespace>.<vm>`. The dots keep `a-b`/`c` and `a`/`b-c` apart.
    pub fn application(&self) -> String {
        format!("{}.{}.{}", self.cluster, self.namespace, self.name)
    }
}

pub(crate) fn in_cluster() -> Label {
    fixed("in-cluster")
}

pub(crate) fn default_network() -> Label {
    fixed("default")
}

#[expect(clippy::expect_used, reason = "constants that the test below parses")]
fn fixed(text: &str) -> Label {
    text.parse().expect("a constant label")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn constants_are_labels() {
        assert_eq!(super::in_cluster().as_str(), "in-cluster");
        assert_eq!(super::default_network().as_str(), "default");
    }
}
