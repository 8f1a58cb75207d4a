//! Bytes as a policy: no panic, neither when it is read nor when it is looked over nor when requests are held against it.
#![no_main]

use fuzz::{checker, held, requests};
use libfuzzer_sys::fuzz_target;
use vm::document::Form;

fuzz_target!(|bytes: &[u8]| {
    let found = checker().policy_check(bytes);
    let Ok(policy) = checker().policy(bytes) else {
        assert!(found.is_err(), "it can be looked over and not read");
        return;
    };
    for finding in found.unwrap_or_default() {
        assert!(!finding.to_string().contains('\n'), "{finding}");
    }
    for (_, request) in requests() {
        held(&checker().check(request, Form::Any, &policy).unwrap());
    }
});
