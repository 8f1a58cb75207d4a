//! The program as a process: the environment that a machine is of.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::day_two::Repository;
use crate::process::render;
use crate::process_day_two::Case;

const KUSTOMIZE: &str = "--layout=kustomize";

/// A request for a new machine, of this environment.
fn request(folder: &Path, environment: Option<&str>) -> String {
    let text = fs::read_to_string(crate::fixtures().join("manifests/requests/container-disk.json")).unwrap();
    let mut request: Value = serde_json::from_str(&text).unwrap();
    if let Some(environment) = environment {
        request["spec"]["lifecycle"]["environment"] = environment.into();
    }
    let path = folder.join("request.json");
    fs::write(&path, request.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_overlay_is_called_as_the_environment_of_the_request() {
    for (own, flags, overlay) in [
        (Some("prod"), vec![KUSTOMIZE], Some("prod")),
        (Some("prod"), vec![KUSTOMIZE, "--environment=prod"], Some("prod")),
        (None, vec![KUSTOMIZE, "--environment=dev"], Some("dev")),
        (Some("prod"), vec![], None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out");
        let mut arguments = flags;
        let flag = format!("--output={}", output.display());
        arguments.push(&flag);
        let (code, _, said) = render(&request(folder.path(), own), &arguments);
        assert_eq!(code, 0, "{said}");
        let overlays = output.join("vms/in-cluster/team-a/web-01/overlays");
        let there = fs::read_dir(&overlays).ok().and_then(|mut all| all.next()).map(|entry| entry.unwrap());
        assert_eq!(there.map(|entry| entry.file_name()), overlay.map(Into::into), "{own:?} {arguments:?}");
    }
}

#[test]
fn flags_that_do_not_fit_the_environment_say_so_and_write_nothing() {
    for (own, flags, line) in [
        (
            Some("prod"),
            vec![KUSTOMIZE, "--environment=dev"],
            "error: `--environment` is `dev`, and the request is for environment `prod`\n\
             hint: leave `--environment` out, it is the request's\n",
        ),
        (
            None,
            vec![KUSTOMIZE],
            "error: `--layout kustomize` needs `--environment`\n\
             hint: it names the overlay, such as `prod`, where the request has no `lifecycle.environment`\n",
        ),
        (
            Some("prod"),
            vec!["--environment=prod"],
            "error: `--environment` is for the layout `kustomize` alone\nhint: leave it out, or add `--layout kustomize`\n",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out");
        let mut arguments = flags;
        let flag = format!("--output={}", output.display());
        arguments.push(&flag);
        let ended = render(&request(folder.path(), own), &arguments);
        assert_eq!(ended, (2, String::new(), line.to_owned()), "{own:?} {arguments:?}");
        assert!(!output.exists());
    }
}

/// The policy of the day, on what Git holds: nobody else who sees the request has both.
#[test]
fn an_operation_that_the_environment_does_not_allow_is_denied_and_writes_nothing() {
    let mut repository = Repository::provisioned("every-field");
    let case = Case::new(&repository, "R1", "restart", &json!({}));
    let policy = format!("--policy={}", case.path("site").display());
    let of_prod = |environment: &str| {
        let text = format!(
            "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMPolicy\nspec: {{environments: {{prod: {environment}}}}}\n"
        );
        case.write("site/policy.yaml", text.as_bytes());
    };
    of_prod("{operations: [provision, stop], required: [reason]}");
    assert_eq!(
        case.render(&[&policy]),
        (
            11,
            "/spec/operation: E_POLICY_OPERATION: the policy does not allow `restart` in environment `prod`; hint: allowed: `provision`, `stop`\n\
             /metadata/reason: E_POLICY_REQUIRED: the policy wants it filled in environment `prod`\n\
             error: request refused, 2 problems, first: E_POLICY_OPERATION: the policy does not allow `restart` in environment `prod`\n\
             hint: allowed: `provision`, `stop`\n"
                .to_owned()
        )
    );
    assert!(!case.path("out").exists() && !case.path("plan.json").exists());
    assert_eq!(case.result("outcome"), "denied");
    of_prod("{operations: [provision, restart]}");
    assert_eq!(case.render(&[&policy]).0, 0);
    // what is begun is gone on with
    repository.run("R1", "restart", &json!({}), "power");
    let again = Case::new(&repository, "R1", "restart", &json!({}));
    of_prod("{operations: [provision, stop]}");
    let (code, said) = again.render(&[&policy]);
    assert_eq!((code, said.lines().last()), (0, Some("done: done already, rendered 1 file")), "{said}");
}

#[test]
fn a_policy_that_cannot_be_used_is_the_platform_teams_to_mend() {
    let case = Case::new(&Repository::provisioned("every-field"), "R1", "restart", &json!({}));
    let policy = format!("--policy={}", case.path("policy.yaml").display());
    for (text, why) in [
        ("kind: VMPolicy\nspec: [\n", "document: E_YAML: "),
        (
            "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMPolicy\nspec: {environment: {}}\n",
            "document: E_TYPE: unknown field `environment`",
        ),
        (
            "apiVersion: vmlifecycle.dev/v1alpha1\nkind: VMPolicy\nspec: {clusters: [prod]}\n",
            "/spec/defaults/cluster: E_POLICY_CLUSTER: `in-cluster` is not among `clusters`",
        ),
    ] {
        case.write("policy.yaml", text.as_bytes());
        let (code, said) = case.render(&[&policy]);
        assert_eq!(code, 2, "{said}");
        assert!(said.starts_with(&format!("error: cannot use policy `DIR/policy.yaml`: {why}")), "{said}");
        assert!(
            said.ends_with("\nhint: `validate-request --policy-check` lists all that is wrong with it\n"),
            "{said}"
        );
    }
}
