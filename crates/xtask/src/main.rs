//! cargo xtask: demo, test, image, e2e, bench, check.
fn main() {}
