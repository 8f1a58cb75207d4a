//! render-vm
fn main() {}
