//! The structure lock: a value can never become structure.
//!
//! A template is rendered twice, with the real values and with a token in place of every string. Both are parsed. The parser
//! must say the same of both, piece by piece, but where a token stands whole and quoted: there the real piece must be quoted
//! and exactly the value. What breaks the lock is a bug in a template, never a fault of a request.

use std::fmt::{self, Write as _};

use serde_json::Value;
use vm::yaml::{Path, Piece, Pieces, ScalarStyle};

use crate::template::{Template, Templates};
use crate::yaml;

/// How a rendered file broke the lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The template stopped: a value is missing, or it prints what it may not.
    #[error("it does not render: {0}")]
    Render(String),
    /// What came out is not YAML as [`yaml::parse`] and [`Pieces`] read it.
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

/// What a template is with tokens for strings, to hold any number of renders against. The shape of the context (which keys it
/// has, how long its lists are, which strings are present) belongs to the lock; its strings do not.
#[derive(Debug)]
pub struct Lock {
    template: Template,
    tree: Value,
    wanted: Vec<Wanted>,
    tokens: usize,
}

/// What a piece has to be: the same, or the string of this number.
#[derive(Debug)]
struct Wanted {
    piece: Piece<'static>,
    string: Option<usize>,
}

impl Lock {
    /// Render `template` with tokens in place of the strings of `context`.
    pub fn new(templates: &Templates, template: Template, context: &Value) -> Result<Self, Broken> {
        let (placeholders, tokens) = placeholders(context);
        let text = render(templates, template, &placeholders)?;
        // what a parser takes for the same twice is refused here, and cannot come in later
        let tree = yaml::parse(&text).map_err(|error| Broken::Parse(error.to_string()))?;
        let lock = Self { template, tree, wanted: wanted(&text, tokens)?, tokens };
        let mut used = vec![false; tokens];
        for number in lock.wanted.iter().filter_map(|wanted| wanted.string) {
            used.get_mut(number).into_iter().for_each(|used| *used = true);
        }
        if let Some(missing) = used.iter().position(|used| !used) {
            return Err(Broken::Missing(place_of(context, missing)));
        }
        let is_part = |wanted: &Wanted| wanted.string.is_none() && wanted.piece.text().is_some_and(is_token);
        match lock.wanted.iter().position(is_part) {
            Some(at) => Err(lock.structure(at)),
            None => Ok(lock),
        }
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
        let mut strings = Vec::with_capacity(self.tokens);
        collect(context, &mut strings);
        self.hold(&text, &strings)?;
        self.object(&strings, expected)?;
        Ok(text)
    }

    /// Each piece is the same, or quoted and the value that belongs there.
    fn hold(&self, text: &str, strings: &[&str]) -> Result<(), Broken> {
        let mut found = Pieces::of(text);
        for (at, wanted) in self.wanted.iter().enumerate() {
            let found = found.next().transpose().map_err(Broken::Parse)?;
            let value = wanted.string.map(|number| strings.get(number));
            match (value, found) {
                (None, Some(found)) if found == wanted.piece => {}
                (Some(Some(value)), Some(Piece::Scalar(text, ScalarStyle::DoubleQuoted))) => {
                    if text != *value {
                        return Err(Broken::Altered(self.place(at)));
                    }
                }
                _ => return Err(self.structure(at)),
            }
        }
        match found.next() {
            None => Ok(()),
            Some(Ok(_)) => Err(self.structure(self.wanted.len())),
            Some(Err(why)) => Err(Broken::Parse(why)),
        }
    }

    fn structure(&self, at: usize) -> Broken {
        Broken::Structure(self.place(at))
    }

    /// Where the piece of this number is.
    fn place(&self, at: usize) -> String {
        let mut path = Path::default();
        self.wanted.iter().take(at).for_each(|wanted| path.pass(&wanted.piece));
        path.to_string()
    }

    /// The kind that the template stands for, under the name and in the namespace that the request gives. What stands there is
    /// known from the tokens, once the pieces are held against them.
    fn object(&self, strings: &[&str], expected: &Expected<'_>) -> Result<(), Broken> {
        let (api_version, kind) = self.template.kind();
        for (pointer, wanted) in [
            ("/apiVersion", Some(api_version)),
            ("/kind", Some(kind)),
            ("/metadata/name", expected.name),
            ("/metadata/namespace", expected.namespace),
        ] {
            let found = pointer.split('/').skip(1).try_fold(&self.tree, |tree, key| tree.get(key));
            let text = found.and_then(Value::as_str);
            let text = text.map(|text| number(text).and_then(|n| strings.get(n).copied()).unwrap_or(text));
            if text != wanted || (wanted.is_none() && found.is_some()) {
                let found = text.map(Value::from).or_else(|| found.cloned());
                let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("`{found}`"));
                let wanted = wanted.map_or_else(|| "nothing".to_owned(), |wanted| format!("`\"{wanted}\"`"));
                return Err(Broken::Object(format!("{found} at `{pointer}`, not {wanted}")));
            }
        }
        Ok(())
    }
}

/// The pieces of what came out with the tokens.
fn wanted(text: &str, tokens: usize) -> Result<Vec<Wanted>, Broken> {
    let mut all = Vec::new();
    let mut path = Path::default();
    for piece in Pieces::of(text) {
        let piece = piece.map_err(Broken::Parse)?;
        let string = match &piece {
            Piece::Scalar(text, ScalarStyle::DoubleQuoted) if !path.is_key() => number(text),
            _ => None,
        };
        path.pass(&piece);
        all.push(Wanted { piece: piece.into_owned(), string: string.filter(|number| *number < tokens) });
    }
    Ok(all)
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
fn placeholders(context: &Value) -> (Value, usize) {
    let mut tokens = 0;
    (replace(context, &mut tokens), tokens)
}

/// What the tokens of a context depend on: all of it but what its strings say.
pub(crate) fn shape(context: &Value) -> String {
    let mut shape = String::new();
    // writing to a String cannot fail
    let _ = write_shape(context, &mut shape);
    shape
}

fn write_shape(value: &Value, out: &mut String) -> fmt::Result {
    match value {
        Value::String(_) => out.push('~'),
        Value::Array(items) => {
            out.push('[');
            items.iter().try_for_each(|item| write_shape(item, out))?;
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (key, value) in map {
                write!(out, "{}:{key}", key.len())?;
                write_shape(value, out)?;
            }
            out.push('}');
        }
        other => write!(out, "{other},")?,
    }
    Ok(())
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
