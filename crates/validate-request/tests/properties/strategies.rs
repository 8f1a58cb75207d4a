//! Values and requests, right and wrong.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any value, made of our own words more often than not.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[a-z0-9.-]{0,70}",
        prop::sample::select(vec![
            "on",
            "root",
            "data",
            "pod",
            "4Gi",
            "web",
            "http",
            "registry",
            "quay.io/a:1",
            "https://a.b/c"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    let name = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "apiVersion",
            "kind",
            "metadata",
            "spec",
            "target",
            "name",
            "compute",
            "image",
            "source",
            "disks",
            "role",
            "networks",
            "customization",
            "userData",
            "size",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// A request that is right by its form, of sources, sizes and names that may or may not go together.
pub(crate) fn likely() -> impl Strategy<Value = Value> {
    let image = prop_oneof![
        Just(json!({"source": "container-disk", "reference": "quay.io/a:1"})),
        "[a-z0-9][a-z0-9.-]{0,20}[a-z0-9]".prop_map(|name| json!({"source": "data-source", "name": name})),
        "[a-z0-9]{1,5}".prop_map(|path| json!({"source": "registry", "reference": format!("registry.corp:5000/{path}/x@sha256:{}", "0".repeat(64))})),
        "[ -~]{0,12}".prop_map(|path| json!({"source": "http", "url": format!("https://a.b/{path}")})),
        Just(json!({"source": "pvc", "claim": "a.b"})),
    ];
    let disk = ("[a-z0-9-]{1,9}", prop::sample::select(vec!["data", "root"]), 1..5000_u32, prop::sample::select(vec!["Mi", "Gi"]), 0..4)
        .prop_map(|(name, role, size, unit, storage)| {
            let mut disk = json!({"name": if role == "root" { "root" } else { &name }, "role": role, "size": format!("{size}{unit}")});
            match storage {
                0 => disk["tier"] = json!("gold"),
                1 => disk["storageClass"] = json!("local-x"),
                _ => {}
            }
            disk
        });
    let text = prop_oneof!["[ -~]{1,40}", any::<String>()];
    let user_data = prop_oneof!["[a-z]{1,8}: [ -~]{0,30}", "[a-z]{1,8}:\n  - \"[a-zäöü]{0,9}\""]
        .prop_map(|text| format!("#cloud-config\n{text}\n"));
    (
        image,
        prop::collection::vec(disk, 0..3),
        text,
        prop::option::of(user_data),
        prop::option::of(1..4000_u32),
        any::<bool>(),
    )
        .prop_map(|(image, disks, reason, user_data, grace, on)| {
            let mut request = json!({
                "apiVersion": "vmlifecycle.dev/v1alpha1",
                "kind": "VMRequest",
                "metadata": {"requestId": "R1", "requestedBy": "jane", "reason": reason},
                "spec": {
                    "operation": "provision",
                    "target": {"name": "web", "namespace": "team"},
                    "compute": {"cpu": 2, "memory": "1024Mi"},
                    "image": image,
                    "disks": disks,
                    "power": if on { "on" } else { "off" },
                },
            });
            if let Some(text) = user_data {
                request["spec"]["customization"] = json!({"userData": text});
            }
            if let Some(seconds) = grace {
                request["spec"]["lifecycle"] = json!({"gracePeriodSeconds": seconds});
            }
            request
        })
}
