//! The schema, the Rust types and the reference say the same.
#![expect(clippy::unwrap_used, reason = "a test")]

mod reference;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use snapbox::Data;
use vm::policy::{
    Allow, DataSources, Defaults, Images, Limits, Policy, PolicyFile, PolicyKind, RequiredField,
};
use vm::request::{
    Access, ApiVersion, Checks, Compute, Customization, Disk, Image, Kind, Lifecycle, Metadata, Network,
    NetworkKind, Operation, Power, Request, Role, Spec, Target,
};

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A request with every field there is, in literals without `..`: a new field does not compile until it is here.
fn everything(image: Image) -> Request {
    Request {
        api_version: ApiVersion::V1Alpha1,
        kind: Kind::VmRequest,
        metadata: Metadata {
            request_id: parsed("R1"),
            requested_by: parsed("jane"),
            on_behalf_of: Some(parsed("team")),
            ticket: Some(parsed("C1")),
            reason: Some(parsed("why")),
            requested_at: Some(parsed("2026-09-01T10:00:00Z")),
        },
        spec: Spec {
            operation: Operation::Provision,
            target: Target { name: parsed("web"), namespace: parsed("team"), cluster: parsed("in-cluster") },
            compute: Compute {
                instance_type: Some(parsed("u1.medium")),
                preference: Some(parsed("fedora")),
                cpu: Some(2),
                memory: Some(parsed("4Gi")),
            },
            image,
            disks: vec![Disk {
                name: parsed("root"),
                role: Role::Root,
                size: parsed("20Gi"),
                tier: Some(parsed("gold")),
                storage_class: Some(parsed("ceph")),
            }],
            networks: vec![Network { name: parsed("default"), kind: NetworkKind::Pod }],
            access: Access {
                user: Some(parsed("jane")),
                ssh_keys: vec![parsed("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpNEKMNSmHRQXSBTUrxTPNX")],
            },
            customization: Customization {
                hostname: Some(parsed("web")),
                timezone: Some(parsed("UTC")),
                packages: vec![parsed("htop")],
                user_data: Some("#cloud-config\n".to_owned()),
                user_data_secret: Some(parsed("web-init")),
            },
            power: Power::On,
            lifecycle: Lifecycle { grace_period_seconds: 180 },
            checks: Checks { guest_agent: true, ip: true, tcp_port: Some(22) },
        },
    }
}

fn images() -> Vec<Image> {
    let all = vec![
        Image::ContainerDisk { reference: parsed("quay.io/a:1") },
        Image::DataSource { name: parsed("fedora"), namespace: Some(parsed("golden")) },
        Image::Registry { reference: parsed("quay.io/a:1") },
        Image::Http { url: parsed("https://a.b/c") },
        Image::Pvc { claim: parsed("disk") },
    ];
    for image in &all {
        // a new source does not compile until it is in the list above
        match image {
            Image::ContainerDisk { .. }
            | Image::DataSource { .. }
            | Image::Registry { .. }
            | Image::Http { .. }
            | Image::Pvc { .. } => {}
        }
    }
    all
}

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
    }
    if schema["items"].is_object() {
        paths_of_schema(&schema["items"], &format!("{path}/*"), paths);
    }
}

#[test]
fn the_schema_has_the_fields_of_the_types() {
    let (mut types, mut schema) = (BTreeSet::new(), BTreeSet::new());
    for image in images() {
        paths_of_value(&serde_json::to_value(everything(image)).unwrap(), "", &[], &mut types);
    }
    paths_of_schema(vm::schema::request(), "", &mut schema);
    assert_eq!(types, schema);
}

#[test]
fn the_policy_schema_has_the_fields_of_its_types() {
    let wildcards = || serde_json::from_value(json!(["a-*"])).unwrap();
    let file = PolicyFile {
        api_version: ApiVersion::V1Alpha1,
        kind: PolicyKind::VmPolicy,
        spec: Policy {
            clusters: wildcards(),
            namespaces: wildcards(),
            name_pattern: Some("a".to_owned().try_into().unwrap()),
            limits: Limits {
                cpu: Some(1),
                memory: Some(parsed("1Gi")),
                disk_size: Some(parsed("1Gi")),
                disks: Some(1),
            },
            instance_types: wildcards(),
            images: Images {
                registries: vec!["quay.io".to_owned()],
                url_prefixes: vec!["https://a.b/".to_owned()],
                data_sources: DataSources { default: Some(parsed("golden")), namespaces: wildcards() },
            },
            storage_tiers: [(parsed("gold"), parsed("ceph"))].into(),
            storage_classes: wildcards(),
            allow: Allow {
                user_data: true,
                user_data_secret: true,
                cpu_and_memory: true,
                cluster_by_requester: true,
            },
            required: vec![
                RequiredField::OnBehalfOf,
                RequiredField::Ticket,
                RequiredField::Reason,
                RequiredField::RequestedAt,
            ],
            defaults: Defaults { cluster: parsed("a"), tier: Some(parsed("gold")), grace_period_seconds: 1 },
        },
    };
    let value = serde_json::to_value(&file).unwrap();
    let (mut types, mut schema) = (BTreeSet::new(), BTreeSet::new());
    paths_of_value(&value, "", &["/spec/storageTiers"], &mut types);
    paths_of_schema(vm::schema::policy(), "", &mut schema);
    assert_eq!(types, schema);
    let words = vm::schema::policy()["properties"]["spec"]["properties"]["required"]["items"]["enum"].clone();
    assert_eq!(words, value["spec"]["required"]);
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
    let mut of_schema = BTreeSet::new();
    required_of_schema(vm::schema::request(), "", &mut of_schema);
    let mut of_types = BTreeSet::new();
    let mut all = BTreeSet::new();
    for image in images() {
        let value = serde_json::to_value(everything(image)).unwrap();
        paths_of_value(&value, "", &[], &mut all);
        for path in &all {
            let pointer = path.replace('*', "0");
            if value.pointer(&pointer).is_some()
                && serde_json::from_value::<Request>(without(&value, &pointer)).is_err()
            {
                of_types.insert(pointer);
            }
        }
    }
    // fields of one image source are required by `allOf`, beside the source
    let by_source: BTreeSet<String> =
        ["claim", "name", "reference", "url"].iter().map(|name| format!("/spec/image/{name}")).collect();
    let expected: BTreeSet<String> = of_schema.union(&by_source).cloned().collect();
    assert_eq!(of_types, expected);
    let rules =
        vm::schema::request()["properties"]["spec"]["properties"]["image"]["allOf"].as_array().unwrap();
    for (rule, image) in rules.iter().zip(images()) {
        let value = serde_json::to_value(&image).unwrap();
        assert_eq!(rule["if"]["properties"]["source"]["const"], value["source"]);
        let fields: BTreeSet<&str> =
            value.as_object().unwrap().keys().map(String::as_str).filter(|f| *f != "source").collect();
        let refused: BTreeSet<&str> =
            rule["then"]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let known = vm::schema::request()["properties"]["spec"]["properties"]["image"]["properties"]
            .as_object()
            .unwrap();
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
    let value = serde_json::to_value(everything(images().remove(0))).unwrap();
    let check = |pointer: &str, schema: &Value| {
        let Some(default) = schema.get("default") else { return 0 };
        let read: Request = serde_json::from_value(without(&value, pointer)).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap().pointer(pointer), Some(default), "{pointer}");
        1
    };
    assert_eq!(defaults(vm::schema::request(), "", &check), 15, "defaults in the schema");
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
    let mut schema = Vec::new();
    walk(vm::schema::request(), &mut schema);
    let words =
        |values: Vec<Value>| values.into_iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let value = |value: &dyn Fn() -> serde_json::Result<Value>| value().unwrap();
    let types = vec![
        words(vec![json!(ApiVersion::V1Alpha1)]),
        words(vec![json!(Kind::VmRequest)]),
        words(vec![json!(Operation::Provision)]),
        images()
            .iter()
            .map(|image| value(&|| serde_json::to_value(image))["source"].as_str().unwrap().to_owned())
            .collect(),
        words(vec![json!(Role::Root), json!(Role::Data)]),
        words(vec![json!(NetworkKind::Pod)]),
        words(vec![json!(Power::On), json!(Power::Off)]),
    ];
    assert_eq!(schema, types);
}

#[test]
fn every_string_and_list_has_a_limit_and_every_field_a_description() {
    fn walk(schema: &Value, root: &Value, path: &str) {
        let target = schema["$ref"].as_str().map_or(schema, |name| root.pointer(&name[1..]).unwrap());
        if path.contains("/properties/") && !path.contains("/allOf/") && !path.ends_with("/items") {
            let title = schema["title"].as_str().or(if path.contains("$defs") { Some("") } else { None });
            assert!(title.is_some() && schema["description"].is_string(), "{path} says nothing of itself");
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
        if schema["items"].is_object() {
            walk(&schema["items"], root, &format!("{path}/items"));
        }
    }
    for schema in [vm::schema::request(), vm::schema::policy()] {
        walk(schema, schema, "");
    }
}

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/request.md");
    let assert = snapbox::Assert::new().action_env(snapbox::assert::DEFAULT_ACTION_ENV);
    assert.eq(Data::text(reference::text()).raw(), Data::read_from(&path, None).raw());
}
