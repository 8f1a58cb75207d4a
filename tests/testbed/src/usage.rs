//! How much memory a process took.

#![expect(unsafe_code, reason = "nothing safe gives the usage of one child")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context as _, Result, ensure};

use crate::said::Said;

/// Run it to its end: what it left, and the most memory that it had at once, in bytes (`ru_maxrss` of getrusage(2)).
pub fn run(command: &mut Command) -> Result<(Output, u64)> {
    let said = Said::of(command)?;
    let child =
        command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let pid = i32::try_from(child.id())?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both places are ours and live longer than the call; zero is a value of each
    let (ended, usage) =
        unsafe { (libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()), usage.assume_init()) };
    ensure!(ended == pid, "cannot wait for it: {}", std::io::Error::last_os_error());
    // its status is read, so there is nothing left to wait for
    drop(child);
    let peak = u64::try_from(usage.ru_maxrss)? * 1024;
    Ok((said.output(ExitStatus::from_raw(status))?, peak))
}
