//! `restore-vm`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(restore_vm::restore_vm)
}
