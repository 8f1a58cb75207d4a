//! What the tasks may do in the cluster: nothing but what is written here.

use serde_json::{Value, json};

use crate::check;
use crate::world::{World, yaml_files};

/// Everything in `tekton/rbac`.
fn objects(world: &World) -> Vec<Value> {
    let files = yaml_files(&world.root.join("tekton/rbac"));
    files.iter().flat_map(|file| world.documents(&format!("tekton/rbac/{file}"))).collect()
}

/// The names of the accounts.
pub(crate) fn accounts(world: &World) -> Vec<String> {
    let accounts = objects(world).into_iter().filter(|o| o["kind"] == "ServiceAccount");
    accounts.map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The rules are the verbs that `wait-synced` uses: it reads and watches four kinds, asks Argo CD to refresh by patching
/// an annotation, and lists the events of a machine that does not come up. Nothing else has a role, and nothing else has a token.
#[test]
fn only_await_vm_may_do_anything() {
    check("roles", |world, problems| {
        let objects = objects(world);
        let read = json!(["get", "watch"]);
        let wanted = [
            (
                "vm-lifecycle-await-vm-applications",
                json!([
                    {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get", "watch", "patch"]},
                ]),
            ),
            (
                "vm-lifecycle-await-vm-machines",
                json!([
                    {"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": read},
                    {"apiGroups": ["cdi.kubevirt.io"], "resources": ["datavolumes"], "verbs": read},
                    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
                ]),
            ),
        ];
        let roles: Vec<(&str, &Value)> = objects
            .iter()
            .filter(|o| matches!(o["kind"].as_str(), Some("Role" | "ClusterRole")))
            .map(|o| (o["metadata"]["name"].as_str().unwrap(), &o["rules"]))
            .collect();
        let wanted: Vec<(&str, &Value)> = wanted.iter().map(|(name, rules)| (*name, rules)).collect();
        if roles != wanted {
            problems.push(format!("roles are\n{roles:?}\nand have to be\n{wanted:?}"));
        }
        for binding in objects.iter().filter(|o| o["kind"].as_str().is_some_and(|k| k.ends_with("Binding"))) {
            let subjects: Vec<&Value> =
                binding["subjects"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
            if subjects != ["await-vm"] || !roles.iter().any(|(name, _)| binding["roleRef"]["name"] == *name)
            {
                problems.push(format!("a binding gives more: {binding}"));
            }
        }
        for account in objects.iter().filter(|o| o["kind"] == "ServiceAccount") {
            let (name, token) =
                (&account["metadata"]["name"], account["automountServiceAccountToken"] == json!(true));
            if token != (name == "await-vm") {
                problems.push(format!("ServiceAccount {name}: `automountServiceAccountToken: true` is for `await-vm`, `false` for all others"));
            }
        }
        if accounts(world) != ["await-vm", "publish-vm", "report-outcome"] {
            problems.push(format!("ServiceAccounts are {:?}", accounts(world)));
        }
    });
}
