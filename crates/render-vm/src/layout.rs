//! The layouts: the same objects in other files.

use serde_json::{Value, json};
use vm::layout::{BASE, KUSTOMIZATION_FILE, MEMORY_FILE, POWER_FILE};
use vm::name::Label;
use vm::request::Request;

use crate::chart;
use crate::files::{Files, Refused, Wanted};
use crate::site::Site;
use crate::template::Template;

/// How the files are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Plain manifests, listed for Kustomize.
    Manifests,
    /// The same as a base of Kustomize, and the overlay of an environment, by which the machine is applied.
    Kustomize {
        /// Which.
        environment: Label,
    },
    /// Values of Helm, and the chart that prints the manifests of them.
    HelmValues,
}

/// What Kustomize has to know of the kinds in a base, so that overlays can rename them.
const CONFIGURATION: (&str, &str) =
    ("kustomizeconfig.yaml", include_str!("../templates/kustomizeconfig.yaml"));

impl Layout {
    /// The files beside the list of a machine's files that Kustomize is configured by.
    pub(crate) const fn configurations(&self) -> &'static [&'static str] {
        match self {
            Self::Kustomize { .. } => &[CONFIGURATION.0],
            Self::Manifests | Self::HelmValues => &[],
        }
    }
}

/// The files as the layout has them.
pub(crate) fn packed(mut files: Files, request: &Request, site: &Site) -> Result<Files, Refused> {
    let target = &request.spec.target;
    match site.layout {
        Layout::Manifests => Ok(files),
        Layout::Kustomize { .. } => {
            let (file, text) = CONFIGURATION;
            files.insert(format!("{}/{BASE}/{file}", target.path()), text.to_owned());
            Ok(files)
        }
        Layout::HelmValues => chart::packed(files, target),
    }
}

/// The overlay of an environment: what may differ between environments, each in a file that operations edit.
pub(crate) fn overlay(request: &Request, environment: &Label) -> Vec<Wanted> {
    let spec = &request.spec;
    let (name, namespace) = (spec.target.name.to_string(), spec.target.namespace.to_string());
    let patch = |file, template, key: &str, value: Value| {
        let context = json!({ "name": name, "namespace": namespace, key: value });
        (file, template, context, Some(name.clone()), Some(namespace.clone()))
    };
    let mut files =
        vec![patch(POWER_FILE, Template::Power, "run_strategy", json!(spec.power.run_strategy()))];
    // an instance type brings its own
    files.extend(
        spec.compute.memory.map(|memory| patch(MEMORY_FILE, Template::Memory, "memory", json!(memory))),
    );
    let patches: Vec<&str> = files.iter().map(|(file, ..)| *file).collect();
    let list = json!({ "base": format!("../../{BASE}"), "patches": patches });
    files.push((KUSTOMIZATION_FILE, Template::Overlay, list, None, None));
    let folder = spec.target.overlay_path(environment);
    let wanted = files.into_iter().map(|(file, template, context, name, namespace)| Wanted {
        path: format!("{folder}/{file}"),
        template,
        context,
        name,
        namespace,
    });
    wanted.collect()
}
