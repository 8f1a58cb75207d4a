//! A whole cluster as the flows see one: a control plane with every stand-in, and the parent Application of a repository.

use std::net::Ipv4Addr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::argocd::{self, ArgoCd};
use crate::cdi::{self, Cdi};
use crate::control_plane::{ControlPlane, Release, apply};
use crate::disks::Disks;
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
        Self::start_for(server, Release::default()).await
    }

    /// As [`Stage::start`], with the API that a release of KubeVirt has.
    pub async fn start_for(server: &git::Server, release: Release) -> Result<Self> {
        Self::start_with(server, release, argocd::Options::default()).await
    }

    /// As [`Stage::start_for`], with Argo CD as these options have it but for the repository.
    pub async fn start_with(server: &git::Server, release: Release, argocd: argocd::Options) -> Result<Self> {
        // Without a file in it the folder goes with the last machine, and Argo CD prunes nothing of a folder that is not there.
        let keep = git::Entry::file("applications/README.md", "One Application for each machine.\n");
        server.git().commit(&[keep], "a folder for the Applications of machines")?;
        let plane = ControlPlane::start_for(release).await?;
        plane.ensure_namespace(ARGOCD).await?;
        let repositories = vec![(server.url(), server.repository().to_owned())];
        let stage = Self {
            argocd: ArgoCd::start(plane.client().await?, argocd::Options { repositories, ..argocd }),
            // this machine is the guest, for what speaks to one
            kubevirt: KubeVirt::start(
                plane.client().await?,
                kubevirt::Options { address: Ipv4Addr::LOCALHOST.into(), ..Default::default() },
            ),
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
                // the last machine may go too
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true, "allowEmpty": true}},
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

    /// What is in the disk of a claim, as [`Disks::read`] has it.
    pub async fn disk(&self, namespace: &str, claim: &str) -> Result<Option<String>> {
        Disks::new(self.plane.client().await?).read(namespace, claim).await
    }

    /// Write into the disk of a claim, as [`Disks::write`] does.
    pub async fn write_disk(&self, namespace: &str, claim: &str, word: &str) -> Result<()> {
        Disks::new(self.plane.client().await?).write(namespace, claim, word).await
    }
}
