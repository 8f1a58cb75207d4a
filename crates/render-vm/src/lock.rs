//! The structure lock: a value can never become structure.
//!
//! A template is rendered twice, with the real values and with a token in place of every string. Both are parsed. The trees
//! must have one shape, and their leaves may differ only where a token stands whole, in which case the real leaf must be
//! exactly the value. What breaks the lock is a bug in a template, never a fault of a request.

use serde_json::Value;

use crate::template::{Template, Templates};
use crate::yaml;

/// How a rendered file broke the lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The template stopped: a value is missing, or it prints what it may not.
    #[error("it does not render: {0}")]
    Render(String),
    /// What came out is not YAML as [`yaml::parse`] reads it.
    #[error("it does not parse: {0}")]
    Parse(String),
    /// A value changed the structure, or the text around it.
    #[error("a value became structure at `{0}`")]
    Structure(String),
    /// A leaf is not the value that was given for it.
    #[error("a value was altered at `{0}`")]
    Altered(String),
    /// A value was given and does not appear.
    #[error("the value of `{0}` is missing")]
    Missing(String),
    /// It is not the object it has to be.
    #[error("it has {0}")]
    Object(String),
}

/// What a rendered file has to be: the allowlist.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// Its `metadata.name`; `None` where the kind has none.
    pub name: Option<&'a str>,
    /// Its `metadata.namespace`; `None` where the kind has none.
    pub namespace: Option<&'a str>,
}

/// The tree of a template with tokens for strings, to hold any number of renders against. The shape of the context (which
/// keys it has, how long its lists are, which strings are present) belongs to the lock; its strings do not.
#[derive(Debug)]
pub struct Lock {
    template: Template,
    tree: Value,
    tokens: usize,
}

impl Lock {
    /// Render `template` with tokens in place of the strings of `context`.
    pub fn new(templates: &Templates, template: Template, context: &Value) -> Result<Self, Broken> {
        Self::of(templates, template, context, placeholders(context))
    }

    /// The same, where [`placeholders`] were made already.
    pub(crate) fn of(
        templates: &Templates,
        template: Template,
        context: &Value,
        (placeholders, tokens): (Value, usize),
    ) -> Result<Self, Broken> {
        let tree = parse(&render(templates, template, &placeholders)?)?;
        let mut used = vec![false; tokens];
        mark(&tree, &mut used);
        if let Some(missing) = used.iter().position(|used| !used) {
            return Err(Broken::Missing(place_of(context, missing)));
        }
        Ok(Self { template, tree, tokens })
    }

    /// What came out with the tokens.
    pub(crate) const fn tree(&self) -> &Value {
        &self.tree
    }

    /// Render with the real values and hold the result against the tokens and against what it has to be.
    pub fn render(
        &self,
        templates: &Templates,
        context: &Value,
        expected: &Expected<'_>,
    ) -> Result<String, Broken> {
        let text = render(templates, self.template, context)?;
        let tree = parse(&text)?;
        let mut strings = Vec::with_capacity(self.tokens);
        collect(context, &mut strings);
        same(&self.tree, &tree, &strings, &mut Vec::new())?;
        object(self.template, &tree, expected)?;
        Ok(text)
    }
}

fn render(templates: &Templates, template: Template, context: &Value) -> Result<String, Broken> {
    templates.render(template, context).map_err(|error| {
        let mut text = error.to_string();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        Broken::Render(text)
    })
}

fn parse(text: &str) -> Result<Value, Broken> {
    yaml::parse(text).map_err(|error| Broken::Parse(error.to_string()))
}

/// Nobody's value and no word of a template looks like this, and if one did, only its own file would be refused.
const TOKEN: &str = "~~token-";

fn token(number: usize) -> String {
    format!("{TOKEN}{number:06}~~")
}

/// The number of a token that is the whole text.
fn number(text: &str) -> Option<usize> {
    text.strip_prefix(TOKEN)?.strip_suffix("~~")?.parse().ok()
}

/// Whether a token stands in the text.
pub(crate) fn is_token(text: &str) -> bool {
    text.contains(TOKEN)
}

/// A context with a token in place of every string, and how many there are.
pub(crate) fn placeholders(context: &Value) -> (Value, usize) {
    let mut tokens = 0;
    (replace(context, &mut tokens), tokens)
}

fn replace(value: &Value, next: &mut usize) -> Value {
    match value {
        Value::String(_) => {
            *next += 1;
            Value::from(token(*next - 1))
        }
        Value::Array(items) => items.iter().map(|item| replace(item, next)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), replace(value, next))).collect(),
        other => other.clone(),
    }
}

/// The strings in the order in which [`replace`] numbers them.
fn collect<'a>(value: &'a Value, strings: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => strings.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, strings)),
        Value::Object(map) => map.values().for_each(|value| collect(value, strings)),
        _ => {}
    }
}

/// Mark the tokens that stand in the tree as whole leaves.
fn mark(tree: &Value, used: &mut [bool]) {
    let mut leaves = Vec::new();
    collect(tree, &mut leaves);
    for number in leaves.into_iter().filter_map(number) {
        if let Some(used) = used.get_mut(number) {
            *used = true;
        }
    }
}

/// Where in the context the string of this number is, for the message.
fn place_of(context: &Value, wanted: usize) -> String {
    fn find(value: &Value, wanted: usize, next: &mut usize, path: &mut Vec<String>) -> bool {
        let mut inner = |key: String, value: &Value| {
            path.push(key);
            let found = find(value, wanted, next, path);
            if !found {
                path.pop();
            }
            found
        };
        match value {
            Value::String(_) => {
                *next += 1;
                *next - 1 == wanted
            }
            Value::Array(items) => items.iter().enumerate().any(|(i, item)| inner(i.to_string(), item)),
            Value::Object(map) => map.iter().any(|(key, value)| inner(key.clone(), value)),
            _ => false,
        }
    }
    let mut path = Vec::new();
    find(context, wanted, &mut 0, &mut path);
    path.join(".")
}

/// One shape, and each leaf either the same or a token and its value.
fn same<'a>(
    tokens: &'a Value,
    real: &Value,
    strings: &[&str],
    path: &mut Vec<&'a str>,
) -> Result<(), Broken> {
    let at = |path: &[&str]| path.join(".");
    match (tokens, real) {
        (Value::Object(a), Value::Object(b)) => {
            if !a.keys().eq(b.keys()) || a.keys().any(|key| key.contains(TOKEN)) {
                return Err(Broken::Structure(at(path)));
            }
            for ((key, a), b) in a.iter().zip(b.values()) {
                path.push(key);
                same(a, b, strings, path)?;
                path.pop();
            }
            Ok(())
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            path.push("[]");
            for (a, b) in a.iter().zip(b) {
                same(a, b, strings, path)?;
            }
            path.pop();
            Ok(())
        }
        (Value::String(token), Value::String(real)) if token.contains(TOKEN) => {
            let value = number(token)
                .and_then(|number| strings.get(number))
                .ok_or_else(|| Broken::Structure(at(path)))?;
            if value == real { Ok(()) } else { Err(Broken::Altered(at(path))) }
        }
        (a, b) if a == b && !a.is_object() && !a.is_array() => Ok(()),
        _ => Err(Broken::Structure(at(path))),
    }
}

/// The kind that the template stands for, under the name and in the namespace that the request gives.
fn object(template: Template, tree: &Value, expected: &Expected<'_>) -> Result<(), Broken> {
    let (api_version, kind) = template.kind();
    for (pointer, wanted) in [
        ("/apiVersion", Some(api_version)),
        ("/kind", Some(kind)),
        ("/metadata/name", expected.name),
        ("/metadata/namespace", expected.namespace),
    ] {
        let found = tree.pointer(pointer);
        if found.and_then(Value::as_str) != wanted || (wanted.is_none() && found.is_some()) {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("`{found}`"));
            let wanted = wanted.map_or_else(|| "nothing".to_owned(), |wanted| format!("`\"{wanted}\"`"));
            return Err(Broken::Object(format!("{found} at `{pointer}`, not {wanted}")));
        }
    }
    Ok(())
}
