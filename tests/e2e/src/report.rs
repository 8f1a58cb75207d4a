//! How a PipelineRun went: results, and what each TaskRun and step took.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Times are Kubernetes' own, so to the second.
fn seconds(from: &Value, to: &Value) -> i64 {
    let parse = |v: &Value| v.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    match (parse(from), parse(to)) {
        (Some(from), Some(to)) => to.as_second() - from.as_second(),
        _ => 0,
    }
}

/// One TaskRun.
#[derive(Debug)]
pub(crate) struct Task {
    /// The name within the Pipeline.
    pub(crate) name: String,
    run: Value,
}

impl Task {
    fn new(run: Value) -> Self {
        let name = run["metadata"]["labels"]["tekton.dev/pipelineTask"].as_str().unwrap_or("?").to_owned();
        Self { name, run }
    }

    /// The value of a result; empty if there is none.
    pub(crate) fn result(&self, name: &str) -> String {
        let results = self.run["status"]["results"].as_array();
        let found = results.and_then(|all| all.iter().find(|r| r["name"] == name));
        found.and_then(|r| r["value"].as_str()).unwrap_or_default().to_owned()
    }

    /// When the last step ended.
    fn ended(&self) -> &Value {
        let steps = self.run["status"]["steps"].as_array();
        steps.and_then(|s| s.last()).map_or(&Value::Null, |s| &s["terminated"]["finishedAt"])
    }

    fn line(&self) -> String {
        let status = &self.run["status"];
        let mut line =
            format!("  {:<15} {:>3}s ", self.name, seconds(&status["startTime"], &status["completionTime"]));
        for step in status["steps"].as_array().into_iter().flatten() {
            let ended = &step["terminated"];
            let took = seconds(&ended["startedAt"], &ended["finishedAt"]);
            // writing to a String cannot fail
            let _ = write!(line, " {} {took}s", step["name"].as_str().unwrap_or("?"));
            if ended["exitCode"] != 0 {
                let _ = write!(line, " (exit {})", ended["exitCode"]);
            }
        }
        line
    }
}

/// One PipelineRun that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its name.
    pub(crate) name: String,
    /// Whether Tekton says it succeeded.
    pub(crate) succeeded: bool,
    /// Its TaskRuns, in the order they started.
    pub(crate) tasks: Vec<Task>,
    run: Value,
}

impl Ended {
    pub(crate) fn new(run: Value, mut task_runs: Vec<Value>) -> Self {
        task_runs.sort_by_key(|t| t["status"]["startTime"].as_str().unwrap_or_default().to_owned());
        Self {
            name: run["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            succeeded: run["status"]["conditions"][0]["status"] == "True",
            tasks: task_runs.into_iter().map(Task::new).collect(),
            run,
        }
    }

    /// The TaskRun of this name.
    pub(crate) fn task(&self, name: &str) -> Result<&Task> {
        let told = || format!("{}: no TaskRun {name}; the run says: {}", self.name, self.reason());
        self.tasks.iter().find(|t| t.name == name).with_context(told)
    }

    /// The one report of `finally`.
    pub(crate) fn report(&self) -> Result<&Task> {
        let mut reports = self.tasks.iter().filter(|t| t.name.starts_with("report-"));
        let report =
            reports.next().with_context(|| format!("{}: no report; {}", self.name, self.reason()))?;
        anyhow::ensure!(reports.next().is_none(), "{}: more than one report", self.name);
        Ok(report)
    }

    /// Tekton's own words for how it ended.
    pub(crate) fn reason(&self) -> String {
        let condition = &self.run["status"]["conditions"][0];
        format!(
            "{}: {}",
            condition["reason"].as_str().unwrap_or("?"),
            condition["message"].as_str().unwrap_or("?")
        )
    }

    /// Seconds from the request to the end.
    pub(crate) fn took(&self) -> i64 {
        seconds(&self.run["status"]["startTime"], &self.run["status"]["completionTime"])
    }

    /// Seconds beyond those from the pushed commit to the moment `ready_at` that KubeVirt names.
    pub(crate) fn on_top(&self, ready_at: &Value) -> Result<i64> {
        Ok(self.took() - seconds(self.task("publish-vm")?.ended(), ready_at).max(0))
    }

    /// The report: a line for the run and one for each TaskRun.
    pub(crate) fn lines(&self) -> String {
        let mut text =
            format!("{}: {} in {}s, {} pods", self.name, self.reason(), self.took(), self.tasks.len());
        for task in &self.tasks {
            text.push('\n');
            text.push_str(&task.line());
        }
        text
    }
}
