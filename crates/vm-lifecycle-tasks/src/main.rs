//! Run the step that this executable is called as; by its own name, print the names of all steps, one on a line.
#![expect(clippy::print_stdout, reason = "the names are for whoever makes the links to it")]

use std::path::PathBuf;
use std::process::ExitCode;

use vm_lifecycle_tasks::{PROGRAMS, program};

fn main() -> ExitCode {
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if let Some(main) = called.file_name().and_then(|name| name.to_str()).and_then(program) {
        return main();
    }
    for (name, _) in PROGRAMS {
        println!("{name}");
    }
    ExitCode::SUCCESS
}
