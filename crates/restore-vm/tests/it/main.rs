//! The built binary against a world in memory, whose `KubeVirt` restores disks that are words and whose Argo CD heals itself.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod after;
#[path = "../../../snapshots/tests/bed/mod.rs"]
mod bed;
mod before;
mod broken;
mod check;

use bed::Run;
use bed::world::{APPLICATION, CLAIMS, MARK, RESTORES, VM, World};
use serde_json::json;

/// A machine that is off, with `new` in its disks and a snapshot with `old`.
async fn world() -> World {
    let world = World::new().await;
    world.snapshot("s1").await;
    write(&world, "new");
    world
}

/// Begin a restore from `s1` with these flags.
fn begin(world: &World, flags: &[&str]) -> Run {
    let usual = ["--vm=team-a/web01", "--snapshot=s1", "--application=argocd/in-cluster.team-a.web01"];
    let flags: Vec<&str> = usual.iter().chain(flags).copied().collect();
    Run::begin(env!("CARGO_BIN_EXE_restore-vm"), world, &flags)
}

/// Write another word into each disk.
fn write(world: &World, mark: &str) {
    for disk in ["root", "data"] {
        world.edit(&format!("{CLAIMS}/web01-{disk}-1"), |c| c[MARK] = json!(mark));
    }
}

/// The words in the disks that the machine has, by volume, with the name of each claim.
fn marks(world: &World) -> Vec<(String, String)> {
    let vm = world.get(VM).unwrap();
    let volumes = vm["spec"]["template"]["spec"]["volumes"].as_array().unwrap().clone();
    let claims = volumes
        .iter()
        .filter_map(|v| Some((v["name"].as_str()?, v["persistentVolumeClaim"]["claimName"].as_str()?)));
    claims
        .map(|(volume, claim)| {
            let mark = world.get(&format!("{CLAIMS}/{claim}")).map_or(json!("gone"), |c| c[MARK].clone());
            (volume.to_owned(), format!("{claim}: {}", mark.as_str().unwrap()))
        })
        .collect()
}

/// Both disks hold this word, under the names that Git has.
#[track_caller]
fn hold(world: &World, mark: &str) {
    let disk = |name: &str| (name.to_owned(), format!("web01-{name}-1: {mark}"));
    assert_eq!(marks(world), [disk("root"), disk("data")]);
}

/// Nothing is left that holds the machine or Argo CD.
#[track_caller]
fn clear(world: &World) {
    assert_eq!(world.names(RESTORES), Vec::<String>::new());
    assert!(world.get(VM).unwrap()["status"]["restoreInProgress"].is_null());
    let annotations = world.get(APPLICATION).unwrap()["metadata"]["annotations"].clone();
    assert!(annotations["argocd.argoproj.io/skip-reconcile"].is_null(), "{annotations}");
    assert!(annotations["vmlifecycle.dev/paused-by"].is_null(), "{annotations}");
}

const DONE: &str = "done: virtual machine `team-a/web01` has `root`, `data` as in virtual machine snapshot `team-a/s1`, and is \
                    stopped; application `argocd/in-cluster.team-a.web01` leaves it so";
