//! The built binary on a real API server.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Cluster, LEASE, Object};
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

const REQUEST: &str = r#"{
    "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
    "metadata": {"requestId": "req-1", "requestedBy": "jane@example.com"},
    "spec": {"operation": "restart", "target": {"cluster": "in-cluster", "namespace": "team-a", "name": "web01"}}
}"#;

struct Flow {
    plane: &'static ControlPlane,
    namespace: &'static str,
    folder: tempfile::TempDir,
}

struct Ended {
    code: i32,
    log: String,
    results: std::path::PathBuf,
}

impl Flow {
    async fn new(namespace: &'static str) -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        plane.ensure_namespace(namespace).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("request.json"), REQUEST).unwrap();
        Self { plane, namespace, folder }
    }

    fn request(&self) -> String {
        format!("--request-file={}", self.folder.path().join("request.json").display())
    }

    fn begin(&self, results: &str, flags: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_lease-vm"))
            .arg(format!("--kubeconfig={}", self.plane.kubeconfig().display()))
            .arg(format!("--lease-namespace={}", self.namespace))
            .arg(format!("--outcome-path={}", self.folder.path().join(results).join("outcome").display()))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    async fn end(&self, results: &str, child: Child) -> Ended {
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        Ended { code: output.status.code().unwrap(), log, results: self.folder.path().join(results) }
    }

    async fn run(&self, results: &str, flags: &[&str]) -> Ended {
        self.end(results, self.begin(results, flags)).await
    }

    async fn record(&self) -> Value {
        let cluster = Cluster::connect(Some(&self.plane.kubeconfig())).await.unwrap();
        let name = format!("{}/in-cluster.team-a.web01", self.namespace).parse().unwrap();
        cluster.get(&Object { kind: LEASE, name }).await.unwrap().unwrap_or_default()
    }
}

impl Ended {
    #[track_caller]
    fn is(&self, code: i32, last: &str, results: [&str; 4]) {
        let line = self.log.lines().rev().find(|l| !l.starts_with("hint: ")).unwrap_or_default();
        // times differ from run to run
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| if word.starts_with("20") && word.contains('T') { "T" } else { word })
            .collect();
        assert_eq!((self.code, words.join(" ").as_str()), (code, last), "{}", self.log);
        let read = |name: &str| std::fs::read_to_string(Path::new(&self.results).join(name)).unwrap();
        assert_eq!(["outcome", "changed", "lease", "holder"].map(read), results);
    }
}

const OTHER: [&str; 2] = ["--vm=team-a/web01", "--holder=req-2"];

#[tokio::test(flavor = "multi_thread")]
async fn point_16_taken_by_the_request_waited_for_by_another_and_given_back() {
    let flow = Flow::new("lease-vm-flow").await;
    let lease = "lease-vm-flow/in-cluster.team-a.web01";
    let ended = flow.run("take", &[&flow.request()]).await;
    ended.is(
        0,
        "done: virtual machine `in-cluster/team-a/web01` is held by request `req-1`",
        ["ok", "false", lease, "req-1"],
    );
    let record = flow.record().await;
    assert_eq!(
        record["metadata"]["annotations"],
        json!({"vmlifecycle.dev/operation": "restart", "vmlifecycle.dev/vm": "in-cluster/team-a/web01"})
    );
    assert_eq!(record["spec"]["leaseDurationSeconds"], 300);
    flow.run("again", &[&flow.request(), "--run="]).await.is(
        0,
        "done: virtual machine `in-cluster/team-a/web01` is held by request `req-1`",
        ["ok", "false", lease, "req-1"],
    );

    let refused = flow.run("refused", &[OTHER[0], OTHER[1], "--timeout=3s"]).await;
    refused.is(
        20,
        "error: virtual machine `in-cluster/team-a/web01` is not free after 3s: lease \
         `lease-vm-flow/in-cluster.team-a.web01` is held by request `req-1` (`restart`) since T until T unless renewed",
        ["conflict", "false", lease, "req-1"],
    );
    assert!(
        refused.log.starts_with(&format!(
            "waiting for lease `{lease}`: held by request `req-1` (`restart`) since 20"
        )),
        "{}",
        refused.log
    );

    // another's release does nothing
    flow.run("foreign", &[OTHER[0], OTHER[1], "--action=release"]).await.is(
        0,
        &format!("done: lease `{lease}` is left alone: it is held by request `req-1` (`restart`) since T until T unless renewed"),
        ["ok", "false", lease, "req-1"],
    );
    let waiting = flow.begin("waits", &OTHER);
    tokio::time::sleep(Duration::from_secs(1)).await;
    flow.run("release", &[&flow.request(), "--action=release"]).await.is(
        0,
        &format!("done: lease `{lease}` is free"),
        ["ok", "true", lease, ""],
    );
    let released = Instant::now();
    flow.end("waits", waiting).await.is(
        0,
        "done: virtual machine `in-cluster/team-a/web01` is held by request `req-2`",
        ["ok", "false", lease, "req-2"],
    );
    assert!(released.elapsed() < Duration::from_secs(5), "the watch tells: {:?}", released.elapsed());
    flow.run("late", &[&flow.request(), "--action=release"]).await.is(
        0,
        &format!("done: lease `{lease}` is left alone: it is held by request `req-2` since T until T unless renewed"),
        ["ok", "false", lease, "req-2"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_of_five_at_once_one_has_it_and_the_others_follow_one_by_one() {
    let flow = Flow::new("lease-vm-five").await;
    let holders = ["a-1", "a-2", "a-3", "a-4", "a-5"];
    let mut waiting: Vec<(&str, Child)> = holders
        .iter()
        .map(|holder| (*holder, flow.begin(holder, &["--vm=team-a/web01", &format!("--holder={holder}")])))
        .collect();
    for round in 0..holders.len() {
        let deadline = Instant::now() + Duration::from_secs(30);
        let (holder, child) = loop {
            let done = waiting.iter_mut().position(|(_, child)| child.try_wait().unwrap().is_some());
            if let Some(done) = done {
                break waiting.remove(done);
            }
            assert!(Instant::now() < deadline, "round {round}: nobody got it");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let ended = flow.end(holder, child).await;
        assert_eq!(ended.code, 0, "{}", ended.log);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let others = waiting.iter_mut().filter_map(|(_, child)| child.try_wait().unwrap()).count();
        assert_eq!(others, 0, "round {round}: it was held by two");
        let spec = flow.record().await["spec"].clone();
        assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&json!(holder), &json!(round)));
        let release = ["--vm=team-a/web01", &format!("--holder={holder}"), "--action=release"];
        assert_eq!(flow.run("release", &release).await.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_runs_of_one_request_share_it_until_the_last_has_given_it_back() {
    let flow = Flow::new("lease-vm-runs").await;
    let lease = "lease-vm-runs/in-cluster.team-a.web01";
    let file = flow.folder.path().join("lease.json");
    let output = format!("--lease-file={}", file.display());
    for run in ["--run=run-1", "--run=run-2"] {
        assert_eq!(flow.run("take", &[&flow.request(), run, &output]).await.code, 0);
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(written, json!({"lease": lease, "holder": "req-1"}));
    assert_eq!(flow.record().await["metadata"]["annotations"]["vmlifecycle.dev/runs"], "run-1,run-2");
    flow.run("first", &[&flow.request(), "--action=release", "--run=run-1"]).await.is(
        0,
        &format!("done: lease `{lease}` is still held by `run-2` of the same request"),
        ["ok", "false", lease, ""],
    );
    assert_eq!(flow.record().await["spec"]["holderIdentity"], "req-1");
    flow.run("second", &[&flow.request(), "--action=release", "--run=run-2"]).await.is(
        0,
        &format!("done: lease `{lease}` is free"),
        ["ok", "true", lease, ""],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_flags_or_the_rights_is_said() {
    let flow = Flow::new("lease-vm-wrong").await;
    std::fs::write(flow.folder.path().join("bad.json"), "{\"spec\": 1}").unwrap();
    let bad = flow.folder.path().join("bad.json").display().to_string();
    let none = flow.run("none", &[]).await;
    assert_eq!(none.code, 2, "{}", none.log);
    let ended = flow.run("bad", &[&format!("--request-file={bad}")]).await;
    assert_eq!(ended.code, 10, "{}", ended.log);
    assert!(ended.log.starts_with(&format!("error: cannot read request file `{bad}`: ")), "{}", ended.log);

    let config = flow.plane.kubeconfig_for_service_account("lease-vm-wrong", "nobody").await.unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lease-vm"))
        .arg(format!("--kubeconfig={}", config.display()))
        .args(["--lease-namespace=lease-vm-wrong", OTHER[0], OTHER[1], "--timeout=50s"])
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(30), "{log}");
    let line = log.lines().find(|l| l.starts_with("error: ")).unwrap();
    assert_eq!(
        line,
        "error: cannot take lease `lease-vm-wrong/in-cluster.team-a.web01` for 30s: leases.coordination.k8s.io \
         \"in-cluster.team-a.web01\" is forbidden: User \"system:serviceaccount:lease-vm-wrong:nobody\" cannot get resource \
         \"leases\" in API group \"coordination.k8s.io\" in the namespace \"lease-vm-wrong\""
    );
}
