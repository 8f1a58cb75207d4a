//! The death of a step, at a boundary or in its midst.

use std::process::Child;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

/// Which step dies, when, and what comes of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The name within the Pipeline.
    pub task: String,
    /// The step of the Task.
    pub step: String,
    /// When.
    pub moment: Moment,
    /// What comes of the run.
    pub aftermath: Aftermath,
}

/// When a step dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before its first instruction.
    Before,
    /// By SIGKILL this long after its start; never, if it has ended by then.
    During(Duration),
    /// After its last instruction, whatever it exited with, before anybody heard of it.
    Behind,
}

/// What comes of the run of which a step died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aftermath {
    /// Nothing more is run and nobody is told: the run was deleted, or its cluster is gone.
    Gone,
    /// The pod is lost with its results, the task has failed, and the run goes on as its Pipeline says.
    TaskLost,
}

/// Kill the process group of `child` after this long, unless it has closed its output by then. Returns whether it was killed.
///
/// `read` returns when the output is closed. The child is not reaped before both are over, so its id is still its own.
pub(super) fn watch<T>(
    child: &Child,
    after: Option<Duration>,
    read: impl FnOnce() -> T,
) -> Result<(T, bool)> {
    let Some(after) = after else { return Ok((read(), false)) };
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process without an id")?;
    let (over, heard) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let killer = scope.spawn(move || match heard.recv_timeout(after) {
            Err(RecvTimeoutError::Timeout) => kill_process_group(id, Signal::KILL).is_ok(),
            _ => false,
        });
        let value = read();
        drop(over);
        Ok((value, killer.join().unwrap_or(false)))
    })
}
