//! Stop, start and restart, from `pipelines/power-vm.yaml`.
#![expect(clippy::unwrap_used, reason = "a test")]

use flows::{World, request, told};
use serde_json::{Value, json};

/// The uid of the running instance, if one runs.
async fn instance(world: &World, name: &str) -> Option<String> {
    let vmi = world.object("kubevirt.io/v1", "virtualmachineinstances", name).await.unwrap()?;
    vmi["metadata"]["uid"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn off_and_on_is_one_value_in_git_and_back() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let on = world.file("web").unwrap();
    world.done("power-vm", "stop-1", &request("stop-1", "stop", "web", &Value::Null)).unwrap();
    assert_eq!(world.file("web").unwrap(), on.replace("\"Always\"", "\"Halted\""));
    assert_eq!(instance(&world, "web").await, None);

    // the same request again is done already; another one finds the machine stopped
    let tip = world.server.git().tip().unwrap();
    world.done("power-vm", "stop-1-again", &request("stop-1", "stop", "web", &Value::Null)).unwrap();
    assert_eq!(world.server.git().tip().unwrap(), tip);

    world.done("power-vm", "start-1", &request("start-1", "start", "web", &Value::Null)).unwrap();
    assert_eq!(world.file("web").unwrap(), on);
    assert!(instance(&world, "web").await.is_some());

    // the old request does not stop it a second time
    world.run("power-vm", "stop-1-late", &request("stop-1", "stop", "web", &Value::Null)).unwrap();
    assert_eq!(world.file("web").unwrap(), on);
    assert!(instance(&world, "web").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_one_restart_for_one_request() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let first = instance(&world, "web").await.unwrap();
    let restart = request("restart-1", "restart", "web", &Value::Null);
    world.done("power-vm", "restart-1", &restart).unwrap();
    let second = instance(&world, "web").await.unwrap();
    assert_ne!(first, second);
    world.done("power-vm", "restart-1-again", &restart).unwrap();
    assert_eq!(instance(&world, "web").await.unwrap(), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_machine_is_not_restarted() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    world.done("power-vm", "stop", &request("stop", "stop", "web", &Value::Null)).unwrap();
    let ended =
        world.run("power-vm", "restart", &request("restart", "restart", "web", &Value::Null)).unwrap();
    let (outcome, message) = told(&ended);
    assert!(!ended.succeeded, "{outcome}: {message}");
    assert!(message.contains("the machine is off"), "{message}");
    assert_eq!(instance(&world, "web").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_in_git_is_refused_before_anything() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let tip = world.server.git().tip().unwrap();
    let stop = request("stop", "stop", "absent", &Value::Null);
    let message = world.refused("power-vm", "stop", &stop, "invalid").unwrap();
    assert!(message.contains("absent"), "{message}");
    assert_eq!(world.server.git().tip().unwrap(), tip);
}

/// Two flows for one machine at the same time: the second waits for the first, and both are done in the end.
#[tokio::test(flavor = "multi_thread")]
async fn point_16_two_flows_on_one_machine_take_turns() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let stop = request("stop", "stop", "web", &json!({"forceAfterSeconds": 1}));
    let start = request("start", "start", "web", &Value::Null);
    let (first, second) = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let first = scope.spawn(|| world.done("power-vm", "stop", &stop));
            let second = scope.spawn(|| world.done("power-vm", "start", &start));
            (first.join().unwrap(), second.join().unwrap())
        })
    });
    first.unwrap();
    second.unwrap();
    // whoever came second found what the first had left, and what Git says is what runs
    let declared = world.file("web").unwrap().contains("runStrategy: \"Always\"");
    assert_eq!(instance(&world, "web").await.is_some(), declared);
    let lease = world.lease("web").await.unwrap().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
}
