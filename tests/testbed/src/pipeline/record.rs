//! The objects that Tekton would leave in the cluster: the PipelineRun and its TaskRuns, as far as steps read them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::model::{OnError, PipelineTask};
use super::task::TaskEnded;
use crate::control_plane::{apply, client};

/// Which run it is, and where it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Namespace of the PipelineRun. It has to be there.
    pub namespace: String,
    /// Name of the PipelineRun. What an earlier run of that name left is removed.
    pub name: String,
    /// The API server that gets the PipelineRun and its TaskRuns, as somebody who may write them; none, and they are not
    /// recorded.
    pub kubeconfig: Option<PathBuf>,
}

impl Default for Run {
    fn default() -> Self {
        Self { namespace: "vm-lifecycle".to_owned(), name: "run".to_owned(), kubeconfig: None }
    }
}

impl Run {
    /// The name of a TaskRun.
    pub(super) fn task_run(&self, task: &PipelineTask) -> String {
        format!("{}-{}", self.name, task.name)
    }

    /// The PipelineRun has begun.
    pub(super) fn begun(&self, pipeline: &str) -> Result<()> {
        let run = self.clone();
        let pipeline = pipeline.to_owned();
        self.write(async move |client| {
            let selector = format!("labelSelector=tekton.dev%2FpipelineRun%3D{}", run.name);
            let path = run.path("taskruns", &format!("?{selector}"));
            let request = http::Request::delete(path.replace("/?", "?")).body(Vec::new())?;
            client.request::<Value>(request).await.context("cannot remove old TaskRuns")?;
            let path = run.path("pipelineruns", &run.name);
            let request = http::Request::delete(&path).body(Vec::new())?;
            match client.request::<Value>(request).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                answer => drop(answer.context("cannot remove the old PipelineRun")?),
            }
            let object = json!({
                "apiVersion": "tekton.dev/v1",
                "kind": "PipelineRun",
                "metadata": {"name": run.name, "namespace": run.namespace},
                "spec": {"pipelineRef": {"name": pipeline}},
            });
            apply(&client, &path, &object).await
        })
    }

    /// The tasks of the Pipeline are over; `finally` begins.
    pub(super) fn skipped(&self, skipped: Vec<(String, String)>) -> Result<()> {
        let run = self.clone();
        self.write(async move |client| {
            let skipped: Vec<Value> =
                skipped.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
            let status = json!({"status": {"skippedTasks": skipped}});
            merge_status(&client, &run.path("pipelineruns", &run.name), &status).await
        })
    }

    /// A TaskRun has begun.
    pub(super) fn task_begun(&self, task: &PipelineTask, last: bool) -> Result<()> {
        let start = Timestamp::now();
        let run = self.clone();
        let name = self.task_run(task);
        let mut object = json!({
            "apiVersion": "tekton.dev/v1",
            "kind": "TaskRun",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {
                    "tekton.dev/memberOf": if last { "finally" } else { "tasks" },
                    "tekton.dev/pipelineRun": self.name,
                    "tekton.dev/pipelineTask": task.name,
                },
            },
            "spec": {"taskRef": {"name": task.task_ref.name}},
        });
        if task.on_error == OnError::Continue {
            object["metadata"]["annotations"] =
                json!({"pipeline.tekton.dev/pipeline-task-on-error": "continue"});
        }
        self.write(async move |client| {
            let path = run.path("taskruns", &name);
            apply(&client, &path, &object).await?;
            // finer than Tekton's seconds: tasks take milliseconds here, and readers need their order
            let status = json!({"status": {"podName": "", "startTime": start.to_string(), "conditions": [condition("Unknown", "Running", "")]}});
            merge_status(&client, &path, &status).await
        })
    }

    /// A pod is there that mounts these volumes of its namespace, as far as others see it: nothing runs in it. It has the labels
    /// of its Task, goes with its `TaskRun`, and a node that it does not wait for, as a pod without one keeps no claim.
    pub(super) fn pod_begun(
        &self,
        task_run: &str,
        labels: &BTreeMap<String, String>,
        claims: &[String],
    ) -> Result<()> {
        let (path, owner) = (self.pod(task_run), self.path("taskruns", task_run));
        let volumes: Vec<Value> = claims
            .iter()
            .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
            .collect();
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": format!("{task_run}-pod"), "namespace": self.namespace, "labels": labels},
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "step", "image": "none"}],
                "nodeName": "none",
                "volumes": volumes,
            },
        });
        self.write(async move |client| {
            let run: Value = client.request(http::Request::get(&owner).body(Vec::new())?).await?;
            object["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "tekton.dev/v1", "kind": "TaskRun", "name": run["metadata"]["name"], "uid": run["metadata"]["uid"],
            }]);
            apply(&client, &path, &object).await
        })
    }

    /// It has ended, and stays with its `TaskRun`: with its log, and its claims.
    pub(super) fn pod_ended(&self, task_run: &str, succeeded: bool) -> Result<()> {
        let path = self.pod(task_run);
        let status = json!({"status": {"phase": if succeeded { "Succeeded" } else { "Failed" }}});
        self.write(async move |client| merge_status(&client, &path, &status).await)
    }

    /// It was deleted, with no grace: no kubelet would end it.
    pub(super) fn pod_gone(&self, task_run: &str) -> Result<()> {
        let path = format!("{}?gracePeriodSeconds=0", self.pod(task_run));
        self.write(async move |client| {
            let request = http::Request::delete(path).body(Vec::new())?;
            client.request::<Value>(request).await.context("cannot remove the pod").map(drop)
        })
    }

    fn pod(&self, task_run: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{task_run}-pod", self.namespace)
    }

    /// A TaskRun has ended.
    pub(super) fn task_ended(&self, task: &PipelineTask, ended: &TaskEnded) -> Result<()> {
        let run = self.clone();
        let name = self.task_run(task);
        let results: Vec<Value> = ended
            .results
            .iter()
            .map(|(name, value)| json!({"name": name, "type": "string", "value": value}))
            .collect();
        let condition =
            condition(if ended.succeeded { "True" } else { "False" }, ended.reason(), &ended.message());
        self.write(async move |client| {
            let status = json!({"status": {
                "completionTime": Timestamp::now().to_string(),
                "conditions": [condition],
                "results": results,
            }});
            merge_status(&client, &run.path("taskruns", &name), &status).await
        })
    }

    fn path(&self, plural: &str, name: &str) -> String {
        format!("/apis/tekton.dev/v1/namespaces/{}/{plural}/{name}", self.namespace)
    }

    /// Do it in a runtime of its own, as the caller may be inside one.
    fn write<F: Future<Output = Result<()>>>(
        &self,
        work: impl FnOnce(kube::Client) -> F + Send,
    ) -> Result<()> {
        let Some(kubeconfig) = &self.kubeconfig else { return Ok(()) };
        let blocking = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { work(client(kubeconfig).await?).await })
        };
        std::thread::scope(|scope| scope.spawn(blocking).join())
            .map_err(|_| anyhow!("the recorder panicked"))?
            .context("cannot record the run")
    }
}

fn condition(status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": "Succeeded", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": Timestamp::now().to_string(),
    })
}

async fn merge_status(client: &kube::Client, path: &str, status: &Value) -> Result<()> {
    let request = http::Request::patch(format!("{path}/status"))
        .header("content-type", "application/merge-patch+json")
        .body(serde_json::to_vec(status)?)?;
    client.request::<Value>(request).await.with_context(|| format!("cannot write the status of `{path}`"))?;
    Ok(())
}
