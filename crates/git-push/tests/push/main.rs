//! The built binary against a real Git server over HTTP.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod contention;
mod faults;
mod files;
mod killed;
mod refused;
mod support;
mod trust;
