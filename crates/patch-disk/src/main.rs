//! `patch-disk`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(patch_disk::patch_disk)
}
