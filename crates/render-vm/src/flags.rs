//! The values of flags, checked.

use step::{Failure, Kind};
use vm::name::{Label, Subdomain};
use vm::request::Accepted;

use crate::layout::Layout;

/// An address of a Git repository without a password in it: it is committed. Checked here and not by clap, which would
/// print the value.
pub(crate) fn check_repo_url(text: &str) -> Result<(), Failure> {
    let bad = |why: &str| {
        Err(Failure::new(Kind::Usage, format!("`--repo-url` {why}"))
            .hint("give an address such as `https://git.example/vms.git`"))
    };
    if text.len() > 2000 || !text.chars().all(|c| c.is_ascii_graphic()) {
        return bad("holds white space, control or non-ASCII characters, or more than 2000 of them");
    }
    let Some((_, rest)) = text.split_once("://") else {
        // git@host:path, the short form of ssh
        return if text.contains(':') { Ok(()) } else { bad("has no scheme") };
    };
    let user = rest.split('/').next().and_then(|host| host.rsplit_once('@')).map(|(user, _)| user);
    if user.is_some_and(|user| user.contains(':')) {
        return bad("holds a password, which would be committed");
    }
    Ok(())
}

/// A branch by Git's own rules (git-check-ref-format) as far as they matter here.
pub(crate) fn branch(text: &str) -> Result<String, String> {
    let part_fits = |part: &str| {
        let locked = part.as_bytes().ends_with(b".lock");
        !part.is_empty() && !part.starts_with(['.', '-']) && !locked
    };
    let fits = text.len() <= 200
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && text.split('/').all(part_fits);
    if fits { Ok(text.to_owned()) } else { Err("expected a branch such as `main`".to_owned()) }
}

/// An API server's address.
pub(crate) fn server(text: &str) -> Result<String, String> {
    let fits = text.strip_prefix("https://").is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && text.len() <= 500
        && text.chars().all(|c| c.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected an address such as `https://kubernetes.default.svc`".to_owned())
    }
}

/// An object's place, such as `golden-images/rhel9-20260801`.
pub(crate) fn place(text: &str) -> Result<(Label, Subdomain), String> {
    let read = || {
        let (namespace, name) = text.split_once('/')?;
        Some((namespace.parse().ok()?, name.parse().ok()?))
    };
    read().ok_or_else(|| "expected a namespace and a name such as `golden-images/rhel9`".to_owned())
}

/// How the files are laid out, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LayoutName {
    /// Plain manifests, listed in a `kustomization.yaml`
    Manifests,
    /// The same as a base of Kustomize, and an overlay with the power and the memory of one environment
    Kustomize,
    /// Values of Helm with the power and the memory on top, and the chart that prints the same of them
    HelmValues,
}

/// The layout, with the environment that it needs or has no use for: that of the flag, else that of the request for a new machine.
pub(crate) fn layout(name: LayoutName, flag: Option<&Label>, request: &Accepted) -> Result<Layout, Failure> {
    let refused = |what: &str, hint: &str| Err(Failure::new(Kind::Usage, what).hint(hint));
    let own = request.provision().and_then(|request| request.spec.lifecycle.environment.as_ref());
    match (name, flag, own) {
        (LayoutName::Manifests, None, _) => Ok(Layout::Manifests),
        (LayoutName::HelmValues, None, _) => Ok(Layout::HelmValues),
        (LayoutName::Kustomize, Some(flag), Some(own)) if flag != own => refused(
            &format!("`--environment` is `{flag}`, and the request is for environment `{own}`"),
            "leave `--environment` out, it is the request's",
        ),
        (LayoutName::Kustomize, Some(environment), _) | (LayoutName::Kustomize, None, Some(environment)) => {
            Ok(Layout::Kustomize { environment: environment.clone() })
        }
        (LayoutName::Kustomize, None, None) => refused(
            "`--layout kustomize` needs `--environment`",
            "it names the overlay, such as `prod`, where the request has no `lifecycle.environment`",
        ),
        (LayoutName::Manifests | LayoutName::HelmValues, Some(_), _) => refused(
            "`--environment` is for the layout `kustomize` alone",
            "leave it out, or add `--layout kustomize`",
        ),
    }
}
