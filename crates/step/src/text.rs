//! Text of strangers made safe to print.

use std::fmt::Write as _;

use vm::name::is_unprintable;

/// Make `text` one printable line of at most `limit` bytes.
///
/// Control characters, line and paragraph separators and bidirectional controls are written as `\u{…}`, a newline or tab
/// as one space (and spaces after it as none), so that neither a terminal nor a log reader can be told anything but text. A longer text ends in `…`.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    let mut after_break = false;
    for c in text.trim().chars() {
        let before = line.len();
        match c {
            ' ' if after_break => {}
            '\n' | '\t' => {
                if !line.ends_with(' ') {
                    line.push(' ');
                }
            }
            '\r' => {}
            c if is_unprintable(c) => {
                // writing to a String cannot fail
                let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            }
            c => line.push(c),
        }
        after_break = matches!(c, '\n' | '\t' | '\r') || (after_break && c == ' ');
        if line.len() > limit {
            line.truncate(before);
            while line.len() + '…'.len_utf8() > limit && line.pop().is_some() {}
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_line_stays_one_line() {
        for (text, line) in [
            ("plain `text`", "plain `text`"),
            ("two\nlines\r\n  and\ttabs  or spaces\n", "two lines and tabs  or spaces"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\u{202e}b\u{2028}c\u{0}d\u{85}e", "a\\u{202e}b\\u{2028}c\\u{0}d\\u{85}e"),
            ("grün", "grün"),
        ] {
            assert_eq!(one_line(text, 200), line);
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(one_line("abcdefgh", 8), "abcdefgh");
        assert_eq!(one_line("abcdefghi", 8), "abcde…");
        assert_eq!(one_line("üüüüüüüü", 8), "üü…");
        assert_eq!(one_line("abcdefg\u{1b}", 8), "abcde…");
    }
}
