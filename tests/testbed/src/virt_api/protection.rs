//! Delete protection, as OpenShift Virtualization's operator for machines brings it (kubevirt/ssp-operator): a policy of the API server itself.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::{Value, json};
use tokio::time;

use crate::{
    control_plane::apply,
    standin::{Objects, machines},
};

const POLICY: &str = "kubevirt-vm-deletion-protection";
const LABEL: &str = "kubevirt.io/vm-delete-protection";
const EFFECTIVE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(30);

/// Have the API server refuse to delete a machine whose label says so, and wait until it does.
pub(crate) async fn protect(client: &Client) -> Result<()> {
    let unlabelled = format!("!has(oldObject.metadata.labels) || !('{LABEL}' in oldObject.metadata.labels)");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": POLICY },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": [{
                "apiGroups": ["kubevirt.io"], "apiVersions": ["v1", "v1alpha3"], "operations": ["DELETE"],
                "resources": ["virtualmachines"],
            }] },
            "validations": [{
                "expression": format!("{unlabelled} || !(oldObject.metadata.labels['{LABEL}'] in ['true', 'True'])"),
                "messageExpression": format!(
                    "'VirtualMachine ' + oldObject.metadata.name + ' cannot be deleted, disable/remove label \\'{LABEL}\\' from \
                     VirtualMachine before deleting it'"
                ),
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": POLICY }, "spec": { "policyName": POLICY, "validationActions": ["Deny"] },
    });
    for (plural, object) in
        [("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)]
    {
        apply(client, &format!("/apis/admissionregistration.k8s.io/v1/{plural}/{POLICY}"), &object).await?;
    }
    let objects = Objects::new(client.clone());
    let path = machines().path(super::NAMESPACE, "probe");
    let probe = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": { "name": "probe", "namespace": super::NAMESPACE, "labels": { LABEL: "true" } },
        "spec": { "runStrategy": "Halted", "template": { "spec": { "domain": { "devices": {} } } } },
    });
    objects.create(&machines(), &probe).await?;
    let refused = time::timeout(EFFECTIVE, refuses(client, &path)).await;
    objects.merge(&path, &json!({ "metadata": { "labels": null } })).await?;
    objects.delete(&path).await?;
    refused.with_context(|| format!("no protection after {} s", EFFECTIVE.as_secs()))?
}

async fn refuses(client: &Client, path: &str) -> Result<()> {
    loop {
        let request = http::Request::delete(format!("{path}?dryRun=All")).body(Vec::new())?;
        if let Err(error) = client.request::<Value>(request).await {
            ensure!(matches!(&error, kube::Error::Api(status) if status.message.contains(POLICY)), "{error}");
            return Ok(());
        }
        time::sleep(POLL).await;
    }
}
