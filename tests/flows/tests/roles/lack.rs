//! A rule, and an account that lacks it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use flows::{FLOWS, World};
use serde_json::{Value, json};
use testbed::pipeline::{Accounts, Ended};

/// One entry of a role's `rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) account: String,
    group: String,
    pub(crate) resource: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} without {}.{}", self.account, self.resource, self.group)
    }
}

/// An account whose roles lack a rule.
pub(crate) struct Lacking {
    accounts: Accounts,
    name: String,
}

impl Lacking {
    pub(crate) fn folder(&self) -> PathBuf {
        self.accounts.folder(&self.name).unwrap().to_owned()
    }
}

/// Everything of `tekton/rbac`, for flows that run in this namespace.
pub(crate) async fn shipped(world: &World, namespace: &str) -> Accounts {
    let renamed = |name: &Value| json!(format!("{}-{namespace}", name.as_str().unwrap()));
    install(world, &world.root().join("tekton/rbac"), namespace, |object| {
        // what belongs to no namespace is there once for each
        if namespace != FLOWS && object["kind"].as_str().unwrap().starts_with("ClusterRole") {
            object["metadata"]["name"] = renamed(&object["metadata"]["name"]);
            if object.get("roleRef").is_some() {
                object["roleRef"]["name"] = renamed(&object["roleRef"]["name"]);
            }
        }
    })
    .await
}

/// Accounts that run flows elsewhere have their Roles where the Leases are as well, as docs/install.md says.
async fn install(world: &World, rbac: &Path, namespace: &str, change: impl Fn(&mut Value)) -> Accounts {
    let accounts = Accounts::install(world.stage.plane(), rbac, namespace, change).await.unwrap();
    for object in accounts.objects.iter().filter(|_| namespace != FLOWS) {
        let kind = object["kind"].as_str().unwrap();
        if matches!(kind, "Role" | "RoleBinding") {
            let mut object = object.clone();
            let name = format!("{}-{namespace}", object["metadata"]["name"].as_str().unwrap());
            object["metadata"]["name"] = json!(name);
            if object.get("roleRef").is_some() {
                object["roleRef"]["name"] = json!(name);
            }
            let path = format!(
                "/apis/rbac.authorization.k8s.io/v1/namespaces/{FLOWS}/{}s/{name}",
                kind.to_lowercase()
            );
            world.put(&path, &object).await.unwrap();
        }
    }
    accounts
}

/// The rules of every role; each about one resource, or nobody could say which flow needs it.
pub(crate) fn rules(objects: &[Value]) -> Vec<Rule> {
    let mut all = Vec::new();
    for role in objects.iter().filter(|o| o["kind"] == "Role" || o["kind"] == "ClusterRole") {
        let name = role["metadata"]["name"].as_str().unwrap();
        let name = name.strip_prefix("vm-lifecycle-").unwrap_or(name);
        let account = name.trim_end_matches("-applications").trim_end_matches("-machines");
        for rule in role["rules"].as_array().unwrap() {
            let one = |field: &str| {
                let all = rule[field].as_array().unwrap();
                assert_eq!(all.len(), 1, "{name}: {rule}");
                all[0].as_str().unwrap().to_owned()
            };
            all.push(Rule {
                account: account.to_owned(),
                group: one("apiGroups"),
                resource: one("resources"),
            });
        }
    }
    all
}

impl Rule {
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.account, &self.resource)
    }

    /// A copy of its account, with the roles that are shipped for that one, less this.
    pub(crate) async fn lacking(&self, world: &World, namespace: &str, number: &str) -> Lacking {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("{}.yaml", self.account);
        fs::copy(world.root().join("tekton/rbac").join(&file), folder.path().join(&file)).unwrap();
        let renamed = |name: &Value| json!(format!("{}-{number}", name.as_str().unwrap()));
        let change = |object: &mut Value| {
            object["metadata"]["name"] = renamed(&object["metadata"]["name"]);
            if object.get("roleRef").is_some() {
                object["roleRef"]["name"] = renamed(&object["roleRef"]["name"]);
                object["subjects"][0]["name"] = renamed(&object["subjects"][0]["name"]);
            }
            let rules = object.get_mut("rules").and_then(Value::as_array_mut);
            if let Some(rules) = rules {
                let ours = |rule: &Value| {
                    rule["apiGroups"][0] == self.group.as_str()
                        && rule["resources"][0] == self.resource.as_str()
                };
                rules.retain(|rule| !ours(rule));
            }
        };
        let accounts = install(world, folder.path(), namespace, change).await;
        Lacking { accounts, name: format!("{}-{number}", self.account) }
    }

    /// Whether the flow ended for want of it.
    pub(crate) fn refused(&self, ended: &Ended, lines: &str) -> Result<(), String> {
        // who cannot read what became of the tasks tells no outcome of the flow
        let outcome = ended.results.get("outcome").map_or("", String::as_str);
        let step = ended.tasks.values().any(|task| task.steps.last().is_some_and(|step| step.code == 30));
        let named = lines.contains(&format!("resource \"{}\"", self.resource));
        if !ended.succeeded && ["permission", ""].contains(&outcome) && step && named {
            return Ok(());
        }
        Err(format!(
            "succeeded {}, outcome `{outcome}`, a step with exit code 30 {step}, named {named}",
            ended.succeeded
        ))
    }
}
