//! The built binary against a real OpenSSH server, whose guest is this machine: the shell, the processes and the files are real;
//! `sudo` is a script, and a restart of the guest is written, not made. The step with the
//! token is in the flows' tests.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../../verify-vm/tests/bed/mod.rs"]
mod bed;
mod doors;
mod once;
mod server;
