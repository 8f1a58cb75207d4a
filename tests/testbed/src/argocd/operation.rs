//! A sync: the operation's writes, one after the other, as the real controller makes them.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time;

use super::{Fault, Syncer, attempt::Attempt, health::Live};
use crate::standin::{applications, items, now, text};

const DEFAULT_RETRIES: u64 = 5;

/// Whether a sync is to be started by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// No; where the last one of this commit failed, or everything would go, the condition says so.
    No,
    /// For a new commit.
    Sync,
    /// This commit was synced, and somebody changed something since.
    Heal,
}

pub(super) fn due(application: &Value, status: &mut Value) -> Due {
    let automated = &application["spec"]["syncPolicy"]["automated"];
    if !automated.is_object() || automated["enabled"] == false || text(status, "/sync/status") != "OutOfSync"
    {
        return Due::No;
    }
    let state = &application["status"]["operationState"];
    if application.get("operation").is_some() {
        return Due::No;
    }
    let to_prune = |resource: &Value| resource["requiresPruning"] == true;
    let prune = automated["prune"] == true;
    if !prune
        && items(status, "/resources")
            .iter()
            .all(|resource| resource["status"] == "Synced" || to_prune(resource))
    {
        return Due::No;
    }
    let revision = text(status, "/sync/revision").to_owned();
    let attempted = text(state, "/operation/sync/revision") == revision;
    let due = match text(state, "/phase") {
        "Failed" | "Error" if attempted => {
            let message = format!("Failed last sync attempt to [{revision}]: {}", text(state, "/message"));
            return refused(status, &message);
        }
        "Succeeded" if attempted && automated["selfHeal"] != true => return Due::No,
        "Succeeded" if attempted => Due::Heal,
        _ => Due::Sync,
    };
    if prune && automated["allowEmpty"] != true && items(status, "/resources").iter().all(to_prune) {
        let why = "auto-sync will wipe out all resources";
        return refused(status, &format!("Skipping sync attempt to [{revision}]: {why}"));
    }
    due
}

fn refused(status: &mut Value, message: &str) -> Due {
    status["conditions"] = json!([{ "type": "SyncError", "message": message, "lastTransitionTime": now() }]);
    Due::No
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
    /// Run the operation, or go on with it, with `status` as it was last written.
    pub(super) async fn operate(
        &mut self,
        application: &Value,
        live: &Live,
        mut status: Value,
        operation: Value,
    ) -> Result<()> {
        let id = text(application, "/metadata/uid").to_owned();
        let revision = text(&operation, "/sync/revision").to_owned();
        let retries = status["operationState"]["retryCount"].as_u64().unwrap_or(0);
        let started = match text(&status, "/operationState/startedAt") {
            "" => now(),
            at => at.to_owned(),
        };
        let limit = operation["retry"]["limit"].as_u64().unwrap_or(0);
        let mut state = json!({ "operation": operation, "phase": "Running", "startedAt": started });
        if retries > 0 {
            state["retryCount"] = json!(retries);
            state["message"] = json!(format!("Retrying operation. Attempt #{retries}"));
        }
        // One that waits goes on as it was.
        if !text(&status, "/operationState/message").starts_with("waiting for") {
            self.write(application, &mut status, &state).await?;
        }

        let Attempt { results, mut failure, mut waiting } =
            self.attempt(application, &operation, &started).await?;
        if waiting.is_none() && self.has(application, &Fault::Waves) {
            waiting = self.unhealthy(application, live, &results);
        }
        state["syncResult"] =
            json!({ "resources": results, "revision": revision, "source": application["spec"]["source"] });
        if failure.is_none() {
            failure = self.faults().fail(text(application, "/metadata/name"));
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
                self.retry_at.insert(id, Instant::now() + wait);
                return self.write(application, &mut status, &state).await;
            }
            state["phase"] = json!("Failed");
            if retries > 0 {
                state["message"] = json!(format!("{words} (retried {retries} times)."));
            }
            return self.finish(application, live, status, state).await;
        }
        if let Some(words) = waiting {
            self.retry_at.insert(id, Instant::now() + self.options.pace * 4);
            state["message"] = json!(words);
            if status["operationState"] == state {
                return self.update_health(application, live).await;
            }
            return self.write(application, &mut status, &state).await;
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
        if operation["sync"].get("resources").is_some() {
            return self.finish(application, live, status, state).await;
        }
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
        // What is live now is not what was compared before the operation, even if somebody makes it look so again.
        self.prints.remove(text(application, "/metadata/uid"));
        let path = applications().of(application);
        let Some(current) = self.objects.get(&path).await? else { return Ok(()) };
        let parts = [("/operation", Value::Null), ("/status", status)];
        self.objects.set(&path, &current, &parts).await?;
        time::sleep(self.options.pace).await;
        let Some(current) = self.objects.get(&path).await? else { return Ok(()) };
        let mut compared = self.compare(&current, live, true).await?;
        // A refresh that came meanwhile stays: it is looked at next. Another sync waits for it.
        due(&current, &mut compared);
        self.objects.set(&path, &current, &[("/status", compared)]).await
    }

    /// The machine among what was applied that a sync with waves still waits for.
    fn unhealthy(&self, application: &Value, live: &Live, results: &[Value]) -> Option<String> {
        let suspends = self.has(application, &Fault::StoppedIsSuspended);
        let machine = results.iter().find(|one| one["kind"] == "VirtualMachine")?;
        (live.one(machine, suspends) != Some("Healthy")).then(|| {
            format!("waiting for healthy state of kubevirt.io/VirtualMachine/{}", text(machine, "/name"))
        })
    }

    async fn write(&self, application: &Value, status: &mut Value, state: &Value) -> Result<()> {
        status["operationState"] = state.clone();
        self.objects
            .set(&applications().of(application), application, &[("/status/operationState", state.clone())])
            .await?;
        time::sleep(self.options.pace).await;
        Ok(())
    }
}

/// Words of the API server for why it refused.
pub(super) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
