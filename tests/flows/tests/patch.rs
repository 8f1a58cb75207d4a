//! A boot disk that is patched, and one whose patch fails; virt-customize is a script here.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use flows::{MACHINES, World, request, told};
use serde_json::{Value, json};
use testbed::pipeline::{Ended, Flow};
use testbed::sshd::Sshd;

/// The flow with a script in the place of virt-customize, and a file in the place of the disk.
fn patch(world: &World, folder: &Path, id: &str, claim: &str, script: &str) -> Flow {
    let patch = request(id, "patch", "web", &json!({"profile": "security"}));
    let mut flow = world.flow("patch-vm", id, &patch).unwrap();
    let folder = folder.join(id);
    for name in ["profiles", "disk"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    flow.put_program(&folder.join("binaries"), "virt-customize", script).unwrap();
    fs::write(folder.join("profiles/security.commands"), "update\n").unwrap();
    fs::write(folder.join("disk/disk.img"), "a disk").unwrap();
    // the pod mounts the volume, so the run is where the machine is
    MACHINES.clone_into(&mut flow.run.namespace);
    flow.params.insert("image".to_owned(), "libguestfs".to_owned());
    flow.workspaces.insert("profiles".to_owned(), folder.join("profiles"));
    flow.claims.insert(claim.to_owned(), folder.join("disk"));
    flow
}

/// The flow of a machine that runs, whose guest is `sshd`, with this profile `security`; `@` stands for the guest's folder.
fn patch_guest(world: &World, sshd: &Sshd, id: &str, method: &str, script: &str) -> Flow {
    let patch = request(id, "patch", "web", &json!({"profile": "security", "method": method}));
    let mut flow = world.flow("patch-guest-vm", id, &patch).unwrap();
    let profiles = sshd.folder().join("profiles");
    fs::create_dir_all(&profiles).unwrap();
    let script = script.replace('@', &sshd.folder().display().to_string());
    fs::write(profiles.join("security.sh"), script).unwrap();
    flow.workspaces.insert("profiles".to_owned(), profiles);
    sshd.is_guest_of(&mut flow).unwrap();
    flow
}

/// Until KubeVirt says of the machine whether its disks can be snapshotted.
async fn says_of_snapshots(world: &World, enabled: bool) {
    let said = async || {
        let statuses =
            world.stage.machine(MACHINES, "web").await.unwrap()["status"]["volumeSnapshotStatuses"].clone();
        statuses.as_array().is_some_and(|all| all.iter().all(|one| one["enabled"] == enabled))
    };
    let wait = async {
        while !said().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait).await.unwrap();
}

fn ran(ended: &Ended) -> Vec<&str> {
    ended.tasks.keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_patched_once_and_the_machine_runs_again() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let root = world.claim("web", "root").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // $4 is the disk: `--format raw --add DISK …`
    let script = "#!/bin/sh\necho patched >>\"$4\"\n";
    // a disk that nothing could take back: it is not even stopped
    let path = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses/standard";
    let client = world.stage.plane().client().await.unwrap();
    let ask = |method: &str| http::Request::builder().method(method).uri(path).body(Vec::new()).unwrap();
    let mut class: Value = client.request(ask("GET")).await.unwrap();
    client.request::<Value>(ask("DELETE")).await.unwrap();
    says_of_snapshots(&world, false).await;
    let commits = world.server.git().log().unwrap().len();
    let flow = patch(&world, folder.path(), "never", &root, script);
    let ended = world.play(&flow).unwrap();
    let (outcome, message) = told(&ended);
    assert_eq!((ended.succeeded, outcome.as_str()), (false, "refused"), "{message}");
    assert!(message.contains("cannot be snapshotted: volume `data`: No VolumeSnapshotClass"), "{message}");
    assert_eq!(ran(&ended), ["check-patch", "report-outcome"]);
    assert_eq!(world.server.git().log().unwrap().len(), commits);
    assert_eq!(world.stage.machine(MACHINES, "web").await.unwrap()["status"]["printableStatus"], "Running");
    let lease = world.lease("web").await.unwrap().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
    class["metadata"] = json!({"name": "standard"});
    world.put(path, &class).await.unwrap();
    says_of_snapshots(&world, true).await;

    let flow = patch(&world, folder.path(), "patch", &root, script);
    let ended = world.play(&flow).unwrap();
    assert!(ended.succeeded, "{:?}", told(&ended));
    assert_eq!(
        ran(&ended),
        [
            "check-patch",
            "patch-disk",
            "power-vm",
            "prepare-patch",
            "publish-start",
            "publish-stop",
            "report-outcome"
        ]
    );
    let disk = folder.path().join("patch/disk/disk.img");
    assert_eq!(fs::read_to_string(&disk).unwrap(), "a diskpatched\n");
    assert_eq!(world.stage.machine(MACHINES, "web").await.unwrap()["status"]["printableStatus"], "Running");

    // the same request again: neither stopped nor patched a second time
    let mut again = flow.clone();
    again.run.name = "patch-again".to_owned();
    let ended = world.play(&again).unwrap();
    assert!(ended.succeeded, "{:?}", told(&ended));
    assert_eq!(ran(&ended), ["check-patch", "power-finished", "publish-stop", "report-outcome"]);
    assert_eq!(fs::read_to_string(&disk).unwrap(), "a diskpatched\n");
    in_the_guest(&world).await;
}

/// The same machine, while it runs: Git stays as it is, and so does the instance.
async fn in_the_guest(world: &World) {
    let sshd = Sshd::start().unwrap();
    sshd.knows(&[&format!("{MACHINES}/web")], "host").unwrap();
    let instance = async || {
        let vmi = world.object("kubevirt.io/v1", "virtualmachineinstances", "web").await.unwrap().unwrap();
        vmi["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let snapshots = async || {
        world.count_of("snapshot.kubevirt.io/v1beta1", "virtualmachinesnapshots", "web").await.unwrap()
    };
    let before = (instance().await, world.server.git().tip().unwrap());
    let taken = snapshots().await;
    let offline = world.play(&patch_guest(world, &sshd, "not-here", "offline", "true\n")).unwrap();
    let refused = "the request asks for method `offline`, and this patches the running machine; hint: start the Pipeline \
                   `patch-vm` with it, or ask for method `in-guest`";
    assert_eq!(told(&offline), ("invalid".to_owned(), refused.to_owned()));
    assert_eq!((snapshots().await, sshd.connections()), (taken, 0), "it was found out first");
    let mut flow = patch_guest(world, &sshd, "guest", "in-guest", "echo run >> @/runs\n");
    for run in ["guest", "guest-again"] {
        run.clone_into(&mut flow.run.name);
        let ended = world.play(&flow).unwrap();
        assert!(ended.succeeded, "{:?}", told(&ended));
        assert_eq!(ran(&ended), ["patch-guest", "report-outcome", "verify-vm"]);
        assert_eq!(["exit-status", "ip"].map(|name| ended.results[name].as_str()), ["0", "127.0.0.1"]);
    }
    assert_eq!(fs::read_to_string(sshd.folder().join("runs")).unwrap(), "run\n");
    let bad = patch_guest(world, &sshd, "bad", "in-guest", "echo no mirror >&2\nexit 7\n");
    let failed = world.play(&bad).unwrap();
    let snapshot = &failed.tasks["patch-guest"].results["snapshot-name"];
    let words = format!(
        "profile `security` failed in the guest of `{MACHINES}/web` with exit status 7: no mirror; hint: it runs on as it is; \
         snapshot `{snapshot}` is the way back: request `restore` of it"
    );
    assert_eq!(told(&failed), ("failed".to_owned(), words));
    assert_eq!(snapshots().await, taken + 2);
    assert_eq!((instance().await, world.server.git().tip().unwrap()), before);
    let lease = world.lease("web").await.unwrap().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_fails_is_taken_back_and_the_run_has_failed() {
    let world = World::start().await.unwrap();
    world.provision("web").unwrap();
    let root = world.claim("web", "root").await.unwrap();
    world.stage.write_disk(MACHINES, &root, "before").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\necho 'virt-customize: error: no space left' >&2\nexit 1\n";
    let flow = patch(&world, folder.path(), "patch", &root, script);
    let ended = world.play(&flow).unwrap();
    let (outcome, message) = told(&ended);
    assert!(!ended.succeeded && outcome == "failed", "{outcome}: {message}");
    assert!(message.contains("no space left") && message.contains("; rolled back: "), "{message}");
    assert_eq!(
        ran(&ended),
        [
            "check-patch",
            "patch-disk",
            "power-restored",
            "prepare-patch",
            "publish-restored",
            "publish-stop",
            "report-outcome",
            "restore-vm"
        ]
    );
    assert_eq!(world.stage.disk(MACHINES, &root).await.unwrap().unwrap(), "before");
    assert_eq!(world.stage.machine(MACHINES, "web").await.unwrap()["status"]["printableStatus"], "Running");

    // the same request again: it was taken back, and that is no success
    let mut again = flow.clone();
    again.run.name = "patch-again".to_owned();
    let ended = world.play(&again).unwrap();
    let (outcome, message) = told(&ended);
    assert!(!ended.succeeded && outcome == "superseded", "{outcome}: {message}");
    assert_eq!(ran(&ended), ["check-patch", "publish-stop", "report-outcome"]);
    assert_eq!(world.stage.disk(MACHINES, &root).await.unwrap().unwrap(), "before");

    // neither the patch nor what takes it back ends well: the machine is left alone until its disk is whole
    let mut lost = patch(&world, folder.path(), "lost", &root, script);
    let program = lost.binaries.join("restore-vm");
    fs::remove_file(&program).unwrap();
    let broken = "#!/bin/sh\nfor flag; do case $flag in --outcome-path=*) path=${flag#*=} ;; esac; done\n\
        printf failed >\"$path\"\nprintf 'the storage is away' >\"${path%outcome}message\"\nexit 40\n";
    fs::write(&program, broken).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = world.play(&lost).unwrap();
    let (outcome, message) = told(&ended);
    assert!(!ended.succeeded && message.contains("no space left"), "{outcome}: {message}");
    assert_eq!(
        ran(&ended),
        ["check-patch", "patch-disk", "prepare-patch", "publish-stop", "report-outcome", "restore-vm"]
    );
    assert_eq!(world.stage.machine(MACHINES, "web").await.unwrap()["status"]["printableStatus"], "Stopped");
    world.stage.write_disk(MACHINES, &root, "half").await.unwrap();
    let start = request("start", "start", "web", &json!({}));
    let message = world.refused("power-vm", "start", &start, "conflict").unwrap();
    assert!(
        message.contains(
            "request `lost` (`patch`) is unfinished: disks may be half changed; hint: run it again, `restore`"
        ),
        "{message}"
    );
    let snapshot = ended.tasks["prepare-patch"].results["snapshot-name"].clone();
    let restore = request("restore", "restore", "web", &json!({"snapshot": snapshot}));
    world.done("restore-vm", "restore", &restore).unwrap();
    assert_eq!(world.stage.disk(MACHINES, &root).await.unwrap().unwrap(), "before");
    world.done("power-vm", "start-again", &start).unwrap();
    assert_eq!(world.stage.machine(MACHINES, "web").await.unwrap()["status"]["printableStatus"], "Running");
    // and what was given up never takes the disk back again
    lost.run.name = "lost-again".to_owned();
    let ended = world.play(&lost).unwrap();
    let (outcome, message) = told(&ended);
    assert!(outcome == "superseded" && message.contains("by request `restore`"), "{outcome}: {message}");
}
