//! How much memory a process took.

#![expect(unsafe_code, reason = "nothing safe stops a child at its end")]

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Output};
use std::ptr::null_mut;

use anyhow::{Context as _, Result, ensure};
use libc::{c_int, c_uint, c_void, pid_t};

use crate::said::Said;

/// What ptrace(2) has stopped it for.
enum Stop {
    /// Its program is loaded.
    Begins,
    /// It is about to end; its memory is still there.
    Ends,
    /// It is to get this signal.
    Signal(c_int),
}

/// Run it to its end: what it left, and the most memory that it had at once, in bytes (`VmHWM` of proc(5)). What its own children had
/// is not in it. `ru_maxrss` of getrusage(2) would be at least what this process has, for Linux counts it from before the exec.
pub fn run(command: &mut Command) -> Result<(Output, u64)> {
    let said = Said::of(command)?;
    let traced = || call(libc::PTRACE_TRACEME, 0, 0);
    // SAFETY: between fork and exec it makes one system call and allocates nothing
    unsafe { command.pre_exec(traced) };
    let child =
        command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let pid = i32::try_from(child.id())?;
    // its status is read here, so there is nothing left to wait for
    drop(child);
    let mut peak = None;
    loop {
        let mut status = 0;
        // SAFETY: the place is ours and lives longer than the call; this thread has begun the child, as ptrace wants it
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, null_mut()) };
        ensure!(ended == pid, "cannot wait for it: {}", std::io::Error::last_os_error());
        let Some(stop) = stop(status) else {
            let peak = peak.context("it ended without a stop")?;
            return Ok((said.output(ExitStatus::from_raw(status))?, peak));
        };
        let signal = match stop {
            Stop::Begins => {
                call(libc::PTRACE_SETOPTIONS, pid, libc::PTRACE_O_TRACEEXIT)?;
                0
            }
            Stop::Ends => {
                peak = Some(most(pid)?);
                0
            }
            Stop::Signal(signal) => signal,
        };
        call(libc::PTRACE_CONT, pid, signal)?;
    }
}

/// None if it has ended.
const fn stop(status: c_int) -> Option<Stop> {
    if !libc::WIFSTOPPED(status) {
        return None;
    }
    Some(match (libc::WSTOPSIG(status), status >> 16) {
        (libc::SIGTRAP, libc::PTRACE_EVENT_EXIT) => Stop::Ends,
        (libc::SIGTRAP, _) => Stop::Begins,
        (signal, _) => Stop::Signal(signal),
    })
}

fn call(request: c_uint, pid: pid_t, data: c_int) -> std::io::Result<()> {
    let data = std::ptr::without_provenance_mut::<c_void>(data.cast_unsigned() as usize);
    // SAFETY: none of the requests that are made here reads or writes memory of ours
    match unsafe { libc::ptrace(request, pid, null_mut::<c_void>(), data) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn most(pid: pid_t) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no `VmHWM`")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::run;

    #[test]
    fn what_it_took_is_its_own() {
        // this process has as much in its memory, which a child by fork or vfork would count as its own
        let ours = vec![1_u8; 64 << 20];
        let (output, small) = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout.as_slice(), output.stderr.as_slice()),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        assert!(small < 32 << 20, "{small} with {} here", ours.len());
        let words = "x=$(head -c 20000000 /dev/zero | tr '\\0' a); echo ${#x}";
        let (output, large) = run(Command::new("sh").args(["-c", words])).unwrap();
        assert_eq!(output.stdout, b"20000000\n");
        assert!(large > 20_000_000, "{large}");
    }

    #[test]
    fn a_signal_ends_it() {
        let (output, _) = run(Command::new("sh").args(["-c", "kill -TERM $$"])).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(15));
    }
}
