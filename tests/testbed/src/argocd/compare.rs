//! What Git wants against what there is.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Fault, Syncer, compared_to, deletion::needs_word, health::Live, tracking_prefix};
use crate::standin::{Kind, items, now, text};

const TRACKING: &str = "argocd.argoproj.io/tracking-id";

/// One object that Git wants, or that it does not want any more.
pub(super) struct Pair {
    pub(super) path: String,
    /// None: to be pruned.
    pub(super) target: Option<Value>,
    pub(super) live: Option<Value>,
    pub(super) in_sync: bool,
}

impl Syncer {
    /// The status after a comparison, all but an operation's part. Not `fully`: with the commit of the last one, and its `reconciledAt`.
    pub(super) async fn compare(&mut self, application: &Value, live: &Live, fully: bool) -> Result<Value> {
        let mut status = application.get("status").cloned().unwrap_or(json!({}));
        let before = text(application, "/status/sync/revision").to_owned();
        let (revision, wanted) = self.wanted(application, &before, fully).await;
        status["controllerNamespace"] = application["metadata"]["namespace"].clone();
        if fully || status.get("reconciledAt").is_none() {
            status["reconciledAt"] = json!(now());
        }
        let (suspends, in_resources) = (
            self.has(application, &Fault::StoppedIsSuspended),
            self.has(application, &Fault::HealthInResources),
        );
        if !in_resources {
            status["resourceHealthSource"] = json!("appTree");
        }
        status["sourceHydrator"] = json!({});
        status["summary"] = json!({});
        let mut sync = json!({ "comparedTo": compared_to(application), "revision": revision });
        match wanted {
            Ok(wanted) => {
                let pairs = self.pairs(application, wanted).await?;
                let in_sync = pairs.iter().all(|pair| pair.in_sync);
                sync["status"] = json!(if in_sync { "Synced" } else { "OutOfSync" });
                let mut resources: Vec<_> = pairs.iter().map(resource).collect();
                resources.sort_by_key(|resource| {
                    ["group", "kind", "namespace", "name"]
                        .map(|field| text(resource, &format!("/{field}")).to_owned())
                });
                status["resources"] = Value::Array(resources);
                status["sourceType"] = json!(source_type(application));
                if let Some(status) = status.as_object_mut() {
                    status.remove("conditions");
                }
            }
            Err(words) => {
                // The revision is the name of the branch then: the comparison has no commit.
                sync["revision"] = application["spec"]["source"]["targetRevision"].clone();
                sync["status"] = json!("Unknown");
                let message = format!(
                    "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: code = Unknown desc = \
                     {words}"
                );
                status["conditions"] =
                    json!([{ "type": "ComparisonError", "message": message, "lastTransitionTime": now() }]);
                for resource in status["resources"].as_array_mut().into_iter().flatten() {
                    resource["status"] = json!("Unknown");
                    resource["requiresPruning"] = json!(true);
                }
                if let Some(status) = status.as_object_mut() {
                    status.remove("sourceType");
                }
            }
        }
        status["sync"] = sync;
        if in_resources {
            for resource in status["resources"].as_array_mut().into_iter().flatten() {
                if let Some(health) = live.one(resource, suspends) {
                    resource["health"] = json!({ "status": health });
                }
            }
        }
        let health = live.of(items(&status, "/resources"), suspends);
        if status["health"]["status"] != health {
            status["health"] = json!({ "status": health, "lastTransitionTime": now() });
        }
        Ok(status)
    }

    /// The commit to compare with, and its objects or why there are none.
    async fn wanted(
        &self,
        application: &Value,
        before: &str,
        fully: bool,
    ) -> (String, Result<Vec<Value>, String>) {
        let source = &application["spec"]["source"];
        let branch = text(source, "/targetRevision").to_owned();
        let url = text(source, "/repoURL");
        let Some(repository) = self.repositories.iter().find(|repository| repository.is(url)) else {
            return (branch, Err("failed to list refs: repository not found".to_owned()));
        };
        if let Some(words) = self.faults().no_manifests(text(application, "/metadata/name")) {
            return (branch, Err(words));
        }
        let is_commit = before.len() == 40 && before.bytes().all(|byte| byte.is_ascii_hexdigit());
        let revision = if (self.has(application, &Fault::Stale) || !fully) && is_commit {
            before.to_owned()
        } else {
            branch.clone()
        };
        match repository.resolve(&revision).await {
            Ok(commit) => {
                let objects = repository.manifests(&commit, source).await;
                (commit, objects)
            }
            Err(words) => (branch, Err(words)),
        }
    }

    /// Every object that Git wants, and every one that it wanted before.
    pub(super) async fn pairs(&mut self, application: &Value, wanted: Vec<Value>) -> Result<Vec<Pair>> {
        let mut pairs: Vec<Pair> = Vec::new();
        for mut target in wanted {
            let Ok(kind) = self.kind_of(text(&target, "/apiVersion"), text(&target, "/kind")).await else {
                pairs.push(Pair { path: String::new(), target: Some(target), live: None, in_sync: false });
                continue;
            };
            if kind.namespaced && text(&target, "/metadata/namespace").is_empty() {
                target["metadata"]["namespace"] = application["spec"]["destination"]["namespace"].clone();
            }
            let group = group(&target).to_owned();
            let place = [text(&target, "/metadata/namespace"), text(&target, "/metadata/name")].join("/");
            let tracked =
                format!("{}{group}/{}:{place}", tracking_prefix(application), text(&target, "/kind"));
            target["metadata"]["annotations"][TRACKING] = json!(tracked);
            let path = kind.of(&target);
            let (live, in_sync) = self.live(&path, &target).await?;
            pairs.push(Pair { path, target: Some(target), live, in_sync });
        }
        for resource in items(application, "/status/resources") {
            let path = self.path_of(resource).await?;
            if pairs.iter().any(|pair| pair.path == path) {
                continue;
            }
            let live = self.objects.get(&path).await?;
            if let Some(live) = live.filter(|live| ours(live, application)) {
                pairs.push(Pair { path, target: None, live: Some(live), in_sync: false });
            }
        }
        Ok(pairs)
    }

    /// The live object, and whether applying the target would change nothing of it.
    async fn live(&self, path: &str, target: &Value) -> Result<(Option<Value>, bool)> {
        loop {
            let Some(live) = self.objects.get(path).await? else { return Ok((None, false)) };
            let Ok(applied) = self.objects.apply(path, target, true).await else {
                return Ok((Some(live), false));
            };
            // What somebody else wrote in between is no difference: a dry run leaves the version as it is.
            if applied["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"] {
                let in_sync = essence(&applied) == essence(&live);
                return Ok((Some(live), in_sync));
            }
        }
    }

    pub(super) async fn path_of(&mut self, resource: &Value) -> Result<String> {
        let api_version = match (text(resource, "/group"), text(resource, "/version")) {
            ("", version) => version.to_owned(),
            (group, version) => format!("{group}/{version}"),
        };
        let kind = self.kind_of(&api_version, text(resource, "/kind")).await?;
        Ok(kind.path(text(resource, "/namespace"), text(resource, "/name")))
    }

    /// Where objects of a kind live, as the API server says.
    pub(super) async fn kind_of(&mut self, api_version: &str, kind: &str) -> Result<Kind> {
        let name = (api_version.to_owned(), kind.to_owned());
        if let Some(known) = self.kinds.get(&name) {
            return Ok(known.clone());
        }
        let mut place = Kind::new(api_version, "");
        let list = self.objects.read(&place.prefix).await?;
        let found = items(&list, "/resources")
            .iter()
            .find(|resource| resource["kind"] == kind && !text(resource, "/name").contains('/'))
            .with_context(|| format!("the server does not know `{kind}` of `{api_version}`"))?;
        place.plural = text(found, "/name").to_owned();
        place.namespaced = found["namespaced"] == true;
        self.kinds.insert(name, place.clone());
        Ok(place)
    }
}

/// Whether the Application tracks this object.
pub(super) fn ours(object: &Value, application: &Value) -> bool {
    let tracking = object["metadata"]["annotations"][TRACKING].as_str();
    tracking.is_some_and(|tracking| tracking.starts_with(&tracking_prefix(application)))
}

/// Whether an object carries a sync option.
pub(super) fn option(object: &Value, option: &str) -> bool {
    let options = object["metadata"]["annotations"]["argocd.argoproj.io/sync-options"].as_str();
    options.is_some_and(|options| options.split(',').any(|other| other.trim() == option))
}

pub(super) fn group(object: &Value) -> &str {
    text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

fn resource(pair: &Pair) -> Value {
    let object = pair.target.as_ref().or(pair.live.as_ref()).unwrap_or(&Value::Null);
    let version = text(object, "/apiVersion");
    let mut resource = json!({
        "kind": object["kind"], "name": object["metadata"]["name"], "status": if pair.in_sync { "Synced" } else { "OutOfSync" },
        "version": version.split_once('/').map_or(version, |(_, version)| version),
    });
    for (field, value) in [("group", group(object)), ("namespace", text(object, "/metadata/namespace"))] {
        if !value.is_empty() {
            resource[field] = json!(value);
        }
    }
    if pair.target.is_none() {
        resource["requiresPruning"] = json!(true);
    }
    if [&pair.target, &pair.live].into_iter().flatten().any(needs_word) {
        resource["requiresDeletionConfirmation"] = json!(true);
    }
    resource
}

/// An object without what the server writes by itself.
fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["managedFields", "resourceVersion", "generation"] {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove(field);
        }
    }
    object
}

fn source_type(application: &Value) -> &'static str {
    match application.pointer("/spec/source/directory") {
        Some(_) => "Directory",
        None => "Kustomize",
    }
}
