//! A sync: the operation's writes, one after the other, as the real controller makes them.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tokio::time;

use super::{
    Syncer,
    compare::{Pair, group, option},
    health::Live,
};
use crate::standin::{applications, items, now, text};

const DEFAULT_RETRIES: u64 = 5;

/// Whether a sync is to be started by itself; where it is not because the last one of this commit failed, the condition says so.
pub(super) fn due(application: &Value, status: &mut Value) -> bool {
    let automated = &application["spec"]["syncPolicy"]["automated"];
    if !automated.is_object() || automated["enabled"] == false || text(status, "/sync/status") != "OutOfSync"
    {
        return false;
    }
    let state = &application["status"]["operationState"];
    if application.get("operation").is_some() {
        return false;
    }
    let revision = text(status, "/sync/revision").to_owned();
    let attempted = text(state, "/operation/sync/revision") == revision;
    match text(state, "/phase") {
        "Failed" | "Error" if attempted => {
            let message = format!("Failed last sync attempt to [{revision}]: {}", text(state, "/message"));
            status["conditions"] =
                json!([{ "type": "SyncError", "message": message, "lastTransitionTime": now() }]);
            false
        }
        "Succeeded" if attempted => automated["selfHeal"] == true,
        _ => true,
    }
}

/// The operation that the controller starts by itself.
pub(super) fn automated(application: &Value, revision: &str) -> Value {
    let policy = &application["spec"]["syncPolicy"];
    let mut sync = json!({ "revision": revision, "source": application["spec"]["source"] });
    if policy["automated"]["prune"] == true {
        sync["prune"] = json!(true);
    }
    if let Some(options) = policy.get("syncOptions") {
        sync["syncOptions"] = options.clone();
    }
    let retry = policy.get("retry").cloned().unwrap_or(json!({ "limit": DEFAULT_RETRIES }));
    json!({ "initiatedBy": { "automated": true }, "retry": retry, "sync": sync })
}

impl Syncer {
    /// Run the operation, or try it again, with `status` as it was last written.
    pub(super) async fn operate(
        &mut self,
        application: &Value,
        live: &Live,
        mut status: Value,
    ) -> Result<()> {
        let revision = match text(&status, "/operationState/operation/sync/revision") {
            "" => text(&status, "/sync/revision").to_owned(),
            again => again.to_owned(),
        };
        let retries = status["operationState"]["retryCount"].as_u64().unwrap_or(0);
        let started = match text(&status, "/operationState/startedAt") {
            "" => now(),
            at => at.to_owned(),
        };
        let operation = automated(application, &revision);
        let limit = operation["retry"]["limit"].as_u64().unwrap_or(0);
        let mut state = json!({ "operation": operation, "phase": "Running", "startedAt": started });
        if retries > 0 {
            state["retryCount"] = json!(retries);
            state["message"] = json!(format!("Retrying operation. Attempt #{retries}"));
        }
        self.write(application, &mut status, &state).await?;

        let (resources, mut failure) = self.apply(application, &revision).await?;
        state["syncResult"] =
            json!({ "resources": resources, "revision": revision, "source": application["spec"]["source"] });
        if failure.is_none() {
            failure.clone_from(&self.knobs().failure);
        }
        if let Some(words) = failure {
            state["finishedAt"] = json!(now());
            state["message"] = json!(words);
            if retries < limit {
                let wait =
                    self.options.retry * 2_u32.saturating_pow(u32::try_from(retries).unwrap_or(u32::MAX));
                let at = (jiff::Timestamp::now() + wait).strftime("%-I:%M%p");
                state["retryCount"] = json!(retries + 1);
                state["message"] = json!(format!("{words}. Retrying attempt #{} at {at}.", retries + 1));
                self.retry_at.insert(text(application, "/metadata/uid").to_owned(), Instant::now() + wait);
                return self.write(application, &mut status, &state).await;
            }
            state["phase"] = json!("Failed");
            if retries > 0 {
                state["message"] = json!(format!("{words} (retried {retries} times)."));
            }
            return self.finish(application, live, status, state).await;
        }
        // What is applied is not there yet; this lasts until the first look at it.
        let first = items(&state, "/syncResult/resources").first().map(|first| {
            let at = ["/group", "/kind", "/name"].map(|field| text(first, field));
            format!("waiting for healthy state of {}", at.join("/"))
        });
        if let Some(message) = first {
            let mut waiting = state.clone();
            waiting["message"] = json!(message);
            self.write(application, &mut status, &waiting).await?;
        }
        state["phase"] = json!("Succeeded");
        state["message"] = json!("successfully synced (all tasks run)");
        state["finishedAt"] = json!(now());
        let mut history = items(&status, "/history").to_vec();
        let id = history.last().and_then(|last| last["id"].as_u64()).map_or(0, |id| id + 1);
        history.push(json!({
            "deployStartedAt": state["startedAt"], "deployedAt": state["finishedAt"], "id": id,
            "initiatedBy": { "automated": true }, "revision": revision, "source": application["spec"]["source"],
        }));
        history.drain(..history.len().saturating_sub(10));
        status["history"] = Value::Array(history);
        self.finish(application, live, status, state).await
    }

    /// The operation is over; then comes a new comparison.
    async fn finish(
        &mut self,
        application: &Value,
        live: &Live,
        mut status: Value,
        state: Value,
    ) -> Result<()> {
        status["operationState"] = state;
        let path = applications().of(application);
        let Some(current) = self.objects.get(&path).await? else { return Ok(()) };
        let parts = [("/operation", Value::Null), ("/status", status)];
        self.objects.set(&path, &current, &parts).await?;
        time::sleep(self.options.pace).await;
        let Some(current) = self.objects.get(&path).await? else { return Ok(()) };
        let mut compared = self.compare(&current, live).await?;
        // A refresh that came meanwhile stays: it is looked at next. Another sync waits for it.
        due(&current, &mut compared);
        self.objects.set(&path, &current, &[("/status", compared)]).await
    }

    async fn write(&self, application: &Value, status: &mut Value, state: &Value) -> Result<()> {
        status["operationState"] = state.clone();
        self.objects
            .set(&applications().of(application), application, &[("/status/operationState", state.clone())])
            .await?;
        time::sleep(self.options.pace).await;
        Ok(())
    }

    /// Apply and prune; what became of each object, and why it failed if it did.
    async fn apply(&mut self, application: &Value, revision: &str) -> Result<(Vec<Value>, Option<String>)> {
        let source = &application["spec"]["source"];
        let url = text(source, "/repoURL");
        let repository = self.repositories.iter().find(|repository| repository.is(url)).cloned();
        let wanted = match repository {
            Some(repository) => repository.manifests(revision, source).await,
            None => Err("repository not found".to_owned()),
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(words) => return Ok((Vec::new(), Some(format!("ComparisonError: {words}")))),
        };
        let mut results = Vec::new();
        let policy = &application["spec"]["syncPolicy"];
        if items(policy, "/syncOptions").iter().any(|option| option == "CreateNamespace=true") {
            let namespace = text(application, "/spec/destination/namespace");
            let target =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            let path = format!("/api/v1/namespaces/{namespace}");
            if !namespace.is_empty() && self.objects.get(&path).await?.is_none() {
                self.objects.apply(&path, &target, false).await?;
                results.push(result(&target, "PreSync", Ok(format!("namespace/{namespace} created"))));
            }
        }
        let pairs = self.pairs(application, wanted).await?;
        // As the real one: everything is tried dry first, and nothing is applied where that fails.
        let mut refused = Vec::new();
        for Pair { path, target, .. } in &pairs {
            let Some(target) = target else { continue };
            let dry = if path.is_empty() {
                let (kind, api_version) = (text(target, "/kind"), text(target, "/apiVersion"));
                Some(format!(
                    "resource mapping not found: no matches for kind \"{kind}\" in version \"{api_version}\""
                ))
            } else {
                self.objects.apply(path, target, true).await.err().map(|error| words(&error))
            };
            if let Some(words) = dry {
                refused.push(result(target, "Sync", Err(words)));
            }
        }
        if let Some(first) = refused.first() {
            let reason = format!("one or more objects failed to apply, reason: {}", text(first, "/message"));
            return Ok((refused, Some(reason)));
        }
        let mut failure = None;
        for pair in &pairs {
            let prune = policy["automated"]["prune"] == true;
            let outcome = match (&pair.target, &pair.live) {
                (Some(target), live) => match self.objects.apply(&pair.path, target, false).await {
                    Ok(applied) => Ok(said(target, live.as_ref(), &applied)),
                    Err(error) => Err(words(&error)),
                },
                (None, Some(live)) if prune && !option(live, "Prune=false") => {
                    self.objects.delete(&pair.path).await?;
                    Ok("pruned".to_owned())
                }
                _ => Ok("ignored (requires pruning)".to_owned()),
            };
            if let (Err(words), None) = (&outcome, &failure) {
                failure = Some(format!(
                    "one or more synchronization tasks completed unsuccessfully, reason: {words}"
                ));
            }
            let object = pair.target.as_ref().or(pair.live.as_ref()).unwrap_or(&Value::Null);
            results.push(result(object, "Sync", outcome));
        }
        Ok((results, failure))
    }
}

fn said(target: &Value, before: Option<&Value>, after: &Value) -> String {
    let verb = match before {
        None => "created",
        Some(before) if before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"] => {
            "unchanged"
        }
        Some(_) => "configured",
    };
    let mut name = text(target, "/kind").to_ascii_lowercase();
    if !group(target).is_empty() {
        name = format!("{name}.{}", group(target));
    }
    format!("{name}/{} {verb}", text(target, "/metadata/name"))
}

fn result(object: &Value, phase: &str, outcome: Result<String, String>) -> Value {
    let version = text(object, "/apiVersion");
    let (status, hook, message) = match outcome {
        Ok(message) if message == "pruned" => ("Pruned", "Succeeded", message),
        Ok(message) if message.starts_with("ignored") => ("PruneSkipped", "Succeeded", message),
        Ok(message) => ("Synced", "Running", message),
        Err(message) => ("SyncFailed", "Failed", message),
    };
    let mut fields = Map::new();
    for (name, value) in [
        ("group", group(object)),
        ("hookPhase", hook),
        ("kind", text(object, "/kind")),
        ("message", &message),
        ("name", text(object, "/metadata/name")),
        ("namespace", text(object, "/metadata/namespace")),
        ("status", status),
        ("syncPhase", phase),
        ("version", version.split_once('/').map_or(version, |(_, version)| version)),
    ] {
        fields.insert(name.to_owned(), json!(value));
    }
    Value::Object(fields)
}

fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
