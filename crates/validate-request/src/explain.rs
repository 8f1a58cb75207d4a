//! What a code means, for a person at a terminal.

use std::fmt::Write as _;

use step::{Failure, Kind};
use vm::problem::{Code, echo, nearest};

use crate::kind_of;

/// The code that is asked about.
pub(crate) fn code(word: &str) -> Result<Code, Failure> {
    Code::of_word(word).ok_or_else(|| {
        let failure = Failure::new(Kind::Usage, format!("there is no code {}", echo(word)));
        match nearest(word, Code::ALL.iter().map(|code| code.word())) {
            Some(near) => failure.hint(format!("did you mean `{near}`")),
            None => failure.hint("every code is in docs/reference/errors.md"),
        }
    })
}

/// Meaning, exit code, example and way out.
pub(crate) fn text(code: Code) -> String {
    let (kind, more) = (kind_of(code.class()), code.explanation());
    let mut text =
        format!("{code}: {}\n\nExit code {} (`{}`).\n", code.meaning().trim(), kind.code(), kind.word());
    for (title, lines) in [
        ("What is refused, for example:", more.example),
        ("By a policy with:", more.policy),
        ("What it is told:", more.answer),
    ] {
        if !lines.is_empty() {
            // writing to a String cannot fail
            let _ = writeln!(text, "\n{title}\n");
            for line in lines.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    let _ = writeln!(text, "\nThe way out: {}", more.way_out);
    text
}
