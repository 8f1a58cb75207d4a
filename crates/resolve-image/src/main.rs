//! `resolve-image`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(resolve_image::resolve_image)
}
