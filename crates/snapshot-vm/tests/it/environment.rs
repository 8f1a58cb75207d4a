//! What the policy says of the environment that the machine's label names.

use serde_json::json;

use crate::bed::world::{VM, World};
use crate::begin;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_environment_does_not_allow_is_denied_and_changes_nothing() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let request = json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
        "metadata": {"requestId": "req-1", "requestedBy": "jane@example.com"},
        "spec": {"operation": "snapshot", "target": {"cluster": "in-cluster", "namespace": "team-a", "name": "web01"}}
    });
    let request = format!("--request-file={}", written("request.json", &request.to_string()));
    written(
        "policy.yaml",
        "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMPolicy\nspec: {environments: {dev: {}, prod: {operations: [start, stop]}}}\n",
    );
    let policy = format!("--policy={}", folder.path().display());
    let of = |environment: &str| {
        world.edit(VM, |vm| vm["metadata"]["labels"] = json!({"vmlifecycle.dev/environment": environment}));
    };
    of("prod");
    for action in ["--action=check", "--action=create"] {
        let ended = begin(&world, &[&request, &policy, action]).end().await;
        let line = "error: request refused, 1 problem: E_POLICY_OPERATION: the policy does not allow `snapshot` in environment `prod`";
        assert!(ended.log.iter().any(|said| said == line), "{:#?}", ended.log);
        assert_eq!((ended.code, ended.result("outcome").as_str()), (Some(11), "denied"));
    }
    assert_eq!(world.asked("POST"), 0);
    of("dev");
    let ended = begin(&world, &[&request, &policy]).end().await;
    assert_eq!(ended.code, Some(0), "{:#?}", ended.log);
}
