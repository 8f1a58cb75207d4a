//! YAML as this project writes and reads it.
//!
//! Written in the one form in which every parser reads the same: block style, every string in double quotes and ASCII.
//! Parsers disagree on much (`no`, `0777`, a raw U+0085, which YAML 1.1 reads as a line end, DEL, which both versions refuse;
//! reference: yaml.org/spec/1.2.2 5.1 and 5.4), but not on a quoted string of printable ASCII.

mod pieces;

use std::fmt::{self, Write};

use serde_json::Value;

pub use pieces::{Path, Piece, Pieces, ScalarStyle};

/// A file of a repository is at most this many bytes, or it is not read.
pub const MAX_BYTES: usize = 1 << 20;

/// Write `text` as a double-quoted scalar of printable ASCII.
///
/// This is JSON except for characters beyond U+FFFF: YAML has no surrogate pairs, so they are `\U` and eight digits.
pub fn scalar(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            ' '..='~' => out.write_char(c)?,
            c if u32::from(c) > 0xffff => write!(out, "\\U{:08x}", u32::from(c))?,
            c => write!(out, "\\u{:04x}", u32::from(c))?,
        }
    }
    out.write_char('"')
}

/// A value as a document. Keys are written plain where no reader takes them for anything else.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    // writing to a String cannot fail
    let _ = node(&mut out, value, 0, Place::Top);
    out
}

/// What stands before a node on its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    AfterKey,
    AfterDash,
}

fn node(out: &mut String, value: &Value, indent: usize, place: Place) -> fmt::Result {
    let space = if place == Place::AfterKey { " " } else { "" };
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (i, (key, value)) in map.iter().enumerate() {
                let on_this_line = i == 0 && place != Place::AfterKey;
                if !on_this_line {
                    line(out, indent, i == 0);
                }
                if crate::edit::is_plain(key) {
                    out.write_str(key)?;
                } else {
                    scalar(out, key)?;
                }
                out.write_char(':')?;
                node(out, value, indent + 2, Place::AfterKey)?;
            }
            Ok(())
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 || place == Place::AfterKey {
                    line(out, indent, i == 0);
                }
                out.push_str("- ");
                node(out, item, indent + 2, Place::AfterDash)?;
            }
            Ok(())
        }
        Value::String(text) => {
            out.push_str(space);
            scalar(out, text)?;
            out.write_char('\n')
        }
        // numbers, booleans, null, and what is empty
        plain => writeln!(out, "{space}{plain}"),
    }
}

/// Begin a line of a block; the first one of a block under a key has to end the key's own line.
fn line(out: &mut String, indent: usize, first: bool) {
    if first {
        out.push('\n');
    }
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Every document of a file that anybody may have written: anchors and merge keys are followed, within limits.
pub fn documents(bytes: &[u8]) -> Result<Vec<Value>, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("more than {MAX_BYTES} bytes"));
    }
    let text =
        str::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to() + 1))?;
    let options = serde_saphyr::options! { with_snippet: false };
    let read: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    Ok(read.into_iter().filter(|document| !document.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{document, documents};

    #[test]
    fn what_is_written_is_read_back() {
        let value = json!({"a": "no", "b": [], "c": {}, "d": [{"e": 1, "f": [true, "😀\u{85}"]}, "x"], "g": {"h": null, "y": 0, "1": {"Null": 1}}});
        let text = document(&value);
        let wanted = "a: \"no\"\nb: []\nc: {}\nd:\n  - e: 1\n    f:\n      - true\n      - \"\\U0001f600\\u0085\"\n  - \"x\"\ng:\n  h: null\n  \"y\": 0\n  \"1\":\n    \"Null\": 1\n";
        assert_eq!(text, wanted);
        assert_eq!(documents(text.as_bytes()).unwrap(), [value]);
    }

    #[test]
    fn a_key_that_is_no_word_is_quoted() {
        let value = json!({"app.kubernetes.io/name": 1, "no": 2, "True": 3, "1": 4, "a: b": 5, "": 6});
        let wanted = "app.kubernetes.io/name: 1\n\"no\": 2\n\"True\": 3\n\"1\": 4\n\"a: b\": 5\n\"\": 6\n";
        assert_eq!(document(&value), wanted);
        assert_eq!(documents(wanted.as_bytes()).unwrap(), [value]);
    }

    #[test]
    fn files_of_others_are_read() {
        // `yes` is true, as for Argo CD and everything else that reads YAML as Kubernetes does
        let text =
            "# a comment\r\n---\r\na: &x {b: 1}\r\nc: *x\r\nd:\r\n  <<: *x\r\n---\r\n---\r\n{\"e\": yes}\r\n";
        assert_eq!(
            documents(text.as_bytes()).unwrap(),
            [json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1}}), json!({"e": true})]
        );
        assert_eq!(documents(b"").unwrap(), Vec::<Value>::new());
        assert_eq!(documents(b"a: [").unwrap_err().lines().count(), 1);
        assert_eq!(documents(&[b'a', 0xff]).unwrap_err(), "not UTF-8 at byte 2");
    }
}
