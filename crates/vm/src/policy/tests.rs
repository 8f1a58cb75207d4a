use serde_json::json;

use super::{NamePattern, Policy};

fn policy(spec: serde_json::Value) -> Policy {
    serde_json::from_value(spec).unwrap()
}

#[test]
fn without_a_policy_the_platform_is_out_of_bounds() {
    let none = Policy::default();
    for (namespace, allowed) in [
        ("team", true),
        ("default", true),
        ("kube-system", false),
        ("openshift", false),
        ("openshift-cnv", false),
        ("argocd", false),
    ] {
        assert_eq!(none.allows_namespace(namespace), allowed, "{namespace}");
    }
    assert!(none.allow.cpu_and_memory && !none.allow.user_data && !none.allow.user_data_secret);
    assert_eq!(none.defaults.cluster.as_str(), "in-cluster");
    assert_eq!(none, policy(json!({})));
}

#[test]
fn a_name_or_its_beginning() {
    let policy = policy(json!({"namespaces": ["payments-*", "web", "kube-system"]}));
    for (namespace, allowed) in
        [("payments-prod", true), ("payments", false), ("web", true), ("web2", false), ("kube-system", true)]
    {
        assert_eq!(policy.allows_namespace(namespace), allowed, "{namespace}");
    }
}

#[test]
fn an_image_is_where_the_list_says() {
    let policy = policy(
        json!({"images": {"registries": ["quay.io/containerdisks", "registry.corp", "other.corp:5000", "quay.io/a/b"]}}),
    );
    for (reference, listed) in [
        ("quay.io/containerdisks/fedora:42", true),
        ("quay.io/containerdisks-evil/fedora:42", false),
        ("quay.io/fedora:42", false),
        ("quay.io/a/b:1", true),
        ("quay.io/a/b@sha256:00", true),
        ("registry.corp/x:1", true),
        ("registry.corp:5000/x:1", false),
        ("registry.corp.evil/x:1", false),
        ("other.corp:5000/x:1", true),
        ("other.corp:50001/x:1", false),
        ("other.corp/x:1", false),
    ] {
        assert_eq!(policy.lists_image(reference), listed, "{reference}");
    }
}

#[test]
fn an_address_begins_as_the_list_says() {
    let policy =
        policy(json!({"images": {"urlPrefixes": ["https://a.corp/disks/", "http://b.corp:80/x.img"]}}));
    for (url, listed) in [
        ("https://a.corp/disks/x", true),
        ("https://a.corp/disks", false),
        ("http://a.corp/disks/x", false),
        ("https://a.corp.evil/disks/x", false),
        ("http://b.corp:80/x.img", true),
        ("http://b.corp:80/x.img.evil", false),
    ] {
        assert_eq!(policy.lists_url(url), listed, "{url}");
    }
}

#[test]
fn golden_images_of_others_only_where_listed() {
    let policy = policy(json!({"images": {"dataSources": {"default": "golden", "namespaces": ["os-*"]}}}));
    for (namespace, allowed) in [("golden", true), ("os-images", true), ("own", true), ("other", false)] {
        assert_eq!(policy.allows_data_source(namespace, "own"), allowed, "{namespace}");
    }
    assert!(!Policy::default().allows_data_source("other", "own"));
}

#[test]
fn networks_only_where_listed_and_a_name_alone_is_the_machines_own() {
    let policy = policy(json!({"networks": ["infra/*", "vlan-1*", "other/lan"]}));
    for (name, allowed) in [
        ("infra/a", true),
        ("infrastructure/a", false),
        ("vlan-120", true),
        ("own/vlan-120", true),
        ("other/vlan-120", false),
        ("other/lan", true),
        ("lan", false),
    ] {
        assert_eq!(policy.allows_network(&name.parse().unwrap(), "own"), allowed, "{name}");
    }
    assert!(!Policy::default().allows_network(&"lan".parse().unwrap(), "own"));
}

#[test]
fn a_pattern_is_for_the_whole_name() {
    let pattern = NamePattern::try_from("[a-z]+|x[0-9]".to_owned()).unwrap();
    for (name, matches) in [("web", true), ("x1", true), ("web1", false), ("1web", false), ("x12", false)] {
        assert_eq!(pattern.matches(name), matches, "{name}");
    }
    for (text, why) in [
        ("(?=a)b", "look-around, including look-ahead and look-behind, is not supported"),
        ("a)(b", "unopened group"),
        (r"a\1", "backreferences are not supported"),
    ] {
        assert_eq!(NamePattern::try_from(text.to_owned()).unwrap_err(), why);
    }
}
