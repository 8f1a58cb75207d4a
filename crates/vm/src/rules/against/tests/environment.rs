//! What the policy says of the environment that a machine is of.

use serde_json::{Value, json};

use super::{ARCHIVE, FOLDER, Files, machine, moved, provision, record, request};
use crate::definition::Definition;
use crate::operation::Phase;
use crate::policy::Policy;
use crate::request::Accepted;
use crate::rules::on_machine;

/// A machine that is of these environments by its label and by its request.
fn of(label: Option<&str>, asked: Option<&str>) -> Files {
    let mut files = machine("Prune=false,Delete=false");
    if let Some(label) = label {
        let vm = files.get_mut(&format!("{FOLDER}/virtual-machine.yaml")).unwrap();
        let mut document: Value = serde_json::from_slice(vm).unwrap();
        document["metadata"]["labels"] = json!({"vmlifecycle.dev/environment": label});
        *vm = document.to_string().into_bytes();
    }
    if let Some(asked) = asked {
        let mut document: Value = serde_json::from_str(&provision().canonical()).unwrap();
        document["spec"]["lifecycle"]["environment"] = asked.into();
        files.insert(format!("{FOLDER}/request.yaml"), document.to_string().into_bytes());
    }
    files
}

fn policy(environments: &Value) -> Policy {
    serde_json::from_value(json!({"environments": environments})).unwrap()
}

fn against(request: &Accepted, files: &Files, policy: &Policy) -> Vec<String> {
    let definition = Definition::read(files, request.target()).unwrap();
    super::against(request, &definition, policy).iter().map(ToString::to_string).collect()
}

#[test]
fn both_the_label_and_the_request_say_which() {
    let policy = policy(&json!({"dev": {}, "prod": {"operations": ["stop"]}}));
    let denied = "/spec/operation: E_POLICY_OPERATION: the policy does not allow `restart` in environment `prod`; hint: allowed: `stop`";
    let (restart, stop) = (request("R2", "restart", &json!({})), request("R2", "stop", &json!({})));
    for (label, asked, is_denied) in [
        (None, None, false),
        (Some("dev"), Some("dev"), false),
        (Some("prod"), Some("prod"), true),
        (Some("prod"), None, true),
        (None, Some("prod"), true),
        // changed by a person, in whichever direction
        (Some("dev"), Some("prod"), true),
        (Some("prod"), Some("dev"), true),
    ] {
        let files = of(label, asked);
        let expected = if is_denied { vec![denied] } else { Vec::new() };
        assert_eq!(against(&restart, &files, &policy), expected, "{label:?} {asked:?}");
        assert_eq!(against(&stop, &files, &policy), [""; 0], "{label:?} {asked:?}");
        assert_eq!(against(&restart, &files, &Policy::default()), [""; 0], "without a policy nothing holds");
    }
}

#[test]
fn what_is_begun_is_gone_on_with_whatever_the_policy_says_by_now() {
    let policy = policy(&json!({"prod": {"operations": ["stop"], "required": ["ticket"]}}));
    let patch = request("R2", "patch", &json!({"profile": "security"}));
    let mut files = of(Some("prod"), Some("prod"));
    assert_eq!(against(&patch, &files, &policy).len(), 2, "the operation, and a field that is not there");
    record(&mut files, FOLDER, Phase::Stop, 1, &patch);
    assert_eq!(against(&patch, &files, &policy), [""; 0], "a machine that is off is started again");
}

#[test]
fn a_machine_of_an_environment_may_be_protected_by_it() {
    let policy = policy(&json!({"prod": {"protected": true}}));
    let files = of(None, Some("prod"));
    let unconfirmed = "/spec/operationSpec/confirmName: E_CONFIRM: the machine is protected; hint: give `confirmName: web` if it is meant";
    assert_eq!(against(&request("R2", "deprovision", &json!({})), &files, &policy), [unconfirmed]);
    let confirmed = request("R2", "deprovision", &json!({"confirmName": "web"}));
    assert_eq!(against(&confirmed, &files, &policy), [""; 0]);
    assert_eq!(against(&request("R2", "deprovision", &json!({})), &of(None, None), &policy), [""; 0]);
}

#[test]
fn a_removed_machine_is_of_the_environment_of_its_request() {
    let policy = policy(&json!({"prod": {"operations": ["stop"]}, "dev": {}}));
    let undelete = request("R9", "undelete", &json!({}));
    for (environment, denied) in [("prod", true), ("dev", false)] {
        let files = moved(&of(None, Some(environment)), FOLDER, ARCHIVE);
        assert_eq!(against(&undelete, &files, &policy).len(), usize::from(denied), "{environment}");
    }
}

#[test]
fn the_label_alone_tells_those_who_see_nothing_of_git() {
    let policy = policy(&json!({"prod": {"operations": ["stop"], "required": ["reason"]}}));
    let snapshot = request("R2", "snapshot", &json!({}));
    let said = |request, label| {
        on_machine(request, label, &policy).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        said(&snapshot, Some("prod")),
        [
            "/spec/operation: E_POLICY_OPERATION: the policy does not allow `snapshot` in environment `prod`; hint: allowed: `stop`",
            "/metadata/reason: E_POLICY_REQUIRED: the policy wants it filled in environment `prod`",
        ]
    );
    assert_eq!(
        said(&snapshot, Some("prd")),
        [
            "/spec/target/name: E_POLICY_ENVIRONMENT: the policy has no environment `prd`, which the machine is of; hint: the platform \
             team adds it to `environments`"
        ]
    );
    assert_eq!(said(&snapshot, None), [""; 0]);
    assert_eq!(said(&provision(), Some("prod")), [""; 0], "a new one is held to its request");
}
