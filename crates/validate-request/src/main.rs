//! validate-request

use std::process::ExitCode;

fn main() -> ExitCode {
    step::run(validate_request::validate_request)
}
