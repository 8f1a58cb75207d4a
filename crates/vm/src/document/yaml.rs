//! YAML from the events of serde-saphyr's own parser: only there can a plain `0777` be told from a quoted one.

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, Span, StrInput};

use super::{Budget, duplicate, number, place, string};
use crate::problem::{Code, Problem, echo, member};

/// The one place where `on` and `off` may stand plain: what people write there, and what it means, is beyond doubt.
const POWER: &str = "/spec/power";

pub(super) fn read(text: &str) -> Result<Value, Problem> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.disallow_directives = true;
    options.emit_unresolved_aliases = true;
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { events, budget: Budget::new() };
    let mut value = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => {
                return value.ok_or_else(|| Problem::new("", Code::Size, "empty but for comments"));
            }
            Event::DocumentStart(..) if value.is_some() => {
                return Err(Problem::new("", Code::Documents, format!("{}: a second document", at(&span)))
                    .hint("one file holds one document"));
            }
            Event::DocumentStart(..) => {
                let first = reader.next()?;
                value = Some(reader.node(first, "", 1)?);
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let mark = error.marker();
                if *error.kind() == ErrorKind::RecursionLimitExceeded {
                    return Err(Problem::new(
                        "",
                        Code::Depth,
                        format!("nested deeper than {}", super::MAX_DEPTH),
                    ));
                }
                // the parser's words may hold a piece of the text
                let what: String =
                    error.info().chars().filter(|c| !super::refused(*c) && *c != '\n').take(100).collect();
                Err(Problem::new("", Code::Yaml, format!("{}: {what}", place(mark.line(), mark.col() + 1))))
            }
            None => Err(Problem::new("", Code::Yaml, "ends too early")),
        }
    }

    fn node(
        &mut self,
        (event, span): (Event<'a>, Span),
        pointer: &str,
        depth: usize,
    ) -> Result<Value, Problem> {
        self.budget.node(pointer, depth)?;
        no_features(&event, &span, pointer)?;
        match event {
            Event::Scalar(text, style, ..) => {
                string(pointer, &text)?;
                if style == ScalarStyle::Plain { plain(&text, pointer, &span) } else { Ok(text.into()) }
            }
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => return Ok(Value::Array(list)),
                        next => {
                            let item = self.node(next, &format!("{pointer}/{}", list.len()), depth + 1)?;
                            list.push(item);
                        }
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut map = Map::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        return Ok(Value::Object(map));
                    }
                    let (key, place) = key(event, &span, pointer)?;
                    if map.contains_key(&key) {
                        return Err(duplicate(&place, span.start.line(), span.start.col() + 1));
                    }
                    let next = self.next()?;
                    let value = self.node(next, &place, depth + 1)?;
                    map.insert(key, value);
                }
            }
            _ => Err(Problem::new(pointer, Code::Yaml, format!("{}: a value is expected", at(&span)))),
        }
    }
}

/// A key, and the place of its value.
fn key(event: Event<'_>, span: &Span, parent: &str) -> Result<(String, String), Problem> {
    no_features(&event, span, parent)?;
    let refuse = |code, what: &str| Err(Problem::new(parent, code, format!("{}: {what}", at(span))));
    let Event::Scalar(text, style, ..) = event else {
        return refuse(Code::Yaml, "a key has to be a string");
    };
    let place = member(parent, &text);
    string(&place, &text)?;
    if style != ScalarStyle::Plain {
        return Ok((text.into_owned(), place));
    }
    if text == "<<" {
        return refuse(Code::YamlFeature, "merge keys are not read");
    }
    match plain(&text, &place, span)? {
        Value::String(key) => Ok((key, place)),
        _ => refuse(Code::Yaml, "a key has to be a string"),
    }
}

/// Anchors, aliases and tags: what they make of a document differs, and so does what they cost.
fn no_features(event: &Event<'_>, span: &Span, pointer: &str) -> Result<(), Problem> {
    let refuse = |what: &str, hint: &str| {
        let message = format!("{}: {what} are not read", at(span));
        Err(Problem::new(pointer, Code::YamlFeature, message).hint(hint))
    };
    let (anchor, tag) = match event {
        Event::Alias(_) | Event::UnresolvedAlias(_) => return refuse("aliases", "write the value out"),
        Event::Scalar(_, _, anchor, tag)
        | Event::SequenceStart(_, anchor, tag)
        | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
        _ => (0, false),
    };
    if anchor != 0 {
        return refuse("anchors", "write the value out where it is needed");
    }
    if tag { refuse("tags", "quote text, leave numbers plain") } else { Ok(()) }
}

/// A plain scalar by YAML 1.2's core schema, provided that YAML 1.1 reads it the same.
fn plain(text: &str, pointer: &str, span: &Span) -> Result<Value, Problem> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(true.into()),
        "false" | "False" | "FALSE" => return Ok(false.into()),
        "on" | "off" if pointer == POWER => return Ok(text.into()),
        _ => {}
    }
    let (line, column) = (span.start.line(), span.start.col() + 1);
    if is_decimal(text) {
        return text.parse::<i64>().map(Value::from).map_err(|_| number(pointer, line, column));
    }
    if is_ambiguous(text) {
        let what = format!("{}: YAML readers differ about {}", place(line, column), echo(text));
        return Err(Problem::new(pointer, Code::Quote, what).hint("quote this value"));
    }
    if is_fraction(text) { Err(number(pointer, line, column)) } else { Ok(text.into()) }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits == "0"
        || (!digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// What either version takes for something else than text, and not both for the same: yaml.org/type (bool, int, float,
/// timestamp, value) against YAML 1.2.2, 10.3.
pub(crate) fn is_ambiguous(text: &str) -> bool {
    const WORDS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "=", "<<"];
    let unsigned = text.trim_start_matches(['-', '+']);
    let digit_first = unsigned.starts_with(|c: char| c.is_ascii_digit());
    let all = |allowed: fn(u8) -> bool| unsigned.bytes().all(allowed);
    let numeric = digit_first
        && (all(|b| b.is_ascii_digit() || matches!(b, b'_' | b':' | b'.'))
            || ["0x", "0o", "0b", "0X", "0O", "0B"].iter().any(|p| unsigned.starts_with(p))
                && unsigned.get(2..).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_')));
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    let special = [".inf", ".nan"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    let dotted = unsigned.starts_with('.')
        && unsigned.len() > 1
        && all(|b| b.is_ascii_digit() || matches!(b, b'_' | b'.'));
    WORDS.into_iter().any(is)
        || special
        || is_date(text)
        || (numeric && !is_fraction(text))
        || (dotted && !is_fraction(text))
        // `1e3` is a number in 1.2 and text in 1.1
        || (is_fraction(text) && !unsigned.contains('.'))
}

fn is_fraction(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && unsigned.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'))
        && unsigned.parse::<f64>().is_ok()
}

/// `2026-09-01`, with or without a time: a date in YAML 1.1, text in 1.2.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let digits = |part: Option<&str>, lengths: std::ops::RangeInclusive<usize>| {
        part.is_some_and(|p| lengths.contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    digits(parts.next(), 4..=4)
        && digits(parts.next(), 1..=2)
        && parts.next().is_some_and(|rest| {
            let day = rest.split(['T', 't', ' ']).next();
            digits(day, 1..=2)
        })
}

fn at(span: &Span) -> String {
    place(span.start.line(), span.start.col() + 1)
}
