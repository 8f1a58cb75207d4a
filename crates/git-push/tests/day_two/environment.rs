//! What the site's policy says of the environment that the machine in Git is of.

use serde_json::json;

use crate::pod::World;

#[tokio::test]
async fn what_its_environment_does_not_allow_leaves_the_branch_as_it_is() {
    let (world, provisioned) = World::with_machine_of("prod").await;
    world.allow(&json!({"environments": {"prod": {"operations": ["provision", "patch"]}}}));
    let tip = || world.server.git().tip().unwrap();
    let denied = |operation: &str| {
        format!(
            "render-vm: error: request refused, 1 problem: E_POLICY_OPERATION: the policy does not allow `{operation}` in environment `prod`"
        )
    };
    for operation in ["stop", "restart", "deprovision"] {
        let ended = world.publish(
            "r-1",
            operation,
            &json!({}),
            if operation == "deprovision" { "stop" } else { "power" },
        );
        assert_eq!((ended.code, ended.last), (11, denied(operation)));
        assert_eq!(tip(), provisioned);
    }

    // a policy that comes while the machine is off must not leave it so
    let patch = json!({"profile": "security"});
    let stopped = world.publish("r-2", "patch", &patch, "stop").changed().to_owned();
    world.allow(&json!({"environments": {"prod": {"operations": ["provision"]}}}));
    assert_eq!(tip(), stopped);
    let started = world.publish("r-2", "patch", &patch, "start");
    assert_eq!(tip(), started.changed());
    let another = world.publish("r-3", "patch", &patch, "stop");
    assert_eq!((another.code, another.last), (11, denied("patch")));
}
