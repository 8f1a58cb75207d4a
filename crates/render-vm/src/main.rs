//! `render-vm`: a normalised request becomes the files that Git holds.

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(async |args: render_vm::Args, context| render_vm::render_vm(&args, &context).await)
}
