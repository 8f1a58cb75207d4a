//! An import, pod by pod, as it was seen on a real cluster with CDI 1.65.

use serde_json::{Value, json};

use super::phase::Step;
use crate::standin::{condition, text};

/// Why a pod runs.
pub(super) const RUNNING: &str = "Pod is running";
/// Why a pod ended that fetches over HTTP: it found that it needs room beside the disk, and is made again with it.
pub(super) const SCRATCH: &str = "Scratch space required";
/// The claim's note of that (CDI `pkg/controller/common/util.go`).
const REQUIRES_SCRATCH: &str = "cdi.kubevirt.io/storage.import.requiresScratch";

/// The pod of every import, up to where it works.
pub(super) const FIRST_POD: [Step; 3] = [
    ("ImportScheduled", "False", ""),
    ("ImportScheduled", "False", "ContainerCreating"),
    ("ImportInProgress", "True", RUNNING),
];

/// The next one, of an import over HTTP.
const SECOND_POD: [Step; 3] = [
    ("ImportScheduled", "False", SCRATCH),
    ("ImportScheduled", "False", "ContainerCreating"),
    ("ImportInProgress", "True", RUNNING),
];

/// What the import of a volume goes through.
pub(super) fn plan(volume: &Value) -> Vec<Step> {
    let mut plan = FIRST_POD.to_vec();
    if volume.pointer("/spec/source/http").is_some() {
        plan.extend(SECOND_POD);
    }
    plan
}

/// Where in a plan a volume is; one whose pod ended is where it last worked.
pub(super) fn at(plan: &[Step], volume: &Value, claim: &Value) -> Option<usize> {
    let running = condition(volume, "Running").unwrap_or(&Value::Null);
    let now = (text(volume, "/status/phase"), text(running, "/status"), text(running, "/reason"));
    let second = claim["metadata"]["annotations"].get(REQUIRES_SCRATCH).is_some();
    let from = if second && plan.len() > FIRST_POD.len() { FIRST_POD.len() } else { 0 };
    let here = plan.iter().skip(from).position(|step| *step == now).map(|at| from + at);
    here.or_else(|| plan.iter().rposition(|step| step.0 == now.0))
}

/// The note, as a patch of the claim.
pub(super) fn with_scratch() -> Value {
    json!({ "metadata": { "annotations": { REQUIRES_SCRATCH: "true" } } })
}
