//! The text of a pull request: who asks for what, and the difference.

use std::fmt::Write as _;

use vm::name::is_unprintable;

/// Said in place of what does not fit.
const CUT: &str = "\n(cut here: the branch has all of it)\n";

/// Markdown of at most `longest` characters: `lines` of name and value, and the difference in a block that nothing in it ends.
///
/// Values and difference are text of strangers: what is between backticks is neither a link, nor a picture, nor calls anybody.
pub fn body(about: &[(&str, &str)], diff: &str, longest: usize) -> String {
    let mut text = String::new();
    for (name, value) in about {
        let value: String =
            value.chars().map(|c| if c == '`' || is_unprintable(c) { '_' } else { c }).collect();
        text.extend(["- ", name, ": `", &value, "`\n"]);
    }
    let mut shown = String::with_capacity(diff.len());
    for c in diff.chars() {
        if is_unprintable(c) && !matches!(c, '\n' | '\t') {
            // writing to a String cannot fail
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    let runs = shown.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(runs.max(2) + 1);
    let around = text.chars().count() + 2 * fence.len() + "\ndiff\n\n".len() + CUT.len();
    let room = longest.saturating_sub(around);
    let cut = shown.chars().count() > room;
    if cut {
        shown = shown.chars().take(room).collect();
        // the last line is whole or is not there
        shown.truncate(shown.rfind('\n').map_or(0, |end| end + 1));
    }
    if !shown.is_empty() && !shown.ends_with('\n') {
        shown.push('\n');
    }
    text.extend(["\n", &fence, "diff\n", &shown, &fence, "\n"]);
    if cut {
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn nothing_in_a_difference_ends_its_block() {
        let text =
            body(&[("request", "r-1"), ("requested by", "`@all`\u{202e}")], "+a\n+````\n+\u{1b}[2J\n", 1000);
        assert_eq!(
            text,
            "- request: `r-1`\n- requested by: `_@all__`\n\n`````diff\n+a\n+````\n+\\u{1b}[2J\n`````\n"
        );
    }

    #[test]
    fn a_long_one_is_cut_between_lines() {
        let diff = "+line\n".repeat(1000);
        let text = body(&[("request", "r-1")], &diff, 200);
        assert!(text.chars().count() <= 200, "{}", text.chars().count());
        assert!(text.ends_with("+line\n```\n\n(cut here: the branch has all of it)\n"), "{text}");
        assert!(body(&[("request", "r-1")], &diff, 10).contains("```diff\n```\n"));
    }
}
