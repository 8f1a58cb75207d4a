//! Bytes as a request: no panic, each problem one short line about a place, and what is accepted is read again as it was written,
//! and rendered.
#![no_main]

use fuzz::{checker, held, rendered};
use libfuzzer_sys::fuzz_target;
use vm::policy::Policy;

fuzz_target!(|bytes: &[u8]| {
    let verdict = checker().check(bytes, vm::document::Form::Any, &Policy::default()).unwrap();
    held(&verdict);
    rendered(&verdict);
});
