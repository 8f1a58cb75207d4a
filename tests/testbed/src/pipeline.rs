//! Our Tekton YAML run here: the order, arguments and results of `pipelines/*.yaml` and `tekton/tasks/*.yaml`, on local processes.
//!
//! This is an interpreter of the part of Tekton that these files use, made after tektoncd/pipeline v1.15 and refusing whatever
//! it does not know. There are no pods, but for the shell of one where a Task mounts a volume: nothing here shows that a Task's
//! security context, volumes or ServiceAccount are right; `cargo xtask e2e` shows that. A projected volume is left out: where a
//! step would have the token of its ServiceAccount, it gets a kubeconfig by its workspace. Tasks that Tekton would run side by
//! side run one after the other.

mod accounts;
mod kill;
pub mod model;
mod record;
mod substitute;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use model::{Object, OnError, Operator, Pipeline, PipelineTask};
use substitute::substitute;

pub use accounts::Accounts;
pub use kill::{Aftermath, Kill, Moment};
pub use record::Run;
pub use substitute::expressions;
pub use task::{StepEnded, TaskEnded};

/// A Pipeline with all that a PipelineRun gives to it.
#[derive(Debug, Clone, Default)]
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
    /// Folders that take the place of the workspace `kubeconfig`, by the name of the task within the Pipeline: who a task is,
    /// where a PipelineRun would say it by `serviceAccountName`.
    pub accounts: BTreeMap<String, PathBuf>,
    /// Folders or files that stand for the volumes of the run's namespace, by the name of the claim.
    pub claims: BTreeMap<String, PathBuf>,
    /// Name, namespace and record of the PipelineRun.
    pub run: Run,
    /// A step that dies.
    pub kill: Option<Kill>,
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
    /// Whether it ended nowhere, by [`Aftermath::Gone`].
    pub gone: bool,
}

impl Flow {
    /// Give the steps a program of this name, which is a script, beside the binaries; all of them are in `folder` then.
    pub fn put_program(&mut self, folder: &Path, name: &str, script: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(&self.binaries)? {
            let built = entry?;
            if built.path().is_file() && built.file_name() != name {
                symlink(built.path(), folder.join(built.file_name()))?;
            }
        }
        fs::write(folder.join(name), script)?;
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?;
        folder.clone_into(&mut self.binaries);
        Ok(())
    }

    /// Run it to its end. Blocks: inside an async runtime, call it where blocking is allowed.
    ///
    /// An error means that the YAML is wrong, not known here, or not given what it needs; a failing step is no error.
    pub fn run(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<Ended> {
        let pipeline: Object<Pipeline> = Object::read(&self.pipeline)?;
        ensure!(pipeline.kind == "Pipeline", "{}: not a Pipeline", self.pipeline.display());
        let (name, pipeline) = (pipeline.metadata.name, pipeline.spec);
        let mut run = Running { flow: self, params: self.params(&pipeline)?, ended: Ended::default() };
        for workspace in &pipeline.workspaces {
            ensure!(
                workspace.optional || self.workspaces.contains_key(&workspace.name),
                "workspace `{}` is not bound",
                workspace.name
            );
        }
        self.run.begun(&name)?;
        let mut failed = false;
        for task in &pipeline.tasks {
            run.check_order(task)?;
            match run.reason_to_skip(task, failed)? {
                Some(reason) => run.skip(task, reason, tell),
                None => failed |= !run.task(task, false, tell)?,
            }
            if run.ended.gone {
                return Ok(run.ended);
            }
        }
        self.run.skipped(run.ended.skipped.clone().into_iter().collect())?;
        for task in &pipeline.finally {
            match run.reason_to_skip_last(task)? {
                Some(reason) => run.skip(task, reason, tell),
                None => failed |= !run.task(task, true, tell)?,
            }
            if run.ended.gone {
                return Ok(run.ended);
            }
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
struct Running<'a> {
    flow: &'a Flow,
    params: BTreeMap<String, String>,
    ended: Ended,
}

/// Tekton's words (tektoncd/pipeline `pkg/apis/pipeline/v1/pipelinerun_types.go`, `SkippingReason`).
const BY_CONDITION: &str = "When Expressions evaluated to false";
const BY_PARENT: &str = "Parent Tasks were skipped";
const BY_STOP: &str = "PipelineRun was stopping";
const BY_RESULTS: &str = "Results were missing";

impl Running<'_> {
    /// Why this task of `tasks` is not run, if so; in the order in which Tekton asks (`ResolvedPipelineTask.skip`).
    fn reason_to_skip(&self, task: &PipelineTask, stopping: bool) -> Result<Option<&'static str>> {
        if stopping {
            return Ok(Some(BY_STOP));
        }
        if !self.allowed(task, false)? {
            return Ok(Some(BY_CONDITION));
        }
        let skipped =
            |name: &String| self.ended.skipped.get(name).is_some_and(|reason| reason != BY_CONDITION);
        if parents(task).iter().any(skipped) {
            return Ok(Some(BY_PARENT));
        }
        let Some(missing) = self.missing(task) else { return Ok(None) };
        let producer = missing.split('.').nth(1).unwrap_or_default();
        let by_condition = self.ended.skipped.get(producer).is_some_and(|reason| reason == BY_CONDITION);
        // Tekton would end the run here, without `finally` (`InvalidTaskResultReference`): no Pipeline may come to that
        ensure!(
            task.on_error == OnError::Continue || by_condition,
            "task `{}` needs `{missing}`, which was not written",
            task.name
        );
        Ok(Some(BY_RESULTS))
    }

    /// Why this task of `finally` is not run, if so.
    fn reason_to_skip_last(&self, task: &PipelineTask) -> Result<Option<&'static str>> {
        if self.missing(task).is_some() {
            return Ok(Some(BY_RESULTS));
        }
        Ok((!self.allowed(task, true)?).then_some(BY_CONDITION))
    }

    /// Whether every condition of the task holds. Where a result is missing, its expression is compared as it stands.
    fn allowed(&self, task: &PipelineTask, last: bool) -> Result<bool> {
        let fill = |text: &String| {
            let missing = self.missing_in(text).is_some();
            if missing { Ok(text.clone()) } else { self.fill(text, last) }
        };
        for when in &task.when {
            let input = fill(&when.input)?;
            let values = when.values.iter().map(fill).collect::<Result<Vec<_>>>()?;
            if values.contains(&input) != (when.operator == Operator::In) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Run one task; whether the flow may go on and count as succeeded.
    fn task(&mut self, task: &PipelineTask, last: bool, tell: &mut dyn FnMut(Event<'_>)) -> Result<bool> {
        let given = |given: &model::Given| Ok((given.name.clone(), self.fill(&given.value, last)?));
        let params = task.params.iter().map(given).collect::<Result<_>>()?;
        let mut workspaces = BTreeMap::new();
        for given in &task.workspaces {
            let own = (given.name == "kubeconfig").then(|| self.flow.accounts.get(&task.name)).flatten();
            if let Some(folder) = own.or_else(|| self.flow.workspaces.get(&given.workspace)) {
                workspaces.insert(given.name.clone(), folder.clone());
            }
        }
        self.flow.run.task_begun(task, last)?;
        let ended = task::run(self.flow, task, &params, &workspaces, tell)
            .with_context(|| format!("task `{}`", task.name))?;
        self.ended.gone = ended.gone;
        if !ended.gone {
            self.flow.run.task_ended(task, &ended)?;
        }
        let succeeded = ended.succeeded || task.on_error == OnError::Continue;
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
        let mut texts = task.params.iter().map(|p| &p.value).chain(whens);
        texts.find_map(|text| self.missing_in(text))
    }

    fn missing_in(&self, text: &str) -> Option<String> {
        let mut results = expressions(text).into_iter().filter(|e| e.contains(".results."));
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
            match expression {
                "context.pipelineRun.name" => return Some(self.flow.run.name.clone()),
                "context.pipelineRun.namespace" => return Some(self.flow.run.namespace.clone()),
                _ => {}
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

/// The tasks that this one waits for: by order, and by the results that it takes.
fn parents(task: &PipelineTask) -> Vec<String> {
    let whens = task.when.iter().flat_map(|w| std::iter::once(&w.input).chain(&w.values));
    let texts = task.params.iter().map(|p| &p.value).chain(whens);
    let producer = |expression: &str| {
        let (name, _) = expression.strip_prefix("tasks.")?.split_once(".results.")?;
        Some(name.to_owned())
    };
    task.run_after.iter().cloned().chain(texts.flat_map(|t| expressions(t)).filter_map(producer)).collect()
}
