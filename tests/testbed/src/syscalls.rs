//! A process whose system calls are counted, and that is killed before one of them.
//!
//! `strace --inject=all:signal=KILL:when=N` does nearly that, but counts by thread and by name (strace(1), "tampering"), so that many
//! moments of a process with several threads have no number. Here all calls of all threads have one order: that in which the
//! kernel stops them for us. A call before which the process is killed is not carried out.

#![expect(
    unsafe_code,
    reason = "nothing safe wraps ptrace but nix, which has every crate here built again for a feature of libc"
)]

use std::collections::HashSet;
use std::ffi::c_int;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Output};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};

use crate::said::Said;

/// With `PTRACE_O_TRACESYSGOOD` a stop at a system call, and nothing else, is this "signal".
const CALL: c_int = libc::SIGTRAP | 0x80;

/// How a process ended.
#[derive(Debug)]
pub struct Traced {
    /// The system calls that it began, by all of its threads.
    pub calls: usize,
    /// What it left; killed, the status has the signal 9.
    pub output: Output,
}

/// Run it to its end, or kill it when it begins the call of this number, counted from 1; a run that makes fewer ends by itself.
/// Processes that it starts are not followed.
///
/// # Errors
///
/// Where it cannot be started, or the machine forbids ptrace.
pub fn run(command: &mut Command, at: Option<usize>) -> Result<Traced> {
    // a tracer is a thread, and this one has no other child: it may wait for whoever comes
    let tracer = std::thread::scope(|scope| scope.spawn(|| trace(command, at)).join());
    tracer.map_err(|_| anyhow!("the tracer has panicked"))?
}

fn trace(command: &mut Command, at: Option<usize>) -> Result<Traced> {
    let said = Said::of(command)?;
    // SAFETY: between fork and exec there is one system call, which touches no memory
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, None, 0)) };
    let child = command.spawn().context("cannot start it under ptrace")?;
    let (calls, status) = follow(Pid::from_child(&child), at).context("cannot trace it")?;
    let output = said.output(status)?;
    // its status is read, so there is nothing left to wait for
    drop(child);
    Ok(Traced { calls, output })
}

fn follow(leader: Pid, at: Option<usize>) -> Result<(usize, ExitStatus)> {
    let (_, stopped) = wait(Some(leader))?;
    ensure!(stopped.stopping_signal() == Some(libc::SIGTRAP), "it does not stop at its start: {stopped:?}");
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_EXITKILL;
    ptrace(libc::PTRACE_SETOPTIONS, Some(leader), options)?;
    ptrace(libc::PTRACE_SYSCALL, Some(leader), 0)?;
    let (mut known, mut inside, mut calls) = (HashSet::from([leader]), HashSet::new(), 0);
    loop {
        let (thread, status) = wait(None)?;
        let Some(signal) = status.stopping_signal() else {
            // the first thread is the last to be told of
            if thread == leader {
                return Ok((calls, ExitStatus::from_raw(status.as_raw())));
            }
            continue;
        };
        let event = status.as_raw() >> 16 != 0;
        let mut passed_on = 0;
        if signal == CALL {
            // each call stops twice, before and after
            if !inside.remove(&thread) {
                inside.insert(thread);
                calls += 1;
                if at == Some(calls) {
                    process::kill_process(leader, Signal::KILL)?;
                    continue;
                }
            }
        } else if !event && !known.insert(thread) {
            passed_on = signal;
        }
        match ptrace(libc::PTRACE_SYSCALL, Some(thread), passed_on) {
            // the process ends, and its threads wherever they are
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            other => other?,
        }
    }
}

/// The next stop or end of this process, or of any thread that this one traces.
fn wait(pid: Option<Pid>) -> Result<(Pid, WaitStatus)> {
    let options = WaitOptions::from_bits_retain((libc::__WALL | libc::__WNOTHREAD).cast_unsigned());
    loop {
        let next = if pid.is_some() { process::waitpid(pid, options) } else { process::wait(options) };
        match next {
            Err(Errno::INTR) | Ok(None) => {}
            other => return other?.context("nobody is there"),
        }
    }
}

fn ptrace(request: libc::c_uint, thread: Option<Pid>, data: c_int) -> io::Result<()> {
    let (thread, nothing, data) =
        (Pid::as_raw(thread), std::ptr::null_mut::<libc::c_void>(), libc::c_long::from(data));
    // SAFETY: these requests read and write no memory, ours or that of the thread
    let answer = unsafe { libc::ptrace(request, thread, nothing, data) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
