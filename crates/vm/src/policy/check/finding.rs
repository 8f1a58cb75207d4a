//! One thing that is odd, and the rules by which it is.

use std::cmp::Ordering;
use std::fmt;

use crate::problem::{Code, Explanation, Problem};

/// Which rule a policy breaks. The words are public API: they stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Nothing that is asked for ever meets it.
    Unreachable,
    /// Another one says the same already.
    Redundant,
    /// Two that exclude each other, so that what both are about is always denied.
    Contradiction,
    /// It leaves open what it seems to close.
    Open,
}

/// One thing that is odd about a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// By which rule.
    pub rule: Rule,
    /// What is so, a lower-case fragment on one line.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl Rule {
    /// Every rule, in the order of the documents.
    pub const ALL: [Self; 4] = [Self::Unreachable, Self::Redundant, Self::Contradiction, Self::Open];

    /// The word in lines.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "W_UNREACHABLE",
            Self::Redundant => "W_REDUNDANT",
            Self::Contradiction => "W_CONTRADICTION",
            Self::Open => "W_OPEN",
        }
    }

    /// What it means, for the documents.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Unreachable => "A rule that no request ever meets.",
            Self::Redundant => "A rule that another one holds already.",
            Self::Contradiction => "Rules that exclude each other: what both are about is always denied.",
            Self::Open => "A rule that leaves open what it seems to close.",
        }
    }

    /// An example, what it is told, and the way out.
    pub const fn explanation(self) -> Explanation {
        let (policy, answer, way_out) = match self {
            Self::Unreachable => (
                "allow: {cpuAndMemory: false}\nlimits: {cpu: 16}",
                "/spec/limits/cpu: W_UNREACHABLE: machines are sized by instance type alone, which is not held to it; hint: remove it, and list `instanceTypes`",
                "Remove the rule, or change the one that it never gets past. Nothing is denied wrongly, but whoever reads the policy believes in a rule that is not there.",
            ),
            Self::Redundant => (
                "namespaces: [payments-*, payments-prod]",
                "/spec/namespaces/1: W_REDUNDANT: `payments-*` says it already; hint: remove it",
                "Remove the narrower one; or the wider one, if it was meant to be closed.",
            ),
            Self::Contradiction => (
                "namePattern: \"[A-Z]{3}-[0-9]+\"",
                "/spec/namePattern: W_CONTRADICTION: no name matches it, so every request is denied; hint: names are of a-z, 0-9 and -",
                "Change one of the two: as it is, nobody can have what they are about.",
            ),
            Self::Open => (
                "limits: {memory: 64Gi}",
                "/spec/limits/memory: W_OPEN: an instance type is not held to it, and every one may be named; hint: list `instanceTypes`",
                "Close it as the hint says, or be sure that it is meant so.",
            ),
        };
        Explanation { example: "", policy, answer, way_out }
    }
}

impl Finding {
    pub(super) fn new(pointer: impl Into<String>, rule: Rule, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), rule, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// By place, as problems are.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let at = |finding: &Self| Problem::new(finding.pointer.clone(), Code::Size, "");
        at(self).order(&at(other)).then(self.rule.cmp(&other.rule))
    }
}

/// The line for people, as that of a problem: `/spec/limits/cpu: W_OPEN: what; hint: way out`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.pointer, self.rule.word(), self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}
