//! One Task: its steps in order, as processes of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::kill::{self, Aftermath, Kill, Moment};
use super::model::{Object, OnError, PipelineTask, Step, Task, Variable, Volume};
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
    /// Tekton's reason.
    pub(super) reason: &'static str,
    /// The run ends here, by [`Aftermath::Gone`].
    pub(super) gone: bool,
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
    pub(super) const fn reason(&self) -> &'static str {
        self.reason
    }

    /// Tekton's sentence.
    pub(super) fn message(&self) -> String {
        match self.steps.last().filter(|_| !self.succeeded) {
            Some(step) => format!("\"step-{}\" exited with code {}", step.name, step.code),
            None if self.succeeded => "All Steps have completed executing".to_owned(),
            None => "the pod was lost".to_owned(),
        }
    }

    /// Every step exited with 0, and nothing else happened.
    const fn new() -> Self {
        Self {
            succeeded: true,
            results: BTreeMap::new(),
            steps: Vec::new(),
            reason: "Succeeded",
            gone: false,
        }
    }

    fn failed(&mut self, on_error: OnError) {
        self.succeeded = false;
        self.reason = if on_error == OnError::Continue { "FailureIgnored" } else { "StepFailed" };
    }

    /// A step died: what comes of the task.
    fn died(mut self, aftermath: Aftermath) -> Self {
        self.succeeded = false;
        self.gone = aftermath == Aftermath::Gone;
        self.reason = "PodEvicted";
        self.results.clear();
        self
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
    let pod = Pod::new(flow, within, &task.spec, given, workspaces, folder.path())?;
    let claims = pod.claims()?;
    if claims.is_empty() {
        return steps(&pod, within, tell);
    }
    flow.run.pod_begun(&pod.run, &task.metadata.labels, &claims)?;
    let ended = steps(&pod, within, tell)?;
    if ended.gone {
        flow.run.pod_gone(&pod.run)?;
    } else {
        flow.run.pod_ended(&pod.run, ended.succeeded)?;
    }
    Ok(ended)
}

/// Its steps, in their order.
fn steps(pod: &Pod<'_>, within: &PipelineTask, tell: &mut dyn FnMut(Event<'_>)) -> Result<TaskEnded> {
    let flow = pod.flow;
    let mut ended = TaskEnded::new();
    for step in &pod.task.steps {
        let kill = flow.kill.as_ref().filter(|k| k.task == within.name && k.step == step.name);
        if let Some(Kill { moment: Moment::Before, aftermath, .. }) = kill {
            return Ok(ended.died(*aftermath));
        }
        let command = pod.command(step)?;
        tell(Event::Begun { task: &within.name, step: &step.name, command: &command });
        let after = kill.and_then(|k| if let Moment::During(after) = k.moment { Some(after) } else { None });
        let code = pod.step(step, &command, after, &mut |text| {
            tell(Event::Line { task: &within.name, step: &step.name, text });
        });
        let (code, killed) = code.with_context(|| format!("step `{}`", step.name))?;
        tell(Event::Ended { task: &within.name, step: &step.name, code });
        ended.steps.push(StepEnded { name: step.name.clone(), code });
        match kill {
            Some(Kill { moment: Moment::During(_), aftermath, .. }) if killed => {
                return Ok(ended.died(*aftermath));
            }
            Some(Kill { moment: Moment::Behind, aftermath, .. }) => return Ok(ended.died(*aftermath)),
            _ => {}
        }
        if code != 0 {
            ended.failed(within.on_error);
            break;
        }
    }
    for result in &pod.task.results {
        let path = pod.result(&result.name);
        if path.is_file() {
            ended.results.insert(result.name.clone(), fs::read_to_string(path)?);
        }
    }
    Ok(ended)
}

/// What the steps of one Task share.
struct Pod<'a> {
    flow: &'a Flow,
    /// Name of the TaskRun.
    run: String,
    task: &'a Task,
    params: BTreeMap<&'a str, &'a str>,
    workspaces: &'a BTreeMap<String, PathBuf>,
    folder: &'a Path,
}

impl<'a> Pod<'a> {
    fn new(
        flow: &'a Flow,
        within: &PipelineTask,
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
        for volume in task.volumes.iter().filter(|v| v.empty_dir.is_some()) {
            fs::create_dir_all(folder.join("volumes").join(&volume.name))?;
        }
        Ok(Self { flow, run: flow.run.task_run(within), task, params, workspaces, folder })
    }

    fn result(&self, name: &str) -> PathBuf {
        self.folder.join("results").join(name)
    }

    /// The command line of a step.
    fn command(&self, step: &Step) -> Result<Vec<String>> {
        let word = |word: &String| {
            self.isolated(step, word)?;
            let word = self.moved(step, word)?;
            // Tekton leaves the names of variables alone, and the kubelet fills them in
            match variable(step, &word) {
                Some((flag, variable)) => Ok(format!("{flag}{}", self.variable(variable)?)),
                None => self.fill(&word),
            }
        };
        step.command.iter().chain(&step.args).map(word).collect()
    }

    /// A path below a mounted volume, where that volume is here. Done before params are filled in, so that only what the Task
    /// itself says is moved.
    fn moved(&self, step: &Step, word: &str) -> Result<String> {
        let (flag, path) = word.split_once('=').map_or(("", word), |(flag, path)| (flag, path));
        let mounts = step.volume_mounts.iter().map(|m| (&m.name, &m.mount_path));
        let devices = step.volume_devices.iter().map(|d| (&d.name, &d.device_path));
        for (name, mounted) in mounts.chain(devices) {
            let volume = self.task.volumes.iter().find(|v| v.name == *name);
            let volume = volume.with_context(|| {
                format!("step `{}` mounts `{name}`, which is no volume of the Task", step.name)
            })?;
            let Some(below) = path.strip_prefix(mounted.as_str()) else { continue };
            if below.is_empty() || below.starts_with('/') {
                let here = self.volume(volume)?.display().to_string() + below;
                return Ok(if flag.is_empty() { here } else { format!("{flag}={here}") });
            }
        }
        Ok(word.to_owned())
    }

    /// Where a volume is here.
    fn volume(&self, volume: &Volume) -> Result<PathBuf> {
        if let Some(claim) = &volume.persistent_volume_claim {
            let claim = self.fill(&claim.claim_name)?;
            return self
                .flow
                .claims
                .get(&claim)
                .cloned()
                .with_context(|| format!("there is no volume for `{claim}`"));
        }
        ensure!(volume.empty_dir.is_some(), "volume `{}` is not here: there is no pod", volume.name);
        Ok(self.folder.join("volumes").join(&volume.name))
    }

    /// The volumes of the namespace that it mounts.
    fn claims(&self) -> Result<Vec<String>> {
        let claims = self.task.volumes.iter().filter_map(|v| v.persistent_volume_claim.as_ref());
        claims.map(|claim| self.fill(&claim.claim_name)).collect()
    }

    /// The value of a variable that comes from the pod.
    fn variable(&self, variable: &Variable) -> Result<String> {
        match variable.value_from.as_ref().map(|from| from.field_ref.field_path.as_str()) {
            Some("metadata.name") => Ok(format!("{}-pod", self.run)),
            // Tekton gives the pod the labels of its TaskRun
            Some("metadata.labels['tekton.dev/pipelineRun']") => Ok(self.flow.run.name.clone()),
            _ => bail!("variable `{}` is not known here", variable.name),
        }
    }

    /// A workspace that any step names is mounted into those steps alone.
    fn isolated(&self, step: &Step, word: &str) -> Result<()> {
        for workspace in &self.task.workspaces {
            let names = |s: &Step| s.workspaces.iter().any(|w| w.name == workspace.name);
            let hidden = self.task.steps.iter().any(names) && !names(step);
            ensure!(
                !hidden || !word.contains(&format!("$(workspaces.{}.path)", workspace.name)),
                "step `{}` uses the workspace `{}`, which other steps have to themselves",
                step.name,
                workspace.name
            );
        }
        Ok(())
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
            match expression {
                "context.taskRun.name" => return Some(self.run.clone()),
                "context.taskRun.namespace" => return Some(self.flow.run.namespace.clone()),
                _ => {}
            }
            let name = expression.strip_prefix("workspaces.")?.strip_suffix(".path")?;
            self.task.workspaces.iter().find(|w| w.name == name)?;
            Some(self.workspaces.get(name).map_or_else(String::new, |folder| folder.display().to_string()))
        })
    }

    /// Start a step and hear it to its end; its exit code, and whether it was killed.
    fn step(
        &self,
        step: &Step,
        command: &[String],
        kill: Option<Duration>,
        line: &mut dyn FnMut(&str),
    ) -> Result<(i32, bool)> {
        let binaries = self.flow.binaries();
        let (program, arguments) = command.split_first().context("no command")?;
        let program = binaries.join(program);
        let (reader, writer) = std::io::pipe()?;
        let mut child = Command::new(&program);
        // a group of its own: what it starts dies with it
        child.args(arguments).env_clear().env("PATH", binaries).current_dir("/").process_group(0);
        for variable in &step.env {
            let value = match variable.value_from {
                Some(_) => self.variable(variable)?,
                None => self.fill(&self.moved(step, &variable.value)?)?,
            };
            child.env(&variable.name, value);
        }
        child.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut running = child.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        // our ends of the pipe: they would keep it open
        drop(child);
        let read = || -> Result<()> {
            for text in BufReader::new(reader).split(b'\n') {
                line(&String::from_utf8_lossy(&text?));
            }
            Ok(())
        };
        let (read, killed) = kill::watch(&running, kill, read)?;
        read?;
        Ok((running.wait()?.code().unwrap_or(-1), killed))
    }
}

/// An argument `--flag=$(VARIABLE)`, in two.
fn variable<'a>(step: &'a Step, word: &'a str) -> Option<(&'a str, &'a Variable)> {
    let (flag, name) = word.split_once("$(")?;
    let name = name.strip_suffix(')')?;
    step.env.iter().find(|v| v.name == name && v.value_from.is_some()).map(|v| (flag, v))
}
