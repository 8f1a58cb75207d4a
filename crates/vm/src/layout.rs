//! What things are called and where they lie in Git (design.md 5). Everything is derived from the request, so the same
//! request gives the same names wherever and whenever it is rendered.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use serde::Serialize;

use crate::day_two;
use crate::name::{Label, RequestId};
use crate::operation::Phase;
use crate::request::{Accepted, Request, Target};

/// The annotation on the `VirtualMachine` that holds the digest of the request it was rendered from.
pub const DIGEST_ANNOTATION: &str = "vmlifecycle.dev/request-digest";
/// The annotation on the `VirtualMachine` that holds the id of the request it was rendered from.
pub const REQUEST_ID_ANNOTATION: &str = "vmlifecycle.dev/request-id";
/// The file in a machine's folder that holds the accepted request.
pub const REQUEST_FILE: &str = "request.yaml";
/// The file in a machine's folder that holds the machine.
pub const MACHINE_FILE: &str = "virtual-machine.yaml";
/// The file in a machine's folder that lists the others for Kustomize.
pub const KUSTOMIZATION_FILE: &str = "kustomization.yaml";
/// The folder in a machine's folder that holds its files where an overlay of Kustomize is applied in their place.
pub const BASE: &str = "base";
/// The folder in a machine's folder that holds one overlay of Kustomize for each environment.
pub const OVERLAYS: &str = "overlays";
/// The file of an overlay that says whether the machine runs.
pub const POWER_FILE: &str = "power.yaml";
/// The file of an overlay that says how much memory the machine has.
pub const MEMORY_FILE: &str = "memory.yaml";
/// The file in a machine's folder that holds the values of its chart of Helm.
pub const VALUES_FILE: &str = "values.yaml";
/// The folder in a machine's folder that holds the records of its operations.
pub const OPERATIONS: &str = "operations";
/// The file in an archived machine's folder that says who removed it, when and why.
pub const TOMBSTONE_FILE: &str = "tombstone.yaml";
/// The file in an archived machine's folder that was its Argo CD Application.
pub const ARCHIVED_APPLICATION_FILE: &str = "application.yaml";
/// The label on a `VirtualMachine` with the environment that it is of.
pub const ENVIRONMENT_LABEL: &str = "vmlifecycle.dev/environment";
/// The label on a `VirtualMachine` that must be named once more to be removed.
pub const PROTECTED_LABEL: &str = "vmlifecycle.dev/protected";
/// OpenShift's own label of that meaning: an admission policy denies the machine's deletion.
pub const DELETE_PROTECTION_LABEL: &str = "kubevirt.io/vm-delete-protection";
/// Files under this folder belong to a namespace, not to one machine: written only where absent.
pub const NAMESPACES: &str = "namespaces";
/// A file beside the Applications, written with the removal of a machine: Git has no empty folders, and Argo CD removes nothing
/// for a folder that is not there. Written only where absent.
pub const APPLICATIONS_FILE: &str = "applications/README.md";
/// The name of the boot disk.
pub const ROOT: &str = "root";
/// What is appended to the names of machine and disk for the disk's `DataVolume`: `-` and the generation.
pub const VOLUME_SUFFIX: usize = "-".len() + GENERATION;
const GENERATION: usize = 6;
/// Hexadecimal digits in the name of a snapshot.
const SNAPSHOT: usize = 10;
/// The longest DNS label.
const LABEL: usize = 63;

/// Names that would be mistaken for files with a meaning of their own in a repository (`kustomization.yaml`, a chart).
pub const RESERVED: [&str; 4] = ["kustomization", "chart", "values", "namespace"];

impl Request {
    /// The bytes that are digested and committed: JSON with the fields in the order of the types, all defaults explicit.
    /// JSON is YAML, so `request.yaml` can hold it as it is.
    pub fn canonical(&self) -> String {
        canonical(self)
    }

    /// `sha256:` and 64 hexadecimal digits over [`Request::canonical`].
    pub fn digest(&self) -> String {
        digest(&self.canonical())
    }

    /// Which generation of disks this request makes: the first 6 hexadecimal digits of the SHA-256 of its id.
    pub fn generation(&self) -> String {
        generation(&self.metadata.request_id)
    }

    /// The `DataVolume` of a disk: `<vm>-<disk>-<generation>`. The generation keeps the disks of machine `a-b` from those of
    /// machine `a` with a disk `b-…`, and those of a machine made anew from the data that its namesake left behind.
    pub fn volume(&self, disk: &str) -> String {
        volume(&self.spec.target, disk, &self.metadata.request_id)
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

impl day_two::Request {
    /// As [`Request::canonical`].
    pub fn canonical(&self) -> String {
        canonical(self)
    }

    /// As [`Request::digest`].
    pub fn digest(&self) -> String {
        digest(&self.canonical())
    }

    /// As [`Request::generation`]: that of a boot disk which this request makes.
    pub fn generation(&self) -> String {
        generation(&self.metadata.request_id)
    }

    /// As [`Request::volume`].
    pub fn volume(&self, disk: &str) -> String {
        volume(&self.spec.target, disk, &self.metadata.request_id)
    }
}

impl Accepted {
    /// As [`Request::canonical`].
    pub fn canonical(&self) -> String {
        canonical(self)
    }

    /// As [`Request::digest`].
    pub fn digest(&self) -> String {
        digest(&self.canonical())
    }

    /// As [`Request::generation`].
    pub fn generation(&self) -> String {
        generation(self.request_id())
    }

    /// As [`Request::volume`].
    pub fn volume(&self, disk: &str) -> String {
        volume(self.target(), disk, self.request_id())
    }
}

/// The snapshot that a request makes: `<vm>-<10 hexadecimal digits of the SHA-256 of its id>`, the machine's name cut so that
/// it is a DNS label.
pub fn snapshot_name(request: &Accepted) -> String {
    let digits = hex_of(request.request_id().as_str(), SNAPSHOT);
    let name = request.target().name.as_str();
    let name = name.get(..LABEL - SNAPSHOT - "-".len()).unwrap_or(name).trim_end_matches('-');
    format!("{name}-{digits}")
}

impl Target {
    /// The machine's folder in Git: `vms/<cluster>/<namespace>/<vm>`.
    pub fn path(&self) -> String {
        format!("vms/{}/{}/{}", self.cluster, self.namespace, self.name)
    }

    /// The overlay of Kustomize for an environment: `vms/<cluster>/<namespace>/<vm>/overlays/<environment>`.
    pub fn overlay_path(&self, environment: &Label) -> String {
        format!("{}/{OVERLAYS}/{environment}", self.path())
    }

    /// The Argo CD Application's file.
    pub fn application_path(&self) -> String {
        format!("applications/{}/{}/{}.yaml", self.cluster, self.namespace, self.name)
    }

    /// The namespace's file.
    pub fn namespace_path(&self) -> String {
        format!("{NAMESPACES}/{}/{}/namespace.yaml", self.cluster, self.namespace)
    }

    /// The folder of the records of the machine's operations.
    pub fn operations_path(&self) -> String {
        format!("{}/{OPERATIONS}", self.path())
    }

    /// The folder of the records of one operation.
    pub fn operation_folder(&self, request: &RequestId) -> String {
        format!("{}/{request}", self.operations_path())
    }

    /// The record of one phase of an operation: `vms/<cluster>/<namespace>/<vm>/operations/<request id>/<phase>.yaml`.
    pub fn operation_path(&self, request: &RequestId, phase: Phase) -> String {
        format!("{}/{phase}.yaml", self.operation_folder(request))
    }

    /// The folder of the removed machines of this name.
    pub fn archives_path(&self) -> String {
        format!("archive/{}/{}/{}", self.cluster, self.namespace, self.name)
    }

    /// The folder of the removed machine that the request `provision` had made.
    pub fn archive_path(&self, provision: &RequestId) -> String {
        format!("{}/{provision}", self.archives_path())
    }

    /// Its tombstone.
    pub fn tombstone_path(&self, provision: &RequestId) -> String {
        format!("{}/{TOMBSTONE_FILE}", self.archive_path(provision))
    }

    /// What was its Argo CD Application's file.
    pub fn archived_application_path(&self, provision: &RequestId) -> String {
        format!("{}/{ARCHIVED_APPLICATION_FILE}", self.archive_path(provision))
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

fn canonical(request: &impl Serialize) -> String {
    // a value made of strings, numbers and lists cannot fail to serialise
    let mut text = serde_json::to_string_pretty(request).unwrap_or_default();
    text.push('\n');
    text
}

fn digest(text: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(text)))
}

fn generation(request: &RequestId) -> String {
    hex_of(request.as_str(), GENERATION)
}

fn volume(target: &Target, disk: &str, request: &RequestId) -> String {
    format!("{}-{disk}-{}", target.name, generation(request))
}

/// The first digits of the SHA-256 of a text.
fn hex_of(text: &str, digits: usize) -> String {
    let mut hex = hex(&Sha256::digest(text));
    hex.truncate(digits);
    hex
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
    use crate::operation::Phase;
    use crate::request::Accepted;

    fn snapshot(name: &str, id: &str) -> Accepted {
        let text = format!(
            r#"{{"apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest", "metadata": {{"requestId": "{id}", "requestedBy": "jane"}},
            "spec": {{"operation": "snapshot", "target": {{"name": "{name}", "namespace": "team"}}}}}}"#
        );
        Accepted::parse(&text).unwrap()
    }

    #[test]
    fn a_snapshot_is_named_by_its_request() {
        assert_eq!(super::snapshot_name(&snapshot("web", "R1")), "web-a791366f6f");
        assert_eq!(super::snapshot_name(&snapshot("web", "R2")), "web-d653b016db");
        let longest = "w".repeat(63);
        assert_eq!(super::snapshot_name(&snapshot(&longest, "R1")), format!("{}-a791366f6f", "w".repeat(52)));
        let dashed = format!("{}--{}", "w".repeat(50), "x".repeat(10));
        assert_eq!(super::snapshot_name(&snapshot(&dashed, "R1")), format!("{}-a791366f6f", "w".repeat(50)));
    }

    #[test]
    fn an_accepted_request_has_every_default_explicit() {
        let request = snapshot("web", "R1");
        assert_eq!(
            request.canonical(),
            r#"{
  "apiVersion": "vmlifecycle.dev/v1alpha1",
  "kind": "VMRequest",
  "metadata": {
    "requestId": "R1",
    "requestedBy": "jane"
  },
  "spec": {
    "operation": "snapshot",
    "target": {
      "name": "web",
      "namespace": "team",
      "cluster": "in-cluster"
    },
    "operationSpec": {
      "requireQuiesced": false,
      "deadlineSeconds": 300
    }
  }
}
"#
        );
        let Accepted::DayTwo(own) = &request else { panic!() };
        assert_eq!((own.canonical(), own.digest()), (request.canonical(), request.digest()));
        assert_eq!((own.generation(), own.volume("root")), (request.generation(), request.volume("root")));
        assert_eq!(request.volume("root"), "web-root-a79136");
    }

    #[test]
    fn what_lies_where() {
        let request = snapshot("web", "R1");
        let (target, id) = (request.target(), request.request_id());
        assert_eq!(target.operation_path(id, Phase::Stop), "vms/in-cluster/team/web/operations/R1/stop.yaml");
        assert_eq!(target.archives_path(), "archive/in-cluster/team/web");
        assert_eq!(target.tombstone_path(id), "archive/in-cluster/team/web/R1/tombstone.yaml");
        assert_eq!(target.archived_application_path(id), "archive/in-cluster/team/web/R1/application.yaml");
    }

    #[test]
    fn constants_are_labels() {
        assert_eq!(super::in_cluster().as_str(), "in-cluster");
        assert_eq!(super::default_network().as_str(), "default");
    }
}
