//! What the request in the source says of the change.

use std::path::Path;

use step::{Failure, Kind, one_line};
use vm::document::{self, Form};

/// What a commit needs to know of a request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) digest: String,
    /// Such as `provision vm team-a/web-1`.
    pub(crate) subject: String,
    /// Seconds since 1970 when it was made, if it says so.
    pub(crate) time: Option<i64>,
    operation: &'static str,
    requested_by: String,
}

impl Request {
    /// Read a normalised request as `render-vm` writes it.
    pub(crate) fn read(bytes: &[u8], path: &Path) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let what = format!("cannot read the request `{}`: {}", path.display(), one_line(why, 300));
            Failure::new(Kind::Invalid, what).hint("the source is the output folder of `render-vm`")
        };
        let value = document::read(bytes, Form::Any).map_err(|problem| wrong(&problem.to_string()))?;
        let request: vm::request::Request =
            serde_json::from_value(value).map_err(|error| wrong(&error.to_string()))?;
        let (target, operation) = (&request.spec.target, request.spec.operation.word());
        Ok(Self {
            digest: request.digest(),
            subject: format!("{operation} vm {}/{}", target.namespace, target.name),
            time: request.metadata.requested_at.map(jiff::Timestamp::as_second),
            operation,
            requested_by: request.metadata.requested_by.to_string(),
            id: request.metadata.request_id.to_string(),
        })
    }

    /// The trailers of the commit.
    pub(crate) fn trailers(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("Request-Id", &self.id),
            ("Request-Digest", &self.digest),
            ("Requested-By", &self.requested_by),
            ("Operation", self.operation),
        ]
    }
}

/// The id of whatever request this is: one on the branch may be of another version than ours.
pub(crate) fn id(bytes: &[u8]) -> Option<String> {
    let value = document::read(bytes, Form::Any).ok()?;
    Some(value.get("metadata")?.get("requestId")?.as_str()?.to_owned())
}
