//! The schema, the Rust types and the reference say the same.
#![expect(clippy::unwrap_used, reason = "a test")]

mod everything;
mod reference;
mod schema;

use std::collections::BTreeSet;
use std::path::Path;

use everything::{images, parsed};
use serde_json::{Value, json};
use snapbox::Data;
use vm::day_two::{DataDisks, PatchMethod};
use vm::policy::{
    Allow, DataSources, Defaults, Environment, Images, Limits, NodeLabel, Policy, PolicyFile, PolicyKind,
    RequiredField,
};
use vm::request::{
    Accepted, ApiVersion, Architecture, Binding, Kind, NetworkKind, NetworkModel, Operation, Power,
    Propagation, Role,
};

const MODELS: [NetworkModel; 6] = [
    NetworkModel::Virtio,
    NetworkModel::E1000,
    NetworkModel::E1000e,
    NetworkModel::Ne2kPci,
    NetworkModel::Pcnet,
    NetworkModel::Rtl8139,
];

/// The mappings of a request whose keys are the requester's.
const FREE: [&str; 4] =
    ["/spec/labels", "/spec/annotations", "/spec/nodeSelector", "/spec/template/parameters"];

/// Where requests refer to a ConfigMap or a Secret.
const REFERENCES: [&str; 2] = ["/spec/customization/sysprep", "/spec/configDisks/0/source"];

/// Every field of a value as a path, with `*` for the items of lists and the keys of free mappings.
fn paths_of_value(value: &Value, path: &str, free: &[&str], paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let inner_path =
                    if free.contains(&path) { format!("{path}/*") } else { format!("{path}/{name}") };
                paths_of_value(inner, &inner_path, free, paths);
                paths.insert(inner_path);
            }
        }
        Value::Array(items) => {
            for item in items {
                paths_of_value(item, &format!("{path}/*"), free, paths);
            }
        }
        _ => {}
    }
}

fn paths_of_schema(schema: &Value, path: &str, paths: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        paths.insert(format!("{path}/{name}"));
        paths_of_schema(inner, &format!("{path}/{name}"), paths);
    }
    if schema["additionalProperties"].is_object() {
        paths.insert(format!("{path}/*"));
        paths_of_schema(&schema["additionalProperties"], &format!("{path}/*"), paths);
    }
    if schema["items"].is_object() {
        paths_of_schema(&schema["items"], &format!("{path}/*"), paths);
    }
}

#[test]
fn the_schema_has_the_fields_of_the_types() {
    for operation in schema::operations() {
        let (mut types, mut schema) = (BTreeSet::new(), BTreeSet::new());
        for request in everything::of(operation) {
            paths_of_value(&serde_json::to_value(request).unwrap(), "", &FREE, &mut types);
        }
        paths_of_schema(&schema::of(operation), "", &mut schema);
        assert_eq!(types, schema, "{operation}");
    }
}

#[test]
fn the_policy_schema_has_the_fields_of_its_types() {
    let wildcards = || serde_json::from_value(json!(["a-*"])).unwrap();
    let environment = Environment {
        namespaces: wildcards(),
        operations: vec![parsed("provision")],
        required: vec![RequiredField::Owner],
        protected: true,
    };
    let file = PolicyFile {
        api_version: ApiVersion::V1Alpha1,
        kind: PolicyKind::VmPolicy,
        spec: Policy {
            operations: vec![parsed("provision")],
            clusters: wildcards(),
            namespaces: wildcards(),
            name_pattern: Some("a".to_owned().try_into().unwrap()),
            name_template: Some("{id}".to_owned().try_into().unwrap()),
            limits: Limits {
                cpu: Some(1),
                memory: Some(parsed("1Gi")),
                disk_size: Some(parsed("1Gi")),
                disks: Some(1),
                gpus: Some(1),
                host_devices: Some(1),
                lifetime_days: Some(1),
            },
            instance_types: wildcards(),
            images: Images {
                registries: vec!["quay.io".to_owned()],
                url_prefixes: vec!["https://a.b/".to_owned()],
                data_sources: DataSources { default: Some(parsed("golden")), namespaces: wildcards() },
            },
            networks: wildcards(),
            patch_profiles: wildcards(),
            storage_tiers: [(parsed("gold"), parsed("ceph"))].into(),
            storage_classes: wildcards(),
            labels: wildcards(),
            annotations: wildcards(),
            node_selector: vec![NodeLabel {
                key: parsed("zone"),
                values: wildcards(),
                namespaces: wildcards(),
            }],
            devices: serde_json::from_value(json!([{"deviceName": "a.b/*", "namespaces": ["a-*"]}])).unwrap(),
            allow: Allow {
                user_data: true,
                user_data_secret: true,
                cpu_and_memory: true,
                cluster_by_requester: true,
                mac_address: true,
                sysprep: true,
                access_credentials: true,
                config_disks: true,
            },
            required: vec![
                RequiredField::OnBehalfOf,
                RequiredField::Ticket,
                RequiredField::Reason,
                RequiredField::RequestedAt,
                RequiredField::Owner,
                RequiredField::CostCenter,
                RequiredField::ExpiresAt,
                RequiredField::MaintenanceWindow,
                RequiredField::Environment,
            ],
            environments: [(parsed("prod"), environment)].into(),
            defaults: Defaults { cluster: parsed("a"), tier: Some(parsed("gold")), grace_period_seconds: 1 },
        },
    };
    let value = serde_json::to_value(&file).unwrap();
    let (mut types, mut schema) = (BTreeSet::new(), BTreeSet::new());
    paths_of_value(&value, "", &["/spec/storageTiers", "/spec/environments"], &mut types);
    paths_of_schema(vm::schema::policy(), "", &mut schema);
    assert_eq!(types, schema);
    let fields = &vm::schema::policy()["properties"]["spec"]["properties"];
    let of_environments = &fields["environments"]["additionalProperties"]["properties"];
    for operations in [&fields["operations"], &of_environments["operations"]] {
        assert_eq!(operations["items"]["enum"], json!(schema::operations()));
        assert_eq!(operations["maxItems"], schema::operations().len());
    }
    let words = |fields: &Value| fields["required"]["items"]["enum"].as_array().unwrap().clone();
    assert_eq!(json!(words(fields)), value["spec"]["required"]);
    // whatever has an environment has an environment
    let mut others = words(fields);
    others.retain(|word| word != RequiredField::Environment.word());
    assert_eq!(words(of_environments), others);
}

/// A value without one field.
fn without(value: &Value, pointer: &str) -> Value {
    let mut value = value.clone();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap().as_object_mut().unwrap().shift_remove(field).unwrap();
    value
}

fn required_of_schema(schema: &Value, path: &str, required: &mut BTreeSet<String>) {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required.extend(names.map(|name| format!("{path}/{name}")));
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        required_of_schema(inner, &format!("{path}/{name}"), required);
    }
    if schema["items"].is_object() {
        required_of_schema(&schema["items"], &format!("{path}/0"), required);
    }
}

#[test]
fn the_same_fields_are_required() {
    for operation in schema::operations() {
        let mut of_schema = BTreeSet::new();
        required_of_schema(&schema::of(operation), "", &mut of_schema);
        let (mut of_types, mut by_source) = (BTreeSet::new(), BTreeSet::new());
        for request in everything::of(operation) {
            let value = serde_json::to_value(request).unwrap();
            let mut all = BTreeSet::new();
            paths_of_value(&value, "", &[], &mut all);
            for pointer in all.iter().map(|path| path.replace('*', "0")) {
                if serde_json::from_value::<Accepted>(without(&value, &pointer)).is_err() {
                    of_types.insert(pointer);
                }
            }
            // fields of one image source are required by `allOf`, beside the source
            for image in ["/spec/image", "/spec/operationSpec/image"] {
                if value.pointer(image).is_some() {
                    by_source
                        .extend(["claim", "name", "reference", "url"].map(|name| format!("{image}/{name}")));
                } else {
                    of_schema.remove(&format!("{image}/source"));
                }
            }
            // one of the two, by a rule
            for reference in REFERENCES.iter().filter(|reference| value.pointer(reference).is_some()) {
                by_source.extend(["configMap", "secret"].map(|name| format!("{reference}/{name}")));
            }
        }
        let expected: BTreeSet<String> = of_schema.union(&by_source).cloned().collect();
        assert_eq!(of_types, expected, "{operation}");
    }
    let image = &vm::schema::request()["$defs"]["image"];
    let (rules, known) = (image["allOf"].as_array().unwrap(), image["properties"].as_object().unwrap());
    assert_eq!(rules.len(), images().len());
    for (rule, image) in rules.iter().zip(images()) {
        let value = serde_json::to_value(&image).unwrap();
        assert_eq!(rule["if"]["properties"]["source"]["const"], value["source"]);
        let fields: BTreeSet<&str> =
            value.as_object().unwrap().keys().map(String::as_str).filter(|f| *f != "source").collect();
        let refused: BTreeSet<&str> =
            rule["then"]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let both: BTreeSet<&str> = known.keys().map(String::as_str).filter(|f| *f != "source").collect();
        assert!(fields.is_disjoint(&refused));
        assert_eq!(fields.union(&refused).copied().collect::<BTreeSet<&str>>(), both);
    }
}

/// Call `check` on every field of the schema with its pointer; the sum of its answers.
fn defaults(schema: &Value, path: &str, check: &dyn Fn(&str, &Value) -> usize) -> usize {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let below: usize = fields
        .map(|(n, s)| check(&format!("{path}/{n}"), s) + defaults(s, &format!("{path}/{n}"), check))
        .sum();
    let items = &schema["items"];
    below + if items.is_object() { defaults(items, &format!("{path}/0"), check) } else { 0 }
}

#[test]
fn the_same_values_stand_in_for_what_is_absent() {
    let mut number = Vec::new();
    for operation in schema::operations() {
        let value = serde_json::to_value(everything::of(operation).remove(0)).unwrap();
        let check = |pointer: &str, schema: &Value| {
            let Some(default) = schema.get("default") else { return 0 };
            let read: Accepted = serde_json::from_value(without(&value, pointer)).unwrap();
            let read = serde_json::to_value(read).unwrap();
            if ["/spec/lifecycle/protected", "/spec/networks/0/primary"].contains(&pointer) {
                // not written when false, so that digests stay what they were before it came
                assert_eq!((read.pointer(pointer), default), (None, &json!(false)));
            } else if pointer == "/spec/operationSpec/rollbackForSeconds" {
                // nor is this when 0
                assert_eq!((read.pointer(pointer), default), (None, &json!(0)));
            } else if pointer != "/spec/checks" || operation == "provision" {
                assert_eq!(read.pointer(pointer), Some(default), "{operation} {pointer}");
            } else {
                // none means what the machine was provisioned with
                assert_eq!(read.pointer(pointer), None, "{operation} {pointer}");
            }
            1
        };
        number.push((operation, defaults(&schema::of(operation), "", &check)));
    }
    let expected = [
        ("provision", 18),
        ("start", 4),
        ("stop", 1),
        ("restart", 4),
        ("snapshot", 3),
        ("restore", 4),
        ("repave", 6),
        ("patch", 5),
        ("resize", 6),
        ("deprovision", 2),
        ("undelete", 4),
    ];
    assert_eq!(number, expected, "defaults in the schema");
}

#[test]
fn the_same_words_are_taken() {
    fn walk(schema: &Value, found: &mut Vec<Vec<String>>) {
        if let Some(words) = schema["enum"].as_array() {
            found.push(words.iter().map(|word| word.as_str().unwrap().to_owned()).collect());
        }
        for (_, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(inner, found);
        }
        if schema["items"].is_object() {
            walk(&schema["items"], found);
        }
    }
    let words =
        |values: Vec<Value>| values.into_iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let value = |value: &dyn Fn() -> serde_json::Result<Value>| value().unwrap();
    let envelope = || vec![words(vec![json!(ApiVersion::V1Alpha1)]), words(vec![json!(Kind::VmRequest)])];
    let operations: Vec<String> = std::iter::once(Operation::Provision.word())
        .chain(vm::day_two::Operation::WORDS)
        .map(str::to_owned)
        .collect();
    let sources: Vec<String> = images()
        .iter()
        .map(|image| value(&|| serde_json::to_value(image))["source"].as_str().unwrap().to_owned())
        .collect();
    let own = |operation: &str| match operation {
        "provision" => vec![
            words([Architecture::Amd64, Architecture::Arm64, Architecture::S390x].map(|a| json!(a)).to_vec()),
            sources.clone(),
            words(vec![json!(Role::Root), json!(Role::Data)]),
            words(vec![json!(NetworkKind::Pod), json!(NetworkKind::Multus)]),
            words(vec![json!(Binding::Masquerade), json!(Binding::Bridge), json!(Binding::Sriov)]),
            words(MODELS.map(|model| json!(model)).to_vec()),
            words(vec![
                json!(Propagation::NoCloud),
                json!(Propagation::ConfigDrive),
                json!(Propagation::QemuGuestAgent),
            ]),
            words(vec![json!(Power::On), json!(Power::Off)]),
        ],
        "repave" => vec![sources.clone()],
        "patch" => vec![words(vec![json!(PatchMethod::Offline), json!(PatchMethod::InGuest)])],
        "deprovision" => vec![words(vec![json!(DataDisks::Retain), json!(DataDisks::Delete)])],
        _ => Vec::new(),
    };
    for operation in schema::operations() {
        let mut schema = Vec::new();
        walk(&schema::of(operation), &mut schema);
        let mut types = envelope();
        types.push(operations.clone());
        types.extend(own(operation));
        assert_eq!(schema, types, "{operation}");
    }
}
#[test]
fn every_string_and_list_has_a_limit_and_every_field_a_description() {
    fn walk(schema: &Value, root: &Value, path: &str) {
        let target = schema["$ref"].as_str().map_or(schema, |name| root.pointer(&name[1..]).unwrap());
        let item = ["/items", "/additionalProperties"].iter().any(|end| path.ends_with(end));
        if path.contains("/properties/") && !path.contains("/allOf/") && !item {
            assert!(
                schema["title"].is_string() && schema["description"].is_string(),
                "{path} says nothing of itself"
            );
        }
        match target["type"].as_str() {
            Some("string") => assert!(target["maxLength"].is_u64() || target["enum"].is_array(), "{path}"),
            Some("array") => assert!(target["maxItems"].is_u64(), "{path}"),
            Some("integer") => assert!(target["minimum"].is_u64() && target["maximum"].is_u64(), "{path}"),
            Some("object") => {
                assert!(
                    target["additionalProperties"] == false || target["maxProperties"].is_u64(),
                    "{path}"
                );
            }
            _ => {}
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            walk(inner, root, &format!("{path}/properties/{name}"));
        }
        for inner in ["items", "additionalProperties"].into_iter().filter(|inner| schema[inner].is_object()) {
            walk(&schema[inner], root, &format!("{path}/{inner}"));
        }
    }
    let policy = vm::schema::policy();
    walk(policy, policy, "");
    for operation in schema::operations() {
        let schema = schema::of(operation);
        walk(&schema, &schema, "");
    }
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/request.md");
    let assert = snapbox::Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV);
    assert.eq(Data::text(reference::text()).raw(), Data::read_from(&path, None).raw());
}
