//! Bytes as a policy: no panic, neither when it is read nor when it is looked over nor when requests are held against it; each problem
//! is one short line about a place, and what is accepted by a policy is rendered.
#![no_main]

use fuzz::{checker, held, rendered, requests, told};
use libfuzzer_sys::fuzz_target;
use vm::document::Form;

fuzz_target!(|bytes: &[u8]| {
    // a policy that is refused with every request may be looked over as well: that is one of the findings
    let looked_over = checker().policy_check(bytes);
    for finding in looked_over.iter().flatten() {
        assert!(!finding.to_string().contains(char::is_control), "{finding}");
    }
    let policy = checker().policy(bytes);
    let nothing_is_odd = looked_over.as_ref().is_ok_and(Vec::is_empty);
    assert!(policy.is_ok() || !nothing_is_odd, "nothing is odd about what is refused");
    assert!(policy.is_err() || looked_over.is_ok(), "what is read cannot be looked over");
    let policy = match policy {
        Ok(policy) => policy,
        Err(problems) => return told(&problems),
    };
    for (at, (_, request)) in requests().iter().enumerate() {
        let verdict = checker().check(request, Form::Any, &policy).unwrap();
        held(&verdict);
        // each in its turn: all of them every time would be most of the time
        if at == bytes.len() % requests().len() {
            rendered(&verdict);
        }
    }
});
