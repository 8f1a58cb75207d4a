//! How a flow ended, in one line for the requester, from what its tasks left behind.
//!
//! Runs in `finally`, so it has to cope with every ending: tasks that wrote their results, tasks that were cancelled or lost
//! before they could, tasks that never started. It exits 0 whatever it reports; the PipelineRun fails by the task that failed.

use step::{Context, Done, EdgeArgs, Failure, Step, Timeout};

/// How the flow ended: `ok` or the word of the failure, see [`step::Kind::word`].
pub const FLOW_OUTCOME: &str = "flow-outcome";
/// The line for the requester: what was done, or what went wrong and the way out.
pub const FLOW_MESSAGE: &str = "flow-message";

/// Say how a flow ended, in one line for the requester
#[derive(Debug, clap::Parser)]
#[command(name = "report-outcome", version)]
pub struct Args {
    /// Result `outcome` of the task that publishes the change
    #[arg(long, value_name = "WORD")]
    pub publish_outcome: Option<String>,
    /// Result `message` of the task that publishes the change
    #[arg(long, value_name = "TEXT")]
    pub publish_message: Option<String>,
    /// Tekton's reason for how the task that publishes the change ended
    #[arg(long, value_name = "REASON")]
    pub publish_reason: Option<String>,
    /// Result `outcome` of the task that awaits the machine
    #[arg(long, value_name = "WORD")]
    pub await_outcome: Option<String>,
    /// Result `message` of the task that awaits the machine
    #[arg(long, value_name = "TEXT")]
    pub await_message: Option<String>,
    /// Tekton's reason for how the task that awaits the machine ended
    #[arg(long, value_name = "REASON")]
    pub await_reason: Option<String>,
    /// What every step has.
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[FLOW_OUTCOME, FLOW_MESSAGE];
    const TIMEOUT: Timeout = Timeout::seconds(60);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Work out the flow's outcome and write it down.
pub fn report_outcome(args: &Args, context: &Context) -> Result<Done, Failure> {
    let (outcome, message) = outcome(args);
    tracing::info!("{outcome}: {message}");
    context.result(FLOW_OUTCOME, &outcome);
    context.result(FLOW_MESSAGE, message);
    Ok(Done::new(format!("reported `{outcome}`")))
}

/// The flow's outcome and its line: the words of the last task that left some, unless a later one ended without a word.
fn outcome(args: &Args) -> (String, String) {
    let publishing = Task {
        name: "publish-vm",
        outcome: args.publish_outcome.as_deref(),
        message: args.publish_message.as_deref(),
        reason: args.publish_reason.as_deref(),
    };
    let awaiting = Task {
        name: "await-vm",
        outcome: args.await_outcome.as_deref(),
        message: args.await_message.as_deref(),
        reason: args.await_reason.as_deref(),
    };
    let unknown = |message: String| ("unknown".to_owned(), message);
    match (awaiting.ending(), publishing.ending()) {
        (Ending::Lost(reason), Ending::Said("ok", _) | Ending::Succeeded) => awaiting.lost(
            reason,
            "the change is in Git and will be applied; the same request may be run again to wait for it",
        ),
        (Ending::Nothing, Ending::Said("ok", message)) => unknown(format!("not waited for: {message}")),
        (Ending::Said(outcome, message), _) | (_, Ending::Said(outcome, message)) => {
            (outcome.to_owned(), message.to_owned())
        }
        (_, Ending::Lost(reason)) => publishing.lost(
            reason,
            "the change may be in Git; the same request may be run again, it is done only once",
        ),
        (_, Ending::Succeeded | Ending::Nothing) => {
            unknown("no task left any word; its log and the PipelineRun's status say more".to_owned())
        }
    }
}

/// What one task of the flow left behind.
struct Task<'a> {
    name: &'static str,
    outcome: Option<&'a str>,
    message: Option<&'a str>,
    reason: Option<&'a str>,
}

/// How it ended.
enum Ending<'a> {
    /// In its own words.
    Said(&'a str, &'a str),
    /// Well, but its results were not handed to us.
    Succeeded,
    /// By Tekton, for this reason, before it could write its results.
    Lost(&'a str),
    /// It never ran, or nothing was said about it.
    Nothing,
}

impl<'a> Task<'a> {
    fn ending(&self) -> Ending<'a> {
        // an unset param arrives as no flag at all, the reason of a task that never ran as nothing or `None`
        match (self.outcome, self.reason.filter(|r| *r != "None")) {
            // `ok` of a task that failed is the word of an earlier step: the one that failed could not write its own
            (Some("ok"), Some(reason)) if reason != "Succeeded" => Ending::Lost(reason),
            (Some(outcome), _) => Ending::Said(outcome, self.message.unwrap_or_default()),
            (None, Some("Succeeded")) => Ending::Succeeded,
            (None, Some(reason)) => Ending::Lost(reason),
            (None, None) => Ending::Nothing,
        }
    }

    /// The words for a task that ended without any. The reasons are those of Tekton's `TaskRunReason…` constants
    /// (tektoncd/pipeline `pkg/apis/pipeline/v1/taskrun_types.go`).
    fn lost(&self, reason: &str, hint: &str) -> (String, String) {
        let (outcome, what) = match reason {
            // also where the PipelineRun ran into its own timeout: Tekton ends its tasks by cancelling them
            "TaskRunCancelled" => {
                ("cancelled", "was cancelled, by somebody or by the timeout of the run".to_owned())
            }
            "TaskRunTimeout" => ("timeout", "was ended by Tekton's own timeout".to_owned()),
            _ => ("unknown", format!("ended without a word: {reason}")),
        };
        (outcome.to_owned(), format!("`{}` {what}; hint: {hint}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Args, outcome};

    fn said(flags: &[&str]) -> String {
        let flags = std::iter::once(&"report-outcome").chain(flags).map(|f| (*f).into());
        let (outcome, message) = outcome(&step::parse::<Args>(flags).unwrap());
        format!("{outcome}: {message}")
    }

    #[test]
    fn every_ending_has_its_word() {
        for (flags, line) in [
            (
                &[
                    "--publish-outcome=ok",
                    "--publish-message=pushed `abc`",
                    "--await-outcome=ok",
                    "--await-message=`web` is running",
                    "--publish-reason=Succeeded",
                    "--await-reason=Succeeded",
                ][..],
                "ok: `web` is running",
            ),
            (
                &[
                    "--publish-outcome=ok",
                    "--publish-message=pushed `abc`",
                    "--await-outcome=failed",
                    "--await-message=image missing",
                    "--await-reason=StepFailed",
                ],
                "failed: image missing",
            ),
            (
                &[
                    "--publish-outcome=invalid",
                    "--publish-message=2 problems",
                    "--publish-reason=Failed",
                    "--await-outcome=",
                    "--await-message=",
                    "--await-reason=",
                ],
                "invalid: 2 problems",
            ),
            (
                &[
                    "--publish-outcome=conflict",
                    "--publish-message=there is a `web` already",
                    "--await-reason=None",
                ],
                "conflict: there is a `web` already",
            ),
            (
                &["--publish-reason=Succeeded", "--await-reason=TaskRunCancelled"],
                "cancelled: `await-vm` was cancelled, by somebody or by the timeout of the run; hint: the change is in Git and will be applied; the same request may be \
                 run again to wait for it",
            ),
            (
                &["--publish-reason=Succeeded", "--await-reason=TaskRunTimeout"],
                "timeout: `await-vm` was ended by Tekton's own timeout; hint: the change is in Git and will be applied; the \
                 same request may be run again to wait for it",
            ),
            (
                &["--publish-reason=TaskRunImagePullFailed", "--await-reason="],
                "unknown: `publish-vm` ended without a word: TaskRunImagePullFailed; hint: the change may be in Git; the same \
                 request may be run again, it is done only once",
            ),
            (
                &["--publish-reason=TaskRunCancelled"],
                "cancelled: `publish-vm` was cancelled, by somebody or by the timeout of the run; hint: the change may be in Git; the same request may be run again, it \
                 is done only once",
            ),
            (
                &["--publish-outcome=ok", "--publish-message=rendered 4 files", "--publish-reason=StepOOM"],
                "unknown: `publish-vm` ended without a word: StepOOM; hint: the change may be in Git; the same request may be \
                 run again, it is done only once",
            ),
            (
                &["--publish-outcome=ok", "--publish-message=pushed `abc`"],
                "unknown: not waited for: pushed `abc`",
            ),
            (&[], "unknown: no task left any word; its log and the PipelineRun's status say more"),
        ] {
            assert_eq!(said(flags), line, "{flags:?}");
        }
    }
}
