//! `git-push`: wiring, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(git_push::git_push)
}
