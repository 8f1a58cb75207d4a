//! Whatever comes in: no panic, a useful answer, and what is accepted is what everything after it reads.
#![expect(clippy::unwrap_used, reason = "a test")]

mod bases;
mod strategies;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bases::{base, day_two_bases};
use proptest::prelude::*;
use serde_json::{Value, json};
use strategies::{likely, value};
use validate_request::Checker;
use vm::document::Form;
use vm::policy::Policy;
use vm::problem::LINE;

static CHECKER: LazyLock<Checker> = LazyLock::new(|| Checker::new().unwrap());

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let policy = json!({"apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMPolicy", "spec": {
        "images": {"dataSources": {"default": "golden"}, "urlPrefixes": ["http://10.0.0.1/", "https://a.b/"]},
        "storageTiers": {"gold": "ceph", "silver": "nfs"},
        "storageClasses": ["local-*"],
        "limits": {"lifetimeDays": 400},
        "networks": ["infra/*"],
        "labels": ["team"],
        "annotations": ["note"],
        "nodeSelector": [{"key": "zone", "values": ["fra-*"]}],
        "environments": {"prod": {"namespaces": ["team"], "required": ["owner"], "protected": true}},
        "devices": [{"deviceName": "nvidia.com/*"}, {"deviceName": "intel.com/qat", "namespaces": ["team"]}],
        "allow": {"userData": true, "userDataSecret": true, "clusterByRequester": true, "macAddress": true, "sysprep": true, "accessCredentials": true, "configDisks": true},
        "defaults": {"cluster": "prod", "tier": "silver", "gracePeriodSeconds": 60},
    }});
    CHECKER.policy(policy.to_string().as_bytes()).unwrap()
});

/// Every place of a document, the document itself included.
fn places(value: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, inner)| places(inner, &format!("{pointer}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, inner)| places(inner, &format!("{pointer}/{at}"), found));
        }
        _ => {}
    }
}

/// Check a document, hold every problem to its form, and every acceptance to its promise.
fn check(bytes: &[u8], form: Form, policy: &Policy) -> Result<usize, TestCaseError> {
    let verdict = CHECKER.check(bytes, form, policy).map_err(|bug| TestCaseError::fail(bug.to_string()))?;
    for problem in &verdict.problems {
        let line = problem.to_string();
        prop_assert!(line.len() <= LINE, "{line}");
        prop_assert!(!line.contains(char::is_control), "{line:?}");
        prop_assert!(problem.pointer.is_empty() || problem.pointer.starts_with('/'), "{line}");
    }
    prop_assert!(verdict.problems.is_sorted_by(|a, b| a.order(b).is_le()));
    prop_assert_eq!(verdict.problems.is_empty(), verdict.request.is_some());
    if let Some(request) = verdict.request {
        let accepted = request.canonical();
        let again = CHECKER
            .check(accepted.as_bytes(), Form::Any, policy)
            .map_err(|bug| TestCaseError::fail(bug.to_string()))?;
        prop_assert_eq!(&again.problems, &[], "{}", accepted);
        prop_assert_eq!(again.request.unwrap().canonical(), accepted);
    }
    Ok(verdict.problems.len())
}

/// What goes wrong with a field, whatever the field is.
fn faults() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(""),
        json!(" "),
        json!([]),
        json!({}),
        json!([1]),
        json!({"a": 1}),
        json!("a".repeat(60)),
        json!("a".repeat(70)),
        json!("a".repeat(3000)),
        json!("A B"),
        json!("ä"),
        json!("../../x"),
        json!("/etc/passwd"),
        json!("-x"),
        json!("--flag=x"),
        json!("a\nb"),
        json!("a\r\nb: c"),
        json!("a\u{0}"),
        json!("\u{1b}[31m"),
        json!("a\u{202e}b"),
        json!("a\u{85}b"),
        json!("$(HOME)"),
        json!("$(params.x)"),
        json!("$$(x)"),
        json!("{{ x }}"),
        json!("{% x %}"),
        json!("${{ x }}"),
        json!("`id`"),
        json!("a; reboot"),
        json!("a' || 'b"),
        json!("a\"b"),
        json!("password: hunter2"),
        json!("-----BEGIN PRIVATE KEY-----"),
        json!("ghp_0123456789abcdefghij"),
        json!("*"),
        json!("&a"),
        json!("!!binary x"),
        json!("yes"),
        json!("0777"),
        json!("1e3"),
        json!("http://localhost/x"),
        json!("file:///x"),
    ]
}

#[test]
fn each_field_with_each_fault_gets_a_useful_answer() {
    let number = each_fault(&base());
    assert!(number >= 2000, "{number} requests");
}

#[test]
fn each_field_of_each_operation_with_each_fault_gets_a_useful_answer() {
    let number: usize = day_two_bases().iter().map(each_fault).sum();
    assert!(number >= 9000, "{number} requests");
}

/// The number of requests that were tried.
fn each_fault(base: &Value) -> usize {
    assert_eq!(check(base.to_string().as_bytes(), Form::Any, &POLICY).unwrap(), 0);
    let mut pointers = Vec::new();
    places(base, "", &mut pointers);
    // text for people may be nearly anything
    let free = |pointer: &str| {
        pointer == "/spec/annotations/note"
            // what a parameter takes is for the schema beside its template to say
            || pointer.starts_with("/spec/template/parameters/")
            || pointer.starts_with("/metadata/")
                && pointer != "/metadata/requestId"
                && pointer != "/metadata/requestedAt"
    };
    let (mut number, mut refused, mut longest) = (0, 0, Duration::ZERO);
    for pointer in &pointers {
        for fault in faults() {
            let mut document = base.clone();
            *document.pointer_mut(pointer).unwrap() = fault.clone();
            let begun = Instant::now();
            let problems = check(document.to_string().as_bytes(), Form::Json, &POLICY).unwrap();
            longest = longest.max(begun.elapsed());
            number += 1;
            refused += usize::from(problems > 0);
            let harmful = fault.as_str().is_some_and(|text| {
                text.contains(char::is_control)
                    || text.contains(['{', '\u{202e}'])
                    || text.contains("$(")
                    || text.contains("ghp_")
                    || text.contains("PRIVATE")
                    || text.starts_with("password")
            });
            assert!(!harmful || problems > 0, "{pointer}: {fault} was accepted");
        }
    }
    let accepted: usize = number - refused;
    let text_for_people = pointers.iter().filter(|pointer| free(pointer)).count() * faults().len();
    assert!(accepted < text_for_people + 200, "{accepted} of {number} accepted");
    // the bar is 50 ms for the released binary on its own; this is a debug build beside others
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    number
}

#[test]
fn each_field_left_out_gets_an_answer_or_a_default() {
    assert_eq!(
        required(&base()),
        "/apiVersion /kind /metadata /metadata/requestId /metadata/requestedBy /metadata/requestedAt /spec \
         /spec/operation /spec/target \
         /spec/target/name /spec/target/namespace /spec/compute /spec/compute/cpu /spec/compute/memory /spec/image \
         /spec/image/source /spec/image/name /spec/disks /spec/disks/0/name /spec/disks/0/role /spec/disks/0/size \
         /spec/disks/1/name /spec/disks/1/size /spec/disks/1/source/snapshot /spec/configDisks/0/name \
         /spec/configDisks/0/source /spec/configDisks/0/source/configMap /spec/networks/0/name \
         /spec/networks/1/name /spec/networks/1/type /spec/networks/1/networkName /spec/access/sshKeySecrets/0/name \
         /spec/access/sshKeySecrets/0/propagationMethod /spec/access/sshKeySecrets/0/users \
         /spec/devices/gpus/0/name /spec/devices/gpus/0/deviceName /spec/devices/hostDevices/0/name \
         /spec/devices/hostDevices/0/deviceName /spec/template/name \
         /spec/lifecycle/owner"
    );
    let all = "/apiVersion /kind /metadata /metadata/requestId /metadata/requestedBy /spec /spec/operation /spec/target \
               /spec/target/name /spec/target/namespace";
    for request in day_two_bases() {
        let operation = request["spec"]["operation"].as_str().unwrap();
        let own = match operation {
            "restore" => " /spec/operationSpec /spec/operationSpec/snapshot",
            "repave" => " /spec/operationSpec/image/source /spec/operationSpec/image/name",
            "patch" => " /spec/operationSpec /spec/operationSpec/profile",
            "resize" => {
                " /spec/operationSpec /spec/operationSpec/disks/0/name /spec/operationSpec/disks/0/size"
            }
            _ => "",
        };
        assert_eq!(required(&request), format!("{all}{own}"), "{operation}");
    }
}

/// The places of a request that it cannot do without.
fn required(base: &Value) -> String {
    let mut pointers = Vec::new();
    places(base, "", &mut pointers);
    let mut required = Vec::new();
    for pointer in pointers.iter().filter(|pointer| !pointer.is_empty()) {
        let mut document = base.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let Some(fields) = document.pointer_mut(parent).and_then(Value::as_object_mut) else { continue };
        fields.shift_remove(name).unwrap();
        if check(document.to_string().as_bytes(), Form::Json, &POLICY).unwrap() > 0 {
            required.push(pointer.as_str());
        }
    }
    required.join(" ")
}

#[test]
fn bombs_are_refused_at_once() {
    let many = |text: &str, times: usize| text.repeat(times);
    let bombs = [
        many("[", 65_000),
        many("{\"a\":", 13_000),
        format!("a: {}", many("[", 65_000)),
        format!("a: {}", many("{a: ", 16_000)),
        many("- ", 32_000),
        many("? ", 32_000),
        many("a: &a ", 10_000),
        many("!", 65_000),
        many("&a ", 21_000),
        many("*a ", 21_000),
        many("'", 65_000),
        many("\"\\", 32_000),
        format!("a: |\n{}", many(" \n", 32_000)),
        format!("{}: 1", "k".repeat(65_000)),
        format!("{{\"{}\": 1}}", "k".repeat(65_000)),
        format!("{{\"a\": {}}}", "9".repeat(65_000)),
        format!("{{\"a\": 1e{}}}", "9".repeat(60_000)),
        format!("a: {}", "9".repeat(65_000)),
        format!("a: {}", "1:".repeat(32_000)),
        many("---\n", 16_000),
        many("a: 1\n", 13_000),
        many("\u{10ffff}", 16_000),
        (0..6_000).map(|n| n.to_string()).collect::<Vec<_>>().join(": 1\nk"),
        many("# comment\n", 6_500),
        format!("kind: {}", many("a b ", 16_000)),
    ];
    for bomb in bombs {
        let begun = Instant::now();
        assert!(check(bomb.as_bytes(), Form::Any, &POLICY).unwrap() > 0, "{}", &bomb[..40]);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}: {}…", &bomb[..40]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes, Form::Any, &Policy::default())?;
    }

    #[test]
    fn any_text(text in "[ -~\n{}\\[\\]:,\"'#&*!|>%@`-]{0,200}") {
        check(text.as_bytes(), Form::Any, &Policy::default())?;
        check(text.as_bytes(), Form::Json, &Policy::default())?;
    }

    #[test]
    fn any_document(document in value()) {
        check(document.to_string().as_bytes(), Form::Any, &POLICY)?;
    }

    #[test]
    fn a_request_with_any_value_somewhere(at in any::<prop::sample::Index>(), inner in value()) {
        let mut document = base();
        let mut pointers = Vec::new();
        places(&document, "", &mut pointers);
        *document.pointer_mut(at.get::<String>(&pointers)).unwrap() = inner;
        check(document.to_string().as_bytes(), Form::Json, &POLICY)?;
    }

    #[test]
    fn a_request_about_a_machine_that_is_there_with_any_value_somewhere(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), inner in value()
    ) {
        let mut document = which.get::<Value>(&day_two_bases()).clone();
        let mut pointers = Vec::new();
        places(&document, "", &mut pointers);
        *document.pointer_mut(at.get::<String>(&pointers)).unwrap() = inner;
        check(document.to_string().as_bytes(), Form::Json, &POLICY)?;
        check(document.to_string().as_bytes(), Form::Json, &Policy::default())?;
    }

    #[test]
    fn a_mixture_of_two_requests(left in any::<prop::sample::Index>(), right in any::<prop::sample::Index>(), keep in any::<[bool; 32]>()) {
        let mut all = day_two_bases();
        all.push(base());
        let (mut document, other) = (left.get::<Value>(&all).clone(), right.get::<Value>(&all).clone());
        let mut keep = keep.iter().cycle();
        for part in ["/spec", "/spec/operationSpec"] {
            for (name, value) in other.pointer(part).and_then(Value::as_object).into_iter().flatten() {
                if let Some(fields) = document.pointer_mut(part).and_then(Value::as_object_mut) && *keep.next().unwrap() {
                    fields.insert(name.clone(), value.clone());
                }
            }
        }
        check(document.to_string().as_bytes(), Form::Json, &POLICY)?;
    }

    #[test]
    fn a_likely_request(document in likely()) {
        check(document.to_string().as_bytes(), Form::Json, &POLICY)?;
        check(document.to_string().as_bytes(), Form::Json, &Policy::default())?;
    }

    #[test]
    fn what_is_accepted_is_read_alike_as_yaml(document in likely()) {
        let verdict = CHECKER.check(document.to_string().as_bytes(), Form::Json, &POLICY).unwrap();
        if let Some(request) = verdict.request {
            // a comment in front makes the same bytes YAML: JSON is its flow style
            let yaml = format!("# accepted\n{}", request.canonical());
            let read = vm::document::read(yaml.as_bytes(), Form::Any).map_err(|p| TestCaseError::fail(p.to_string()))?;
            prop_assert_eq!(read, serde_json::to_value(&request).unwrap());
        }
    }
}
