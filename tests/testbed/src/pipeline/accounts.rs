//! The shipped accounts and roles, in a control plane: each task as who a PipelineRun would run it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::control_plane::{ControlPlane, apply};

/// The shipped accounts, with their roles, in one namespace.
#[derive(Debug)]
pub struct Accounts {
    /// By the name of the ServiceAccount: a folder with its `kubeconfig`.
    folders: BTreeMap<String, PathBuf>,
    /// Everything of `tekton/rbac`, as it was applied.
    pub objects: Vec<Value>,
    _folder: tempfile::TempDir,
}

impl Accounts {
    /// Apply every document of the folder `rbac` to the namespace of the flows, and get a token for each account. `change` may
    /// alter what is applied, as a test does that takes a rule away.
    pub async fn install(
        plane: &ControlPlane,
        rbac: &Path,
        namespace: &str,
        change: impl Fn(&mut Value),
    ) -> Result<Self> {
        plane.ensure_namespace(namespace).await?;
        let client = plane.client().await?;
        let folder = tempfile::tempdir()?;
        let (mut folders, mut objects) = (BTreeMap::new(), Vec::new());
        for mut object in documents(rbac)? {
            // what kustomize does with `namespace:`
            let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
            for subject in subjects.into_iter().flatten() {
                subject["namespace"] = namespace.into();
            }
            change(&mut object);
            let name = object["metadata"]["name"].as_str().context("an object without a name")?.to_owned();
            let path = match object["kind"].as_str() {
                Some("ServiceAccount") => {
                    let kubeconfig = plane.kubeconfig_for_service_account(namespace, &name).await?;
                    let own = folder.path().join(&name);
                    fs::create_dir(&own)?;
                    fs::copy(kubeconfig, own.join("kubeconfig"))?;
                    folders.insert(name.clone(), own);
                    format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
                }
                Some(kind @ ("Role" | "RoleBinding")) => {
                    format!("{RBAC}/namespaces/{namespace}/{}s/{name}", kind.to_lowercase())
                }
                Some(kind) => format!("{RBAC}/{}s/{name}", kind.to_lowercase()),
                None => continue,
            };
            apply(&client, &path, &object).await?;
            objects.push(object);
        }
        Ok(Self { folders, objects, _folder: folder })
    }

    /// The folder of one account.
    pub fn folder(&self, account: &str) -> Option<&Path> {
        self.folders.get(account).map(PathBuf::as_path)
    }

    /// Who runs which task, as a sample PipelineRun says it: for [`super::Flow::accounts`].
    pub fn of_run(&self, run: &Path) -> Result<BTreeMap<String, PathBuf>> {
        let text = fs::read_to_string(run).with_context(|| run.display().to_string())?;
        let run: Value = serde_saphyr::from_str(&text)?;
        let specs = run["spec"]["taskRunSpecs"].as_array().context("no `taskRunSpecs`")?;
        let who = |spec: &Value| {
            let task = spec["pipelineTaskName"].as_str().context("no `pipelineTaskName`")?;
            let account = spec["serviceAccountName"].as_str().context("no `serviceAccountName`")?;
            let folder = self.folders.get(account).with_context(|| format!("no account `{account}`"))?;
            Ok((task.to_owned(), folder.clone()))
        };
        specs.iter().map(who).collect()
    }
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Every document of every file of a folder, without its kustomization.
fn documents(folder: &Path) -> Result<Vec<Value>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.file_name().is_some_and(|name| name != "kustomization.yaml"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        for document in text.split("\n---\n") {
            all.push(serde_saphyr::from_str(document).with_context(|| path.display().to_string())?);
        }
    }
    Ok(all)
}
