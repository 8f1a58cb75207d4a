//! Tables of objects as the controllers write them.

mod application;
mod locks;
mod machine;
mod removal;
mod stopped;

use std::time::Duration;

use serde_json::Value;

use super::{Failed, Pending, State};

/// A JSON merge patch (RFC 7396), to say how one object differs from another.
fn merged(mut base: Value, patch: &Value) -> Value {
    merge(&mut base, patch);
    base
}

fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *base = patch.clone();
        return;
    };
    for (name, value) in fields {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else if value.is_object() && base.get(name).is_some_and(Value::is_object) {
            merge(&mut base[name], value);
        } else {
            base[name] = value.clone();
        }
    }
}

fn pending(reason: &str, message: &str) -> State {
    State::Pending(Pending { reason: reason.to_owned(), message: message.to_owned(), patience: None })
}

fn patient(reason: &str, message: &str, seconds: u64) -> State {
    let patience = Some(Duration::from_secs(seconds));
    State::Pending(Pending { reason: reason.to_owned(), message: message.to_owned(), patience })
}

fn failed(reason: &str, message: &str) -> State {
    State::Failed(Failed { reason: reason.to_owned(), message: message.to_owned() })
}
