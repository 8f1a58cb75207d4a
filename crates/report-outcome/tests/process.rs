//! The built binary as a process, on a real API server with what Tekton leaves there.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use snapbox::cmd::{Command, OutputAssert, cargo_bin};
use testbed::control_plane::ControlPlane;

const NAMESPACE: &str = "report-outcome";

/// A namespace with the objects of a run in it.
struct Bed {
    plane: &'static ControlPlane,
    folder: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Self {
        let plane = ControlPlane::shared().await.unwrap();
        plane.ensure_namespace(NAMESPACE).await.unwrap();
        Self { plane, folder: tempfile::tempdir().unwrap() }
    }

    async fn write(&self, path: &str, content_type: &str, method: &str, object: &Value) -> Value {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(serde_json::to_vec(object).unwrap())
            .unwrap();
        self.plane.client().await.unwrap().request(request).await.unwrap()
    }

    /// A PipelineRun or TaskRun with its status.
    async fn object(&self, kind: &str, object: Value, status: Value) {
        let collection = format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/{kind}");
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.write(&collection, "application/json", "POST", &object).await;
        let status = json!({"status": status});
        let path = format!("{collection}/{name}/status");
        self.write(&path, "application/merge-patch+json", "PATCH", &status).await;
    }

    async fn run(&self, name: &str, status: Value) {
        let run = json!({
            "apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
            "metadata": {"name": name}, "spec": {"pipelineRef": {"name": "p"}},
        });
        self.object("pipelineruns", run, status).await;
    }

    async fn task(&self, run: &str, name: &str, second: u32, succeeded: bool, results: &[(&str, &str)]) {
        let task = json!({
            "apiVersion": "tekton.dev/v1", "kind": "TaskRun",
            "metadata": {"name": format!("{run}-{name}"), "labels": {
                "tekton.dev/pipelineRun": run, "tekton.dev/pipelineTask": name, "tekton.dev/memberOf": "tasks",
            }, "annotations": if succeeded { json!({}) } else { json!({"pipeline.tekton.dev/pipeline-task-on-error": "continue"}) }},
            "spec": {"taskRef": {"name": name}},
        });
        let results: Vec<Value> =
            results.iter().map(|(n, v)| json!({"name": n, "type": "string", "value": v})).collect();
        let (status, reason) = if succeeded { ("True", "Succeeded") } else { ("False", "FailureIgnored") };
        let status = json!({
            "podName": "", "startTime": format!("2026-01-01T00:00:{second:02}Z"),
            "conditions": [{"type": "Succeeded", "status": status, "reason": reason, "message": "m"}],
            "results": results,
        });
        self.object("taskruns", task, status).await;
    }

    async fn lease(&self, name: &str, holder: &str) {
        self.lease_of(name, holder, "").await;
    }

    async fn lease_of(&self, name: &str, holder: &str, runs: &str) {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "annotations": {"vmlifecycle.dev/runs": runs}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 300, "renewTime": "2026-01-01T00:00:00.000000Z"},
        });
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases");
        self.write(&path, "application/json", "POST", &lease).await;
    }

    async fn holder(&self, name: &str) -> Value {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}");
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let lease: Value = self.plane.client().await.unwrap().request(request).await.unwrap();
        lease["spec"]["holderIdentity"].clone()
    }

    fn report(&self, run: &str, flags: &[&str]) -> OutputAssert {
        Command::new(cargo_bin!("report-outcome"))
            .arg(format!("--pipeline-run={NAMESPACE}/{run}"))
            .arg(format!("--kubeconfig={}", self.plane.kubeconfig().display()))
            .arg(format!("--outcome-path={}", self.folder.path().join(run).join("outcome").display()))
            .args(flags)
            .assert()
    }

    fn results(&self, run: &str) -> Vec<String> {
        results(&self.folder.path().join(run))
    }
}

fn results(folder: &Path) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    ["outcome", "message", "changed", "flow-outcome", "flow-message"].map(read).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_reported_in_the_order_of_its_tasks_and_its_lease_is_given_back() {
    let bed = Bed::new().await;
    bed.run("well", json!({})).await;
    bed.task("well", "await-vm", 2, true, &[("outcome", "ok"), ("message", "`web` is ready\n")]).await;
    let lease = format!("{NAMESPACE}/in-cluster.team-a.well");
    let published = [
        ("outcome", "ok"),
        ("message", "pushed"),
        ("commit", "abc"),
        ("lease", lease.as_str()),
        ("holder", "REQ1"),
        ("request-id", "REQ1"),
    ];
    bed.task("well", "publish-vm", 1, true, &published).await;
    // another run's tasks are none of ours
    bed.task("other", "power-vm", 3, false, &[("outcome", "failed"), ("message", "no")]).await;
    bed.lease("in-cluster.team-a.well", "REQ1").await;
    bed.report("well", &["--release-lease=false"]).code(0);
    assert_eq!(bed.holder("in-cluster.team-a.well").await, "REQ1");
    bed.report("well", &[]).code(0).stderr_eq(
        "[..]ok: `web` is ready\n[..]released lease `report-outcome/in-cluster.team-a.well`\ndone: reported `ok`\n",
    );
    assert_eq!(bed.results("well"), ["ok", "reported `ok`", "false", "ok", "`web` is ready"]);
    assert_ne!(bed.holder("in-cluster.team-a.well").await, "REQ1");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_the_lease_of_two_runs_is_free_when_the_second_reports() {
    let bed = Bed::new().await;
    let over = json!({"conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed"}]});
    let works = json!({"conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]});
    bed.run("died", over).await;
    let lease = format!("{NAMESPACE}/in-cluster.team-a.twice");
    let taken = [("message", "m"), ("lease", lease.as_str()), ("holder", "REQ1"), ("request-id", "REQ1")];
    for run in ["first", "second"] {
        bed.run(run, works.clone()).await;
        bed.task(run, "publish-vm", 1, true, &taken).await;
    }
    bed.lease_of("in-cluster.team-a.twice", "REQ1", "died,first,second").await;
    bed.report("first", &[]).code(0).stderr_eq(
        "[..]ok: m\n[..]`died` is over\n[..]lease `report-outcome/in-cluster.team-a.twice` is still held by `second` of the same request\n\
         done: reported `ok`\n",
    );
    assert_eq!(bed.holder("in-cluster.team-a.twice").await, "REQ1");
    bed.report("second", &[]).code(0).stderr_eq(
        "[..]ok: m\n[..]released lease `report-outcome/in-cluster.team-a.twice`\ndone: reported `ok`\n",
    );
    assert_eq!(bed.holder("in-cluster.team-a.twice").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_tekton_ignored_fails_the_run_by_the_report() {
    let bed = Bed::new().await;
    bed.run("rolled-back", json!({})).await;
    let lease = format!("{NAMESPACE}/in-cluster.team-a.rolled");
    let failed = [
        ("outcome", "failed"),
        ("message", "no boot; hint: look"),
        ("lease", lease.as_str()),
        ("holder", "REQ1"),
        ("request-id", "REQ1"),
    ];
    bed.task("rolled-back", "power-vm", 1, false, &failed).await;
    bed.task("rolled-back", "power-rollback", 2, true, &[("outcome", "ok"), ("message", "`web` is ready")])
        .await;
    bed.lease("in-cluster.team-a.rolled", "REQ2").await;
    bed.report("rolled-back", &[]).code(40).stderr_eq(
        "[..]failed: no boot; rolled back: `web` is ready; hint: a new attempt needs a request with an id of its own\n[..]was not ours[..]\n\
         error: no boot; rolled back: `web` is ready; hint: a new attempt needs a request with an id of its own\n",
    );
    assert_eq!(
        bed.results("rolled-back"),
        [
            "failed",
            "no boot; rolled back: `web` is ready; hint: a new attempt needs a request with an id of its own",
            "false",
            "failed",
            "no boot; rolled back: `web` is ready; hint: a new attempt needs a request with an id of its own"
        ]
    );
    // somebody else took it meanwhile: it is not ours to give back
    assert_eq!(bed.holder("in-cluster.team-a.rolled").await, "REQ2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_there_is_a_wrong_flag() {
    let bed = Bed::new().await;
    bed.report("absent", &[]).code(2).stderr_eq(
        "error: there is no pipeline run `report-outcome/absent`\n\
         hint: `--pipeline-run` is `$(context.pipelineRun.namespace)/$(context.pipelineRun.name)`\n",
    );
}

#[test]
fn without_a_cluster_it_says_what_is_missing() {
    Command::new(cargo_bin!("report-outcome"))
        .arg("--pipeline-run=flows/run")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .assert()
        .code(2)
        .stderr_eq(
            "error: no cluster to speak to: no `--kubeconfig`, and not in a pod: [..]\n\
             hint: give `--kubeconfig FILE`, or run in a pod whose ServiceAccount token is mounted\n",
        );
}

#[test]
fn a_flag_it_does_not_know_is_refused() {
    Command::new(cargo_bin!("report-outcome")).arg("--pipelin-run=a/b").assert().code(2).stderr_eq(
        "error: unexpected argument '--pipelin-run' found tip: a similar argument exists: '--pipeline-run'\n\
         hint: `report-outcome --help` lists every flag\n",
    );
}
