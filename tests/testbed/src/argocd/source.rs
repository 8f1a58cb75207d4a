//! Manifests out of a bare repository, read by `git`.

use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

use crate::standin::{items, text};

/// A repository that can be read.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) url: String,
    pub(super) path: PathBuf,
}

/// Why there are no manifests, in Argo CD's words, without their beginning.
type Words = String;

impl Repository {
    pub(super) fn is(&self, url: &str) -> bool {
        let plain = |url: &str| url.trim_end_matches('/').trim_end_matches(".git").to_owned();
        plain(&self.url) == plain(url)
    }

    /// The commit that a branch, tag or commit name stands for.
    pub(super) async fn resolve(&self, revision: &str) -> Result<String, Words> {
        let revision = if revision.is_empty() { "HEAD" } else { revision };
        let name = format!("{revision}^{{commit}}");
        let commit = self.git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name]).await;
        commit
            .map(|commit| commit.trim().to_owned())
            .map_err(|_| format!("unable to resolve '{revision}' to a commit SHA"))
    }

    /// The objects that an Application's source stands for at a commit.
    pub(super) async fn manifests(&self, commit: &str, source: &Value) -> Result<Vec<Value>, Words> {
        let folder = text(source, "/path").trim_matches('/');
        let there =
            self.git(&["ls-tree", "-r", "--name-only", "-z", commit, "--", &format!("{folder}/")]).await?;
        let there: Vec<_> = there.split('\0').filter(|path| !path.is_empty()).collect();
        if there.is_empty() {
            return Err(format!("{folder}: app path does not exist"));
        }
        if there.contains(&format!("{folder}/Chart.yaml").as_str()) {
            return Err("the stand-in for Argo CD knows no Helm".to_owned());
        }
        let mut files = Vec::new();
        let kustomization = format!("{folder}/kustomization.yaml");
        if there.contains(&kustomization.as_str()) {
            let build =
                format!("`kustomize build <path to cached source>/{folder}` failed exit status 1: Error:");
            let text = self.git(&["show", &format!("{commit}:{kustomization}")]).await?;
            let wanted: Value = serde_saphyr::from_str(&text)
                .map_err(|error| format!("{build} invalid Kustomization: {error}"))?;
            for field in wanted.as_object().into_iter().flat_map(|fields| fields.keys()) {
                if !["apiVersion", "kind", "resources"].contains(&field.as_str()) {
                    return Err(format!("{build} the stand-in for Argo CD knows no `{field}`"));
                }
            }
            for resource in items(&wanted, "/resources") {
                let name = resource.as_str().unwrap_or_default();
                let path = format!("{folder}/{name}");
                if !there.contains(&path.as_str()) {
                    let seen = format!("<path to cached source>/{path}");
                    let why =
                        format!("evalsymlink failure on '{seen}' : lstat {seen}: no such file or directory");
                    return Err(format!(
                        "{build} accumulating resources: accumulation err='accumulating resources from '{name}': {why}': must \
                         build at directory: not a valid directory: {why}"
                    ));
                }
                files.push(path);
            }
        } else {
            let recurse = source.pointer("/directory/recurse") == Some(&Value::Bool(true));
            let end = [".yaml", ".yml", ".json"];
            for path in there {
                let inside = &path[folder.len() + 1..];
                if (recurse || !inside.contains('/')) && end.iter().any(|end| inside.ends_with(end)) {
                    files.push(path.to_owned());
                }
            }
        }
        let mut objects = Vec::new();
        for path in files {
            let text = self.git(&["show", &format!("{commit}:{path}")]).await?;
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                .map_err(|error| format!("Failed to unmarshal \"{path}\": {error}"))?;
            objects.extend(documents.into_iter().filter(|document| !document.is_null()));
        }
        Ok(objects)
    }

    async fn git(&self, arguments: &[&str]) -> Result<String, Words> {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.path).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        match command.output().await {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("cannot run `git`: {error}")),
        }
    }
}
