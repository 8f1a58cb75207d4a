//! One Task: its steps in order, as processes of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::model::{Object, PipelineTask, Step, Task};
use super::substitute::substitute;
use super::{Event, Flow};

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnded {
    /// Whether every step exited with 0.
    pub succeeded: bool,
    /// The declared results that were written; where several steps wrote one, the last.
    pub results: BTreeMap<String, String>,
    /// The steps that were run.
    pub steps: Vec<StepEnded>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepEnded {
    /// Its name.
    pub name: String,
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
}

impl TaskEnded {
    /// Tekton's reason (since 1.15; before, `Failed` in place of `StepFailed`).
    pub(super) fn reason(&self) -> &'static str {
        if self.succeeded { "Succeeded" } else { "StepFailed" }
    }
}

/// Run the Task that `within` refers to.
pub(super) fn run(
    flow: &Flow,
    within: &PipelineTask,
    given: &BTreeMap<String, String>,
    workspaces: &BTreeMap<String, PathBuf>,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<TaskEnded> {
    let task: Object<Task> = Object::read(&flow.task_file(&within.task_ref.name))?;
    ensure!(task.kind == "Task", "`{}` is not a Task", within.task_ref.name);
    let folder = tempfile::tempdir().context("cannot make a folder for the task")?;
    let pod = Pod::new(&task.spec, given, workspaces, folder.path())?;
    let mut ended = TaskEnded { succeeded: true, results: BTreeMap::new(), steps: Vec::new() };
    for step in &task.spec.steps {
        let command = pod.command(step)?;
        tell(Event::Begun { task: &within.name, step: &step.name, command: &command });
        let code = pod.step(flow.binaries(), step, &command, &mut |text| {
            tell(Event::Line { task: &within.name, step: &step.name, text });
        });
        let code = code.with_context(|| format!("step `{}`", step.name))?;
        tell(Event::Ended { task: &within.name, step: &step.name, code });
        ended.steps.push(StepEnded { name: step.name.clone(), code });
        if code != 0 {
            ended.succeeded = false;
            break;
        }
    }
    for result in &task.spec.results {
        let path = pod.result(&result.name);
        if path.is_file() {
            ended.results.insert(result.name.clone(), fs::read_to_string(path)?);
        }
    }
    Ok(ended)
}

/// What the steps of one Task share.
struct Pod<'a> {
    task: &'a Task,
    params: BTreeMap<&'a str, &'a str>,
    workspaces: &'a BTreeMap<String, PathBuf>,
    folder: &'a Path,
}

impl<'a> Pod<'a> {
    fn new(
        task: &'a Task,
        given: &'a BTreeMap<String, String>,
        workspaces: &'a BTreeMap<String, PathBuf>,
        folder: &'a Path,
    ) -> Result<Self> {
        for name in given.keys() {
            ensure!(task.params.iter().any(|p| p.name == *name), "it has no param `{name}`");
        }
        for name in workspaces.keys() {
            ensure!(task.workspaces.iter().any(|w| w.name == *name), "it has no workspace `{name}`");
        }
        for workspace in &task.workspaces {
            let bound = workspaces.contains_key(&workspace.name);
            ensure!(bound || workspace.optional, "its workspace `{}` is not bound", workspace.name);
        }
        let mut params = BTreeMap::new();
        for param in &task.params {
            let value = given.get(&param.name).or(param.default.as_ref());
            let value = value
                .with_context(|| format!("its param `{}` has neither a value nor a default", param.name))?;
            params.insert(param.name.as_str(), value.as_str());
        }
        fs::create_dir(folder.join("results"))?;
        for volume in &task.volumes {
            fs::create_dir_all(folder.join("volumes").join(&volume.name))?;
        }
        Ok(Self { task, params, workspaces, folder })
    }

    fn result(&self, name: &str) -> PathBuf {
        self.folder.join("results").join(name)
    }

    /// The command line of a step.
    fn command(&self, step: &Step) -> Result<Vec<String>> {
        step.command.iter().chain(&step.args).map(|word| self.fill(&self.moved(step, word)?)).collect()
    }

    /// A path below a mounted volume, where that volume is here. Done before params are filled in, so that only what the Task
    /// itself says is moved.
    fn moved(&self, step: &Step, word: &str) -> Result<String> {
        let (flag, path) = word.split_once('=').map_or(("", word), |(flag, path)| (flag, path));
        for mount in &step.volume_mounts {
            let known = self.task.volumes.iter().any(|v| v.name == mount.name);
            ensure!(known, "step `{}` mounts `{}`, which is no volume of the Task", step.name, mount.name);
            let Some(below) = path.strip_prefix(&mount.mount_path) else { continue };
            if below.is_empty() || below.starts_with('/') {
                let here = self.folder.join("volumes").join(&mount.name).display().to_string() + below;
                return Ok(if flag.is_empty() { here } else { format!("{flag}={here}") });
            }
        }
        Ok(word.to_owned())
    }

    fn fill(&self, text: &str) -> Result<String> {
        substitute(text, |expression| {
            if let Some(name) = expression.strip_prefix("params.") {
                return self.params.get(name).map(|v| (*v).to_owned());
            }
            if let Some(name) = expression.strip_prefix("results.").and_then(|e| e.strip_suffix(".path")) {
                let declared = self.task.results.iter().any(|r| r.name == name);
                return declared.then(|| self.result(name).display().to_string());
            }
            let name = expression.strip_prefix("workspaces.")?.strip_suffix(".path")?;
            self.task.workspaces.iter().find(|w| w.name == name)?;
            Some(self.workspaces.get(name).map_or_else(String::new, |folder| folder.display().to_string()))
        })
    }

    /// Start a step and hear it to its end; its exit code.
    fn step(
        &self,
        binaries: &Path,
        step: &Step,
        command: &[String],
        line: &mut dyn FnMut(&str),
    ) -> Result<i32> {
        let (program, arguments) = command.split_first().context("no command")?;
        let program = binaries.join(program);
        let (reader, writer) = std::io::pipe()?;
        let mut child = Command::new(&program);
        child.args(arguments).env_clear().env("PATH", binaries).current_dir("/");
        for variable in &step.env {
            child.env(&variable.name, self.fill(&self.moved(step, &variable.value)?)?);
        }
        child.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut running = child.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        // our ends of the pipe: they would keep it open
        drop(child);
        for text in BufReader::new(reader).split(b'\n') {
            line(&String::from_utf8_lossy(&text?));
        }
        Ok(running.wait()?.code().unwrap_or(-1))
    }
}
