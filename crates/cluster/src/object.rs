//! Which objects there are to look at, and how they are named.

use std::fmt;
use std::str::FromStr;

/// A kind of namespaced object, at the one version that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    /// As objects and `OpenAPI` write it.
    pub(crate) camel: &'static str,
    pub(crate) plural: &'static str,
    /// What people call it.
    words: &'static str,
}

/// One line a kind: group, version, kind, plural, and what people call it.
const fn kind([group, version, camel, plural]: [&'static str; 4], words: &'static str) -> Kind {
    Kind { group, version, camel, plural, words }
}

/// Argo CD's Application.
pub const APPLICATION: Kind = kind(["argoproj.io", "v1alpha1", "Application", "applications"], "application");
/// KubeVirt's machine, running or not.
pub const VIRTUAL_MACHINE: Kind =
    kind(["kubevirt.io", "v1", "VirtualMachine", "virtualmachines"], "virtual machine");
/// KubeVirt's running machine.
pub const VIRTUAL_MACHINE_INSTANCE: Kind = kind(
    ["kubevirt.io", "v1", "VirtualMachineInstance", "virtualmachineinstances"],
    "virtual machine instance",
);
/// CDI's disk that is being filled.
pub const DATA_VOLUME: Kind =
    kind(["cdi.kubevirt.io", "v1beta1", "DataVolume", "datavolumes"], "data volume");
/// CDI's pointer to the newest image of an operating system.
pub const DATA_SOURCE: Kind =
    kind(["cdi.kubevirt.io", "v1beta1", "DataSource", "datasources"], "data source");
/// KubeVirt's snapshot of a machine.
pub const VIRTUAL_MACHINE_SNAPSHOT: Kind = kind(
    ["snapshot.kubevirt.io", "v1beta1", "VirtualMachineSnapshot", "virtualmachinesnapshots"],
    "virtual machine snapshot",
);
/// What a snapshot of a machine holds.
pub const VIRTUAL_MACHINE_SNAPSHOT_CONTENT: Kind = kind(
    ["snapshot.kubevirt.io", "v1beta1", "VirtualMachineSnapshotContent", "virtualmachinesnapshotcontents"],
    "virtual machine snapshot content",
);
/// KubeVirt's request to bring a machine back to a snapshot.
pub const VIRTUAL_MACHINE_RESTORE: Kind = kind(
    ["snapshot.kubevirt.io", "v1beta1", "VirtualMachineRestore", "virtualmachinerestores"],
    "virtual machine restore",
);
/// The storage's snapshot of one volume.
pub const VOLUME_SNAPSHOT: Kind =
    kind(["snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots"], "volume snapshot");
/// A volume, as those who use it name it.
pub const PERSISTENT_VOLUME_CLAIM: Kind =
    kind(["", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"], "persistent volume claim");
/// What runs containers, virtual machines among them.
pub const POD: Kind = kind(["", "v1", "Pod", "pods"], "pod");
/// Who may work on something, and until when.
pub const LEASE: Kind = kind(["coordination.k8s.io", "v1", "Lease", "leases"], "lease");
/// Tekton's run of a pipeline.
pub const PIPELINE_RUN: Kind = kind(["tekton.dev", "v1", "PipelineRun", "pipelineruns"], "pipeline run");
/// Tekton's run of a task.
pub const TASK_RUN: Kind = kind(["tekton.dev", "v1", "TaskRun", "taskruns"], "task run");
/// CDI's clock that imports new images for a data source.
pub const DATA_IMPORT_CRON: Kind =
    kind(["cdi.kubevirt.io", "v1beta1", "DataImportCron", "dataimportcrons"], "data import cron");
/// CDI's own settings; it has no namespace.
pub const CDI_CONFIG: Kind = kind(["cdi.kubevirt.io", "v1beta1", "CDIConfig", "cdiconfigs"], "CDI config");
/// How volumes are made; it has no namespace.
pub const STORAGE_CLASS: Kind =
    kind(["storage.k8s.io", "v1", "StorageClass", "storageclasses"], "storage class");

impl Kind {
    /// `apiVersion` of its objects, such as `kubevirt.io/v1`.
    pub fn api_version(&self) -> String {
        let Self { group, version, .. } = self;
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    }

    /// `kind` of its objects, such as `VirtualMachine`.
    pub const fn word(&self) -> &'static str {
        self.camel
    }

    /// The path of its group and version.
    pub(crate) fn root(&self) -> String {
        let api = if self.group.is_empty() { "api" } else { "apis" };
        format!("/{api}/{}", self.api_version())
    }

    /// The path of all its objects in a namespace.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.root(), self.plural)
    }
}

/// `namespace/name`, as flags write it. Both parts are safe in a URL path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    namespace: String,
    name: String,
}

impl Name {
    /// The same namespace, another name.
    pub fn sibling(&self, name: &str) -> Result<Self, String> {
        format!("{}/{name}", self.namespace).parse()
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name in it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "expected `namespace/name` of lower-case letters, digits, `-` and `.`".to_owned();
        let (namespace, name) = text.split_once('/').ok_or_else(refuse)?;
        // namespaces are DNS labels, names of custom resources DNS subdomains (Kubernetes "Object Names and IDs")
        let label = |t: &str, limit: usize, dots: bool| {
            let inside = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            (1..=limit).contains(&t.len())
                && t.bytes().all(|c| inside(c) || c == b'-' || (dots && c == b'.'))
                && t.split('.')
                    .all(|p| p.bytes().next().is_some_and(inside) && p.bytes().last().is_some_and(inside))
        };
        if label(namespace, 63, false) && label(name, 253, true) {
            Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One object of a cluster, there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub name: Name,
}

impl Object {
    /// The path of all objects of its kind in its namespace.
    pub(crate) fn collection(&self) -> String {
        self.kind.collection(&self.name.namespace)
    }

    /// Its own path.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name.name)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind.words, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_is_safe_in_a_path() {
        for text in ["a/b", "argocd/in-cluster.team-a.web01", "n-1/x.y"] {
            assert_eq!(text.parse::<Name>().map(|n| n.to_string()), Ok(text.to_owned()));
        }
        let refused = Err("expected `namespace/name` of lower-case letters, digits, `-` and `.`".to_owned());
        for text in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a/..",
            "a.b/c",
            "A/b",
            "a/b?watch=1",
            "a/b%2f",
            "a/-b",
            "a/b.",
            "a/b c",
        ] {
            assert_eq!(text.parse::<Name>(), refused, "{text}");
        }
    }
}
