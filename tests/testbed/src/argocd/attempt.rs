//! One attempt of a sync: objects are applied and pruned.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{
    Syncer,
    compare::{Pair, group, option},
    deletion::approved,
    operation::words,
};
use crate::standin::{items, text};

/// What became of an attempt.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Of each object, as `syncResult.resources` has it.
    pub(super) results: Vec<Value>,
    pub(super) failure: Option<String>,
    /// What has to happen before it is over.
    pub(super) waiting: Option<String>,
}

impl Attempt {
    const fn failed(results: Vec<Value>, words: String) -> Self {
        Self { results, failure: Some(words), waiting: None }
    }
}

impl Syncer {
    /// Prune and apply, all or what the operation is limited to.
    pub(super) async fn attempt(
        &mut self,
        application: &Value,
        operation: &Value,
        started: &str,
    ) -> Result<Attempt> {
        let revision = text(operation, "/sync/revision");
        let source = &application["spec"]["source"];
        let url = text(source, "/repoURL");
        let repository = self.repositories.iter().find(|repository| repository.is(url)).cloned();
        let wanted = match repository {
            Some(repository) => repository.manifests(revision, source).await,
            None => Err("repository not found".to_owned()),
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(words) => return Ok(Attempt::failed(Vec::new(), format!("ComparisonError: {words}"))),
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
        let mut pairs = self.pairs(application, wanted).await?;
        if operation["sync"].get("resources").is_some() {
            let limited = items(operation, "/sync/resources");
            pairs.retain(|pair| {
                let object = pair.target.as_ref().or(pair.live.as_ref()).unwrap_or(&Value::Null);
                limited.iter().any(|one| {
                    one["kind"] == object["kind"]
                        && one["name"] == object["metadata"]["name"]
                        && text(one, "/group") == group(object)
                })
            });
        }
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
            return Ok(Attempt::failed(refused, reason));
        }
        let prune = operation["sync"]["prune"] == true;
        let unconfirmed =
            pairs.iter().filter(|pair| pair.target.is_none()).filter_map(|pair| pair.live.as_ref());
        let unconfirmed: Vec<_> = unconfirmed.filter(|live| option(live, "Prune=confirm")).collect();
        if prune && !unconfirmed.is_empty() && !approved(application, started) {
            let waiting = Some(waiting_for("pruning confirmation of", &unconfirmed));
            return Ok(Attempt { results, failure: None, waiting });
        }
        let (mut failure, mut pruned) = (None, Vec::new());
        pairs.sort_by_key(|pair| pair.target.is_some());
        for pair in &pairs {
            let outcome = match (&pair.target, &pair.live) {
                (Some(target), live) => match self.objects.apply(&pair.path, target, false).await {
                    Ok(applied) => Ok(said(target, live.as_ref(), &applied)),
                    Err(error) => Err(words(&error)),
                },
                (None, Some(live)) if prune && !option(live, "Prune=false") => {
                    pruned.push((&pair.path, live));
                    self.prune(&pair.path, live).await
                }
                (None, _) if prune => Ok("ignored (no prune)".to_owned()),
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
        let mut left = Vec::new();
        for (path, live) in pruned {
            if failure.is_none() && self.objects.get(path).await?.is_some() {
                left.push(live);
            }
        }
        let waiting = (!left.is_empty()).then(|| waiting_for("deletion of", &left));
        Ok(Attempt { results, failure, waiting })
    }

    async fn prune(&self, path: &str, live: &Value) -> Result<String, String> {
        if live["metadata"].get("deletionTimestamp").is_none() {
            self.objects.delete_with(path, "Foreground").await.map_err(|error| words(&error))?;
        }
        Ok("pruned".to_owned())
    }
}

/// The operation's message while it waits.
fn waiting_for(what: &str, objects: &[&Value]) -> String {
    let first = objects.first().map_or(String::new(), |first| {
        [group(first), text(first, "/kind"), text(first, "/metadata/name")].join("/")
    });
    match objects.len() {
        0 | 1 => format!("waiting for {what} {first}"),
        many => format!("waiting for {what} {first} and {} more resources", many - 1),
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
