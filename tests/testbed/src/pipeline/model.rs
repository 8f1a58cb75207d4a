//! The part of Tekton's `v1` Tasks and Pipelines and `v1beta1` StepActions that this repository uses.
//!
//! Fields that are not here are refused when a file is read: what the tests do not know, they cannot vouch for. So there is no
//! `script`, nothing alpha, and no `ref` (steps are written out, for a Task to work without our StepActions beside it).
#![expect(
    missing_docs,
    reason = "the fields are Tekton's own: <https://tekton.dev/docs/pipelines/pipeline-api/>"
)]

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Any of the kinds: Task, Pipeline, StepAction.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Object<S> {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    pub spec: S,
}

impl<S: DeserializeOwned> Object<S> {
    /// Read one file with one document.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_saphyr::from_str(&text)
            .with_context(|| format!("{}: not what we know of Tekton", path.display()))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// `spec` of a Task.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Task {
    pub display_name: String,
    pub description: String,
    #[serde(default)]
    pub params: Vec<Param>,
    #[serde(default)]
    pub results: Vec<Named>,
    #[serde(default)]
    pub workspaces: Vec<Workspace>,
    #[serde(default)]
    pub volumes: Vec<Volume>,
    #[serde(default)]
    pub step_template: StepTemplate,
    pub steps: Vec<Step>,
}

/// A param: always a string.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Param {
    pub name: String,
    pub description: String,
    pub default: Option<String>,
}

/// A result of a Task or StepAction: always a string.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub name: String,
    pub description: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Workspace {
    pub name: String,
    pub description: String,
    #[serde(default)]
    pub optional: bool,
    #[serde(default)]
    pub read_only: bool,
}

/// One of its sources: a folder that ends with the pod, the token of its ServiceAccount, or a volume of the namespace. What has
/// to last or to be secret comes by a workspace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Volume {
    pub name: String,
    pub empty_dir: Option<EmptyDir>,
    pub projected: Option<Projected>,
    pub persistent_volume_claim: Option<Claim>,
}

/// [`super::Flow`] leaves it out, as there is no pod: steps get a kubeconfig by their workspace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Projected {
    pub default_mode: Option<u32>,
    pub sources: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Claim {
    pub claim_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EmptyDir {
    pub medium: Option<String>,
    pub size_limit: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepTemplate {
    pub security_context: Option<serde_json::Value>,
    pub compute_resources: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    pub name: String,
    pub image: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<Variable>,
    #[serde(default)]
    pub volume_mounts: Vec<Mount>,
    /// Volumes of mode Block, as devices.
    #[serde(default)]
    pub volume_devices: Vec<Device>,
    /// Instead of what the template says.
    pub security_context: Option<serde_json::Value>,
    /// Instead of what the template says.
    pub compute_resources: Option<serde_json::Value>,
    /// Workspaces that no other step of the Task gets.
    #[serde(default)]
    pub workspaces: Vec<StepWorkspace>,
    /// Not enforced by [`super::Flow`]: each binary has its own `--timeout`, which contract tests hold below this.
    pub timeout: Option<String>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Variable {
    pub name: String,
    #[serde(default)]
    pub value: String,
    pub value_from: Option<ValueFrom>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ValueFrom {
    pub field_ref: FieldRef,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FieldRef {
    pub field_path: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    pub name: String,
    pub mount_path: String,
    #[serde(default)]
    pub read_only: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Device {
    pub name: String,
    pub device_path: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepWorkspace {
    pub name: String,
}

/// `spec` of a StepAction.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepAction {
    pub description: String,
    #[serde(default)]
    pub params: Vec<Param>,
    #[serde(default)]
    pub results: Vec<Named>,
    pub image: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<Variable>,
    pub security_context: serde_json::Value,
}

/// `spec` of a Pipeline.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pipeline {
    pub display_name: String,
    pub description: String,
    #[serde(default)]
    pub params: Vec<Param>,
    #[serde(default)]
    pub workspaces: Vec<Workspace>,
    #[serde(default)]
    pub results: Vec<PipelineResult>,
    pub tasks: Vec<PipelineTask>,
    #[serde(default)]
    pub finally: Vec<PipelineTask>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineResult {
    pub name: String,
    pub description: String,
    pub value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PipelineTask {
    pub name: String,
    pub display_name: String,
    pub description: String,
    pub task_ref: TaskRef,
    #[serde(default)]
    pub params: Vec<Given>,
    #[serde(default)]
    pub workspaces: Vec<GivenWorkspace>,
    #[serde(default)]
    pub run_after: Vec<String>,
    #[serde(default)]
    pub when: Vec<When>,
    #[serde(default)]
    pub on_error: OnError,
    pub timeout: Option<String>,
}

/// What the failure of a task does to the run.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    #[default]
    StopAndFail,
    Continue,
}

/// A Task of the same namespace; never an inline one, which an admin can forbid.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRef {
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenWorkspace {
    pub name: String,
    pub workspace: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    pub input: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Operator {
    In,
    NotIn,
}
