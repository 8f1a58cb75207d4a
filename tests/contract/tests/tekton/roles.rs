//! What the tasks may do in the cluster: what their steps do, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::check;
use crate::world::{World, yaml_files};

/// Where a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// In the namespace of the flows: a Role.
    Flows,
    /// Where Applications are: a `ClusterRole` of its own, for a site to bind it in that namespace alone.
    Applications,
    /// Where machines are, and what belongs to no namespace: a `ClusterRole`.
    Machines,
}

use Scope::{Applications, Flows, Machines};

/// A resource, and what is done to it: scope, API group, resource, verbs in their order.
type Need = (Scope, &'static str, &'static str, &'static [&'static str]);

const HOLDS: Need = (Flows, "coordination.k8s.io", "leases", &["get", "update"]);
const STEERS: Need = (Applications, "argoproj.io", "applications", &["get", "patch", "watch"]);

/// What each binary asks of an API server, by its calls of the crate `cluster`: a read is `get`, a list `list`; who is followed is read
/// and watched; a Lease is read and replaced, and made by lease-vm, which comes first.
const NEEDS: &[(&str, &[Need])] = &[
    ("lease-vm", &[(Flows, "coordination.k8s.io", "leases", &["create", "get", "update", "watch"])]),
    (
        "wait-synced",
        &[
            HOLDS,
            STEERS,
            (Machines, "kubevirt.io", "virtualmachines", &["get", "watch"]),
            (Machines, "kubevirt.io", "virtualmachineinstances", &["get", "watch"]),
            (Machines, "cdi.kubevirt.io", "datavolumes", &["get", "watch"]),
            (Machines, "", "persistentvolumeclaims", &["get", "watch"]),
            (Machines, "", "pods", &["delete", "list"]),
            (Machines, "", "events", &["list"]),
        ],
    ),
    (
        "stop-start-vm",
        &[
            HOLDS,
            STEERS,
            (Machines, "kubevirt.io", "virtualmachines", &["get", "watch"]),
            (Machines, "kubevirt.io", "virtualmachineinstances", &["delete", "get", "watch"]),
            (Machines, "subresources.kubevirt.io", "virtualmachines/restart", &["update"]),
            (Machines, "subresources.kubevirt.io", "virtualmachines/start", &["update"]),
            (Machines, "subresources.kubevirt.io", "virtualmachines/stop", &["update"]),
            (Machines, "cdi.kubevirt.io", "datavolumes", &["get", "watch"]),
            (Machines, "", "persistentvolumeclaims", &["get"]),
            (Machines, "", "events", &["list"]),
        ],
    ),
    (
        "verify-vm",
        &[
            HOLDS,
            (Machines, "kubevirt.io", "virtualmachines", &["get", "watch"]),
            (Machines, "kubevirt.io", "virtualmachineinstances", &["get", "watch"]),
            (Machines, "subresources.kubevirt.io", "virtualmachineinstances/guestosinfo", &["get"]),
            (Machines, "cdi.kubevirt.io", "datavolumes", &["get"]),
            (Machines, "", "persistentvolumeclaims", &["get"]),
        ],
    ),
    (
        "resolve-image",
        &[
            HOLDS,
            (Machines, "kubevirt.io", "virtualmachines", &["get"]),
            (Machines, "cdi.kubevirt.io", "datavolumes", &["get"]),
            (Machines, "cdi.kubevirt.io", "datasources", &["get"]),
            (Machines, "cdi.kubevirt.io", "dataimportcrons", &["get"]),
            (Machines, "snapshot.storage.k8s.io", "volumesnapshots", &["get"]),
            (Machines, "", "persistentvolumeclaims", &["get"]),
        ],
    ),
    (
        "grow-disk",
        &[
            HOLDS,
            (Machines, "kubevirt.io", "virtualmachines", &["get"]),
            (Machines, "kubevirt.io", "virtualmachineinstances", &["get"]),
            (Machines, "cdi.kubevirt.io", "cdiconfigs", &["get"]),
            (Machines, "storage.k8s.io", "storageclasses", &["get"]),
            (Machines, "", "persistentvolumeclaims", &["get", "patch"]),
        ],
    ),
    (
        "patch-disk",
        &[
            HOLDS,
            (Machines, "kubevirt.io", "virtualmachines", &["get"]),
            (Machines, "kubevirt.io", "virtualmachineinstances", &["get"]),
            (Machines, "", "persistentvolumeclaims", &["get"]),
            (Machines, "", "pods", &["list"]),
        ],
    ),
    ("patch-guest", &[(Machines, "kubevirt.io", "virtualmachineinstances", &["get"])]),
    (
        "snapshot-vm",
        &[
            HOLDS,
            (Machines, "kubevirt.io", "virtualmachines", &["get", "watch"]),
            (
                Machines,
                "snapshot.kubevirt.io",
                "virtualmachinesnapshots",
                &["create", "delete", "get", "list", "patch", "watch"],
            ),
            (Machines, "snapshot.kubevirt.io", "virtualmachinesnapshotcontents", &["get"]),
            (Machines, "snapshot.kubevirt.io", "virtualmachinerestores", &["list"]),
            (Machines, "snapshot.storage.k8s.io", "volumesnapshots", &["get"]),
        ],
    ),
    (
        "restore-vm",
        &[
            HOLDS,
            STEERS,
            (Machines, "kubevirt.io", "virtualmachines", &["get", "patch", "watch"]),
            (Machines, "kubevirt.io", "virtualmachineinstances", &["get"]),
            (Machines, "snapshot.kubevirt.io", "virtualmachinesnapshots", &["get", "patch"]),
            (Machines, "snapshot.kubevirt.io", "virtualmachinesnapshotcontents", &["get"]),
            (
                Machines,
                "snapshot.kubevirt.io",
                "virtualmachinerestores",
                &["create", "delete", "get", "list", "watch"],
            ),
            (Machines, "snapshot.storage.k8s.io", "volumesnapshots", &["get"]),
            (Machines, "cdi.kubevirt.io", "datavolumes", &["get", "patch"]),
            (Machines, "", "persistentvolumeclaims", &["get", "patch"]),
            (Machines, "", "pods", &["delete", "get", "list", "watch"]),
        ],
    ),
    (
        "report-outcome",
        &[
            (Flows, "coordination.k8s.io", "leases", &["get", "update"]),
            (Flows, "tekton.dev", "pipelineruns", &["get"]),
            (Flows, "tekton.dev", "taskruns", &["list"]),
        ],
    ),
];

/// What a binary never does as one of the accounts, by the flags that it gets there: account, binary, resource, verbs (`*`: all).
const LESS: &[(&str, &str, &str, &[&str])] = &[
    // nothing is to be gone where it waits alone
    ("await-vm", "wait-synced", "persistentvolumeclaims", &["*"]),
    ("await-vm", "wait-synced", "pods", &["*"]),
    ("power-vm", "verify-vm", "virtualmachineinstances/guestosinfo", &["*"]),
    ("prepare-vm", "verify-vm", "virtualmachineinstances/guestosinfo", &["*"]),
    ("snapshot-vm", "snapshot-vm", "virtualmachinesnapshots", &["patch"]),
    ("patch-guest", "snapshot-vm", "virtualmachinesnapshots", &["list", "patch"]),
    ("patch-guest", "snapshot-vm", "virtualmachinesnapshotcontents", &["*"]),
    ("patch-guest", "snapshot-vm", "volumesnapshots", &["*"]),
    ("patch-guest", "snapshot-vm", "virtualmachinerestores", &["*"]),
    ("verify-vm", "verify-vm", "virtualmachineinstances/guestosinfo", &["*"]),
    (
        "check-patch",
        "snapshot-vm",
        "virtualmachinesnapshots",
        &["create", "delete", "list", "patch", "watch"],
    ),
    ("check-patch", "snapshot-vm", "virtualmachinesnapshotcontents", &["*"]),
    ("check-patch", "snapshot-vm", "virtualmachinerestores", &["*"]),
    ("check-patch", "snapshot-vm", "volumesnapshots", &["*"]),
    ("prepare-restore", "restore-vm", "applications", &["*"]),
    ("prepare-restore", "restore-vm", "virtualmachines", &["patch"]),
    ("prepare-restore", "restore-vm", "virtualmachineinstances", &["*"]),
    ("prepare-restore", "restore-vm", "virtualmachinesnapshots", &["patch"]),
    ("prepare-restore", "restore-vm", "virtualmachinerestores", &["create", "delete", "watch"]),
    ("prepare-restore", "restore-vm", "datavolumes", &["*"]),
    ("prepare-restore", "restore-vm", "persistentvolumeclaims", &["*"]),
    ("prepare-restore", "restore-vm", "pods", &["*"]),
    ("restore-vm", "stop-start-vm", "virtualmachineinstances", &["delete"]),
    ("restore-vm", "stop-start-vm", "virtualmachines/restart", &["*"]),
    ("restore-vm", "stop-start-vm", "virtualmachines/start", &["*"]),
    ("restore-vm", "stop-start-vm", "virtualmachines/stop", &["*"]),
    ("prepare-patch", "stop-start-vm", "persistentvolumeclaims", &["*"]),
    ("prepare-patch", "stop-start-vm", "virtualmachineinstances", &["delete"]),
    ("prepare-patch", "stop-start-vm", "virtualmachines/restart", &["*"]),
    ("prepare-patch", "stop-start-vm", "virtualmachines/start", &["*"]),
    ("prepare-patch", "stop-start-vm", "virtualmachines/stop", &["*"]),
    ("prepare-patch", "snapshot-vm", "virtualmachinesnapshotcontents", &["*"]),
    ("prepare-patch", "snapshot-vm", "volumesnapshots", &["*"]),
    ("prepare-patch", "snapshot-vm", "virtualmachinerestores", &["*"]),
    ("prepare-patch", "snapshot-vm", "virtualmachinesnapshots", &["list", "patch"]),
    ("deprovision-vm", "stop-start-vm", "virtualmachineinstances", &["delete"]),
    ("deprovision-vm", "stop-start-vm", "virtualmachines/restart", &["*"]),
    ("deprovision-vm", "stop-start-vm", "virtualmachines/start", &["*"]),
    ("deprovision-vm", "stop-start-vm", "virtualmachines/stop", &["*"]),
    ("deprovision-vm", "verify-vm", "virtualmachineinstances/guestosinfo", &["*"]),
    ("resize-vm", "stop-start-vm", "virtualmachines/restart", &["*"]),
    ("resize-vm", "stop-start-vm", "virtualmachines/start", &["*"]),
    ("resize-vm", "stop-start-vm", "virtualmachines/stop", &["*"]),
    ("resize-vm", "verify-vm", "virtualmachineinstances/guestosinfo", &["*"]),
];

/// Who runs which Tasks. One that is here twice is run by the first, but in the flow that has the name of the other. `snapshot-vm`
/// and the other single ones are run by whichever of these has what they need.
const ACCOUNTS: &[(&str, &[&str])] = &[
    ("await-vm", &["await-vm"]),
    ("check-patch", &["check-patch"]),
    ("deprovision-vm", &["deprovision-stop", "await-vm"]),
    ("patch-disk", &["patch-disk"]),
    ("patch-guest", &["patch-guest"]),
    ("power-vm", &["power-vm"]),
    ("prepare-patch", &["prepare-patch"]),
    ("prepare-restore", &["prepare-restore"]),
    ("prepare-vm", &["prepare-vm"]),
    ("publish-vm", &["publish-vm"]),
    ("report-outcome", &["report-outcome"]),
    ("resize-vm", &["resize-apply"]),
    ("restore-vm", &["restore-disks"]),
    ("snapshot-vm", &["snapshot-take"]),
    ("verify-vm", &["verify-vm"]),
];

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

/// The account that a Task is run by in the sample run of a Pipeline.
pub(crate) fn account(pipeline: &str, task: &str) -> Option<&'static str> {
    let mut all = ACCOUNTS.iter().filter(|(_, tasks)| tasks.contains(&task)).map(|(account, _)| *account);
    all.clone().find(|account| *account == pipeline).or_else(|| all.next())
}

type Rules = BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>;

/// What the steps of an account's Tasks that speak to the cluster do, in this scope.
fn wanted(world: &World, account: &str, tasks: &[&str], scope: Scope) -> Rules {
    let mut rules = Rules::new();
    let steps = tasks.iter().flat_map(|task| &world.tasks[*task].spec.steps);
    let binaries: BTreeSet<&str> =
        steps.filter_map(|s| world.binary(s.command.first()?)).map(|b| b.name).collect();
    for (binary, needs) in NEEDS.iter().filter(|(binary, _)| binaries.contains(binary)) {
        for (_, group, resource, verbs) in needs.iter().filter(|need| need.0 == scope) {
            let less =
                LESS.iter().find(|l| (l.0, l.1, l.2) == (account, binary, resource)).map_or(&[][..], |l| l.3);
            let done = verbs.iter().filter(|verb| !less.contains(verb) && !less.contains(&"*"));
            let done: Vec<&'static str> = done.copied().collect();
            if !done.is_empty() {
                rules.entry((*group, *resource)).or_default().extend(done);
            }
        }
    }
    rules
}

/// The rules as they are written: one for each resource, the core group last.
fn written(rules: &Rules) -> Value {
    let mut rules: Vec<_> = rules.iter().collect();
    rules.sort_by_key(|((group, resource), _)| (group.is_empty(), *group, *resource));
    let rule = |((group, resource), verbs): &(&(&str, &str), &BTreeSet<&str>)| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    rules.iter().map(rule).collect()
}

#[test]
fn each_account_may_do_what_its_task_does_and_nothing_else() {
    check("roles", |world, problems| {
        let objects = objects(world);
        let mut names = BTreeSet::new();
        for (account, tasks) in ACCOUNTS {
            let scopes = [
                (Flows, "Role", (*account).to_owned()),
                (Applications, "ClusterRole", format!("vm-lifecycle-{account}-applications")),
                (Machines, "ClusterRole", format!("vm-lifecycle-{account}-machines")),
            ];
            for (scope, kind, name) in scopes {
                let rules = wanted(world, account, tasks, scope);
                let found =
                    objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name.as_str());
                let bound = |o: &&Value| {
                    o["kind"] == format!("{kind}Binding") && o["metadata"]["name"] == name.as_str()
                };
                let binding = objects.iter().find(bound);
                if rules.is_empty() {
                    if found.is_some() || binding.is_some() {
                        problems
                            .push(format!("tekton/rbac/{account}.yaml: {kind} `{name}`: nobody needs it"));
                    }
                    continue;
                }
                names.insert((kind.to_owned(), name.clone()));
                names.insert((format!("{kind}Binding"), name.clone()));
                let rules = written(&rules);
                if found.map(|o| &o["rules"]) != Some(&rules) {
                    problems.push(format!(
                        "tekton/rbac/{account}.yaml: {kind} `{name}`: its rules have to be\n{rules}"
                    ));
                }
                let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
                let subjects = json!([{"kind": "ServiceAccount", "name": account}]);
                if !binding.is_some_and(|b| b["roleRef"] == role && b["subjects"] == subjects) {
                    problems.push(format!(
                        "tekton/rbac/{account}.yaml: {kind}Binding `{name}`: {role} for {subjects}"
                    ));
                }
            }
            names.insert(("ServiceAccount".to_owned(), (*account).to_owned()));
        }
        for object in &objects {
            let (kind, name) =
                (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            if !names.contains(&(kind.to_owned(), name.to_owned())) {
                problems.push(format!("tekton/rbac: {kind} `{name}`: nobody is known to need it"));
            }
            // a token comes by the volume of a step alone
            if kind == "ServiceAccount" && object["automountServiceAccountToken"] != json!(false) {
                problems.push(format!("ServiceAccount `{name}`: paste\nautomountServiceAccountToken: false"));
            }
        }
        for (account, binary, resource, verbs) in LESS {
            let need =
                NEEDS.iter().filter(|(b, _)| b == binary).flat_map(|(_, n)| *n).find(|n| n.2 == *resource);
            let known = need.is_some_and(|n| verbs.iter().all(|v| *v == "*" || n.3.contains(v)));
            let runs = ACCOUNTS.iter().any(|(a, _)| a == account);
            if !known || !runs {
                problems.push(format!("nobody needs the exception {:?}", (account, binary, resource, verbs)));
            }
        }
    });
}
