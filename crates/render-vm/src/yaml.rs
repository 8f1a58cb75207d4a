//! YAML in the one form in which every parser reads the same: block style, every string in double quotes and ASCII.
//!
//! Parsers disagree on much (`no`, `0777`, a raw U+0085, which YAML 1.1 reads as a line end, DEL, which both versions
//! refuse; reference: yaml.org/spec/1.2.2 5.1 and 5.4), but not on a quoted string of printable ASCII.

use std::fmt::{self, Write};

use serde::de::DeserializeOwned;
use serde_json::Value;

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

/// A value as a document. Keys are written plain, so they must be words: those of our own types are.
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
                write!(out, "{key}:")?;
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
            end(out)
        }
        // numbers, booleans, null, and what is empty
        plain => {
            write!(out, "{space}{plain}")?;
            end(out)
        }
    }
}

/// Begin a line of a block; the first one of a block under a key has to end the key's own line.
fn line(out: &mut String, indent: usize, first: bool) {
    if first {
        out.push('\n');
    }
    out.extend(std::iter::repeat_n(' ', indent));
}

fn end(out: &mut String) -> fmt::Result {
    out.write_char('\n')
}

/// Read one document, refusing everything that two parsers might read differently: duplicate keys, anchors, merge keys,
/// `yes` for true, tags.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! {
        max_aliases: 0,
        max_anchors: 0,
        max_merge_keys: 0,
        max_documents: 1,
        max_depth: 32,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{document, parse, scalar};

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        scalar(&mut out, text).unwrap();
        out
    }

    #[test]
    fn a_scalar_is_printable_ascii() {
        for (text, written) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("no", r#""no""#),
            ("a\"b\\c/d", r#""a\"b\\c/d""#),
            ("a\nb\tc\r", r#""a\nb\tc\r""#),
            ("\u{0}\u{7f}\u{85}\u{2028}\u{feff}", r#""\u0000\u007f\u0085\u2028\ufeff""#),
            ("grün", r#""gr\u00fcn""#),
            ("\u{1f600}", r#""\U0001f600""#),
            ("{{ x }} # $(y)", r##""{{ x }} # $(y)""##),
        ] {
            assert_eq!(quoted(text), written);
            assert_eq!(parse::<Value>(written).unwrap(), Value::from(text));
        }
    }

    #[test]
    fn a_document_is_block_style() {
        let value = json!({
            "a": {"b": {"c": 1}, "d": []},
            "list": [{"name": "x", "sizes": ["1", "2"], "deep": {"on": true}}, {"name": "y"}, [1, [2]], {}],
            "empty": {},
            "text": "it's # no: \"comment\"",
        });
        let text = document(&value);
        assert_eq!(
            text,
            r#"a:
  b:
    c: 1
  d: []
list:
  - name: "x"
    sizes:
      - "1"
      - "2"
    deep:
      on: true
  - name: "y"
  - - 1
    - - 2
  - {}
empty: {}
text: "it's # no: \"comment\""
"#
        );
        assert_eq!(parse::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        for text in ["a: 1\na: 2", "a: &x 1\nb: *x", "a: {<<: {b: 1}}", "a: !x 1", "--- 1\n--- 2", "a: ["] {
            assert!(parse::<Value>(text).is_err(), "{text:?}");
        }
        assert_eq!(parse::<Value>("a: no").unwrap(), json!({"a": "no"}));
    }
}
