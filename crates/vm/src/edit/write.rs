//! Values as new text.

use serde_json::Value;
use serde_saphyr::granit_parser::ScalarStyle;

use super::fault::{Fault, Sort};
use super::tree::plain;

/// A scalar, in this style where its value allows it.
pub(super) fn scalar(value: &Value, style: ScalarStyle) -> Result<String, Fault> {
    let text = match value {
        Value::String(text) => text,
        Value::Null | Value::Bool(_) | Value::Number(_) => return Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => {
            return Err(Fault::new(Sort::Shape, "the new value is no single value"));
        }
    };
    // JSON's escapes are YAML's; the rest of what may not stand raw in YAML is escaped here
    let double = || {
        let mut quoted = String::new();
        for c in value.to_string().chars() {
            if crate::name::is_unprintable(c) {
                let mut units = [0; 2];
                quoted.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            } else {
                quoted.push(c);
            }
        }
        quoted
    };
    Ok(match style {
        ScalarStyle::SingleQuoted if !text.chars().any(crate::name::is_unprintable) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        ScalarStyle::Plain if is_plain(text) => text.clone(),
        _ => double(),
    })
}

/// Text that no reader takes for anything else, wherever it stands.
pub(crate) fn is_plain(text: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"._/-+:@".contains(&b);
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/'))
        && text.bytes().all(safe)
        && !text.ends_with(':')
        && plain(text) == *text
        && !crate::document::is_ambiguous(text)
}

/// A key.
pub(super) fn key(key: &str) -> Result<String, Fault> {
    scalar(&Value::from(key), ScalarStyle::Plain)
}

/// A value behind `key:` or `-`: on the same line, or in lines below that are indented by `indent` spaces. Starts with the
/// space or the line break, ends without one.
pub(super) fn block(value: &Value, indent: usize, eol: &str) -> Result<String, Fault> {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                text.extend([eol, &" ".repeat(indent), &key(name)?, ":"]);
                text.push_str(&block(value, indent + 2, eol)?);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                text.extend([eol, &" ".repeat(indent)]);
                text.push_str(&self::item(item, indent, eol)?);
            }
        }
        other => text.extend([" ", &flow(other)?]),
    }
    Ok(text)
}

/// An item of a block sequence whose `-` is at column `indent`, from that `-` on.
pub(super) fn item(value: &Value, indent: usize, eol: &str) -> Result<String, Fault> {
    let text = block(value, indent + 2, eol)?;
    let first = text.strip_prefix(eol).map_or(text.as_str(), str::trim_start);
    Ok(format!("- {}", first.trim_start()))
}

/// A value on one line.
pub(super) fn flow(value: &Value) -> Result<String, Fault> {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(flow).collect::<Result<_, _>>()?;
            Ok(format!("[{}]", items.join(", ")))
        }
        Value::Object(map) => {
            let entry = |(name, value): (&String, &Value)| {
                Ok::<_, Fault>(format!("{}: {}", key(name)?, flow(value)?))
            };
            let entries: Vec<_> = map.iter().map(entry).collect::<Result<_, _>>()?;
            Ok(format!("{{{}}}", entries.join(", ")))
        }
        scalar => self::scalar(scalar, ScalarStyle::Plain),
    }
}
