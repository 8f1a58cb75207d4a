//! What a schema cannot say, as pure functions on the document. Each takes what it needs by pointer and is silent where
//! the schema complains already, so that one fault is one problem.

mod accept;
mod access;
mod against;
mod day_two;
mod environment;
mod expiry;
mod image;
mod labels;
mod machine;
mod names;
mod network;
mod node;
mod policy_file;
mod reference;
mod site;
mod text;
mod zone;

use serde_json::Value;

pub use accept::{accept, accepted};
pub use against::against;
pub use environment::on_machine;
pub(crate) use image::twofold;
pub use names::name;
pub use policy_file::{policy_check, policy_file};
pub(crate) use text::looks_secret;

use crate::policy::Policy;
use crate::problem::{Code, Problem};

/// Every problem of a request: those that the schema found, and those of the rules and the policy. Sorted by place;
/// empty means accepted.
pub fn request(request: &Value, policy: &Policy, mut schema: Vec<Problem>) -> Vec<Problem> {
    let mut found = Vec::new();
    if names::will_be_made(request, policy) {
        schema.retain(|problem| !(problem.pointer == names::TARGET && problem.code == Code::Required));
    }
    let facts = Facts { request, schema: &schema };
    for rule in [
        names::check,
        machine::check,
        network::check,
        labels::check,
        image::check,
        reference::check,
        access::check,
        expiry::check,
        zone::check,
        day_two::check,
        text::check,
    ] {
        rule(&facts, &mut found);
    }
    site::check(&facts, policy, &mut found);
    merge(schema, found)
}

/// A secret, or syntax that something would replace, explains why the same string has not the right form.
fn merge(mut schema: Vec<Problem>, mut found: Vec<Problem>) -> Vec<Problem> {
    let explained = |p: &Problem| {
        matches!(p.code, Code::Pattern | Code::Length)
            && found.iter().any(|f| f.pointer == p.pointer && matches!(f.code, Code::Secret | Code::Template))
    };
    schema.retain(|p| !explained(p));
    schema.append(&mut found);
    schema.sort_by(Problem::order);
    schema.dedup();
    schema
}

/// The document as far as the schema found nothing wrong with it.
struct Facts<'a> {
    request: &'a Value,
    schema: &'a [Problem],
}

/// As [`Value::pointer`], which allocates for every step on the way in case there is an escape in it.
fn at<'a>(document: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return document.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(document, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

impl<'a> Facts<'a> {
    /// The value there, if it is there and right.
    fn get(&self, pointer: &str) -> Option<&'a Value> {
        let above = |p: &Problem| {
            pointer == p.pointer || pointer.strip_prefix(&p.pointer).is_some_and(|r| r.starts_with('/'))
        };
        // a field that is missing or unknown says nothing about its neighbours; those above are of the wrong type
        if self.schema.iter().any(above) { None } else { at(self.request, pointer) }
    }

    fn text(&self, pointer: &str) -> Option<&'a str> {
        self.get(pointer).and_then(Value::as_str)
    }

    /// The operation, if it is one.
    fn operation(&self) -> Option<&'a str> {
        self.text("/spec/operation")
    }

    fn number(&self, pointer: &str) -> Option<u64> {
        self.get(pointer).and_then(Value::as_u64)
    }

    /// The value there, parsed by its type.
    fn parsed<T: std::str::FromStr>(&self, pointer: &str) -> Option<T> {
        self.text(pointer).and_then(|text| text.parse().ok())
    }

    /// The items of the list there, each with its pointer.
    fn items(&self, pointer: &str) -> Vec<(String, &'a Value)> {
        let list = self.get(pointer).and_then(Value::as_array);
        list.into_iter().flatten().enumerate().map(|(at, item)| (format!("{pointer}/{at}"), item)).collect()
    }

    /// Whether the schema found nothing wrong there, above and below: only then can things be counted.
    fn whole(&self, pointer: &str) -> bool {
        let below = |p: &Problem| p.pointer.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/'));
        self.get(pointer).is_some() && !self.schema.iter().any(below)
    }

    /// Whether the mapping there has a field that is not known.
    fn has_unknown(&self, pointer: &str) -> bool {
        let inside = |p: &Problem| p.pointer.rsplit_once('/').is_some_and(|(parent, _)| parent == pointer);
        self.schema.iter().any(|p| p.code == Code::UnknownField && inside(p))
    }

    /// Whether it is there at all, right or wrong.
    fn has(&self, pointer: &str) -> bool {
        self.request.pointer(pointer).is_some()
    }
}
