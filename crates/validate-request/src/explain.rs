//! What a code means, for a person at a terminal.

use std::fmt::Write as _;

use step::{Failure, Kind};
use vm::policy::Rule;
use vm::problem::{Code, echo, nearest};

/// What can be asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Topic {
    /// A problem of a request.
    Problem(Code),
    /// What is odd about a policy.
    Finding(Rule),
}

/// The code that is asked about; upper and lower case are the same.
pub(crate) fn topic(word: &str) -> Result<Topic, Failure> {
    let topics = || {
        let codes = Code::ALL.iter().copied().map(Topic::Problem);
        codes.chain(Rule::ALL.into_iter().map(Topic::Finding))
    };
    topics().find(|topic| topic.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
        let failure = Failure::new(Kind::Usage, format!("there is no code {}", echo(word)));
        match nearest(word, topics().map(Topic::word)) {
            Some(near) => failure.hint(format!("did you mean `{near}`")),
            None => failure.hint("every code is in docs/reference/errors.md"),
        }
    })
}

impl Topic {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Problem(code) => code.word(),
            Self::Finding(rule) => rule.word(),
        }
    }

    /// Meaning, exit code, example and way out.
    pub(crate) fn text(self) -> String {
        let (meaning, kind, more) = match self {
            Self::Problem(code) => (code.meaning(), Kind::from(code.class()), code.explanation()),
            Self::Finding(rule) => (rule.meaning(), Kind::Invalid, rule.explanation()),
        };
        let mut text = format!(
            "{}: {}\n\nExit code {} (`{}`).\n",
            self.word(),
            meaning.trim(),
            kind.code(),
            kind.word()
        );
        let policy = match self {
            Self::Problem(_) => "By a policy with:",
            Self::Finding(_) => "A policy with, for example:",
        };
        for (title, lines) in [
            ("What is refused, for example:", more.example),
            (policy, more.policy),
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
}
