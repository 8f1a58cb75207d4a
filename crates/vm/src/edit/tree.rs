//! YAML as nodes that know where they are written.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput, StructureStyle};

use super::fault::{Fault, Sort};

/// No definition of a machine comes near it.
const MAX_BYTES: usize = 1 << 20;
/// Values of one document after its aliases are written out.
const MAX_VALUES: usize = 100_000;

/// A value, or an alias in place of one.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The bytes of a scalar, of an alias, of a flow collection with its brackets; the start alone of a block collection.
    pub(super) span: Range<usize>,
    /// The number of its anchor, 0 without one.
    pub(super) anchor: usize,
    pub(super) tag: Option<String>,
    pub(super) data: Data,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    Scalar { value: Value, style: ScalarStyle },
    Sequence { flow: bool, items: Vec<Node> },
    Mapping { flow: bool, entries: Vec<Entry> },
    Alias(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

/// The same values at the same places, however they are written.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.anchor == other.anchor
            && self.tag == other.tag
            && match (&self.data, &other.data) {
                (Data::Scalar { value: a, .. }, Data::Scalar { value: b, .. }) => a == b,
                (Data::Sequence { items: a, .. }, Data::Sequence { items: b, .. }) => a == b,
                (Data::Mapping { entries: a, .. }, Data::Mapping { entries: b, .. }) => a == b,
                (Data::Alias(a), Data::Alias(b)) => a == b,
                _ => false,
            }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Node {
    /// A node as it has to be found again after an edit; it is written nowhere yet.
    pub(super) fn of(value: &Value) -> Self {
        let data = match value {
            Value::Array(items) => {
                Data::Sequence { flow: false, items: items.iter().map(Self::of).collect() }
            }
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| Entry {
                    key: key.clone(),
                    key_span: 0..0,
                    value: Self::of(value),
                };
                Data::Mapping { flow: false, entries: map.iter().map(entry).collect() }
            }
            scalar => Data::Scalar { value: scalar.clone(), style: ScalarStyle::Plain },
        };
        Self { span: 0..0, anchor: 0, tag: None, data }
    }

    /// The end of the last byte that this node's values are written with, closing bracket included.
    pub(super) fn end(&self, text: &str) -> usize {
        match &self.data {
            Data::Sequence { flow: false, items } => {
                items.last().map_or(self.span.end, |item| item.end(text))
            }
            Data::Mapping { flow: false, entries } => {
                entries.last().map_or(self.span.end, |entry| entry.value.end(text).max(entry.key_span.end))
            }
            Data::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } => {
                let written = text.get(self.span.clone()).unwrap_or_default();
                self.span.start + written.trim_end().len()
            }
            _ => self.span.end,
        }
    }

    pub(super) fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.data {
            Data::Sequence { items, .. } => Box::new(items.iter()),
            Data::Mapping { entries, .. } => Box::new(entries.iter().map(|entry| &entry.value)),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Whether it or anything in it carries an anchor.
    pub(super) fn is_anchored(&self) -> bool {
        self.anchor != 0 || self.children().any(Self::is_anchored)
    }

    /// The numbers of all anchors that aliases in it name.
    pub(super) fn aliases(&self, into: &mut HashSet<usize>) {
        if let Data::Alias(of) = self.data {
            into.insert(of);
        }
        for child in self.children() {
            child.aliases(into);
        }
    }

    /// The value with aliases and merge keys written out, as `kubectl` reads it.
    pub(super) fn value(&self) -> Result<Value, Fault> {
        Resolver { anchors: HashMap::new(), left: MAX_VALUES }.value(self)
    }
}

struct Resolver {
    anchors: HashMap<usize, Value>,
    left: usize,
}

impl Resolver {
    fn value(&mut self, node: &Node) -> Result<Value, Fault> {
        self.spend(1)?;
        let value = match &node.data {
            Data::Scalar { value, .. } => value.clone(),
            Data::Alias(of) => {
                let value = self.anchors.get(of).cloned();
                let value = value.ok_or_else(|| Fault::new(Sort::Yaml, "an anchor refers to itself"))?;
                self.spend(count(&value))?;
                value
            }
            Data::Sequence { items, .. } => {
                Value::Array(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?)
            }
            Data::Mapping { entries, .. } => {
                let (mut map, mut merged) = (Map::new(), Vec::new());
                for entry in entries {
                    let value = self.value(&entry.value)?;
                    match (entry.key.as_str(), value) {
                        ("<<", Value::Object(base)) => merged.push(base),
                        ("<<", Value::Array(bases)) => {
                            merged.extend(bases.into_iter().filter_map(|base| match base {
                                Value::Object(base) => Some(base),
                                _ => None,
                            }));
                        }
                        (key, value) => {
                            map.insert(key.to_owned(), value);
                        }
                    }
                }
                for (key, value) in merged.into_iter().flatten() {
                    map.entry(key).or_insert(value);
                }
                Value::Object(map)
            }
        };
        if node.anchor != 0 {
            self.spend(count(&value))?;
            self.anchors.insert(node.anchor, value.clone());
        }
        Ok(value)
    }

    fn spend(&mut self, values: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(values).ok_or_else(|| Fault::new(Sort::Yaml, "too many values"))?;
        Ok(())
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Every document of the text.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault::new(Sort::Yaml, format!("more than {MAX_BYTES} bytes")));
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut reader = Reader { text, events: Parser::new_from_str_with_options(text, options) };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::DocumentStart(..), _) => {
                let first = reader.next()?;
                documents.push(reader.node(first)?);
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.events.next() {
            Some(next) => next.map_err(|error| Fault::scan(&error)),
            None => Err(Fault::new(Sort::Yaml, "ends too early")),
        }
    }

    fn node(&mut self, (event, span): (Event<'a>, Span)) -> Result<Node, Fault> {
        let range = bytes(&span)?;
        Ok(match event {
            Event::Scalar(text, style, anchor, tag) => {
                let typed = tag.is_none() && style == ScalarStyle::Plain;
                let value = if typed { plain(&text) } else { Value::from(text.as_ref()) };
                let tag = tag.map(|tag| tag.to_string());
                Node { span: range, anchor, tag, data: Data::Scalar { value, style } }
            }
            Event::Alias(of) => Node { span: range, anchor: 0, tag: None, data: Data::Alias(of) },
            Event::SequenceStart(style, anchor, tag) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => break end,
                        next => items.push(self.node(next)?),
                    }
                };
                let flow = style == StructureStyle::Flow;
                let span = if flow { range.start..bytes(&end)?.end } else { range };
                let tag = tag.map(|tag| tag.to_string());
                Node { span, anchor, tag, data: Data::Sequence { flow, items } }
            }
            Event::MappingStart(style, anchor, tag) => {
                let mut entries: Vec<Entry> = Vec::new();
                let mut seen = HashSet::new();
                let end = loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        break span;
                    }
                    let place = format!("line {}, column {}", span.start.line(), span.start.col() + 1);
                    let Event::Scalar(key, ..) = event else {
                        return Err(Fault::new(Sort::Yaml, format!("{place}: a key that is no text"))
                            .hint("a template (`{{ … }}`) is changed in what it is rendered from"));
                    };
                    let key = key.into_owned();
                    if !seen.insert(key.clone()) {
                        let message = format!("{place}: this key is there already");
                        return Err(Fault::new(Sort::Yaml, message).hint("keep one of the two"));
                    }
                    let next = self.next()?;
                    let (key_span, mut value) = (bytes(&span)?, self.node(next)?);
                    if value.span.is_empty() && matches!(value.data, Data::Scalar { .. }) {
                        // the parser places a value that is not there at whatever comes next
                        let rest = self.text.get(key_span.end..).unwrap_or_default();
                        let end = key_span.end + rest.find(':').map_or(0, |colon| colon + 1);
                        value.span = end..end;
                    }
                    entries.push(Entry { key, key_span, value });
                };
                let flow = style == StructureStyle::Flow;
                let span = if flow { range.start..bytes(&end)?.end } else { range };
                let tag = tag.map(|tag| tag.to_string());
                Node { span, anchor, tag, data: Data::Mapping { flow, entries } }
            }
            _ => return Err(Fault::new(Sort::Yaml, "a value is expected")),
        })
    }
}

fn bytes(span: &Span) -> Result<Range<usize>, Fault> {
    span.byte_range().ok_or_else(|| Fault::new(Sort::Yaml, "a value without a place"))
}

/// A plain scalar by YAML 1.2's core schema.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if !numeric {
        return text.into();
    }
    let signed = text.strip_prefix('+').unwrap_or(text);
    let number = signed.parse::<i64>().map(Value::from).or_else(|_| signed.parse::<u64>().map(Value::from));
    number.unwrap_or_else(|_| signed.parse::<f64>().map_or_else(|_| text.into(), Value::from))
}
