//! The edge of every binary: run, failures, exit codes, logging, results, signals, flag groups.
//!
//! A binary declares itself by [`Step`] on its clap arguments and hands one async function to [`run`]. Everything that
//! all of them must do alike is here and nowhere else: how arguments are read, where logs go, how a deadline or a signal
//! ends the work, what is printed last, which results are written, and which code the process ends with.

mod context;
mod duration;
mod failure;
mod log;
mod policy;
mod results;
mod run;
mod text;

pub use context::Context;
pub use duration::{Timeout, human};
pub use failure::{Failure, Kind, Signal};
pub use log::LogFormat;
pub use policy::{PolicyArgs, policy_file, refuse};
pub use results::{CHANGED, EVERY_STEP, LIMIT, MESSAGE, OUTCOME, TASK_LIMIT};
pub use run::{Done, EdgeArgs, Step, command, parse, run};
pub use text::one_line;
