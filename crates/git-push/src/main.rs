//! git-push
fn main() {}
