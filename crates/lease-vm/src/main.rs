//! `lease-vm`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(lease_vm::lease_vm)
}
