//! The built binary: its checks on a real API server, where the test writes what KubeVirt and the kubelet would; its run of a
//! program with a script in the place of virt-customize. Neither shows what the real ones do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../../verify-vm/tests/bed/mod.rs"]
mod bed;
mod check;
mod customize;
