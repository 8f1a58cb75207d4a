//! A machine that is removed, what holds it, and what may not go with it.

use serde_json::{Value, json};

use crate::COMMIT;
use crate::lease::OURS_IS;
use crate::scripted::{APPLICATION, OURS, PARENT, Run, VM, VMI, application, runs, until, vm};
use crate::standin::{Fault, Standin, Verb};

const ROOT: &str = "/api/v1/namespaces/team-a/persistentvolumeclaims/web01-root";
const ROOT_VOLUME: &str = "/apis/cdi.kubevirt.io/v1beta1/namespaces/team-a/datavolumes/web01-root";
const DATA: &str = "/api/v1/namespaces/team-a/persistentvolumeclaims/web01-data";
const FLAGS: [&str; 4] = ["--until=absent", COMMIT, "--keep-claims=web01-data", "--gone-claims=web01-root"];

/// A machine that runs, with two claims.
async fn stage() -> Standin {
    let standin = Standin::start().await;
    standin.put(APPLICATION, application(OURS, "Synced", 0));
    runs(&standin, "sha256:aa");
    standin.put(ROOT, claim("web01-root", &json!({})));
    standin.put(DATA, claim("web01-data", &json!({})));
    standin
}

fn claim(name: &str, metadata: &Value) -> Value {
    let mut claim = json!({"metadata": {"name": name}, "status": {"phase": "Bound"}});
    for (field, value) in metadata.as_object().unwrap() {
        claim["metadata"][field] = value.clone();
    }
    claim
}

fn deleting(mut object: Value, finalizer: &str) -> Value {
    object["metadata"]["deletionTimestamp"] = json!("2026-11-21T06:00:00Z");
    object["metadata"]["finalizers"] = json!([finalizer]);
    object
}

async fn has_read(standin: &Standin) {
    until("all is read", || standin.requests().iter().filter(|r| r.verb == Verb::Watch).count() >= 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn point_08_absent_is_application_machine_instance_and_boot_disk_gone_and_data_there() {
    let standin = stage().await;
    let mut run = Run::begin(&standin, "60s", &FLAGS);
    has_read(&standin).await;
    for path in [APPLICATION, VM, VMI, ROOT, ROOT_VOLUME] {
        assert!(run.is_at_work(), "done before {path} was gone");
        standin.delete(path);
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    run.end().await.is(0, "done: virtual machine `team-a/web01` is absent");
    let listed =
        standin.requests().iter().any(|r| r.verb == Verb::Get && r.path.ends_with("/persistentvolumeclaims"));
    assert!(!listed, "claims of others are nobody's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_08_a_data_disk_that_goes_is_said_at_once() {
    let of_machine = json!({"ownerReferences": [{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "web01"}]});
    for (now, line, reason) in [
        (
            Some(deleting(claim("web01-data", &json!({})), "kubernetes.io/pvc-protection")),
            "was to be kept, and is being deleted",
            "ClaimDeleted",
        ),
        (None, "is gone, and was to be kept", "ClaimLost"),
        (
            Some(claim("web01-data", &of_machine)),
            "was to be kept, and belongs to machine `web01`, so it is deleted with it",
            "ClaimOwned",
        ),
    ] {
        let standin = stage().await;
        let run = Run::begin(&standin, "60s", &FLAGS);
        has_read(&standin).await;
        match now {
            Some(claim) => standin.put(DATA, claim),
            None => standin.delete(DATA),
        }
        let ended = run.end().await;
        ended.is(40, &format!("error: persistent volume claim `team-a/web01-data` {line}"));
        assert_eq!(ended.result("reason"), reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_08_what_holds_a_deletion_is_in_the_last_line() {
    let app = || application(OURS, "Synced", 1);
    let finalizer = "resources-finalizer.argocd.argoproj.io";
    let mut confirm = deleting(app(), finalizer);
    confirm["status"]["resources"][0]["requiresDeletionConfirmation"] = json!(true);
    let held_vm = deleting(vm("sha256:aa", "Stopped"), "snapshot.kubevirt.io/snapshot-source-protection");
    let name = "application `argocd/in-cluster.team-a.web01`";
    for (application, machine, line) in [
        (
            confirm,
            None,
            format!(
                "argo cd: {name} waits for somebody to confirm the deletion of VirtualMachine `team-a/web01`"
            ),
        ),
        (
            deleting(app(), finalizer),
            Some(held_vm),
            format!(
                "argo cd: {name} is being deleted (finalizers: {finalizer}); virtual machine `team-a/web01` is being deleted \
                 (finalizers: snapshot.kubevirt.io/snapshot-source-protection)"
            ),
        ),
    ] {
        let standin = stage().await;
        standin.put(APPLICATION, application);
        if let Some(machine) = machine {
            standin.put(VM, machine);
        }
        let ended = Run::begin(&standin, "4s", &FLAGS).end().await;
        ended.is(
            60,
            &format!("error: virtual machine `team-a/web01` is not absent after 4s: waited for {line}"),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_08_a_parent_that_would_be_empty_says_so() {
    let standin = stage().await;
    let mut parent = application(OURS, "OutOfSync", 1);
    parent["status"]["conditions"] = json!([{"type": "SyncError", "message": "Skipping sync attempt to [9f8e7d6]: auto-sync will wipe out all resources"}]);
    standin.put(PARENT, parent);
    let flags = ["--until=absent", COMMIT, "--parent-application=argocd/vms"];
    let ended = Run::begin(&standin, "4s", &flags).end().await;
    ended.is(
        60,
        "error: virtual machine `team-a/web01` is not absent after 4s: waited for argo cd: parent application `argocd/vms` \
         does not remove application `in-cluster.team-a.web01`: Skipping sync attempt to [9f8e7d6]: auto-sync will wipe out \
         all resources",
    );
    assert_eq!(ended.result("reason"), "WouldBeEmpty");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_08_a_boot_disk_that_is_left_is_not_absent() {
    let standin = stage().await;
    for path in [APPLICATION, VM, VMI] {
        standin.delete(path);
    }
    let ended = Run::begin(&standin, "4s", &FLAGS).end().await;
    ended.is(
        60,
        "error: virtual machine `team-a/web01` is not absent after 4s: waited for storage: persistent volume claim \
         `team-a/web01-root` still exists, and nothing removes it",
    );
}

/// Tekton keeps the pod of a patch with its `TaskRun`, and Kubernetes the claim for as long as there is a pod that names it.
#[tokio::test(flavor = "multi_thread")]
async fn point_08_the_spent_pod_of_a_patch_is_deleted_and_nobody_elses() {
    const PODS: &str = "/api/v1/namespaces/team-a/pods";
    let standin = stage().await;
    for path in [APPLICATION, VM, VMI] {
        standin.delete(path);
    }
    let under_lease = [FLAGS.as_slice(), &OURS_IS].concat();
    standin.put(ROOT, deleting(claim("web01-root", &json!({})), "kubernetes.io/pvc-protection"));
    let pod = |name: &str, phase: &str, part_of: &str| {
        let pod = json!({
            "metadata": {"name": name, "uid": name, "labels": {"app.kubernetes.io/part-of": part_of}},
            "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "web01-root"}}]}, "status": {"phase": phase}});
        standin.put(&format!("{PODS}/{name}"), pod.clone());
        pod
    };
    let spent = pod("spent", "Succeeded", "vm-lifecycle-tasks");
    let theirs = pod("backup", "Running", "x");
    standin.put(PODS, json!({"items": [spent, theirs]}));
    let line = "error: virtual machine `team-a/web01` is not absent after 12s: waited for storage: persistent volume claim \
                `team-a/web01-root` is being deleted (finalizers: kubernetes.io/pvc-protection)";
    let kept = format!("{line}, and pod `team-a/backup` keeps claim `web01-root`: delete that pod");

    let run = Run::begin(&standin, "12s", &under_lease);
    until("ours goes", || standin.get(&format!("{PODS}/spent")).is_none()).await;
    run.end().await.is(60, &kept);
    assert!(standin.get(&format!("{PODS}/backup")).is_some());

    // an Application waits for what it deletes
    standin
        .put(APPLICATION, deleting(application(OURS, "Synced", 1), "resources-finalizer.argocd.argoproj.io"));
    let ended = Run::begin(&standin, "12s", &under_lease).end().await;
    assert!(
        ended.last().contains("application `argocd/in-cluster.team-a.web01` is being deleted"),
        "{}",
        ended.last()
    );
    assert!(
        ended.last().ends_with("and pod `team-a/backup` keeps claim `web01-root`: delete that pod"),
        "{}",
        ended.last()
    );
    standin.delete(APPLICATION);

    // without the Lease, and without the right to look, nothing is deleted
    pod("spent", "Succeeded", "vm-lifecycle-tasks");
    standin.put(PODS, json!({"items": [spent, theirs]}));
    Run::begin(&standin, "12s", &FLAGS).end().await.is(60, &kept);
    standin.fault_at("/pods", Verb::Get, Fault::Status(403), 9);
    let ended = Run::begin(&standin, "12s", &under_lease).end().await;
    ended.is(30, &format!("{line}, and whether a pod keeps a claim cannot be seen: injected"));
    assert!(standin.get(&format!("{PODS}/spent")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn point_08_a_machine_that_nobody_removes_is_said() {
    let standin = stage().await;
    standin.delete(APPLICATION);
    let ended = Run::begin(&standin, "4s", &FLAGS).end().await;
    ended.is(
        60,
        "error: virtual machine `team-a/web01` is not absent after 4s: waited for kubevirt: virtual machine `team-a/web01` \
         still exists, and its application is gone: nothing removes it",
    );
    assert_eq!(ended.result("reason"), "Orphaned");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_asked_about_a_machine_that_goes_alone() {
    let standin = stage().await;
    for (flags, line) in [
        (
            &[COMMIT, "--keep-claims=web01-data"][..],
            "error: `--keep-claims` and `--gone-claims` are about a machine that goes: they need `--until absent`",
        ),
        (
            &["--until=absent", "--keep-claims=a,b", "--gone-claims=b"],
            "error: claim `b` is to be kept and to be gone",
        ),
        (
            &["--until=absent", "--keep-claims=a,B"],
            "error: invalid value 'B' for '--keep-claims <NAME,…>': expected the name of a claim",
        ),
    ] {
        Run::begin(&standin, "4s", flags).end().await.is(2, line);
    }
}
