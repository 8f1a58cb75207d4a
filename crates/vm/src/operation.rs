//! What an operation leaves in Git: a record for each of its phases, and the tombstone of a machine that was removed.
//!
//! A record lies in the same commit as what the phase changed. Its presence at the branch's tip says that the phase is
//! done; so a phase that is run again does nothing, however often and however late.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::day_two::Request;
use crate::document;
use crate::name::{Label, RequestId};
use crate::problem::{Code, Problem};
use crate::quantity::Quantity;
use crate::request::{ApiVersion, Metadata};
use crate::yaml;

/// The marker of a phase: that it is done, for which request, and what was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Always [`crate::request::API_VERSION`].
    pub api_version: ApiVersion,
    /// Always `VMOperation`.
    pub kind: RecordKind,
    /// The phase that is done.
    pub phase: Phase,
    /// 1 + the highest among the machine's records before it: their order, which times of requests do not give.
    pub sequence: u32,
    /// What the phase changed, as it was.
    #[serde(default)]
    pub before: Before,
    /// The accepted request.
    pub request: Request,
}

/// `VMOperation` as a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordKind {
    /// The only kind.
    #[serde(rename = "VMOperation")]
    VmOperation,
}

/// A part of an operation that is one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// start, stop, restart: the whole of it.
    Power,
    /// restore, patch, deprovision: the machine is off.
    Stop,
    /// restore, patch: the machine is as it was before `stop`.
    Start,
    /// repave: a new boot disk beside the old one.
    Repave,
    /// repave: the old boot disk again; patch: the machine is as it was before `stop`, on its disk of before.
    Rollback,
    /// repave: the old boot disk is gone.
    Cleanup,
    /// resize: the whole of it.
    Resize,
    /// deprovision: the machine is in the archive.
    Remove,
    /// undelete: the machine is back from the archive.
    Undelete,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 9] = [
        Self::Power,
        Self::Stop,
        Self::Start,
        Self::Repave,
        Self::Rollback,
        Self::Cleanup,
        Self::Resize,
        Self::Remove,
        Self::Undelete,
    ];

    /// The word in files, flags and commits.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Repave => "repave",
            Self::Rollback => "rollback",
            Self::Cleanup => "cleanup",
            Self::Resize => "resize",
            Self::Remove => "remove",
            Self::Undelete => "undelete",
        }
    }

    /// The phases of an operation by its word, in their order; none for one that leaves nothing in Git, and for `provision`.
    pub fn of(operation: &str) -> &'static [Self] {
        match operation {
            "start" | "stop" | "restart" => &[Self::Power],
            "restore" => &[Self::Stop, Self::Start],
            "patch" => &[Self::Stop, Self::Start, Self::Rollback],
            "repave" => &[Self::Repave, Self::Rollback, Self::Cleanup],
            "resize" => &[Self::Resize],
            "deprovision" => &[Self::Stop, Self::Remove],
            "undelete" => &[Self::Undelete],
            _ => &[],
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(Self::word).join(", ");
        let found = Self::ALL.into_iter().find(|phase| phase.word() == text);
        found.ok_or_else(|| format!("unknown phase `{text}`, expected one of {}", words()))
    }
}

/// What a phase changed, as it was before; absent is what it did not touch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Before {
    /// The run strategy in KubeVirt's words, `Always` and `Halted` where the file has `running`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_strategy: Option<String>,
    /// The claim that the machine booted from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_claim: Option<String>,
    /// The file of the boot disk, within the machine's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_file: Option<String>,
    /// The instance type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
    /// Guest memory, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The sizes of disks that have grown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<OldSize>,
}

/// The size of a disk before it grew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OldSize {
    /// The disk's name within the machine.
    pub name: Label,
    /// Its size before.
    pub size: Quantity,
}

/// What stands in a removed machine's folder of the archive: by whom, when and why, and what became of its disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tombstone {
    /// Always [`crate::request::API_VERSION`].
    pub api_version: ApiVersion,
    /// Always `VMTombstone`.
    pub kind: TombstoneKind,
    /// Who removed it, when, why, and under which id.
    pub metadata: Metadata,
    /// The digest of the request to remove it.
    pub digest: String,
    /// Its disks.
    pub disks: Vec<BuriedDisk>,
}

/// `VMTombstone` as a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TombstoneKind {
    /// The only kind.
    #[serde(rename = "VMTombstone")]
    VmTombstone,
}

/// A disk of a removed machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuriedDisk {
    /// Its name within the machine.
    pub name: String,
    /// Its claim.
    pub claim: String,
    /// Whether it is still there.
    pub kept: bool,
}

impl Record {
    /// A record of a phase.
    pub const fn new(phase: Phase, sequence: u32, before: Before, request: Request) -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: RecordKind::VmOperation,
            phase,
            sequence,
            before,
            request,
        }
    }

    /// Read a record; the problem says in one line what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        parse(bytes)
    }

    /// The file, the same for the same record.
    pub fn to_yaml(&self) -> String {
        to_yaml(self)
    }

    /// Whose record it is.
    pub const fn request_id(&self) -> &RequestId {
        &self.request.metadata.request_id
    }

    /// Where it lies in the repository while its machine is there.
    pub fn path(&self) -> String {
        self.request.spec.target.operation_path(self.request_id(), self.phase)
    }
}

impl Tombstone {
    /// The tombstone of a machine that `request` removes.
    pub fn new(request: &Request, disks: Vec<BuriedDisk>) -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: TombstoneKind::VmTombstone,
            metadata: request.metadata.clone(),
            digest: request.digest(),
            disks,
        }
    }

    /// Read a tombstone; the problem says in one line what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        parse(bytes)
    }

    /// The file, the same for the same tombstone.
    pub fn to_yaml(&self) -> String {
        to_yaml(self)
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value = document::read_own(bytes)?;
    serde_json::from_value(value).map_err(|error| Problem::new("", Code::Type, error.to_string()))
}

fn to_yaml(value: &impl Serialize) -> String {
    // values made of strings, numbers and lists cannot fail to serialise
    yaml::document(&serde_json::to_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests;
