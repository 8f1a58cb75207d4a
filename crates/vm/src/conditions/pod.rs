//! Pods that keep a disk from being deleted.

use std::collections::BTreeSet;

use serde_json::Value;

use super::view::View;

/// Kubernetes keeps a claim by this finalizer for as long as a pod names it, also one that has ended (v1.36
/// `pkg/controller/volume/pvcprotection`, `podUsesPVC`).
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// The first of these claims that a pod has or will have. A pod that has ended keeps it from being deleted as well, until it is
/// deleted itself.
pub fn claim_kept<'a>(pod: &'a Value, claims: &BTreeSet<&str>) -> Option<&'a str> {
    let view = View(pod);
    let claims_of_pod = view.list("/spec/volumes").map(|v| v.text("/persistentVolumeClaim/claimName"));
    claims_of_pod.into_iter().find(|claim| claims.contains(claim))
}

/// Whether a claim is being deleted, and waits for the pods that name it.
pub fn waits_for_pods(claim: &Value) -> bool {
    let view = View(claim);
    view.deleting()
        && claim
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(|finalizer| finalizer == PROTECTION))
}

/// Whether it is a pod of our Tasks that has ended: all that it still does is to keep its log, and its claims.
pub fn spent_pod_of_ours(pod: &Value) -> bool {
    let view = View(pod);
    matches!(view.text("/status/phase"), "Succeeded" | "Failed")
        && view.text("/metadata/labels/app.kubernetes.io~1part-of") == "vm-lifecycle-tasks"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{claim_kept, spent_pod_of_ours, waits_for_pods};

    #[test]
    fn point_02_a_claim_is_kept_until_its_pod_is_gone() {
        let claims = BTreeSet::from(["data"]);
        let pod = |phase: &str, claim: &str| json!({"spec": {"volumes": [{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": claim}}]}, "status": {"phase": phase}});
        for phase in ["Pending", "Running", "Unknown", "", "Succeeded", "Failed"] {
            assert_eq!(claim_kept(&pod(phase, "data"), &claims), Some("data"), "{phase}");
        }
        assert_eq!(claim_kept(&pod("Running", "other"), &claims), None);
        let labelled = |phase: &str, of: &str| {
            let mut pod = pod(phase, "data");
            pod["metadata"] = json!({"labels": {"app.kubernetes.io/part-of": of}});
            spent_pod_of_ours(&pod)
        };
        assert!(labelled("Succeeded", "vm-lifecycle-tasks") && labelled("Failed", "vm-lifecycle-tasks"));
        assert!(!labelled("Running", "vm-lifecycle-tasks") && !labelled("Failed", "another"));
        assert!(!spent_pod_of_ours(&pod("Failed", "data")));
    }

    #[test]
    fn point_08_a_claim_waits_for_pods_only_while_it_goes() {
        let time = "2026-11-21T06:00:00Z";
        let own = json!(["kubernetes.io/pvc-protection"]);
        assert!(waits_for_pods(&json!({"metadata": {"deletionTimestamp": time, "finalizers": own}})));
        assert!(!waits_for_pods(&json!({"metadata": {"finalizers": own}})));
        assert!(!waits_for_pods(&json!({"metadata": {"deletionTimestamp": time, "finalizers": ["other"]}})));
    }
}
