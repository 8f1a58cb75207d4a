//! `wait-synced`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(wait_synced::wait_synced)
}
