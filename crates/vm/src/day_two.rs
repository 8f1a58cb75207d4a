//! Requests about a machine that is there, or was: everything but `provision`, whose type is [`crate::request::Request`].
//!
//! As there: every default explicit, every value right by its type; the published schema is the same one, and a test holds it
//! and these types together.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{Label, RequestId, Subdomain};
use crate::quantity::Quantity;
use crate::request::{ApiVersion, Checks, Image, Kind, Metadata, Target};

/// One accepted request about a machine that is there, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// Always [`crate::request::API_VERSION`].
    pub api_version: ApiVersion,
    /// Always [`crate::request::KIND`].
    pub kind: Kind,
    /// Who asks, why, and under which id.
    pub metadata: Metadata,
    /// What is asked for.
    pub spec: Spec,
}

/// What is asked for: `operation`, `target`, `operationSpec` and `checks`, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Spec {
    /// The operation with what belongs to it.
    pub operation: Operation,
    /// Which machine.
    pub target: Target,
    /// What has to hold before the flow reports the machine ready; absent means what the machine was provisioned with.
    pub checks: Option<Checks>,
}

/// An operation with its `operationSpec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Let the machine run.
    Start(Start),
    /// Shut the machine down and keep it so.
    Stop(Shutdown),
    /// Shut the machine down and start it again.
    Restart(Shutdown),
    /// Keep the state of the disks.
    Snapshot(Snapshot),
    /// Take the disks back to a snapshot.
    Restore(Restore),
    /// A new boot disk, everything else as it is.
    Repave(Repave),
    /// Change what is on the boot disk: while the machine is off, or by its own shell.
    Patch(Patch),
    /// More or less CPU and memory, larger disks.
    Resize(Resize),
    /// Remove the machine.
    Deprovision(Deprovision),
    /// Bring a removed machine back.
    Undelete(Undelete),
}

/// How a machine comes to run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Start {
    /// The id of a request that was not finished and may have left the disks half changed: whoever gives it says that they are
    /// good. Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub despite: Option<RequestId>,
}

/// How a machine is shut down.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shutdown {
    /// Seconds after which a guest that is still up loses its power, 0 to 3600; absent means the machine's own grace period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_after_seconds: Option<u16>,
}

/// What a snapshot has to be, and which older ones go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Snapshot {
    /// Fail unless the guest's file systems were frozen, or the machine was off.
    pub require_quiesced: bool,
    /// Seconds until a snapshot that is not ready has failed, 10 to 3600.
    pub deadline_seconds: u16,
    /// Afterwards keep this many of the machine's snapshots that this project made, 1 to 100; absent keeps all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_count: Option<u16>,
    /// Afterwards remove those older than this many days, 1 to 3650; absent keeps all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u16>,
}

impl Default for Snapshot {
    fn default() -> Self {
        // 5 minutes is KubeVirt's own default (spec.failureDeadline, kubevirt v1.8.0 snapshot/v1beta1/types.go)
        Self { require_quiesced: false, deadline_seconds: 300, keep_count: None, keep_days: None }
    }
}

/// The snapshot that the machine's own disks go back to. A new machine from a snapshot is provisioned: [`Image::Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restore {
    /// The name of the `VirtualMachineSnapshot`.
    pub snapshot: Subdomain,
}

/// From what the new boot disk is made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Repave {
    /// The image; absent means the one that the machine was provisioned with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Keep the old boot disk after the new one has proven itself.
    pub keep_old_disk: bool,
    /// Seconds for which the machine has to pass its checks on the new boot disk, as the same instance, before the old one goes,
    /// 0 to 3600; it comes back if one fails within them. Not written when 0, so that the digests of requests that came before
    /// this field stay.
    #[serde(skip_serializing_if = "is_zero")]
    pub rollback_for_seconds: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// What is run on the boot disk, or in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patch {
    /// The name of one of the site's files of commands.
    pub profile: Label,
    /// How.
    #[serde(default)]
    pub method: PatchMethod,
}

/// How a machine is patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchMethod {
    /// On its disk while it is off.
    #[default]
    Offline,
    /// By its own shell while it runs, over SSH.
    InGuest,
}

/// The new sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resize {
    /// CPUs, memory or instance type; what is absent stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute: Option<NewCompute>,
    /// Disks to grow; those that are not named stay.
    pub disks: Vec<NewSize>,
    /// Restart the machine if that is what the change needs.
    pub allow_restart: bool,
}

/// The new size of the machine itself; an instance type excludes the others, and what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewCompute {
    /// A `VirtualMachineClusterInstancetype`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<Subdomain>,
    /// Virtual CPUs, 1 to 512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
    /// Guest memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// The new size of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSize {
    /// The disk's name within the machine; the boot disk is called `root`.
    pub name: Label,
    /// Its new size, larger than it is.
    pub size: Quantity,
}

/// What becomes of the disks, and the word that it is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Deprovision {
    /// The data disks; the boot disk always goes.
    pub disks: DataDisks,
    /// The machine's name once more; a protected machine is not removed without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_name: Option<Label>,
}

/// What becomes of data disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataDisks {
    /// They stay.
    #[default]
    Retain,
    /// They go.
    Delete,
}

/// Which of the removed machines of this name comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Undelete {
    /// The id of the request that provisioned it; needed only if several were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

impl Operation {
    /// Every word, in the order of the documents.
    pub const WORDS: [&'static str; 10] = [
        "start",
        "stop",
        "restart",
        "snapshot",
        "restore",
        "repave",
        "patch",
        "resize",
        "deprovision",
        "undelete",
    ];

    /// The word in the request, in commits and in events.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Stop(_) => "stop",
            Self::Restart(_) => "restart",
            Self::Snapshot(_) => "snapshot",
            Self::Restore(_) => "restore",
            Self::Repave(_) => "repave",
            Self::Patch(_) => "patch",
            Self::Resize(_) => "resize",
            Self::Deprovision(_) => "deprovision",
            Self::Undelete(_) => "undelete",
        }
    }

    fn read(word: &str, spec: Value) -> Result<Self, String> {
        fn of<T: serde::de::DeserializeOwned>(spec: Value) -> Result<T, String> {
            serde_json::from_value(spec).map_err(|error| format!("operationSpec: {error}"))
        }
        Ok(match word {
            "start" => Self::Start(of(spec)?),
            "stop" => Self::Stop(of(spec)?),
            "restart" => Self::Restart(of(spec)?),
            "snapshot" => Self::Snapshot(of(spec)?),
            "restore" => Self::Restore(of(spec)?),
            "repave" => Self::Repave(of(spec)?),
            "patch" => Self::Patch(of(spec)?),
            "resize" => Self::Resize(of(spec)?),
            "deprovision" => Self::Deprovision(of(spec)?),
            "undelete" => Self::Undelete(of(spec)?),
            other => {
                return Err(format!(
                    "unknown operation `{other}`, expected one of {}",
                    Self::WORDS.join(", ")
                ));
            }
        })
    }

    fn spec(&self) -> Value {
        let value = match self {
            Self::Start(spec) => serde_json::to_value(spec),
            Self::Stop(spec) | Self::Restart(spec) => serde_json::to_value(spec),
            Self::Snapshot(spec) => serde_json::to_value(spec),
            Self::Restore(spec) => serde_json::to_value(spec),
            Self::Repave(spec) => serde_json::to_value(spec),
            Self::Patch(spec) => serde_json::to_value(spec),
            Self::Resize(spec) => serde_json::to_value(spec),
            Self::Deprovision(spec) => serde_json::to_value(spec),
            Self::Undelete(spec) => serde_json::to_value(spec),
        };
        // mappings of strings, numbers and lists cannot fail to serialise
        value.unwrap_or_default()
    }
}

/// [`Spec`] as it is written: serde has no adjacent tag that refuses unknown fields.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    operation: String,
    target: Target,
    #[serde(default = "empty")]
    operation_spec: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checks: Option<Checks>,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

impl TryFrom<Fields> for Spec {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let operation = Operation::read(&fields.operation, fields.operation_spec)?;
        Ok(Self { operation, target: fields.target, checks: fields.checks })
    }
}

impl From<Spec> for Fields {
    fn from(spec: Spec) -> Self {
        Self {
            operation: spec.operation.word().to_owned(),
            target: spec.target,
            operation_spec: spec.operation.spec(),
            checks: spec.checks,
        }
    }
}
