//! validate-request
fn main() {}
