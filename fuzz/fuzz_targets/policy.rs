//! Bytes as a policy: no panic, neither when it is read nor when it is looked over nor when requests are held against it.
#![no_main]

use fuzz::{checker, held, requests};
use libfuzzer_sys::fuzz_target;
use vm::document::Form;

fuzz_target!(|bytes: &[u8]| {
    // a policy that is refused with every request may be looked over as well: that is one of the findings
    for finding in checker().policy_check(bytes).unwrap_or_default() {
        assert!(!finding.to_string().contains(char::is_control), "{finding}");
    }
    let Ok(policy) = checker().policy(bytes) else { return };
    for (_, request) in requests() {
        held(&checker().check(request, Form::Any, &policy).unwrap());
    }
});
