//! `stop-start-vm`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(stop_start_vm::stop_start_vm)
}
