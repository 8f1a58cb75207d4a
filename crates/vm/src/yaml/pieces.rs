//! YAML piece by piece, as the parser below serde-saphyr says it.

use std::borrow::Cow;
use std::fmt;

pub use serde_saphyr::granit_parser::ScalarStyle;
use serde_saphyr::granit_parser::{Event, Options, Parser, StrInput};

/// One step of a parser through a document. Two texts of the same pieces are the same to every reader: what a plain word means
/// is told by the word, and that it is plain by its style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A mapping begins; its keys and values come in turn.
    Mapping,
    /// It ends.
    MappingEnd,
    /// A sequence begins.
    Sequence,
    /// It ends.
    SequenceEnd,
    /// Text without quotes and escapes, and how it was written.
    Scalar(Cow<'a, str>, ScalarStyle),
}

impl Piece<'_> {
    /// The same, without the text that it was read from.
    pub fn into_owned(self) -> Piece<'static> {
        match self {
            Piece::Mapping => Piece::Mapping,
            Piece::MappingEnd => Piece::MappingEnd,
            Piece::Sequence => Piece::Sequence,
            Piece::SequenceEnd => Piece::SequenceEnd,
            Piece::Scalar(text, style) => Piece::Scalar(Cow::Owned(text.into_owned()), style),
        }
    }

    /// What a scalar says.
    pub fn text(&self) -> Option<&str> {
        match self {
            Piece::Scalar(text, _) => Some(text),
            _ => None,
        }
    }
}

/// The pieces of a text. An error says in a line what is wrong with it, and is the last of them. Anchors, aliases, tags and
/// directives are refused. A second document is only more pieces.
// a type of its own, so that the parser is compiled in this crate, which is built for speed
#[expect(missing_debug_implementations, reason = "the parser has none")]
pub struct Pieces<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Pieces<'a> {
    /// Those of this text.
    pub fn of(text: &'a str) -> Self {
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.disallow_directives = true;
        Self(Parser::new_from_str_with_options(text, options))
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let event = match self.0.next()? {
                Ok((event, _)) => event,
                Err(error) => return Some(Err(error.to_string())),
            };
            return Some(Ok(match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {
                    continue;
                }
                Event::Scalar(text, style, 0, None) => Piece::Scalar(text, style),
                Event::MappingStart(_, 0, None) => Piece::Mapping,
                Event::MappingEnd => Piece::MappingEnd,
                Event::SequenceStart(_, 0, None) => Piece::Sequence,
                Event::SequenceEnd => Piece::SequenceEnd,
                _ => return Some(Err("an anchor, an alias or a tag".to_owned())),
            }));
        }
    }
}

/// The path that a walk through pieces has come to.
#[derive(Debug, Default)]
pub struct Path(Vec<Open>);

/// A collection that is not at its end.
#[derive(Debug)]
enum Open {
    Sequence,
    /// With the key whose value comes next.
    Mapping(Option<String>),
}

impl Path {
    /// Whether a key comes next, or the end of a mapping.
    pub fn is_key(&self) -> bool {
        matches!(self.0.last(), Some(Open::Mapping(None)))
    }

    /// Go past a piece.
    pub fn pass(&mut self, piece: &Piece<'_>) {
        match (piece, self.0.last_mut()) {
            (Piece::Mapping, _) => return self.0.push(Open::Mapping(None)),
            (Piece::Sequence, _) => return self.0.push(Open::Sequence),
            (Piece::Scalar(text, _), Some(Open::Mapping(key @ None))) => {
                return *key = Some(text.to_string());
            }
            (Piece::Scalar(..), _) => {}
            (Piece::MappingEnd | Piece::SequenceEnd, _) => drop(self.0.pop()),
        }
        if let Some(Open::Mapping(key)) = self.0.last_mut() {
            *key = None;
        }
    }
}

/// Such as `spec.template.spec.volumes.[].name`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().filter_map(|open| match open {
            Open::Sequence => Some("[]"),
            Open::Mapping(key) => key.as_deref(),
        });
        f.write_str(&keys.collect::<Vec<_>>().join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::{Path, Piece, Pieces, ScalarStyle};

    fn read(text: &str) -> Result<Vec<Piece<'static>>, String> {
        Pieces::of(text).map(|piece| piece.map(Piece::into_owned)).collect()
    }

    #[test]
    fn what_is_written_otherwise_is_another_piece() {
        let plain = |text: &'static str| Piece::Scalar(text.into(), ScalarStyle::Plain);
        let quoted = Piece::Scalar("1".into(), ScalarStyle::DoubleQuoted);
        let all = [Piece::Mapping, plain("a"), Piece::Sequence, quoted, plain("1"), Piece::SequenceEnd];
        let all: Vec<_> = all.into_iter().chain([Piece::MappingEnd]).collect();
        assert_eq!(read("# of no weight\na: [\"1\", 1]\n").unwrap(), all);
        assert_eq!(read("---\n\"a\":\n- \"\\x31\"\n- 1\n...\n").unwrap()[2..], all[2..]);
        for other in
            ["a: ['1', 1]", "a: [\"1\", 01]", "a: [\"1\", 1]\n---\n", "a: {\"1\": 1}", "\"a\": [\"1\", 1]"]
        {
            assert_ne!(read(other).unwrap(), all, "{other}");
        }
    }

    #[test]
    fn what_means_more_than_it_says_is_refused() {
        for text in [
            "a: &x 1",
            "&x {a: 1}",
            "[!!str 1]",
            "!x [1]",
            "a: &x 1\nb: *x",
            "*x",
            "%YAML 1.1\n---\na: 1",
            "a: [",
        ] {
            let why = read(text).unwrap_err();
            assert_eq!(why.lines().count(), 1, "{why}");
        }
    }

    #[test]
    fn a_place_is_the_keys_on_the_way() {
        let (mut place, mut places) = (Path::default(), Vec::new());
        for piece in read("a: {b: [1, {c: 2}], d: 3}\ne: 4").unwrap() {
            places.push(place.to_string());
            place.pass(&piece);
        }
        let wanted = "- - a a a.b a.b.[] a.b.[] a.b.[] a.b.[].c a.b.[] a.b.[] a a.d a - e -";
        assert_eq!(places, wanted.split(' ').map(|place| place.trim_matches('-')).collect::<Vec<_>>());
        assert_eq!(place.to_string(), "");
    }
}
