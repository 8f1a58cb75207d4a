//! The repository and the cluster that the files are written for.

use step::Failure;
use vm::policy::Policy;
use vm::request::Accepted;

use crate::disk::ImageSource;
use crate::layout::Layout;
use crate::{Args, flags};

/// What the flags default to.
pub(crate) const BRANCH: &str = "main";
pub(crate) const APPLICATION_NAMESPACE: &str = "argocd";
pub(crate) const PROJECT: &str = "default";

/// What the files need to know besides the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The repository that the files are committed to, as Argo CD names it.
    pub repo_url: String,
    /// The branch that Argo CD follows.
    pub branch: String,
    /// The namespace of the `Application`.
    pub application_namespace: String,
    /// The Argo CD project.
    pub project: String,
    /// The address of the destination cluster's API server; `None` means that the cluster's name says it.
    pub destination_server: Option<String>,
    /// How the machine's files are laid out.
    pub layout: Layout,
    /// What holds for the machines of each environment.
    pub policy: Policy,
    /// What the boot disk is cloned from, where the golden image was resolved already.
    pub image_source: Option<ImageSource>,
}

impl Site {
    /// This repository, and what the flags of `render-vm` default to.
    pub fn new(repo_url: impl Into<String>) -> Self {
        Self {
            repo_url: repo_url.into(),
            branch: BRANCH.to_owned(),
            application_namespace: APPLICATION_NAMESPACE.to_owned(),
            project: PROJECT.to_owned(),
            destination_server: None,
            layout: Layout::Manifests,
            policy: Policy::default(),
            image_source: None,
        }
    }

    /// What the flags say.
    ///
    /// # Errors
    ///
    /// `usage` for flags that do not go with each other or with the request, and for a policy that cannot be read.
    pub fn of(args: &Args, request: &Accepted) -> Result<Self, Failure> {
        let source = args.image_source.clone().zip(args.image_kind);
        Ok(Self {
            repo_url: args.repo_url.clone(),
            branch: args.branch.clone(),
            application_namespace: args.application_namespace.to_string(),
            project: args.project.to_string(),
            destination_server: args.destination_server.clone(),
            layout: flags::layout(args.layout, args.environment.as_ref(), request)?,
            policy: args.policy.read()?,
            image_source: source.map(|((namespace, name), kind)| ImageSource { namespace, name, kind }),
        })
    }
}
