//! The built binary against a real Git server over HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and tell what was drawn by lot"
)]

mod app;
mod contention;
mod counted;
mod cut;
mod elsewhere;
mod faults;
mod files;
mod interleaved;
mod killed;
mod lost;
mod merged;
mod proposed;
mod refused;
mod refused_by_forge;
mod rerender;
mod sign;
mod ssh;
mod support;
mod syscalls;
mod trace;
mod trust;
