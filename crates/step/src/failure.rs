//! Why a step did not do what it was asked to, and which exit code says so.

use std::fmt;

/// A signal that asks a step to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, exit code 130.
    Interrupt,
    /// SIGTERM, exit code 143: what the kubelet sends when a PipelineRun is cancelled.
    Terminate,
}

impl Signal {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// The classes of failure. Each has one word (the result `outcome`) and one exit code; both are public API.
///
/// The codes keep clear of those that Tekton and the platform use themselves: 1, 9, 101, 126, 127, 137 and 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A flag, a file or a configuration is wrong: the author of the pipeline acts.
    Usage,
    /// The request breaks the schema or a rule: the requester acts.
    Invalid,
    /// The request is well formed, but the site's policy refuses it.
    Denied,
    /// Somebody else's content stands where ours would go, or the same request id came with other content.
    Conflict,
    /// A later change replaced ours.
    Superseded,
    /// Credentials, host key, certificate or RBAC: an operator acts.
    Permission,
    /// The server refuses the change itself: a hook, a protected branch, a quota.
    Refused,
    /// The target reached a bad state that waiting does not mend.
    Failed,
    /// Network, overload or contention until the deadline; nothing was changed.
    Transient,
    /// It could not be found out whether the change was applied; running again is safe.
    Unknown,
    /// Waited to the deadline while the target was still on its way.
    Timeout,
    /// A bug in this program.
    Internal,
    /// Ended by a signal.
    Cancelled(Signal),
}

impl Kind {
    /// Every kind, for tables in tests and documents.
    pub const ALL: [Self; 14] = [
        Self::Usage,
        Self::Invalid,
        Self::Denied,
        Self::Conflict,
        Self::Superseded,
        Self::Permission,
        Self::Refused,
        Self::Failed,
        Self::Transient,
        Self::Unknown,
        Self::Timeout,
        Self::Internal,
        Self::Cancelled(Signal::Interrupt),
        Self::Cancelled(Signal::Terminate),
    ];

    /// The word written to the result `outcome`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Superseded => "superseded",
            Self::Permission => "permission",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Transient => "transient",
            Self::Unknown => "unknown",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::Cancelled(_) => "cancelled",
        }
    }

    /// The exit code of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Invalid => 10,
            Self::Denied => 11,
            Self::Conflict => 20,
            Self::Superseded => 21,
            Self::Permission => 30,
            Self::Refused => 31,
            Self::Failed => 40,
            Self::Transient => 50,
            Self::Unknown => 51,
            Self::Timeout => 60,
            Self::Internal => 70,
            Self::Cancelled(Signal::Interrupt) => 130,
            Self::Cancelled(Signal::Terminate) => 143,
        }
    }
}

/// One failure: its kind, one sentence of *what, why*, and at most one way out.
///
/// The message is a lower-case fragment without a full stop, names in backticks, no secret. It may hold text of a
/// server; the edge makes it one printable line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    details: Vec<String>,
}

impl Failure {
    /// A failure of this kind with its *what, why*.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, details: Vec::new() }
    }

    /// Add the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Add lines that are printed before the last one, such as each problem of a request.
    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// The class.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What went wrong and why.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The way out, where one is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The lines to print before the last one.
    pub fn detail_lines(&self) -> &[String] {
        &self.details
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn codes_are_those_of_the_design_and_avoid_the_platforms_own() {
        let table: Vec<String> = Kind::ALL.iter().map(|k| format!("{} {}", k.code(), k.word())).collect();
        assert_eq!(
            table.join(", "),
            "2 usage, 10 invalid, 11 denied, 20 conflict, 21 superseded, 30 permission, 31 refused, 40 failed, \
             50 transient, 51 unknown, 60 timeout, 70 internal, 130 cancelled, 143 cancelled"
        );
        for taken in [0, 1, 9, 101, 126, 127, 137, 255] {
            assert!(Kind::ALL.iter().all(|k| k.code() != taken), "code {taken} belongs to the platform");
        }
    }
}
