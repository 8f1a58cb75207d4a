//! Bytes as the strings of a request that is rendered: what is let out has the structure that placeholders give, and says so twice.
//!
//! The first byte chooses the request, the rest are its strings, one after the other, with 0xff between them; what is not given stays.
#![no_main]

use fuzz::{templates, wanted};
use libfuzzer_sys::fuzz_target;
use render_vm::{Broken, Lock};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let all = wanted();
    let one = &all[usize::from(*first) % all.len()];
    let mut strings = rest.split(|byte| *byte == 0xff).map(|text| String::from_utf8_lossy(text).into_owned());
    let context = with(&one.context, &mut strings);
    let lock = Lock::new(templates(), one.template, &context).expect("placeholders render");
    match lock.render(templates(), &context, &one.expected()) {
        Ok(text) => {
            assert!(text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{text}");
            let tree: Value = render_vm::parse(&text).expect("what is let out parses");
            let again: Value = render_vm::parse(&render_vm::document(&tree)).expect("and does so again");
            assert_eq!(tree, again);
        }
        // another name than the one that the file has to have: nothing is let out
        Err(Broken::Object(_)) => {}
        Err(broken) => panic!("{broken}\n{context}"),
    }
});

/// The same context with other strings, for as long as there are any.
fn with(context: &Value, next: &mut impl Iterator<Item = String>) -> Value {
    match context {
        // an empty value is taken for an absent one, and no request has any
        Value::String(text) => Value::from(next.next().filter(|given| !given.is_empty()).unwrap_or_else(|| text.clone())),
        Value::Array(items) => items.iter().map(|item| with(item, next)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), with(value, next))).collect(),
        other => other.clone(),
    }
}
