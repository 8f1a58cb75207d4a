//! Any accepted request, whatever its operation.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Checks, Metadata, Request, Target};
use crate::name::RequestId;
use crate::problem::{Code, Problem};
use crate::{day_two, document};

/// An accepted request, as `validate-request` writes it and as Git holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "one per process")]
pub enum Accepted {
    /// A new machine.
    Provision(Request),
    /// Something about a machine that is there, or was.
    DayTwo(day_two::Request),
}

impl Accepted {
    /// Read an accepted request in JSON or YAML; the problem says what is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let value = document::read_own(text.as_bytes())?;
        serde_json::from_value(value).map_err(|error| Problem::new("", Code::Type, error.to_string()))
    }

    /// Who asks, why, and under which id.
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::Provision(request) => &request.metadata,
            Self::DayTwo(request) => &request.metadata,
        }
    }

    /// The idempotency key.
    pub const fn request_id(&self) -> &RequestId {
        &self.metadata().request_id
    }

    /// Which machine.
    pub const fn target(&self) -> &Target {
        match self {
            Self::Provision(request) => &request.spec.target,
            Self::DayTwo(request) => &request.spec.target,
        }
    }

    /// The word in the request, in commits and in events: `provision`, `stop`, ….
    pub const fn operation_word(&self) -> &'static str {
        match self {
            Self::Provision(request) => request.spec.operation.word(),
            Self::DayTwo(request) => request.spec.operation.word(),
        }
    }

    /// What has to hold before the machine is reported ready; none means what it was provisioned with.
    pub const fn checks(&self) -> Option<&Checks> {
        match self {
            Self::Provision(request) => Some(&request.spec.checks),
            Self::DayTwo(request) => request.spec.checks.as_ref(),
        }
    }

    /// The request about a machine that is there, or was.
    pub const fn day_two(&self) -> Option<&day_two::Request> {
        match self {
            Self::Provision(_) => None,
            Self::DayTwo(request) => Some(request),
        }
    }

    /// The request for a new machine.
    pub const fn provision(&self) -> Option<&Request> {
        match self {
            Self::Provision(request) => Some(request),
            Self::DayTwo(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Accepted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // by the operation, not by trial: so the error is about the request that it is
        let value = Value::deserialize(deserializer)?;
        let provision = value.pointer("/spec/operation").is_some_and(|word| word == "provision");
        let read = if provision {
            serde_json::from_value(value).map(Self::Provision)
        } else {
            serde_json::from_value(value).map(Self::DayTwo)
        };
        read.map_err(serde::de::Error::custom)
    }
}
