//! A whole cluster as the flows see one: a control plane with every stand-in, and the parent Application of a repository.

use anyhow::Result;
use serde_json::{Value, json};

use crate::argocd::{self, ArgoCd};
use crate::cdi::{self, Cdi};
use crate::control_plane::{ControlPlane, apply};
use crate::git;
use crate::kubevirt::{self, KubeVirt};

/// The parent Application: it makes an Application of every file below `applications/`, as docs/install.md has it.
pub const PARENT: &str = "vms";
/// The namespace of Applications.
pub const ARGOCD: &str = "argocd";

/// A control plane of its own with stand-ins for Argo CD, KubeVirt and CDI, all at work on one repository until it is dropped.
#[derive(Debug)]
pub struct Stage {
    /// Argo CD's stand-in.
    pub argocd: ArgoCd,
    /// KubeVirt's stand-in.
    pub kubevirt: KubeVirt,
    /// CDI's stand-in.
    pub cdi: Cdi,
    // dropped last: the stand-ins speak to it
    plane: ControlPlane,
}

impl Stage {
    /// Start everything for the repository of `server`.
    pub async fn start(server: &git::Server) -> Result<Self> {
        let plane = ControlPlane::start().await?;
        plane.ensure_namespace(ARGOCD).await?;
        let repositories = vec![(server.url(), server.repository().to_owned())];
        let stage = Self {
            argocd: ArgoCd::start(
                plane.client().await?,
                argocd::Options { repositories, ..Default::default() },
            ),
            kubevirt: KubeVirt::start(plane.client().await?, kubevirt::Options::default()),
            cdi: Cdi::start(plane.client().await?, cdi::Options::default()),
            plane,
        };
        let path = format!("/apis/argoproj.io/v1alpha1/namespaces/{ARGOCD}/applications/{PARENT}");
        let parent = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": PARENT, "namespace": ARGOCD},
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": server.url(), "targetRevision": "main", "path": "applications",
                    "directory": {"recurse": true},
                },
                "destination": {"name": "in-cluster", "namespace": ARGOCD},
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
            },
        });
        apply(&stage.plane.client().await?, &path, &parent).await?;
        Ok(stage)
    }

    /// The control plane.
    pub const fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// A `VirtualMachine` as the API server has it.
    pub async fn machine(&self, namespace: &str, name: &str) -> Result<Value> {
        let path = format!("/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}");
        let client = self.plane.client().await?;
        Ok(client.request(http::Request::get(path).body(Vec::new())?).await?)
    }
}
