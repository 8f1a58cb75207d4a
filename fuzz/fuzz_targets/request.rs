//! Bytes as a request: no panic, each problem one short line about a place, and what is accepted is accepted again as it was written.
#![no_main]

use fuzz::{checker, held};
use libfuzzer_sys::fuzz_target;
use vm::policy::Policy;

fuzz_target!(|bytes: &[u8]| held(&checker().check(bytes, vm::document::Form::Any, &Policy::default()).unwrap()));
