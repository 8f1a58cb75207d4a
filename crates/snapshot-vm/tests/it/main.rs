//! The built binary against a world in memory, whose `KubeVirt` snapshots disks that are words.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../../../snapshots/tests/bed/mod.rs"]
mod bed;
mod create;
mod environment;
mod remove;

use bed::Run;
use bed::world::World;

/// Begin with the machine and these flags.
fn begin(world: &World, flags: &[&str]) -> Run {
    let flags: Vec<&str> = ["--vm=team-a/web01"].iter().chain(flags).copied().collect();
    Run::begin(env!("CARGO_BIN_EXE_snapshot-vm"), world, &flags)
}
