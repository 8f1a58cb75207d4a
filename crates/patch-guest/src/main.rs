//! `patch-guest`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(patch_guest::patch_guest)
}
