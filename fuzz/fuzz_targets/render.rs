//! Bytes as the strings of a request that is rendered: what is let out has the structure that placeholders give, and says so twice.
//!
//! The first byte chooses the request, the rest are its strings, one after the other, with 0xff between them; what is not given stays.
#![no_main]

use fuzz::{templates, wanted};
use libfuzzer_sys::fuzz_target;
use render_vm::{Broken, Expected, Lock, Wanted};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let all = wanted();
    let one = &all[usize::from(*first) % all.len()];
    let mut strings = rest.split(|byte| *byte == 0xff).map(|text| String::from_utf8_lossy(text).into_owned());
    let mut values = Vec::new();
    let context = with(&one.context, &mut |text| {
        // an empty value is taken for an absent one, and no request has any
        let value = strings.next().filter(|given| !given.is_empty()).unwrap_or_else(|| text.to_owned());
        values.push(value.clone());
        value
    });
    let lock = Lock::new(templates(), one.template, &context).expect("placeholders render");
    match lock.render(templates(), &context, &one.expected()) {
        Ok(text) => {
            assert!(text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{text}");
            let tree: Value = render_vm::parse(&text).expect("what is let out parses");
            assert_eq!(tree, filled(&marked(&lock, one), &values), "{text}");
            let again: Value = render_vm::parse(&render_vm::document(&tree)).expect("and does so again");
            assert_eq!(tree, again);
        }
        // another name than the one that the file has to have: nothing is let out
        Err(Broken::Object(_)) => {}
        Err(broken) => panic!("{broken}\n{context}"),
    }
});

/// The tree of a file with marks in place of strings: by another way than the lock's own.
fn marked(lock: &Lock, one: &Wanted) -> Value {
    let mut numbers = 0..;
    let context = with(&one.context, &mut |_| format!("mark-{}", numbers.next().unwrap()));
    let text = |key: &str| context[key].as_str();
    let expected = Expected {
        name: one.expected().name.and_then(|_| text("name")),
        namespace: one.expected().namespace.and_then(|_| text("namespace")),
    };
    let text = lock.render(templates(), &context, &expected).expect("marks render");
    render_vm::parse(&text).expect("and parse")
}

/// The same tree with values in place of the marks.
fn filled(tree: &Value, values: &[String]) -> Value {
    match tree {
        Value::String(text) => match text.strip_prefix("mark-") {
            Some(number) => Value::from(values[number.parse::<usize>().unwrap()].clone()),
            None => tree.clone(),
        },
        Value::Array(items) => items.iter().map(|item| filled(item, values)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), filled(value, values))).collect(),
        other => other.clone(),
    }
}

/// The same context with other strings.
fn with(context: &Value, next: &mut impl FnMut(&str) -> String) -> Value {
    match context {
        Value::String(text) => Value::from(next(text)),
        Value::Array(items) => items.iter().map(|item| with(item, next)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), with(value, next))).collect(),
        other => other.clone(),
    }
}
