//! Our Tekton YAML run here: the order, arguments and results of `pipelines/*.yaml` and `tekton/tasks/*.yaml`, on local processes.
//!
//! This is an interpreter of the part of Tekton that these files use, made after tektoncd/pipeline v1.15 and refusing whatever
//! it does not know. There are no pods: nothing here shows that a Task's security context, volumes or ServiceAccount are right;
//! `cargo xtask e2e` shows that. Tasks that Tekton would run side by side run one after the other.

pub mod model;
mod substitute;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use model::{Object, Operator, Pipeline, PipelineTask};
use substitute::substitute;

pub use substitute::expressions;
pub use task::{StepEnded, TaskEnded};

/// A Pipeline with all that a PipelineRun gives to it.
#[derive(Debug, Clone)]
pub struct Flow {
    /// The Pipeline's file.
    pub pipeline: PathBuf,
    /// The folder with a file `<name>.yaml` for each Task.
    pub tasks: PathBuf,
    /// The folder with the built binaries: the whole `PATH` of the steps.
    pub binaries: PathBuf,
    /// Values of the Pipeline's params.
    pub params: BTreeMap<String, String>,
    /// Folders bound to the Pipeline's workspaces.
    pub workspaces: BTreeMap<String, PathBuf>,
}

/// What is told while a flow runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step begins, with this command line.
    Begun {
        /// The name within the Pipeline.
        task: &'a str,
        /// The step of the Task.
        step: &'a str,
        /// The command and its arguments, as Tekton would start them.
        command: &'a [String],
    },
    /// A step wrote a line, to standard output or standard error.
    Line {
        /// The name within the Pipeline.
        task: &'a str,
        /// The step of the Task.
        step: &'a str,
        /// The line.
        text: &'a str,
    },
    /// A step ended.
    Ended {
        /// The name within the Pipeline.
        task: &'a str,
        /// The step of the Task.
        step: &'a str,
        /// Its exit code; -1 if a signal ended it.
        code: i32,
    },
    /// A task is not run.
    Skipped {
        /// The name within the Pipeline.
        task: &'a str,
        /// Tekton's words for why.
        reason: &'a str,
    },
}

/// How a flow ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Each task that was run, by its name within the Pipeline.
    pub tasks: BTreeMap<String, TaskEnded>,
    /// Each task that was not run, with Tekton's words for why.
    pub skipped: BTreeMap<String, String>,
    /// The Pipeline's results.
    pub results: BTreeMap<String, String>,
    /// Whether the PipelineRun would be shown as succeeded.
    pub succeeded: bool,
}

impl Flow {
    /// Run it to its end. Blocks: inside an async runtime, call it where blocking is allowed.
    ///
    /// An error means that the YAML is wrong, not known here, or not given what it needs; a failing step is no error.
    pub fn run(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<Ended> {
        let pipeline: Object<Pipeline> = Object::read(&self.pipeline)?;
        ensure!(pipeline.kind == "Pipeline", "{}: not a Pipeline", self.pipeline.display());
        let pipeline = pipeline.spec;
        let mut run = Run { flow: self, params: self.params(&pipeline)?, ended: Ended::default() };
        for workspace in &pipeline.workspaces {
            ensure!(
                workspace.optional || self.workspaces.contains_key(&workspace.name),
                "workspace `{}` is not bound",
                workspace.name
            );
        }
        let mut stopping = false;
        for task in &pipeline.tasks {
            if stopping {
                run.skip(task, "PipelineRun was stopping", tell);
                continue;
            }
            run.check_order(task)?;
            stopping = !run.task(task, false, tell)?;
        }
        let mut failed = stopping;
        for task in &pipeline.finally {
            failed |= !run.task(task, true, tell)?;
        }
        run.ended.succeeded = !failed;
        run.results(&pipeline)?;
        Ok(run.ended)
    }

    /// The params with defaults filled in.
    fn params(&self, pipeline: &Pipeline) -> Result<BTreeMap<String, String>> {
        for name in self.params.keys() {
            ensure!(pipeline.params.iter().any(|p| p.name == *name), "the Pipeline has no param `{name}`");
        }
        let value = |param: &model::Param| {
            let value = self.params.get(&param.name).or(param.default.as_ref());
            let value =
                value.with_context(|| format!("param `{}` has neither a value nor a default", param.name))?;
            Ok((param.name.clone(), value.clone()))
        };
        pipeline.params.iter().map(value).collect()
    }

    fn task_file(&self, name: &str) -> PathBuf {
        self.tasks.join(format!("{name}.yaml"))
    }

    fn binaries(&self) -> &Path {
        &self.binaries
    }
}

/// A flow under way.
struct Run<'a> {
    flow: &'a Flow,
    params: BTreeMap<String, String>,
    ended: Ended,
}

impl Run<'_> {
    /// Run one task, or skip it; whether the flow may go on.
    fn task(&mut self, task: &PipelineTask, last: bool, tell: &mut dyn FnMut(Event<'_>)) -> Result<bool> {
        if let Some(missing) = self.missing(task) {
            // a failed producer's consumers never come here: the flow is stopping by then
            ensure!(last, "task `{}` needs `{missing}`, which was not written", task.name);
            self.skip(task, "Results were missing", tell);
            return Ok(true);
        }
        for when in &task.when {
            let input = self.fill(&when.input, last)?;
            let values = when.values.iter().map(|v| self.fill(v, last)).collect::<Result<Vec<_>>>()?;
            if values.contains(&input) != (when.operator == Operator::In) {
                self.skip(task, "When Expressions evaluated to false", tell);
                return Ok(true);
            }
        }
        let given = |given: &model::Given| Ok((given.name.clone(), self.fill(&given.value, last)?));
        let params = task.params.iter().map(given).collect::<Result<_>>()?;
        let mut workspaces = BTreeMap::new();
        for given in &task.workspaces {
            if let Some(folder) = self.flow.workspaces.get(&given.workspace) {
                workspaces.insert(given.name.clone(), folder.clone());
            }
        }
        let ended = task::run(self.flow, task, &params, &workspaces, tell)
            .with_context(|| format!("task `{}`", task.name))?;
        let succeeded = ended.succeeded;
        self.ended.tasks.insert(task.name.clone(), ended);
        Ok(succeeded)
    }

    fn skip(&mut self, task: &PipelineTask, reason: &str, tell: &mut dyn FnMut(Event<'_>)) {
        tell(Event::Skipped { task: &task.name, reason });
        self.ended.skipped.insert(task.name.clone(), reason.to_owned());
    }

    /// Tasks are run in the order of the file; whatever one waits for has to stand before it.
    fn check_order(&self, task: &PipelineTask) -> Result<()> {
        for name in &task.run_after {
            let known = self.ended.tasks.contains_key(name) || self.ended.skipped.contains_key(name);
            ensure!(
                known,
                "task `{}` runs after `{name}`, which stands behind it in the file or nowhere",
                task.name
            );
        }
        Ok(())
    }

    /// The first result that this task refers to and that is not there.
    fn missing(&self, task: &PipelineTask) -> Option<String> {
        let whens = task.when.iter().flat_map(|w| std::iter::once(&w.input).chain(&w.values));
        let texts = task.params.iter().map(|p| &p.value).chain(whens);
        let mut results = texts.flat_map(|text| expressions(text)).filter(|e| e.contains(".results."));
        results.find(|e| self.result(e).is_none()).map(str::to_owned)
    }

    /// `tasks.NAME.results.RESULT` or `finally.NAME.results.RESULT`.
    fn result(&self, expression: &str) -> Option<String> {
        let (task, result) = expression.split_once('.')?.1.split_once(".results.")?;
        self.ended.tasks.get(task)?.results.get(result).cloned()
    }

    /// Replace what a Pipeline may refer to.
    fn fill(&self, text: &str, last: bool) -> Result<String> {
        substitute(text, |expression| {
            if let Some(param) = expression.strip_prefix("params.") {
                return self.params.get(param).cloned();
            }
            let name = expression.strip_prefix("tasks.")?;
            if let Some(task) = name.strip_suffix(".status").filter(|_| last) {
                return self.status(task);
            }
            if let Some(task) = name.strip_suffix(".reason").filter(|_| last) {
                let skipped = self.ended.skipped.contains_key(task).then(String::new);
                return self.ended.tasks.get(task).map(|t| t.reason().to_owned()).or(skipped);
            }
            self.result(expression)
        })
    }

    fn status(&self, task: &str) -> Option<String> {
        let skipped = self.ended.skipped.contains_key(task).then(|| "None".to_owned());
        let ran =
            self.ended.tasks.get(task).map(|t| if t.succeeded { "Succeeded" } else { "Failed" }.to_owned());
        ran.or(skipped)
    }

    /// The Pipeline's results: one is left out where its task was skipped, or failed before it wrote it
    /// (tektoncd/pipeline `ApplyTaskResultsToPipelineResults`).
    fn results(&mut self, pipeline: &Pipeline) -> Result<()> {
        for wanted in &pipeline.results {
            let all = expressions(&wanted.value);
            if let Some(missing) = all.iter().find(|e| self.result(e).is_none()) {
                let task = missing.split('.').nth(1).unwrap_or_default();
                match self.status(task).as_deref() {
                    Some("Failed" | "None") => continue,
                    Some(_) => bail!("result `{}`: task `{task}` succeeded without `{missing}`", wanted.name),
                    None => bail!("result `{}`: there is no task `{task}`", wanted.name),
                }
            }
            let value = substitute(&wanted.value, |expression| self.result(expression))?;
            let before = self.ended.results.insert(wanted.name.clone(), value);
            ensure!(before.is_none(), "result `{}` comes from two tasks that both ran", wanted.name);
        }
        Ok(())
    }
}
