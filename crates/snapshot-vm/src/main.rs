//! `snapshot-vm`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(snapshot_vm::snapshot_vm)
}
