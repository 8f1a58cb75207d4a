//! wait-synced
fn main() {}
