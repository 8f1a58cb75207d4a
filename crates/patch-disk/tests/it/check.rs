//! Nothing but this pod uses the disk, before and after.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::bed::{Bed, Ended, Run};

/// A stopped machine whose boot disk our pod `patcher` has, and the folder that its steps share.
struct Stage {
    bed: Bed,
    shared: tempfile::TempDir,
}

impl Stage {
    async fn new(namespace: &'static str) -> Self {
        let bed = Bed::new(namespace).await;
        bed.machine("Halted").await;
        bed.pod("patcher", "web01-root").await;
        Self { bed, shared: tempfile::tempdir().unwrap() }
    }

    fn permit(&self) -> PathBuf {
        self.shared.path().join("permit")
    }

    fn state(&self) -> Option<Value> {
        let text = std::fs::read(self.permit()).ok()?;
        Some(serde_json::from_slice::<Value>(&text).unwrap()["state"].clone())
    }

    /// virt-customize ended in this way.
    fn ran(&self, state: &str) {
        let permit = json!({"state": state, "claim": "web01-root", "volumeMode": "Filesystem"});
        std::fs::write(self.permit(), permit.to_string()).unwrap();
    }

    fn begin(&self, when: &str, holder: &str, flags: &[&str]) -> Run {
        self.begin_as("patcher", when, holder, flags)
    }

    fn begin_as(&self, pod: &str, when: &str, holder: &str, flags: &[&str]) -> Run {
        let namespace = self.bed.namespace;
        let mut all = vec![
            format!("--check={when}"),
            format!("--vm={namespace}/web01"),
            format!("--lease={namespace}/in-cluster.{namespace}.web01"),
            format!("--holder={holder}"),
            format!("--permit={}", self.permit().display()),
            "--claim=web01-root".to_owned(),
            format!("--pod={pod}"),
        ];
        all.extend(flags.iter().map(ToString::to_string));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Run::begin(env!("CARGO_BIN_EXE_patch-disk"), &self.bed.plane.kubeconfig(), &all)
    }

    async fn check(&self, when: &str, flags: &[&str]) -> Ended {
        self.begin(when, "r-1", flags).end().await
    }

    fn lease_path(&self) -> String {
        let name = format!("in-cluster.{}.web01", self.bed.namespace);
        self.bed.path("coordination.k8s.io/v1", "leases", &name)
    }
}

const FREE: &str = "done: disk of claim `web01-root` is free to be patched: Filesystem";

#[tokio::test(flavor = "multi_thread")]
async fn point_02_and_25_a_disk_is_patched_once_and_the_lease_lasts_meanwhile() {
    let stage = Stage::new("pd-once").await;
    // the machine's own cluster is asked, not that of the Lease
    let nobody = stage.bed.plane.kubeconfig_for_service_account("pd-once", "nobody").await.unwrap();
    let machine = format!("--machine-kubeconfig={}", stage.bed.plane.kubeconfig().display());
    let permit = format!("--permit={}", stage.permit().display());
    let flags =
        ["--check=before", "--vm=pd-once/web01", "--claim=web01-root", "--pod=patcher", &permit, &machine];
    Run::begin(env!("CARGO_BIN_EXE_patch-disk"), &nobody, &flags).end().await.is(0, FREE);
    let ended = stage.check("before", &["--lease-for=45m", "--volume-mode=Filesystem"]).await;
    ended.is(0, FREE);
    assert_eq!([ended.result("volume-mode"), ended.result("reason")], ["Filesystem", ""]);
    assert_eq!(stage.state(), Some(json!("granted")));
    let lease = stage.bed.get(&stage.lease_path()).await;
    assert_eq!(
        [&lease["spec"]["holderIdentity"], &lease["spec"]["leaseDurationSeconds"]],
        [&json!("r-1"), &json!(2700)]
    );
    // nobody else may take the machine while nobody can renew
    let other = stage.begin("before", "r-2", &[]).end().await;
    assert_eq!(other.code, Some(20), "{:#?}", other.log);

    stage.ran("patched");
    let ended = stage.check("after", &[]).await;
    ended.is(0, "done: disk of claim `web01-root` is patched, and nothing else used it");
    assert_eq!([ended.result("changed"), ended.result("volume-mode")], ["true", "Filesystem"]);
    assert_eq!(stage.bed.get(&stage.lease_path()).await["spec"]["leaseDurationSeconds"], 300);

    // the same request again, with the machine at work already
    stage.bed.runs().await;
    std::fs::remove_file(stage.permit()).unwrap();
    let already = "done: disk of claim `web01-root` was patched already by this request";
    stage.check("before", &[]).await.is(0, already);
    assert_eq!(stage.state(), Some(json!("already")));
    stage.check("after", &[]).await.is(0, already);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_run_that_began_and_did_not_end_is_never_run_over() {
    let stage = Stage::new("pd-half").await;
    stage.check("before", &[]).await.is(0, FREE);
    // the pod is lost; the same request comes again in another one
    std::fs::remove_file(stage.permit()).unwrap();
    let ended = stage.check("before", &[]).await;
    ended.is(
        40,
        "error: disk of claim `web01-root` may be half patched: an earlier run of this request began on it and did not end",
    );
    assert_eq!(
        ended.log.last().unwrap(),
        "hint: restore the snapshot from before, and do not start the machine until then"
    );
    assert_eq!((ended.result("reason"), stage.state()), ("HalfPatched".to_owned(), None));
    // virt-customize failed, and somebody goes on all the same
    for state in ["begun", "granted"] {
        stage.ran(state);
        stage
            .check("after", &[])
            .await
            .is(40, "error: disk of claim `web01-root` may be half patched: virt-customize did not end well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_02_a_second_run_of_the_request_waits_for_the_first_and_does_not_disturb_it() {
    let stage = Stage::new("pd-twins").await;
    let bed = &stage.bed;
    // both pods are there before either has begun
    let lease = "pd-twins/in-cluster.pd-twins.web01";
    let pod = async |name: &str, holder: &str| {
        let (lease, holder) = (format!("--lease={lease}"), format!("--holder={holder}"));
        let args = json!(["-entrypoint", "patch-disk", "--", "--check=before", lease, holder]);
        let pod = json!({
            "spec": {
                "containers": [{"name": "c", "image": "registry.local/none:1", "args": args}],
                "automountServiceAccountToken": false,
                "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "web01-root"}}]
            },
            "status": {"phase": "Running"}
        });
        bed.put("v1", "Pod", "pods", name, pod).await;
    };
    pod("first", "r-1").await;
    let first = Stage { bed: Bed::new("pd-twins").await, shared: tempfile::tempdir().unwrap() };
    // another request's pod is no other run of this one
    bed.delete(&bed.path("v1", "pods", "patcher")).await;
    pod("stranger", "r-2").await;
    let ended = first.begin_as("first", "before", "r-1", &["--timeout=2s"]).end().await;
    ended.is(60, "error: disk of claim `web01-root` cannot be patched: pod `stranger` has it (after 2s)");
    bed.delete(&bed.path("v1", "pods", "stranger")).await;

    pod("patcher", "r-1").await;
    first.begin_as("first", "before", "r-1", &["--timeout=60s"]).end().await.is(0, FREE);
    // the second gives up, and that is no half patched disk
    let ended = stage.begin("before", "r-1", &["--timeout=2s"]).end().await;
    ended.is(
        20,
        "error: disk of claim `web01-root` cannot be patched: another run of this request patches it in pod `first`",
    );
    assert_eq!((ended.result("reason"), stage.state()), ("InUse".to_owned(), None));
    // it waits, and the first ends well although the second has the disk too
    let second = stage.begin("before", "r-1", &["--timeout=60s"]);
    second.says("waiting: another run of this request patches it in pod `first`").await;
    first.ran("patched");
    let ended = first.begin_as("first", "after", "r-1", &["--timeout=60s"]).end().await;
    ended.is(0, "done: disk of claim `web01-root` is patched, and nothing else used it");
    let ended = second.end().await;
    ended.is(0, "done: disk of claim `web01-root` was patched already by this request");
    assert_eq!(stage.state(), Some(json!("already")));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_25_a_run_whose_pod_is_gone_is_no_longer_waited_for() {
    let stage = Stage::new("pd-lost").await;
    let bed = &stage.bed;
    stage.check("before", &[]).await.is(0, FREE);
    std::fs::remove_file(stage.permit()).unwrap();
    bed.pod("later", "web01-root").await;
    let run = stage.begin_as("later", "before", "r-1", &["--timeout=60s"]);
    run.says("waiting: another run of this request patches it in pod `patcher`").await;
    bed.delete(&bed.path("v1", "pods", "patcher")).await;
    run.end().await.is(
        40,
        "error: disk of claim `web01-root` may be half patched: an earlier run of this request began on it and did not end",
    );
    assert_eq!(stage.state(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_02_a_machine_that_is_not_declared_stopped_is_never_patched() {
    let stage = Stage::new("pd-always").await;
    stage.bed.merge(&stage.bed.vm_path(), json!({"spec": {"runStrategy": "Always"}})).await;
    let ended = stage.check("before", &["--timeout=5m"]).await;
    ended.is(
        31,
        "error: disk of claim `web01-root` cannot be patched: its virtual machine has run strategy `Always`, so it is not declared \
         stopped",
    );
    assert_eq!((ended.result("reason"), stage.state()), ("NotHalted".to_owned(), None));
    // nothing counts as begun
    stage.bed.merge(&stage.bed.vm_path(), json!({"spec": {"runStrategy": "Halted"}})).await;
    stage.check("before", &[]).await.is(0, FREE);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_02_an_instance_and_pods_with_the_disk_are_waited_for_until_they_are_gone() {
    let stage = Stage::new("pd-wait").await;
    let bed = &stage.bed;
    bed.instance().await;
    bed.pod("virt-launcher-web01-x", "web01-root").await;
    bed.pod("elsewhere", "web01-data").await;
    let run = stage.begin("before", "r-1", &["--timeout=60s"]);
    run.says("waiting: its virtual machine is Stopped, its instance is Running").await;
    bed.delete(&bed.vmi_path()).await;
    run.says("waiting: pod `virt-launcher-web01-x` has it").await;
    bed.status(&bed.path("v1", "pods", "virt-launcher-web01-x"), json!({"phase": "Succeeded"})).await;
    run.end().await.is(0, FREE);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_02_created_or_a_snapshot_under_way_is_not_stopped() {
    let stage = Stage::new("pd-created").await;
    let path = stage.bed.vm_path();
    for (status, why) in [
        (json!({"created": true}), "its virtual machine still counts its instance as created"),
        (
            json!({"created": null, "snapshotInProgress": "s-1"}),
            "snapshot `s-1` of its virtual machine is under way",
        ),
        (
            json!({"snapshotInProgress": null, "restoreInProgress": "t-1"}),
            "restore `t-1` of its virtual machine is under way",
        ),
    ] {
        stage.bed.status(&path, status).await;
        let last = format!("error: disk of claim `web01-root` cannot be patched: {why} (after 2s)");
        stage.check("before", &["--timeout=2s"]).await.is(60, &last);
        assert_eq!(stage.state(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_02_a_disk_that_was_not_left_alone_is_not_called_patched() {
    let stage = Stage::new("pd-after").await;
    stage.check("before", &[]).await.is(0, FREE);
    stage.ran("patched");
    let bed = &stage.bed;
    let half =
        "error: disk of claim `web01-root` may be half patched: it was not left alone while it was patched: ";
    bed.pod("virt-launcher-web01-y", "web01-root").await;
    stage.check("after", &[]).await.is(40, &format!("{half}pod `virt-launcher-web01-y` has it"));
    bed.delete(&bed.path("v1", "pods", "virt-launcher-web01-y")).await;
    bed.merge(&bed.vm_path(), json!({"spec": {"runStrategy": "Always"}})).await;
    stage.check("after", &[]).await.is(
        40,
        &format!("{half}its virtual machine has run strategy `Always`, so it is not declared stopped"),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_24_volume_mode_and_place_are_checked_first() {
    let stage = Stage::new("pd-mode").await;
    let bed = &stage.bed;
    bed.delete(&bed.path("v1", "pods", "patcher")).await;
    bed.gone(&bed.claim_path("web01-root")).await;
    bed.claim("web01-root", "Block", "Bound").await;
    let place = "error: disk of claim `web01-root` cannot be patched: no pod `patcher` has it here: this is another cluster or namespace \
                 than that of the disk";
    stage.check("before", &[]).await.is(31, place);
    bed.pod("patcher", "web01-root").await;
    let ended = stage.check("before", &["--volume-mode=Filesystem"]).await;
    ended.is(
        10,
        "error: disk of claim `web01-root` cannot be patched: its volume mode is `Block`, and this task mounts `Filesystem`",
    );
    assert_eq!(ended.result("reason"), "VolumeMode");
    let ended = stage.check("before", &["--volume-mode=Block"]).await;
    ended.is(0, "done: disk of claim `web01-root` is free to be patched: Block");
    assert_eq!(ended.result("volume-mode"), "Block");
    let other = stage.check("before", &["--claim=web01-logs"]).await;
    assert_eq!(other.code, Some(2), "a flag given twice: {:#?}", other.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_not_there_is_found_out_before_anything_counts_as_begun() {
    let stage = Stage::new("pd-profile").await;
    let profiles = tempfile::tempdir().unwrap();
    let folder = format!("--profiles={}", profiles.path().display());
    let ended = stage.check("before", &["--profile=monthly", &folder]).await;
    ended.is(10, "error: there is no profile `monthly`");
    std::fs::write(profiles.path().join("monthly.commands"), "update\n").unwrap();
    stage.check("before", &["--profile=monthly", &folder]).await.is(0, FREE);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rights_are_enough_and_a_missing_one_is_named() {
    let stage = Stage::new("pd-rights").await;
    let rules = json!([
        {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
    ]);
    let permit = format!("--permit={}", stage.permit().display());
    let flags = [
        "--check=before",
        "--vm=pd-rights/web01",
        "--claim=web01-root",
        "--pod=patcher",
        &permit,
        "--lease=pd-rights/l",
        "--holder=r-1",
    ];
    let mut fewer = rules.clone();
    fewer[2]["verbs"] = json!(["get"]);
    let run = async |rules: Value| {
        let kubeconfig = stage.bed.account("patch", rules).await;
        Run::begin(env!("CARGO_BIN_EXE_patch-disk"), &kubeconfig, &flags).end().await
    };
    run(fewer).await.is(
        30,
        "error: cannot see who uses claim `web01-root`: pods is forbidden: User \"system:serviceaccount:pd-rights:patch\" cannot list \
         resource \"pods\" in API group \"\" in the namespace \"pd-rights\"",
    );
    run(rules).await.is(0, FREE);
}
