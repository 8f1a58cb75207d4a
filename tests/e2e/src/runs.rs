//! PipelineRuns made from the samples that users copy, `examples/<pipeline>-run.yaml`.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::report::Ended;
use crate::setup::World;
use crate::until;

/// No scenario's PipelineRun takes longer; the pipeline's own deadlines are shorter.
const LIMIT: Duration = Duration::from_mins(10);

impl World {
    /// Start `provision-vm` with this request, under a name of its own.
    pub(crate) fn start(&self, name: &str, request: &Value, params: &[(&str, &str)]) -> Result<()> {
        self.start_flow("provision-vm", name, request, params)
    }

    /// Start a Pipeline with this request, under a name of its own.
    pub(crate) fn start_flow(
        &self,
        pipeline: &str,
        name: &str,
        request: &Value,
        params: &[(&str, &str)],
    ) -> Result<()> {
        self.create(&self.run_of(pipeline, name, request, params)?)
    }

    /// The PipelineRun that [`World::start_flow`] starts.
    pub(crate) fn run_of(
        &self,
        pipeline: &str,
        name: &str,
        request: &Value,
        params: &[(&str, &str)],
    ) -> Result<Value> {
        let mut run = self.sample(pipeline)?;
        run["metadata"] = json!({"name": name, "namespace": self.namespace_of(pipeline)});
        let takes = self.params_of(pipeline)?;
        let mut all = self.params.clone();
        all.retain(|(name, _)| takes.contains(name));
        let text = request.as_str().map_or_else(|| request.to_string(), str::to_owned);
        all.push(("request".to_owned(), text));
        all.extend(params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let spec = &mut run["spec"];
        spec["params"] = all.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        Ok(run)
    }

    /// Start a PipelineRun.
    pub(crate) fn create(&self, run: &Value) -> Result<()> {
        self.kubectl.feed(&["create", "-f", "-"], &run.to_string()).map(drop)
    }

    /// Where the runs of a Pipeline are: what mounts the volume of a machine is with the machines.
    fn namespace_of(&self, pipeline: &str) -> &str {
        if pipeline == "patch-vm" { &self.machines } else { &self.namespace }
    }

    /// Wait for a PipelineRun to end, print what it took, and return it.
    pub(crate) fn ended(&self, name: &str) -> Result<Ended> {
        self.ended_in(&self.namespace, name)
    }

    fn ended_in(&self, namespace: &str, name: &str) -> Result<Ended> {
        let run = until(&format!("PipelineRun {name}"), LIMIT, || {
            let run = self.kubectl.get(&["pipelinerun", name, "-n", namespace])?;
            let condition = &run["status"]["conditions"][0];
            Ok(if matches!(condition["status"].as_str(), Some("True" | "False")) {
                Ok(run)
            } else {
                Err(condition["message"].as_str().unwrap_or("not started").to_owned())
            })
        })?;
        let selector = format!("tekton.dev/pipelineRun={name}");
        let tasks = self.kubectl.get(&["taskrun", "-n", namespace, "-l", &selector])?;
        let tasks = tasks["items"].as_array().cloned().context("no list of TaskRuns")?;
        let ended = Ended::new(run, tasks);
        say!("{}", ended.lines());
        Ok(ended)
    }

    /// Start and wait.
    pub(crate) fn provision(&self, name: &str, request: &Value) -> Result<Ended> {
        self.start(name, request, &[])?;
        self.ended(name)
    }

    /// Start a Pipeline and wait.
    pub(crate) fn flow(&self, pipeline: &str, name: &str, request: &Value) -> Result<Ended> {
        self.start_flow(pipeline, name, request, &[])?;
        self.ended_in(self.namespace_of(pipeline), name)
    }

    /// `patch-vm`, with the program that stands in for libguestfs.
    pub(crate) fn patch(&self, name: &str, request: &Value) -> Result<Ended> {
        let params = [("image", crate::LIBGUESTFS), ("lease-namespace", &self.namespace)];
        self.start_flow("patch-vm", name, request, &params)?;
        self.ended_in(self.namespace_of("patch-vm"), name)
    }

    /// The PipelineRun that users copy, with the names of the workspaces' Secret and `ConfigMaps` as `install` makes them.
    fn sample(&self, pipeline: &str) -> Result<Value> {
        let file = format!("examples/{pipeline}-run.yaml");
        let mut run: Value = serde_saphyr::from_str(&fs::read_to_string(self.root.join(&file))?)
            .with_context(|| file.clone())?;
        let takes = self.pipeline(pipeline)?["spec"]["workspaces"].clone();
        let takes = |name: &str| takes.as_array().is_some_and(|all| all.iter().any(|w| w["name"] == name));
        if let Some(workspaces) = run["spec"]["workspaces"].as_array_mut()
            && takes("basic-auth-read")
            && !workspaces.iter().any(|w| w["name"] == "basic-auth-read")
        {
            workspaces.push(json!({"name": "basic-auth-read", "secret": {"secretName": "git-basic-auth"}}));
        }
        Ok(run)
    }

    /// The names of a Pipeline's params.
    fn params_of(&self, pipeline: &str) -> Result<Vec<String>> {
        let params = self.pipeline(pipeline)?["spec"]["params"].as_array().cloned().unwrap_or_default();
        Ok(params.iter().filter_map(|p| p["name"].as_str()).map(str::to_owned).collect())
    }

    fn pipeline(&self, pipeline: &str) -> Result<Value> {
        let file = format!("pipelines/{pipeline}.yaml");
        serde_saphyr::from_str(&fs::read_to_string(self.root.join(&file))?).with_context(|| file.clone())
    }

    /// Run one Task on its own under the ServiceAccount of `account`, and wait; the `TaskRun` as it ended.
    pub(crate) fn task(
        &self,
        task: &str,
        account: &str,
        name: &str,
        params: &[(&str, &str)],
    ) -> Result<Value> {
        let params: Value =
            params.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let run = json!({
            "apiVersion": "tekton.dev/v1", "kind": "TaskRun",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"taskRef": {"name": task}, "serviceAccountName": account, "params": params},
        });
        self.kubectl.feed(&["create", "-f", "-"], &run.to_string())?;
        until(&format!("TaskRun {name}"), LIMIT, || {
            let run = self.kubectl.get(&["taskrun", name, "-n", &self.namespace])?;
            let condition = &run["status"]["conditions"][0];
            Ok(if matches!(condition["status"].as_str(), Some("True" | "False")) {
                Ok(run)
            } else {
                Err(condition["message"].as_str().unwrap_or("not started").to_owned())
            })
        })
    }
}
