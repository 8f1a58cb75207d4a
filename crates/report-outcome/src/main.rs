//! Says how a flow ended.

fn main() -> std::process::ExitCode {
    step::run(async |args, context| report_outcome::report_outcome(&args, &context).await)
}
