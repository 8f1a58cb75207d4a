//! What Tekton keeps of a flow, and what it comes down to.
//!
//! The names of labels, annotations and reasons are those of tektoncd/pipeline, `pkg/apis/pipeline/register.go` and
//! `pkg/apis/pipeline/v1`.

use std::collections::BTreeMap;

use serde_json::Value;

/// A TaskRun's place in its Pipeline: `tasks` or `finally`.
const MEMBER_OF: &str = "tekton.dev/memberOf";
/// The name within the Pipeline.
const PIPELINE_TASK: &str = "tekton.dev/pipelineTask";
/// `continue` where the Pipeline goes on, and counts as succeeded, though the task failed.
const ON_ERROR: &str = "pipeline.tekton.dev/pipeline-task-on-error";
/// What stands between a message and its way out.
const HINT: &str = "; hint: ";

/// The way out of what was rolled back: the same request has had its turn.
const ANEW: &str = "a new attempt needs a request with an id of its own";

/// The task that declares a machine stopped which a later one brings back or removes.
const STOP: &str = "publish-stop";
/// What its failure leaves behind.
const OFF: &str = "; the machine stays declared stopped";

/// How a flow ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `ok` or the word of the failure.
    pub(crate) outcome: String,
    /// The line for the requester.
    pub(crate) message: String,
    /// Whether Tekton itself will show the run as failed.
    pub(crate) shown: bool,
}

/// The tasks of a flow in the order in which they began, without those of `finally`.
#[derive(Debug)]
pub(crate) struct Flow {
    tasks: Vec<Task>,
    /// Why the run was ended before its last task, if it was.
    cut: Option<Cut>,
}

/// Why tasks were left out, other than by a condition of the Pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Stopped,
    Cancelled,
    Timeout,
}

impl Flow {
    /// From the PipelineRun and its TaskRuns.
    pub(crate) fn new(run: &Value, task_runs: &[Value]) -> Self {
        let mut tasks: Vec<Task> = task_runs
            .iter()
            .filter(|t| text(t, &format!("/metadata/labels/{}", escaped(MEMBER_OF))) != "finally")
            .map(Task::new)
            .collect();
        // all are RFC 3339 in UTC; a task that never started has the time at which it was made
        tasks.sort_by(|a, b| (&a.began, &a.ended).cmp(&(&b.began, &b.ended)));
        let skipped = run.pointer("/status/skippedTasks").and_then(Value::as_array);
        let cut = skipped.into_iter().flatten().find_map(|s| match text(s, "/reason") {
            "PipelineRun was gracefully stopped" => Some(Cut::Stopped),
            "PipelineRun was gracefully cancelled" => Some(Cut::Cancelled),
            "PipelineRun timeout has been reached" | "PipelineRun Tasks timeout has been reached" => {
                Some(Cut::Timeout)
            }
            _ => None,
        });
        Self { tasks, cut }
    }

    /// The machine's Lease and our own name in it, as the first task that took it said. A holder other than the request is
    /// somebody who was waited for in vain.
    pub(crate) fn lease(&self) -> Option<(&str, &str)> {
        let ours = |t: &'_ Task| t.result("request-id") == t.result("holder");
        self.tasks.iter().filter(|t| ours(t)).find_map(|t| Some((t.result("lease")?, t.result("holder")?)))
    }

    /// The flow's outcome: that of the first task that did not succeed, and what those behind it did about it.
    pub(crate) fn ended(&self) -> Ended {
        let Some(at) = self.tasks.iter().position(|t| !t.succeeded) else { return self.well() };
        let (outcome, message) = self.failure(at);
        let (what, hint) = match message.split_once(HINT) {
            Some((what, hint)) => (what, Some(hint)),
            None => (message.as_str(), None),
        };
        let later = &self.tasks[at + 1..];
        let (done, hint) = match (later.iter().position(|t| !t.succeeded), later.last()) {
            (Some(failed), _) => {
                (format!("; rolling back failed: {}", self.failure(at + 1 + failed).1), hint)
            }
            // the run was ended between two tasks: the rest of the way back was not gone
            (None, Some(last)) if self.cut.is_some() => {
                let done = format!("; rolling back was not finished, so far: {}", last.message());
                (done, Some("run the same request again: it goes on where this run ended"))
            }
            // what the failed task advised is over
            (None, Some(last)) => (format!("; rolled back: {}", last.message()), Some(ANEW)),
            (None, None) => (String::new(), hint),
        };
        let shown = self.tasks.iter().any(|t| !t.succeeded && !t.ignored);
        if let Some(way_out) = self.stays_off() {
            // there is one hint, and this one brings the machine back
            let done = done.split_once(HINT).map_or(done.as_str(), |(done, _)| done);
            return Ended { outcome, message: format!("{what}{done}{OFF}{HINT}{way_out}"), shown };
        }
        let hint = hint.filter(|_| !done.contains(HINT)).map_or_else(String::new, |h| format!("{HINT}{h}"));
        Ended { outcome, message: format!("{what}{done}{hint}"), shown }
    }

    /// The way out where Git declares the machine stopped only for what was to be done meanwhile: nothing that came later has
    /// declared it otherwise, or may have.
    fn stays_off(&self) -> Option<&'static str> {
        let at = self.tasks.iter().position(|t| t.name == STOP && t.succeeded)?;
        let stop = &self.tasks[at];
        // what was finished by an earlier run is off for another reason
        if stop.result("until") != Some("stopped") || stop.result("finished") == Some("true") {
            return None;
        }
        let later = self.tasks[at + 1..].iter().filter(|t| t.name.starts_with("publish-"));
        if later.into_iter().any(Task::may_have_pushed) {
            return None;
        }
        Some(match self.tasks.iter().find_map(|t| t.result("operation")) {
            Some("deprovision") => "run the same request again, or ask for `start`",
            // disks may be half changed: a mere start is refused until they are whole
            Some("patch" | "restore") => "run the same request again, or restore a snapshot",
            _ => "run the same request again",
        })
    }

    /// No task failed.
    fn well(&self) -> Ended {
        // what the cluster shows tells the requester more than a commit that tidies up behind it
        let told = self.tasks.iter().rev().find(|t| t.result("commit").is_none()).or(self.tasks.last());
        let off = self.cut.and_then(|_| self.stays_off());
        let off = off.map_or_else(String::new, |way_out| format!("{OFF}{HINT}{way_out}"));
        let so_far =
            told.map_or_else(|| "nothing was done".to_owned(), |t| format!("so far: {}", t.message()));
        let (outcome, message) = match (self.cut, told) {
            (Some(Cut::Stopped), _) => {
                ("cancelled", format!("the run was stopped before its last task; {so_far}{off}"))
            }
            (Some(Cut::Cancelled), _) => {
                ("cancelled", format!("the run was cancelled before its last task; {so_far}{off}"))
            }
            (Some(Cut::Timeout), _) => {
                ("timeout", format!("the time of the run was over before its last task; {so_far}{off}"))
            }
            (None, Some(told)) => ("ok", told.message().to_owned()),
            (None, None) => ("unknown", "no task was run; the PipelineRun's status says why".to_owned()),
        };
        Ended { outcome: outcome.to_owned(), message, shown: false }
    }

    /// Outcome and words of a task that did not succeed.
    fn failure(&self, at: usize) -> (String, String) {
        let task = &self.tasks[at];
        // `ok` of a task that failed is the word of an earlier step: the one that failed could not write its own
        if let Some(outcome) = task.result("outcome").filter(|outcome| *outcome != "ok") {
            return (outcome.to_owned(), task.message().to_owned());
        }
        let committed = self.tasks[..at].iter().any(|t| t.result("commit").is_some());
        task.lost(committed)
    }
}

/// One TaskRun.
#[derive(Debug)]
struct Task {
    name: String,
    began: String,
    ended: String,
    succeeded: bool,
    /// The Pipeline goes on though it failed.
    ignored: bool,
    reason: String,
    /// Tekton's own sentence.
    said: String,
    results: BTreeMap<String, String>,
}

impl Task {
    fn new(run: &Value) -> Self {
        let condition = succeeded(run);
        let started = text(run, "/status/startTime");
        let results = run.pointer("/status/results").and_then(Value::as_array);
        let results = results.into_iter().flatten();
        Self {
            name: text(run, &format!("/metadata/labels/{}", escaped(PIPELINE_TASK))).to_owned(),
            began: if started.is_empty() { text(run, "/metadata/creationTimestamp") } else { started }
                .to_owned(),
            ended: text(run, "/status/completionTime").to_owned(),
            succeeded: text(condition, "/status") == "True",
            ignored: text(run, &format!("/metadata/annotations/{}", escaped(ON_ERROR))) == "continue",
            reason: text(condition, "/reason").to_owned(),
            said: text(condition, "/message").to_owned(),
            results: results.map(|r| (text(r, "/name").to_owned(), text(r, "/value").to_owned())).collect(),
        }
    }

    /// A result that says something.
    fn result(&self, name: &str) -> Option<&str> {
        self.results.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether what it was to push is in Git, or nobody knows: the others say that nothing was changed.
    fn may_have_pushed(&self) -> bool {
        self.succeeded || matches!(self.result("outcome"), None | Some("ok" | "unknown"))
    }

    fn message(&self) -> &str {
        self.result("message").unwrap_or("it left no word")
    }

    /// The words for a task that ended without any of its own.
    fn lost(&self, committed: bool) -> (String, String) {
        let (outcome, what) = match self.reason.as_str() {
            // also where the PipelineRun ran into its own timeout: Tekton ends its tasks by cancelling them
            "TaskRunCancelled" => {
                ("cancelled", "was cancelled, by somebody or by the timeout of the run".to_owned())
            }
            "TaskRunTimeout" => ("timeout", "was ended by Tekton's own timeout".to_owned()),
            // hides the reason behind it, which is in the sentence
            "FailureIgnored" => ("unknown", format!("ended without a word: {}", self.said)),
            "" => ("unknown", "has not ended".to_owned()),
            reason => ("unknown", format!("ended without a word: {reason}")),
        };
        let hint = if committed {
            "the change is in Git and will be applied; the same request may be run again to wait for it"
        } else {
            "the same request may be run again: what is done already is found and kept"
        };
        (outcome.to_owned(), format!("`{}` {what}{HINT}{hint}", self.name))
    }
}

/// Whether a PipelineRun has come to its end: `Unknown` is what it is until then.
pub(crate) fn over(run: &Value) -> bool {
    matches!(text(succeeded(run), "/status"), "True" | "False")
}

/// The condition that says how a PipelineRun or TaskRun is doing.
fn succeeded(run: &Value) -> &Value {
    let conditions = run.pointer("/status/conditions").and_then(Value::as_array);
    let condition = conditions.into_iter().flatten().find(|c| text(c, "/type") == "Succeeded");
    condition.unwrap_or(&Value::Null)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// One key within a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
