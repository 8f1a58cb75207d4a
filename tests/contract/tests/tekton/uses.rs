//! Where binaries are used: in every Task and every StepAction.

use testbed::pipeline::model::{Named, Param, Step};

use crate::binaries::Binary;
use crate::world::World;

/// One use of a binary, wherever it is.
pub(crate) struct Use<'a> {
    pub(crate) file: String,
    /// The Task or StepAction.
    pub(crate) owner: &'a str,
    pub(crate) binary: &'a Binary,
    pub(crate) step_action: bool,
    pub(crate) composed: bool,
    pub(crate) args: Vec<(&'a str, &'a str)>,
    pub(crate) params: &'a [Param],
    pub(crate) results: &'a [Named],
    /// Name, and whether it may be unbound.
    pub(crate) workspaces: Vec<(&'a str, bool)>,
    pub(crate) step: Option<&'a Step>,
}

/// Every use; a command or an argument of another form is a problem.
pub(crate) fn uses<'a>(world: &'a World, problems: &mut Vec<String>) -> Vec<Use<'a>> {
    let mut uses = Vec::new();
    let mut split = |file: &str, command: &'a [String], args: &'a [String]| {
        let binary = match command {
            // from a volume where another image finds it
            [one] => world.binary(one.strip_prefix("/work/").unwrap_or(one)),
            _ => None,
        };
        if binary.is_none() {
            problems.push(format!("{file}: `command: {command:?}` is not one binary of ours"));
        }
        let mut pairs = Vec::new();
        for arg in args {
            match arg.strip_prefix("--").and_then(|a| a.split_once('=')) {
                Some(pair) => pairs.push(pair),
                None => problems.push(format!("{file}: `{arg}` is not of the form `--flag=value`")),
            }
        }
        binary.map(|binary| (binary, pairs))
    };
    for (name, action) in &world.actions {
        let file = format!("tekton/stepactions/{name}.yaml");
        let spec = &action.spec;
        if let Some((binary, args)) = split(&file, &spec.command, &spec.args) {
            let (params, results) = (&spec.params[..], &spec.results[..]);
            let (step_action, composed, workspaces, step) = (true, false, Vec::new(), None);
            uses.push(Use {
                file,
                owner: name,
                binary,
                step_action,
                composed,
                args,
                params,
                results,
                workspaces,
                step,
            });
        }
    }
    for (name, task) in &world.tasks {
        let file = format!("tekton/tasks/{name}.yaml");
        let composed = world.binary(name).is_none();
        for step in &task.spec.steps {
            let Some((binary, args)) = split(&file, &step.command, &step.args) else { continue };
            let (params, results) = (&task.spec.params[..], &task.spec.results[..]);
            let workspaces = task.spec.workspaces.iter().map(|w| (w.name.as_str(), w.optional)).collect();
            let (file, step_action, step) = (file.clone(), false, Some(step));
            uses.push(Use {
                file,
                owner: name,
                binary,
                step_action,
                composed,
                args,
                params,
                results,
                workspaces,
                step,
            });
        }
    }
    uses
}

/// What stands behind `--flag=`.
pub(crate) enum Value<'a> {
    Param(&'a str),
    /// The workspace, and a constant path below it.
    Workspace(&'a str, &'a str),
    Outcome,
    /// A variable that the kubelet fills in.
    Variable,
    Constant,
    Unknown,
}

impl Value<'_> {
    /// Whether it is this param.
    pub(crate) fn is_param(&self, name: &str) -> bool {
        matches!(self, Self::Param(param) if *param == name)
    }
}

pub(crate) fn value(text: &str, step_action: bool) -> Value<'_> {
    let whole = text.strip_prefix("$(").and_then(|t| t.split_once(')'));
    let outcome = if step_action { "step.results.outcome.path" } else { "results.outcome.path" };
    match whole {
        None if text.contains('$') => Value::Unknown,
        None => Value::Constant,
        Some((_, rest)) if rest.contains('$') => Value::Unknown,
        Some((expression, "")) if expression == outcome => Value::Outcome,
        Some(("POD_NAME" | "PIPELINE_RUN", "")) => Value::Variable,
        Some((expression, rest)) => {
            if let Some(name) = expression.strip_prefix("params.").filter(|_| rest.is_empty()) {
                Value::Param(name)
            } else if let Some(name) =
                expression.strip_prefix("workspaces.").and_then(|e| e.strip_suffix(".path"))
            {
                Value::Workspace(name, rest)
            } else {
                Value::Unknown
            }
        }
    }
}
