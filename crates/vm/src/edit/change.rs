//! The edits: where the bytes go, and the lock that nothing else changed.

use std::ops::Range;

use serde_json::Value;
use serde_saphyr::granit_parser::ScalarStyle;

use super::fault::{Fault, Sort, shown};
use super::tree::{self, Data, Entry, Node};
use super::{Document, Step, child_index, write};

impl Document<'_> {
    /// Replace the scalar at the path by another; its quotes stay where the new value allows it.
    pub fn set(&self, path: &[Step], value: &Value) -> Result<String, Fault> {
        let path = &self.full(path);
        self.unshared(path)?;
        let node = self.node(path)?;
        let Data::Scalar { style, .. } = &node.data else {
            return Err(Fault::new(Sort::Shape, format!("{} is no single value", shown(path))));
        };
        untagged(node, path)?;
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            let message = format!("{} is written as a block of text", shown(path));
            return Err(Fault::new(Sort::Shape, message).hint("write it on one line"));
        }
        let mut new = write::scalar(value, *style)?;
        if node.span.is_empty() {
            // nothing is written behind the colon
            new.insert(0, ' ');
        }
        let text = self.replaced(node.span.clone(), &new);
        self.locked(text, path, |node| {
            node.data = Node::of(value).data;
            Some(())
        })
    }

    /// Edit the YAML that is written as text at the path (a patch inside `kustomization.yaml`), in whatever style.
    pub fn set_in(
        &self,
        path: &[Step],
        edit: impl FnOnce(&str) -> Result<String, Fault>,
    ) -> Result<String, Fault> {
        let path = &self.full(path);
        self.unshared(path)?;
        let node = self.node(path)?;
        let Data::Scalar { value: Value::String(inner), .. } = &node.data else {
            return Err(Fault::new(Sort::Shape, format!("{} is no text", shown(path))));
        };
        untagged(node, path)?;
        let new = edit(inner)?;
        let (old_part, new_part) = difference(inner, &new);
        let written = self.text.get(node.span.clone()).unwrap_or_default();
        // the lock tells which of the places where the same characters stand is the right one
        let places = written.match_indices(old_part).map(|(at, _)| node.span.start + at);
        for at in places.filter(|_| !old_part.is_empty()) {
            let text = self.replaced(at..at + old_part.len(), new_part);
            let locked = self.locked(text, path, |node| {
                node.data = Node::of(&Value::from(new.clone())).data;
                Some(())
            });
            if locked.is_ok() {
                return locked;
            }
        }
        Err(Fault::new(Sort::Shape, format!("the text in {} cannot be changed in one place", shown(path)))
            .hint("write it as a block: `|-`"))
    }

    /// Put an item at the end of the sequence at the path.
    pub fn append(&self, path: &[Step], item: &Value) -> Result<String, Fault> {
        let path = &self.full(path);
        self.unshared(path)?;
        let node = self.node(path)?;
        let Data::Sequence { flow, items } = &node.data else {
            return Err(Fault::new(Sort::Shape, format!("{} is no list", shown(path))));
        };
        let text = match (flow, items.last()) {
            (true, last) => {
                let at = last.map_or(node.span.start + 1, |last| last.end(self.text));
                let comma = if last.is_some() { ", " } else { "" };
                self.replaced(at..at, &format!("{comma}{}", write::flow(item)?))
            }
            (false, Some(last)) => {
                let indent = self.dash(last).ok_or_else(|| inline(path))?;
                let line = write::item(item, indent, self.eol())?;
                self.line_after(node.end(self.text), indent, &line)
            }
            (false, None) => return Err(Fault::new(Sort::Shape, format!("{} is empty", shown(path)))),
        };
        self.locked(text, path, |node| {
            let Data::Sequence { items, .. } = &mut node.data else { return None };
            items.push(Node::of(item));
            Some(())
        })
    }

    /// Take out an item of a sequence: the path's last step says which.
    pub fn remove_item(&self, path: &[Step]) -> Result<String, Fault> {
        let path = &self.full(path);
        let Some((step, parent)) = path.split_last() else {
            return Err(Fault::new(Sort::Shape, "the document is no item of a list"));
        };
        let (node, index) = self.removable(parent, step, path)?;
        let Data::Sequence { flow, items } = &node.data else {
            return Err(Fault::new(Sort::Shape, format!("{} is no list", shown(parent))));
        };
        let Some(item) = items.get(index) else { return Err(inline(path)) };
        let start = item.span.start;
        let range = if *flow {
            let spans: Vec<_> = items.iter().map(|item| item.span.start..item.end(self.text)).collect();
            flow_range(&spans, index).ok_or_else(|| inline(path))?
        } else {
            if items.len() == 1 {
                return Err(Fault::new(Sort::Shape, format!("{} has no other item", shown(parent)))
                    .hint("the whole list would have to go"));
            }
            self.dash(item).ok_or_else(|| inline(path))?;
            self.lines(start, item.end(self.text))
        };
        self.locked(self.replaced(range, ""), parent, |node| {
            let Data::Sequence { items, .. } = &mut node.data else { return None };
            items.remove(index);
            Some(())
        })
    }

    /// Take out a key of a mapping with its value: the path's last step is the key. Comments above it stay.
    pub fn remove_key(&self, path: &[Step]) -> Result<String, Fault> {
        let path = &self.full(path);
        let Some((step, parent)) = path.split_last() else {
            return Err(Fault::new(Sort::Shape, "the document is no key of a mapping"));
        };
        let (node, index) = self.removable(parent, step, path)?;
        let Data::Mapping { flow, entries } = &node.data else {
            return Err(Fault::new(Sort::Shape, format!("{} is no mapping", shown(parent))));
        };
        let Some(entry) = entries.get(index) else { return Err(inline(path)) };
        let end = |entry: &Entry| entry.value.end(self.text).max(entry.key_span.end);
        let range = if *flow {
            let spans: Vec<_> = entries.iter().map(|entry| entry.key_span.start..end(entry)).collect();
            flow_range(&spans, index).ok_or_else(|| inline(path))?
        } else {
            if entries.len() == 1 {
                return Err(Fault::new(Sort::Shape, format!("{} has no other key", shown(parent)))
                    .hint("the whole mapping would have to go"));
            }
            if !self.before(entry.key_span.start).trim().is_empty() {
                return Err(inline(path));
            }
            self.lines(entry.key_span.start, end(entry))
        };
        self.locked(self.replaced(range, ""), parent, |node| {
            let Data::Mapping { entries, .. } = &mut node.data else { return None };
            entries.remove(index);
            Some(())
        })
    }

    /// Put a key with its value at the end of the mapping at the path.
    pub fn insert_key(&self, path: &[Step], key: &str, value: &Value) -> Result<String, Fault> {
        let path = &self.full(path);
        self.unshared(path)?;
        let node = self.node(path)?;
        let Data::Mapping { flow, entries } = &node.data else {
            return Err(Fault::new(Sort::Shape, format!("{} is no mapping", shown(path))));
        };
        let mut full = path.clone();
        full.push(key.into());
        if entries.iter().any(|entry| entry.key == key) {
            return Err(Fault::new(Sort::Several, format!("{} is there already", shown(&full))));
        }
        let text = match (flow, entries.first()) {
            (true, _) => {
                let last = entries.last().map(|entry| entry.value.end(self.text).max(entry.key_span.end));
                let comma = if last.is_some() { ", " } else { "" };
                let at = last.unwrap_or(node.span.start + 1);
                let new = format!("{comma}{}: {}", write::key(key)?, write::flow(value)?);
                self.replaced(at..at, &new)
            }
            (false, Some(first)) => {
                let indent = self.before(first.key_span.start).chars().count();
                let value = write::block(value, indent + 2, self.eol())?;
                let line = format!("{}:{value}", write::key(key)?);
                self.line_after(node.end(self.text), indent, &line)
            }
            (false, None) => return Err(Fault::new(Sort::Shape, format!("{} is empty", shown(path)))),
        };
        self.locked(text, path, |node| {
            let Data::Mapping { entries, .. } = &mut node.data else { return None };
            entries.push(Entry { key: key.to_owned(), key_span: 0..0, value: Node::of(value) });
            Some(())
        })
    }

    /// The collection at `parent` and the place of the child, which nothing else depends on.
    fn removable(&self, parent: &[Step], step: &Step, path: &[Step]) -> Result<(&Node, usize), Fault> {
        self.unshared(parent)?;
        let child = self.node(path)?;
        let node = self.node(parent)?;
        let merges =
            matches!(&node.data, Data::Mapping { entries, .. } if entries.iter().any(|e| e.key == "<<"));
        if child.is_anchored() || merges {
            let message =
                format!("{} cannot be taken out: an anchor or a merge key is beside it", shown(path));
            return Err(Fault::new(Sort::Shared, message).hint("write the values out where they belong"));
        }
        child_index(node, step).map(|index| (node, index)).ok_or_else(|| inline(path))
    }

    fn replaced(&self, range: Range<usize>, new: &str) -> String {
        let (before, after) = (self.text.get(..range.start), self.text.get(range.end..));
        [before.unwrap_or_default(), new, after.unwrap_or_default()].concat()
    }

    /// What stands before this place on its line, without the byte order mark.
    fn before(&self, at: usize) -> &str {
        let text = self.text.get(..at).unwrap_or_default();
        let line = text.rfind('\n').map_or(0, |end| end + 1);
        text.get(line..).unwrap_or_default().trim_start_matches('\u{feff}')
    }

    /// The column of the item's `-`, if that begins the item's line.
    fn dash(&self, item: &Node) -> Option<usize> {
        let before = self.before(item.span.start);
        let indent = before.len() - before.trim_start_matches(' ').len();
        let rest = before.get(indent..)?.strip_prefix('-')?.trim();
        (rest.is_empty() || rest.starts_with(['&', '!'])).then_some(indent)
    }

    /// Where the line of this place ends, its line break included.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn lines(&self, start: usize, end: usize) -> Range<usize> {
        start - self.before(start).len()..self.line_end(end)
    }

    /// A new line below the one of `at`. A last line without a line break stays without one.
    fn line_after(&self, at: usize, indent: usize, line: &str) -> String {
        let (at, eol) = (self.line_end(at), self.eol());
        let line = format!("{}{line}", " ".repeat(indent));
        if self.text.get(..at).is_some_and(|before| before.ends_with('\n')) {
            self.replaced(at..at, &format!("{line}{eol}"))
        } else {
            self.replaced(at..at, &format!("{eol}{line}"))
        }
    }

    /// The line break of this text.
    fn eol(&self) -> &'static str {
        let first = self.text.find('\n').and_then(|end| end.checked_sub(1));
        if first.is_some_and(|at| self.text.as_bytes().get(at) == Some(&b'\r')) { "\r\n" } else { "\n" }
    }

    /// The new text, if it holds what the old one holds but for this change at the path.
    fn locked(
        &self,
        text: String,
        path: &[Step],
        change: impl FnOnce(&mut Node) -> Option<()>,
    ) -> Result<String, Fault> {
        let mut wanted = self.documents.clone();
        let place = wanted.get_mut(self.index).and_then(|node| at(node, path)).and_then(change);
        if place.is_some() && tree::parse(&text).is_ok_and(|found| found == wanted) {
            return Ok(text);
        }
        let message = format!("{} cannot be changed without changing something else", shown(path));
        Err(Fault::new(Sort::Shape, message).hint("write it in block style, one key per line"))
    }
}

fn at<'n>(node: &'n mut Node, path: &[Step]) -> Option<&'n mut Node> {
    let Some((step, rest)) = path.split_first() else { return Some(node) };
    let index = child_index(node, step)?;
    let child = match &mut node.data {
        Data::Sequence { items, .. } => items.get_mut(index),
        Data::Mapping { entries, .. } => entries.get_mut(index).map(|entry| &mut entry.value),
        _ => None,
    };
    at(child?, rest)
}

fn untagged(node: &Node, path: &[Step]) -> Result<(), Fault> {
    if node.tag.is_none() {
        return Ok(());
    }
    Err(Fault::new(Sort::Shape, format!("{} has a tag (`!`)", shown(path)))
        .hint("write the value without it"))
}

fn inline(path: &[Step]) -> Fault {
    Fault::new(Sort::Shape, format!("{} does not stand on lines of its own", shown(path)))
        .hint("begin each item and each key on a line of its own")
}

/// The bytes of one of several flow items with one of the commas beside it.
fn flow_range(spans: &[Range<usize>], index: usize) -> Option<Range<usize>> {
    let own = spans.get(index)?;
    match (index.checked_sub(1).and_then(|before| spans.get(before)), spans.get(index + 1)) {
        (_, Some(next)) => Some(own.start..next.start),
        (Some(before), None) => Some(before.end..own.end),
        (None, None) => Some(own.clone()),
    }
}

/// The parts in which two texts differ, between what they begin and what they end with alike.
fn difference<'t>(old: &'t str, new: &'t str) -> (&'t str, &'t str) {
    let same = |a: Option<char>, b: Option<char>| a.is_some() && a == b;
    let (mut a, mut b) = (old, new);
    while same(a.chars().next(), b.chars().next()) {
        (a, b) = (skip_first(a), skip_first(b));
    }
    while same(a.chars().next_back(), b.chars().next_back()) {
        (a, b) = (skip_last(a), skip_last(b));
    }
    (a, b)
}

fn skip_first(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

fn skip_last(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next_back();
    chars.as_str()
}
