//! What a request came back with, in the classes of a step.

use std::time::Duration;

use kube::core::Status;
use step::{Failure, Kind};

/// A request that did not get its answer. The text is the server's own where it gave one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    status: u16,
    retry_after: Option<Duration>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: 0, retry_after: None }
    }

    /// No answer within the deadline of one request.
    pub(crate) fn silent(after: Duration) -> Self {
        Self::new(Kind::Transient, format!("no answer within {}", step::human(after)))
    }

    /// Its class: [`Kind::Permission`], [`Kind::Transient`], or [`Kind::Failed`] for a request that the server refuses.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The HTTP status, or 0 where there was no answer.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The server has no such kind (yet): its definition is not installed, or it has just started.
    pub const fn not_served(&self) -> bool {
        self.status == 404
    }

    /// The watch began at a version that the server does not hold (any more, or yet).
    pub(crate) const fn expired(&self) -> bool {
        matches!(self.status, 410 | 504)
    }

    /// Whether the API server as a whole is in trouble, so that other requests would fare the same.
    pub(crate) const fn outage(&self) -> bool {
        matches!(self.status, 0 | 429) || self.status >= 500
    }

    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The failure of a step that could not go on because of this.
    pub fn failure(&self, what: &str) -> Failure {
        Failure::new(self.kind, format!("{what}: {self}"))
    }
}

impl From<&Status> for Error {
    fn from(status: &Status) -> Self {
        let kind = match status.code {
            401 | 403 => Kind::Permission,
            // 409 is a lost race, 404 a kind that is not served yet, 410 a watch to begin again
            404 | 408 | 409 | 410 | 429 => Kind::Transient,
            400..=499 => Kind::Failed,
            _ => Kind::Transient,
        };
        let seconds = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
        let message = if status.message.is_empty() {
            format!("HTTP status {}", status.code)
        } else {
            status.message.clone()
        };
        Self {
            kind,
            message,
            status: status.code,
            retry_after: (seconds > 0).then(|| Duration::from_secs(u64::from(seconds))),
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        if let kube::Error::Api(status) = &error {
            return Self::from(&**status);
        }
        // the innermost cause says what happened, the layers around it where it passed
        let mut cause: &dyn std::error::Error = &error;
        let mut certificate = false;
        loop {
            certificate |= cause.to_string().contains("certificate verify failed");
            match cause.source() {
                Some(inner) => cause = inner,
                None => break,
            }
        }
        let kind = match error {
            _ if certificate => Kind::Permission,
            kube::Error::Auth(_) => Kind::Permission,
            _ => Kind::Transient,
        };
        Self::new(kind, cause.to_string())
    }
}
