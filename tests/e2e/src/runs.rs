//! PipelineRuns made from the sample that users copy, `examples/provision-vm-run.yaml`.

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
        let mut run = self.sample.clone();
        run["metadata"] = json!({"name": name, "namespace": self.namespace});
        let mut all = self.params.clone();
        let text = request.as_str().map_or_else(|| request.to_string(), str::to_owned);
        all.push(("request".to_owned(), text));
        all.extend(params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let spec = &mut run["spec"];
        spec["params"] = all.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.kubectl.feed(&["create", "-f", "-"], &run.to_string()).map(drop)
    }

    /// Wait for a PipelineRun to end, print what it took, and return it.
    pub(crate) fn ended(&self, name: &str) -> Result<Ended> {
        let run = until(&format!("PipelineRun {name}"), LIMIT, || {
            let run = self.kubectl.get(&["pipelinerun", name, "-n", &self.namespace])?;
            let condition = &run["status"]["conditions"][0];
            Ok(if matches!(condition["status"].as_str(), Some("True" | "False")) {
                Ok(run)
            } else {
                Err(condition["message"].as_str().unwrap_or("not started").to_owned())
            })
        })?;
        let selector = format!("tekton.dev/pipelineRun={name}");
        let tasks = self.kubectl.get(&["taskrun", "-n", &self.namespace, "-l", &selector])?;
        let tasks = tasks["items"].as_array().cloned().context("no list of TaskRuns")?;
        let ended = Ended::new(run, tasks);
        println!("{}", ended.lines());
        Ok(ended)
    }

    /// Start and wait.
    pub(crate) fn provision(&self, name: &str, request: &Value) -> Result<Ended> {
        self.start(name, request, &[])?;
        self.ended(name)
    }
}
