//! The samples of `examples/requests` and the requests that tests hold valid, rendered by the binaries that are in the image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::setup::{World, run};

impl World {
    /// Each sample with the manifests of its machine. What a sample names and a site would have (a namespace, a golden image,
    /// an instance type, a preference) is replaced by what this run has: admission looks them up.
    pub(crate) fn rendered_samples(&self) -> Result<Vec<(String, Vec<PathBuf>)>> {
        let golden = self.golden_image("golden-1", &self.disk_url)?;
        let folder = self.evidence().join("samples");
        fs::create_dir_all(&folder)?;
        let policy = folder.join("policy.yaml");
        fs::write(&policy, self.policy()?)?;
        let mut rendered = Vec::new();
        for entry in fs::read_dir(self.root.join("examples/requests"))? {
            let path = entry?.path();
            let name = path.file_stem().context("a file without a name")?.to_string_lossy().into_owned();
            let mut request: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
            if request["spec"]["operation"] != "provision" {
                // needs a machine in Git; the scenarios send such requests
                continue;
            }
            self.replace_names(&mut request["spec"], &golden);
            let accepted = folder.join(format!("{name}.json"));
            run(Command::new(self.binaries.join("validate-request"))
                .arg(format!("--request={request}"))
                .arg(format!("--policy={}", policy.display()))
                .arg(format!("--output={}", accepted.display())))?;
            rendered.push((name.clone(), self.render(&accepted, &folder.join(&name))?));
        }
        ensure!(rendered.len() >= 4, "only {} samples", rendered.len());
        Ok(rendered)
    }

    /// Each request of `tests/fixtures/requests/valid`, accepted under a policy of its own, with the manifest of its machine and whether
    /// it asks for host devices. Its disks are left out: CDI looks up what they are made from.
    pub(crate) fn rendered_fixtures(&self) -> Result<Vec<(String, PathBuf, bool)>> {
        let golden = self.golden_image("golden-1", &self.disk_url)?;
        let folder = self.evidence().join("fixtures");
        fs::create_dir_all(&folder)?;
        let mut rendered = Vec::new();
        for entry in fs::read_dir(self.root.join("tests/fixtures/requests/valid"))? {
            let path = entry?.path();
            let file = path.file_name().context("a file without a name")?.to_string_lossy().into_owned();
            let Some(name) = file.strip_suffix(".accepted.json") else { continue };
            let mut request: Value = serde_json::from_slice(&fs::read(&path)?)?;
            self.replace_names(&mut request["spec"], &golden);
            let accepted = folder.join(&file);
            fs::write(&accepted, request.to_string())?;
            let files = self.render(&accepted, &folder.join(name))?;
            let machine = files.into_iter().find(|f| f.ends_with("virtual-machine.yaml"));
            let devices = request["spec"]["devices"].get("hostDevices").is_some();
            rendered.push((
                name.to_owned(),
                machine.with_context(|| format!("{name}: no machine"))?,
                devices,
            ));
        }
        rendered.sort();
        ensure!(rendered.len() >= 36, "only {} requests", rendered.len());
        Ok(rendered)
    }

    /// What Kubernetes reads of a machine's folder.
    fn render(&self, accepted: &Path, files: &Path) -> Result<Vec<PathBuf>> {
        run(Command::new(self.binaries.join("render-vm"))
            .arg(format!("--request-file={}", accepted.display()))
            .arg(format!("--output={}", files.display()))
            .arg("--repo-url=https://git.example/vms.git"))?;
        let mut found = Vec::new();
        collect(&files.join("vms"), &mut found)?;
        found.retain(|f| f.file_name().is_some_and(|n| n != "request.yaml" && n != "kustomization.yaml"));
        found.sort();
        ensure!(!found.is_empty(), "{}: nothing was rendered", accepted.display());
        Ok(found)
    }

    fn replace_names(&self, spec: &mut Value, golden: &str) {
        let ours = Value::from(self.machines.as_str());
        spec["target"]["namespace"] = ours.clone();
        for field in ["instanceType", "preference"] {
            if let Some(name) = spec["compute"].get_mut(field) {
                *name = ours.clone();
            }
        }
        if spec["image"]["source"] == "data-source" {
            spec["image"]["name"] = golden.into();
            if let Some(namespace) = spec["image"].get_mut("namespace") {
                *namespace = ours;
            }
        }
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, found)? } else { found.push(path) }
    }
    Ok(())
}
