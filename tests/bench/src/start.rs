//! What one short run of a program costs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testbed::usage;

/// The median of several runs, and the memory of one more.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// From before the process is there until it is gone.
    pub took: Duration,
    /// The most memory that it had at once, in bytes.
    pub peak: u64,
}

/// Run it so many times and once more; `command` is told which time it is.
pub fn run(times: u32, command: impl Fn(u32) -> Command) -> Result<Run> {
    let mut took = Vec::new();
    for time in 0..times {
        let mut command = command(time);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status()?;
        took.push(start.elapsed());
        ensure!(status.success(), "`{command:?}` ended with {status}");
    }
    took.sort_unstable();
    let took = took.get(took.len() / 2).copied().context("it was never run")?;
    // once more: to look at its memory takes time
    let mut command = command(times);
    let (output, peak) = usage::run(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{command:?}` ended with {}:\n{said}", output.status);
    Ok(Run { took, peak })
}
