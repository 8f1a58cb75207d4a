//! `verify-vm`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(verify_vm::verify_vm)
}
