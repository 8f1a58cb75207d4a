use serde_json::{Value, json};

use super::{Rule, check};
use crate::policy::Policy;

fn found(spec: Value) -> Vec<String> {
    let policy: Policy = serde_json::from_value(spec).unwrap();
    check(&policy).iter().map(ToString::to_string).collect()
}

#[test]
fn a_policy_without_oddities() {
    assert_eq!(found(json!({})), [""; 0]);
    let spec = json!({
        "operations": ["provision", "stop"], "clusters": ["in-*"], "namespaces": ["payments-*", "web", "kube-system"],
        "namePattern": "[a-z][a-z0-9-]*", "limits": {"cpu": 16, "memory": "64Gi", "disks": 8}, "instanceTypes": ["u1.*", "u2.small"],
        "images": {"registries": ["quay.io/a", "quay.io/a-b", "corp", "corp:5000/a"], "urlPrefixes": ["https://a.b/c/", "https://a.b/c"]},
        "storageTiers": {"gold": "ceph"}, "defaults": {"tier": "gold"},
    });
    assert_eq!(found(spec), [""; 0]);
}

#[test]
fn rules_for_what_nobody_may_ask_for() {
    let spec = json!({"operations": ["start", "stop"], "limits": {"diskSize": "1Ti"}, "patchProfiles": ["security"], "allow": {"userData": true}});
    let of = |pointer: &str, words: &str| {
        format!(
            "{pointer}: W_UNREACHABLE: it is for {words} alone, and `operations` does not allow that; hint: remove it, or allow the operation"
        )
    };
    assert_eq!(
        found(spec),
        [
            of("/spec/allow/userData", "`provision`"),
            of("/spec/limits/diskSize", "`provision` and `resize`"),
            of("/spec/patchProfiles", "`patch`"),
        ]
    );
    // said once: what is never asked for leaves nothing open
    assert_eq!(
        found(json!({"operations": ["stop"], "limits": {"cpu": 4}})),
        [of("/spec/limits/cpu", "`provision` and `resize`")]
    );
    // one of the two is enough
    assert_eq!(found(json!({"operations": ["resize"], "limits": {"diskSize": "1Ti"}})), [""; 0]);
}

#[test]
fn clusters_that_nobody_gets() {
    assert_eq!(
        found(json!({"clusters": ["in-cluster", "prod-*"]})),
        [
            "/spec/clusters/1: W_UNREACHABLE: requests may name no cluster but the default, `in-cluster`, which `prod-*` is not; \
          hint: set `allow.clusterByRequester`"
        ]
    );
    let both = json!({"clusters": ["in-cluster", "prod-*"], "allow": {"clusterByRequester": true}});
    assert_eq!(found(both), [""; 0]);
    assert_eq!(
        found(json!({"clusters": ["prod"], "allow": {"clusterByRequester": true}})),
        [
            "/spec/defaults/cluster: W_CONTRADICTION: `in-cluster` is not among `clusters`, so the policy is refused with every request; \
          hint: add it there"
        ]
    );
}

#[test]
fn names_that_no_machine_has() {
    for (pattern, told) in [
        ("[A-Z]+", Some("no name matches it, so every request is denied; hint: names are of a-z, 0-9 and -")),
        (
            "[a-z]{64}",
            Some("what matches it has 64 characters or more, and a name at most 63; hint: shorten it"),
        ),
        (
            "[a-z]{52}",
            Some(
                "what matches it has 52 characters or more: no machine could have a boot disk; hint: leave room: at most 51",
            ),
        ),
        ("[a-z]{51}", None),
    ] {
        let told: Vec<String> =
            told.into_iter().map(|told| format!("/spec/namePattern: W_CONTRADICTION: {told}")).collect();
        assert_eq!(found(json!({"namePattern": pattern})), told, "{pattern}");
    }
}

#[test]
fn limits_that_instance_types_pass_by() {
    assert_eq!(
        found(json!({"limits": {"cpu": 4, "memory": "8Gi"}})),
        ["cpu", "memory"].map(|field| format!(
            "/spec/limits/{field}: W_OPEN: an instance type is not held to it, and every one may be named; hint: list `instanceTypes`"
        ))
    );
    assert_eq!(
        found(json!({"limits": {"cpu": 4}, "instanceTypes": ["u1.*"], "allow": {"cpuAndMemory": false}})),
        [
            "/spec/limits/cpu: W_UNREACHABLE: machines are sized by instance type alone, which is not held to it; \
          hint: remove it, and list `instanceTypes`"
        ]
    );
}

#[test]
fn disks_where_there_may_be_none() {
    let spec = json!({"limits": {"disks": 0, "diskSize": "1Ti"}, "storageTiers": {"gold": "ceph"}, "images": {"urlPrefixes": ["https://a.b/"]}});
    let line = |pointer: &str| {
        format!(
            "{pointer}: W_UNREACHABLE: it is for machines with disks, and `limits.disks` is 0; hint: allow disks, or remove it"
        )
    };
    assert_eq!(found(spec), [line("/spec/storageTiers")]);
    let spec = json!({"operations": ["provision"], "limits": {"disks": 0, "diskSize": "1Ti"}, "images": {"urlPrefixes": ["https://a.b/"]}});
    assert_eq!(found(spec), [line("/spec/images/urlPrefixes"), line("/spec/limits/diskSize")]);
    assert_eq!(
        found(json!({"storageTiers": {"gold": "ceph"}, "defaults": {"tier": "glod"}})),
        [
            "/spec/defaults/tier: W_CONTRADICTION: `glod` is not among `storageTiers`, so the policy is refused with every request; hint: add it there"
        ]
    );
}

#[test]
fn what_another_item_says_already() {
    let twice = |pointer: &str, wide: &str| {
        format!("{pointer}: W_REDUNDANT: `{wide}` says it already; hint: remove it")
    };
    assert_eq!(
        found(json!({
            "namespaces": ["payments-*", "payments-prod", "payments-a-*", "web"],
            "images": {
                "registries": ["quay.io/disks/a", "quay.io/disks"],
                "urlPrefixes": ["https://a.b/", "https://a.b/c/x.img"],
                "dataSources": {"default": "golden", "namespaces": ["golden", "os-*"]},
            },
        })),
        [
            "/spec/images/dataSources/namespaces/0: W_REDUNDANT: the default may be used anyway; hint: remove it".to_owned(),
            twice("/spec/images/registries/0", "quay.io/disks"),
            twice("/spec/images/urlPrefixes/1", "https://a.b/"),
            twice("/spec/namespaces/1", "payments-*"),
            twice("/spec/namespaces/2", "payments-*"),
        ]
    );
}

#[test]
fn items_that_no_name_is_like() {
    assert_eq!(
        found(
            json!({"namespaces": ["a.b"], "instanceTypes": ["u1.small", "u1..x"], "images": {"urlPrefixes": ["https://a.b/../c/"]}})
        ),
        [
            "/spec/images/urlPrefixes/0: W_UNREACHABLE: no address is taken that has `..` in its path; hint: give the path as it is on the server",
            "/spec/instanceTypes/1: W_UNREACHABLE: `u1..x`: no name is like this; hint: correct or remove it",
            "/spec/namespaces/0: W_UNREACHABLE: `a.b`: a name here has no dots; hint: correct or remove it",
        ]
    );
}

#[test]
fn networks_keys_and_devices_that_say_nothing() {
    let like = |pointer: &str, item: &str| {
        format!("{pointer}: W_UNREACHABLE: `{item}`: no name is like this; hint: correct or remove it")
    };
    let twice = |pointer: &str, wide: &str| {
        format!("{pointer}: W_REDUNDANT: `{wide}` says it already; hint: remove it")
    };
    let platform = |pointer: &str, domain: &str| {
        format!(
            "{pointer}: W_UNREACHABLE: keys of `{domain}` belong to the platform, and no request gives them; hint: remove it"
        )
    };
    let nowhere = |pointer: &str, item: &str| {
        format!(
            "{pointer}: W_UNREACHABLE: `{item}`: no machine may be there, as `namespaces` lists it not; hint: add it there, or remove it here"
        )
    };
    assert_eq!(
        found(json!({
            "networks": ["infra/*", "infra/vlan-1", "*", "vlan-2", format!("i/{}", "a".repeat(64))],
            "labels": ["team", "te*", "a/b/c", "A/b"],
            "annotations": ["app.kubernetes.io/*", "corp.example/*", "vmlifecycle.dev/x", "kubernetes.io"],
        })),
        [
            platform("/spec/annotations/0", "kubernetes.io"),
            platform("/spec/annotations/2", "vmlifecycle.dev"),
            twice("/spec/labels/0", "te*"),
            like("/spec/labels/2", "a/b/c"),
            like("/spec/labels/3", "A/b"),
            twice("/spec/networks/1", "infra/*"),
            twice("/spec/networks/3", "*"),
            like("/spec/networks/4", &format!("i/{}…", "a".repeat(38))),
        ]
    );
    // `*` is a network of the machine's own namespace
    assert_eq!(
        found(json!({"networks": ["*", "infra/a"], "labels": ["corp*", "corp.example/a"]})),
        [twice("/spec/labels/1", "corp*")]
    );
    assert_eq!(
        found(json!({
            "namespaces": ["ml-*", "web"],
            "nodeSelector": [
                {"key": "gpu"},
                {"key": "gpu", "values": ["a10"], "namespaces": ["web"]},
                {"key": "gpu"},
                {"key": "zone", "values": ["fra-1", "fra-*"], "namespaces": ["ml-*"]},
                {"key": "zone", "values": ["fra-7"], "namespaces": ["ml-a", "payments", "a.b"]},
            ],
            "devices": [
                {"deviceName": "nvidia.com/a", "namespaces": ["ml-a"]},
                {"deviceName": "nvidia.com/*"},
                {"deviceName": "a..b/x"},
            ],
        })),
        [
            twice("/spec/devices/0", "/spec/devices/1"),
            like("/spec/devices/2/deviceName", "a..b/x"),
            twice("/spec/nodeSelector/1", "/spec/nodeSelector/0"),
            twice("/spec/nodeSelector/2", "/spec/nodeSelector/0"),
            twice("/spec/nodeSelector/3/values/0", "fra-*"),
            nowhere("/spec/nodeSelector/4/namespaces/1", "payments"),
            "/spec/nodeSelector/4/namespaces/2: W_UNREACHABLE: `a.b`: a name here has no dots; hint: correct or remove it".to_owned(),
        ]
    );
    assert_eq!(
        found(json!({"limits": {"gpus": 1, "hostDevices": 0}})),
        ["gpus", "hostDevices"].map(|field| format!(
            "/spec/limits/{field}: W_UNREACHABLE: no device is allowed, as `devices` lists none; hint: list them, or remove it"
        ))
    );
}

#[test]
fn a_lifetime_that_nobody_is_held_to() {
    assert_eq!(
        found(json!({"limits": {"lifetimeDays": 90}})),
        [
            "/spec/limits/lifetimeDays: W_OPEN: a machine without `expiresAt` is not held to it; hint: add `expiresAt` to `required`"
        ]
    );
    assert_eq!(found(json!({"limits": {"lifetimeDays": 90}, "required": ["expiresAt"]})), [""; 0]);
    assert_eq!(
        found(json!({"operations": ["stop"], "required": ["reason", "owner"]})),
        [
            "/spec/required/1: W_UNREACHABLE: `owner` is for `provision` alone, and `operations` does not allow that; \
          hint: remove it, or allow the operation"
        ]
    );
}

#[test]
fn a_wildcard_lets_the_platform_in_only_by_name() {
    for (item, lets_in) in [
        ("*", Some("kube-*")),
        ("k*", Some("kube-*")),
        ("kube-*", None),
        ("open*", Some("openshift")),
        ("openshift-*", None),
        ("openshift-cnv", None),
        ("team-*", None),
    ] {
        let told: Vec<String> = lets_in
            .into_iter()
            .map(|name| {
                format!(
                    "/spec/namespaces/0: W_OPEN: `{item}` lets machines into the platform's own `{name}`; \
                     hint: list the namespaces of teams, such as `team-*`"
                )
            })
            .collect();
        assert_eq!(found(json!({"namespaces": [item]})), told, "{item}");
    }
}

#[test]
fn every_rule_is_explained_by_what_it_tells() {
    for rule in Rule::ALL {
        assert!(rule.explanation().answer.contains(&format!(": {}: ", rule.word())), "{rule:?}");
    }
}
