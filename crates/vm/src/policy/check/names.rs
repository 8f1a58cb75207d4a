//! Which names a pattern can match at all.

use regex_syntax::hir::{Class, Hir, HirKind};

/// The least number of characters of a name of a-z, 0-9 and `-` that matches the whole of the pattern; none if no such name does.
/// Where the pattern asks for a place (`\b`, `^` in the middle) it is taken to be met, so a number is a lower bound, but none is
/// certain. A pattern that is no regular expression has none.
pub(super) fn shortest(pattern: &str) -> Option<usize> {
    least(&regex_syntax::parse(pattern).ok()?)
}

fn least(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(0),
        HirKind::Literal(literal) => {
            literal.0.iter().all(|byte| is_of_a_name(*byte)).then_some(literal.0.len())
        }
        HirKind::Class(class) => any_of_a_name(class).then_some(1),
        HirKind::Repetition(repetition) if repetition.min == 0 => Some(0),
        HirKind::Repetition(repetition) => {
            let times = usize::try_from(repetition.min).unwrap_or(usize::MAX);
            Some(least(&repetition.sub)?.saturating_mul(times))
        }
        HirKind::Capture(capture) => least(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().try_fold(0_usize, |sum, part| Some(sum.saturating_add(least(part)?)))
        }
        HirKind::Alternation(parts) => parts.iter().filter_map(least).min(),
    }
}

const fn is_of_a_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

fn any_of_a_name(class: &Class) -> bool {
    let mut names = (0..=u8::MAX).filter(|byte| is_of_a_name(*byte));
    names.any(|byte| match class {
        Class::Unicode(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }
        Class::Bytes(class) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::shortest;

    #[test]
    fn the_least_that_a_pattern_wants() {
        for (pattern, least) in [
            ("[a-z][a-z0-9-]*", Some(1)),
            ("[a-z]{3}-(dev|prod)-[a-z0-9-]+", Some(9)),
            ("^web-[0-9]{2}$", Some(6)),
            (".*", Some(0)),
            ("[A-Z]{3}-[0-9]+", None),
            ("(?i)[A-Z]{3}", Some(3)),
            ("WEB-[0-9]+|web", Some(3)),
            ("WEB-[0-9]+|Web", None),
            ("web_[0-9]+", None),
            ("web(_[0-9]+)?", Some(3)),
            ("[^a-z0-9-]", None),
            (r"\d{64}", Some(64)),
            (r"\p{Greek}+", None),
            ("a)(b", None),
        ] {
            assert_eq!(shortest(pattern), least, "{pattern}");
        }
    }
}
