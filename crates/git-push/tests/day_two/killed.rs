//! `kill -9` of each step at any moment, then the same request in a new pod, or on in the same one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::pod::{Pod, STEPS, World, day_two};

/// Moments for each step.
const MOMENTS: u32 = 6;

/// How long a step takes, in an operation that changes nothing of what follows.
fn took(world: &World) -> Vec<Duration> {
    let pod = world.pod(day_two("r-measure", "restart", &json!({})), Some("power"));
    let run = |step: &&str| {
        let start = Instant::now();
        pod.end(step, pod.start(step)).ok();
        start.elapsed()
    };
    STEPS.iter().map(run).collect()
}

/// Run the steps up to this one, which is killed after a while; whether it was killed before it ended by itself.
fn kill(pod: &Pod<'_>, at: usize, after: Duration) -> bool {
    for step in &STEPS[..at] {
        pod.end(step, pod.start(step)).ok();
    }
    let mut child = pod.start(STEPS[at]);
    std::thread::sleep(after);
    child.kill().unwrap();
    pod.end(STEPS[at], child).code == -1
}

/// Operations in an order that can be carried out, each killed and run again: at each moment once in a new pod, once on in
/// the same one.
#[tokio::test]
async fn killed_at_any_step_and_run_again_every_phase_is_one_commit() {
    let (world, _) = World::with_machine().await;
    let took = took(&world);
    let phases: [(&str, &str, Value, &'static str); 4] = [
        ("a", "stop", json!({}), "power"),
        ("b", "start", json!({}), "power"),
        ("c", "repave", json!({}), "repave"),
        ("c", "repave", json!({}), "rollback"),
    ];
    let before = world.machine();
    let (mut killed, mut landed) = (0, 0);
    let mut commits = world.server.git().log().unwrap().len();
    for (at, step) in STEPS.iter().enumerate() {
        for moment in 0..MOMENTS {
            for (id, operation, spec, phase) in &phases {
                let id = format!("{id}-{at}-{moment}");
                let pod = world.pod(day_two(&id, operation, spec), Some(phase));
                let after = took[at].mul_f64(f64::from(moment) / f64::from(MOMENTS - 1));
                killed += u32::from(kill(&pod, at, after));
                let again =
                    if moment % 2 == 0 { world.publish(&id, operation, spec, phase) } else { pod.run() };
                landed += u32::from(again.ok().result("changed") == "false");
                commits += 1;
                assert_eq!(world.server.git().log().unwrap().len(), commits, "{step} {id} {phase}");
                let record = format!("vms/in-cluster/team-a/db-01/operations/{id}/{phase}.yaml");
                assert_eq!(world.server.git().log_of(&record).unwrap(), [again.result("commit")]);
            }
            assert_eq!(world.machine(), before, "{step} {moment}");
        }
    }
    let runs = MOMENTS * u32::try_from(STEPS.len() * phases.len()).unwrap();
    println!("killed {killed} of {runs} runs; {landed} of all were on the branch when run again");
    // otherwise the moments missed the runs
    assert!(killed > 0);
    world.server.git().fsck().unwrap();
}

/// Many files move in one commit: all of them or none.
#[tokio::test]
async fn a_removal_and_its_contrary_are_whole_whenever_they_are_killed() {
    let (world, _) = World::with_machine().await;
    let took = took(&world);
    // of one commit: a push may still land while this is asked
    let counts = || {
        let git = world.server.git();
        let files = git.files(&git.tip().unwrap()).unwrap();
        ["vms/", "archive/", "applications/in-cluster/"]
            .map(|folder| files.iter().filter(|f| f.starts_with(folder)).count())
    };
    for moment in 0..MOMENTS {
        let (removal, back) = (format!("d-{moment}"), format!("u-{moment}"));
        world.publish(&removal, "deprovision", &json!({}), "stop").changed();
        let machine = counts()[0];
        for (id, operation, phase, wanted) in [
            // with tombstone, application and record
            (&removal, "deprovision", "remove", [0, machine + 3, 0]),
            // the record stays
            (&back, "undelete", "undelete", [machine + 2, 0, 1]),
        ] {
            let before = counts();
            let pod = world.pod(day_two(id, operation, &json!({})), Some(phase));
            kill(&pod, 3, took[3].mul_f64(f64::from(moment) / f64::from(MOMENTS - 1)));
            let now = counts();
            assert!(now == before || now == wanted, "{now:?} is neither {before:?} nor {wanted:?}");
            world.publish(id, operation, &json!({}), phase).ok();
            assert_eq!(counts(), wanted, "{id}");
        }
    }
}
