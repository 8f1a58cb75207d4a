//! One `run` for every binary.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::FromArgMatches;
use tokio::signal::unix::{self, SignalKind};

use crate::context::Context;
use crate::failure::{Failure, Kind, Signal};
use crate::log::{self, LogFormat};
use crate::results::{self, CHANGED, EVERY_STEP, MESSAGE, OUTCOME};
use crate::{Timeout, human, one_line};

/// After a signal or the deadline, work under way may take this long to end by itself: enough for a push to be answered.
const GRACE: Duration = Duration::from_secs(10);
/// The longest last line, in bytes.
const LINE: usize = 2000;

/// The flags that every binary has.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Every step")]
pub struct EdgeArgs {
    /// Give up after this long, such as `90s`, `10m` or `1h30m`
    #[arg(long, value_name = "DURATION")]
    pub timeout: Timeout,
    /// How log lines are written to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// File for the result `outcome`; the other results are written beside it, each to a file of its name
    #[arg(long, value_name = "FILE")]
    pub outcome_path: Option<PathBuf>,
}

/// What a binary says of itself, on its clap arguments.
pub trait Step: clap::CommandFactory + FromArgMatches {
    /// The results it writes besides [`EVERY_STEP`].
    const RESULTS: &'static [&'static str];
    /// The default of `--timeout`.
    const TIMEOUT: Timeout;

    /// The flags that every binary has.
    fn edge(&self) -> &EdgeArgs;

    /// When it has to be over: `--timeout`, unless another flag asks for a wait that comes on top of it.
    fn limit(&self) -> Duration {
        self.edge().timeout.get()
    }
}

/// The sentence after `done: `, lower case, no full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done(pub String);

impl Done {
    /// Done, in these words.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The clap command of a step, with its own default timeout: what the binary parses with and what contract tests read.
pub fn command<A: Step>() -> clap::Command {
    A::command().mut_arg("timeout", |arg| arg.required(false).default_value(A::TIMEOUT.to_string()))
}

/// Parse arguments as [`run`] does. An argument `--flag=` with nothing behind it counts as absent: that is how a Tekton
/// param without a value arrives.
pub fn parse<A: Step>(arguments: impl IntoIterator<Item = OsString>) -> Result<A, clap::Error> {
    let given = arguments
        .into_iter()
        .filter(|a| !a.to_str().is_some_and(|a| a.starts_with("--") && a.ends_with('=')));
    let mut command = command::<A>();
    let matches = command.try_get_matches_from_mut(given)?;
    A::from_arg_matches(&matches).map_err(|e| e.format(&mut command))
}

/// Run one step to its end and say how it ended: last line, results, exit code.
pub fn run<A: Step>(body: impl AsyncFnOnce(A, Context) -> Result<Done, Failure>) -> ExitCode {
    panic::set_hook(Box::new(|info| {
        // where, but not what: a payload may hold anything
        let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        tracing::error!("panicked{place}");
    }));
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let args = match parse::<A>(arguments.iter().cloned()) {
        Ok(args) => args,
        Err(error) => return refuse_arguments::<A>(&error, outcome_path(&arguments).as_deref()),
    };
    let edge = args.edge().clone();
    log::start(edge.log_format);
    let context = Context::new(args.limit());
    let ended = panic::catch_unwind(AssertUnwindSafe(|| drive(body, args, &context)));
    let ended = ended.unwrap_or_else(|_| Err(bug()));
    finish::<A>(&ended, context.results(), edge.outcome_path.as_deref())
}

/// The runtime, the deadline and the signals around the body.
fn drive<A: Step>(
    body: impl AsyncFnOnce(A, Context) -> Result<Done, Failure>,
    args: A,
    context: &Context,
) -> Result<Done, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Failure::new(Kind::Internal, format!("cannot start the runtime: {e}")))?;
    let ended = runtime.block_on(async {
        // before the work begins: whoever sees that it has may send a signal
        let mut signals = Signals::listen()?;
        let mut work = std::pin::pin!(body(args, context.clone()));
        let signal = tokio::select! {
            ended = &mut work => return ended,
            signal = signals.next() => Some(signal),
            () = tokio::time::sleep(context.left() + GRACE) => None,
        };
        context.stop();
        let Some(signal) = signal else {
            return Err(Failure::new(Kind::Timeout, format!("not done after {}", human(context.timeout()))));
        };
        Err(cancelled(signal, tokio::time::timeout(GRACE, work).await.ok()))
    });
    // a blocking call that outlived the grace must not hold the process
    runtime.shutdown_background();
    ended
}

/// What a signal made of the work; `None` if the work did not end in time.
fn cancelled(signal: Signal, ended: Option<Result<Done, Failure>>) -> Failure {
    let kind = Kind::Cancelled(signal);
    let name = signal.name();
    let message = match ended {
        Some(Err(failure)) if failure.kind() == kind => return failure,
        Some(Err(failure)) => format!("cancelled by {name}: {}", failure.message()),
        Some(Ok(Done(done))) => format!("cancelled by {name} when done: {done}"),
        None => format!("cancelled by {name} while still at work"),
    };
    Failure::new(kind, message).hint("run it again: what is done already is found and kept")
}

/// The signals that ask to stop, heard from the moment that this is made.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            unix::signal(kind)
                .map_err(|e| Failure::new(Kind::Internal, format!("cannot listen for signals: {e}")))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }
}

fn bug() -> Failure {
    Failure::new(Kind::Internal, "this program has a bug; the line above says where")
        .hint("report it with the log of this step")
}

/// How every step ends: the one place that prints the last line and writes results. CloudEvents for succeeded, failed and
/// cancelled will be sent from here too.
fn finish<A: Step>(
    ended: &Result<Done, Failure>,
    gathered: BTreeMap<&'static str, String>,
    outcome_path: Option<&Path>,
) -> ExitCode {
    let (word, message, code) = match ended {
        Ok(Done(message)) => ("ok", message.clone(), 0),
        Err(failure) => (failure.kind().word(), failure.to_string(), failure.kind().code()),
    };
    let mut values: BTreeMap<&'static str, String> =
        EVERY_STEP.iter().chain(A::RESULTS).map(|name| (*name, String::new())).collect();
    values.insert(CHANGED, "false".to_owned());
    values.extend(
        gathered.into_iter().filter(|(name, _)| EVERY_STEP.contains(name) || A::RESULTS.contains(name)),
    );
    values.extend([(OUTCOME, word.to_owned()), (MESSAGE, message)]);
    let written = outcome_path.map_or(Ok(()), |path| {
        let there = results::there(path, &values);
        results::write(path, &results::fit(values, there))
    });
    print(ended);
    match written {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            let failure = Failure::new(Kind::Usage, format!("cannot write results: {error}"))
                .hint("`--outcome-path` must be in a folder that this step may write to");
            print(&Err(failure));
            ExitCode::from(if code == 0 { Kind::Usage.code() } else { code })
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where the last line is printed")]
fn print(ended: &Result<Done, Failure>) {
    match ended {
        Ok(Done(message)) => eprintln!("done: {}", one_line(message, LINE)),
        Err(failure) => {
            for line in failure.detail_lines() {
                eprintln!("{}", one_line(line, LINE));
            }
            eprintln!("error: {}", one_line(failure.message(), LINE));
            if let Some(hint) = failure.hint_text() {
                eprintln!("hint: {}", one_line(hint, LINE));
            }
        }
    }
}

/// `--help` and `--version` are answered by clap on standard output; anything else is a failure like any other.
fn refuse_arguments<A: Step>(error: &clap::Error, outcome_path: Option<&Path>) -> ExitCode {
    if !error.use_stderr() {
        // nobody is left to tell if standard output is closed
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let what = text.split("\n\nUsage").next().unwrap_or(&text).split("\n\nFor more").next().unwrap_or(&text);
    let failure = Failure::new(Kind::Usage, what.trim_start_matches("error: "))
        .hint(format!("`{} --help` lists every flag", A::command().get_name()));
    finish::<A>(&Err(failure), BTreeMap::new(), outcome_path)
}

/// Where results go, found without clap: wrong arguments have to be reported there as well.
fn outcome_path(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().filter_map(|a| a.to_str());
    let argument = arguments.find(|a| a.starts_with("--outcome-path"))?;
    argument
        .strip_prefix("--outcome-path=")
        .or_else(|| arguments.next())
        .filter(|p| !p.is_empty())
        .map(PathBuf::from)
}
