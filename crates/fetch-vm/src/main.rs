//! `fetch-vm`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(fetch_vm::fetch_vm)
}
