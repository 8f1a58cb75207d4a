//! The built binary on a real API server where the test plays the controllers.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../bed/mod.rs"]
mod bed;
mod disks;
mod machine;
mod prove;
mod rights;

use bed::{Bed, Ended, Run};

/// Begin to verify `web01` of this namespace.
fn begin(bed: &Bed, flags: &[&str]) -> Run {
    let vm = format!("--vm={}/web01", bed.namespace);
    let all: Vec<&str> = [vm.as_str()].into_iter().chain(flags.iter().copied()).collect();
    Run::begin(env!("CARGO_BIN_EXE_verify-vm"), &bed.plane.kubeconfig(), &all)
}

async fn verify(bed: &Bed, flags: &[&str]) -> Ended {
    begin(bed, flags).end().await
}
