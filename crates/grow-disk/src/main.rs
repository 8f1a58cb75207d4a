//! `grow-disk`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(grow_disk::grow_disk)
}
