//! The built binary against a real Git server over HTTP, and against a stand-in for KubeVirt's API server, which shows nothing
//! of what a real KubeVirt does.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod api;
mod cluster;
mod contention;
mod files;
mod git;
mod held;
mod kubevirt;
mod restart;
mod support;
mod world;
