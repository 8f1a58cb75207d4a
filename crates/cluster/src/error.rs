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
    /// The machine-readable word of the API server, such as `AlreadyExists`, or empty.
    reason: String,
    retry_after: Option<Duration>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: 0, reason: String::new(), retry_after: None }
    }

    /// No answer within the deadline of one request.
    pub(crate) fn silent(after: Duration) -> Self {
        Self::new(Kind::Transient, format!("no answer within {}", step::human(after)))
    }

    /// Its class: [`Kind::Permission`], [`Kind::Transient`], [`Kind::Refused`] for a change that a
    /// webhook or policy denies, or [`Kind::Failed`] for a request that the server itself rejects.
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

    /// Its reason is this word (`metav1.StatusReason`).
    pub(crate) fn is_for(&self, reason: &str) -> bool {
        self.reason == reason
    }

    /// A JSON patch that did not fit the object: a `test` found something else, or a place is not there. Nothing was changed.
    pub fn test_failed(&self) -> bool {
        // k8s.io/apiserver `jsonPatcher` answers NewGenericServerResponse(422): these words and no cause, whereas a result
        // that breaks the schema is named
        self.status == 422 && self.message == "the server rejected our request due to an error in our request"
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
        // what a webhook or a ValidatingAdmissionPolicy says is about the change, not about who asked for it
        let admission = ["denied the request", "denied request"].iter().any(|w| status.message.contains(w));
        let kind = match status.code {
            400..=499 if admission => Kind::Refused,
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
            reason: status.reason.clone(),
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

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use step::Kind;

    use super::Error;

    #[test]
    fn who_has_to_act_is_told_by_code_and_words() {
        let webhook = "admission webhook \"virtualmachine-validator.kubevirt.io\" denied the request: no";
        let policy = "virtualmachines.kubevirt.io \"web01\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' \
                      denied request: VirtualMachine web01 cannot be deleted";
        for (code, message, kind) in [
            (403, "leases is forbidden: User \"x\" cannot get resource", Kind::Permission),
            (401, "Unauthorized", Kind::Permission),
            (403, webhook, Kind::Refused),
            (400, webhook, Kind::Refused),
            (422, policy, Kind::Refused),
            (422, "Lease \"x\" is invalid: spec.leaseTransitions", Kind::Failed),
            (409, "the object has been modified", Kind::Transient),
            (500, "failed calling webhook", Kind::Transient),
        ] {
            let error = Error::from(&Status::failure(message, "").with_code(code));
            assert_eq!((error.kind(), error.status(), error.to_string().as_str()), (kind, code, message));
        }
    }
}
