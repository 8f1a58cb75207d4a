//! Documents of strangers, read strictly: every reader of the same bytes must understand the same thing, or we refuse.
//!
//! JSON and YAML become one [`Value`]. Duplicate keys, numbers that do not fit, and everything that makes YAML
//! ambiguous or expensive (anchors, aliases, merge keys, tags, a second document) are refused; `serde_json` and most
//! YAML readers would pass over them (reference: reliability-security 4.1).

mod json;
mod yaml;

pub(crate) use yaml::is_ambiguous;

use serde_json::Value;

use crate::name::is_unprintable;
use crate::problem::{Code, Problem};
use crate::request::MAX_BYTES;

/// Values may be nested this deep; the outermost mapping is 1.
pub const MAX_DEPTH: usize = 16;
/// A document holds at most this many values; keys do not count.
pub const MAX_NODES: usize = 2000;
/// What this project wrote is at most this many bytes: with every default written out a request is longer than it came, but
/// not twice as long.
pub const MAX_OWN_BYTES: usize = 2 * MAX_BYTES;

/// Which forms are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON alone: what a webhook sends.
    Json,
    /// JSON if the first character is `{`, else YAML: files that people write.
    Any,
}

/// Read `bytes` as one document; the first thing that is wrong ends it.
pub fn read(bytes: &[u8], form: Form) -> Result<Value, Problem> {
    let text = text(bytes, MAX_BYTES)?;
    if form == Form::Json || text.trim_start().starts_with('{') { json::read(text) } else { yaml::read(text) }
}

/// Read what this project wrote: as strictly, but longer, since every default in it is explicit.
pub fn read_own(bytes: &[u8]) -> Result<Value, Problem> {
    let text = text(bytes, MAX_OWN_BYTES)?;
    if text.trim_start().starts_with('{') { json::read(text) } else { yaml::read(text) }
}

fn text(bytes: &[u8], most: usize) -> Result<&str, Problem> {
    if bytes.len() > most {
        let message = format!("more than {most} bytes");
        return Err(
            Problem::new("", Code::Size, message).hint("keep data out of the request and refer to it")
        );
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        Problem::new("", Code::Encoding, format!("not UTF-8 at byte {}", error.valid_up_to() + 1))
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Problem::new("", Code::Encoding, "starts with a byte order mark")
            .hint("save it as UTF-8 without BOM"));
    }
    if text.trim().is_empty() {
        return Err(Problem::new("", Code::Size, "empty").hint("a `VMRequest` in YAML or JSON is expected"));
    }
    if is_harmless(text) {
        return Ok(text);
    }
    for (line, text) in text.split('\n').enumerate() {
        if let Some((column, c)) = text.chars().enumerate().find(|(_, c)| refused(*c)) {
            let message =
                format!("{}: character U+{:04X} is not read", place(line + 1, column + 1), u32::from(c));
            return Err(Problem::new("", Code::Character, message).hint("remove it"));
        }
    }
    Ok(text)
}

/// Characters that no text of a request may hold, written raw or by an escape.
fn refused(c: char) -> bool {
    is_unprintable(c) && !matches!(c, '\n' | '\t' | '\r')
}

/// Nothing but ASCII in it, and nothing [`refused`]: nearly every text, and soon seen.
fn is_harmless(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t' | b'\r'))
}

fn place(line: usize, column: usize) -> String {
    format!("line {line}, column {column}")
}

/// What both readers count and check while they build the value.
struct Budget {
    nodes: usize,
}

impl Budget {
    const fn new() -> Self {
        Self { nodes: 0 }
    }

    /// One more value at this depth.
    fn node(&mut self, pointer: &str, depth: usize) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::new("", Code::Nodes, format!("more than {MAX_NODES} values")));
        }
        if depth > MAX_DEPTH {
            return Err(Problem::new(pointer, Code::Depth, format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }
}

/// A string after its escapes were read.
fn string(pointer: &str, text: &str) -> Result<(), Problem> {
    let found = if is_harmless(text) { None } else { text.chars().find(|c| refused(*c)) };
    found.map_or(Ok(()), |c| {
        let message = format!("character U+{:04X} is not read, raw or escaped", u32::from(c));
        Err(Problem::new(pointer, Code::Character, message).hint("remove it"))
    })
}

fn duplicate(pointer: &str, line: usize, column: usize) -> Problem {
    Problem::new(pointer, Code::DuplicateKey, format!("{}: this key is there already", place(line, column)))
        .hint("keep one of the two")
}

fn number(pointer: &str, line: usize, column: usize) -> Problem {
    Problem::new(
        pointer,
        Code::Number,
        format!("{}: not a whole number of at most 64 bits", place(line, column)),
    )
    .hint("quote it if it is text")
}

#[cfg(test)]
mod tests;
