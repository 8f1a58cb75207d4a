//! What the real API server asks KubeVirt's virt-api and CDI's apiserver for: admission by webhook, and the subresources that start, stop and
//! restart a machine, as an aggregated API.
//!
//! It plays: of a `VirtualMachine`, the rules about `running` and `runStrategy` and what a snapshot or restore in progress locks; of
//! snapshots and restores, their source or target, what is immutable, one restore at a time; of a `DataVolume`, its immutable `spec`, a
//! claim that is there already, a `DataSource` that is not. The words, codes and causes are those seen on a real cluster (KubeVirt 1.8,
//! CDI 1.65, Kubernetes 1.36), or in their source.
//!
//! It does not play: defaults (mutating webhooks), every other rule, the other subresources. Who may call a subresource is decided by
//! the API server itself, before it asks here.

mod admission;
mod power;
mod protection;
mod serve;

use std::{net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time};

pub(crate) use self::protection::protect;
use crate::control_plane::apply;

/// Where real ones are.
const NAMESPACE: &str = "kubevirt";
const SERVICE: &str = "virt-api";
/// The name that the API server expects in the certificate.
pub(crate) const NAME: &str = "virt-api.kubevirt.svc";
const GROUP: &str = "subresources.kubevirt.io";
const POLL: Duration = Duration::from_millis(30);
const EFFECTIVE: Duration = Duration::from_secs(30);

/// Kind and name of a configuration, and its webhooks: name, path, group and plural of what they judge.
type Configuration =
    (&'static str, &'static str, &'static [(&'static str, &'static str, &'static str, &'static str)]);
const WEBHOOKS: [Configuration; 3] = [
    (
        "ValidatingWebhookConfiguration",
        "virt-api-validator",
        &[
            (
                "virtualmachine-validator.kubevirt.io",
                "virtualmachines-validate",
                "kubevirt.io",
                "virtualmachines",
            ),
            (
                "virtualmachinesnapshot-validator.snapshot.kubevirt.io",
                "virtualmachinesnapshots-validate",
                "snapshot.kubevirt.io",
                "virtualmachinesnapshots",
            ),
            (
                "virtualmachinerestore-validator.snapshot.kubevirt.io",
                "virtualmachinerestores-validate",
                "snapshot.kubevirt.io",
                "virtualmachinerestores",
            ),
        ],
    ),
    (
        "ValidatingWebhookConfiguration",
        "cdi-api-datavolume-validate",
        &[("datavolume-validate.cdi.kubevirt.io", "datavolumes-validate", "cdi.kubevirt.io", "datavolumes")],
    ),
    (
        "MutatingWebhookConfiguration",
        "cdi-api-datavolume-mutate",
        &[("datavolume-mutate.cdi.kubevirt.io", "datavolumes-mutate", "cdi.kubevirt.io", "datavolumes")],
    ),
];

/// A server on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct VirtApi {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl VirtApi {
    /// Listen, with the certificate in `folder`; it speaks to the API server by `kubeconfig`.
    pub(crate) async fn start(folder: &Path, kubeconfig: &Path) -> Result<Self> {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        acceptor.set_private_key_file(folder.join("server.key"), SslFiletype::PEM)?;
        acceptor.set_certificate_chain_file(folder.join("server.crt"))?;
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (acceptor, kubeconfig) = (acceptor.build(), kubeconfig.to_owned());
        let thread = thread::Builder::new()
            .name("virt-api".to_owned())
            .spawn(move || serve::run(acceptor, &kubeconfig, ready, stopped))?;
        let address = address.await.context("virt-api ended")??;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Make it known to the API server, and wait until that asks it.
    pub(crate) async fn register(&self, client: &Client, authority: &[u8]) -> Result<()> {
        let bundle = openssl::base64::encode_block(authority);
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        apply(client, &format!("/api/v1/namespaces/{NAMESPACE}"), &namespace).await?;
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": SERVICE },
            // There is no network of pods here: the API server finds it on this machine.
            "spec": { "type": "ExternalName", "externalName": "localhost", "ports": [{ "port": self.address.port() }] },
        });
        apply(client, &format!("/api/v1/namespaces/{NAMESPACE}/services/{SERVICE}"), &service).await?;
        let api = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": format!("v1.{GROUP}") },
            "spec": {
                "group": GROUP, "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15, "caBundle": bundle,
                "service": { "name": SERVICE, "namespace": NAMESPACE, "port": self.address.port() },
            },
        });
        apply(client, &format!("/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}"), &api).await?;
        for (kind, name, webhooks) in WEBHOOKS {
            let of = |(name, path, group, plural): &(&str, &str, &str, &str)| {
                let url = format!("https://127.0.0.1:{}/{path}", self.address.port());
                json!({
                    "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
                    "timeoutSeconds": 10, "clientConfig": { "url": url, "caBundle": bundle },
                    "rules": [{
                        "apiGroups": [group], "apiVersions": ["*"], "resources": [plural],
                        "operations": if path.ends_with("-mutate") { json!(["CREATE"]) } else { json!(["CREATE", "UPDATE"]) },
                    }],
                })
            };
            let webhooks: Vec<_> = webhooks.iter().map(of).collect();
            let configuration = json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": name },
                "webhooks": webhooks,
            });
            let plural = kind.to_ascii_lowercase();
            let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}s/{name}");
            apply(client, &path, &configuration).await?;
        }
        time::timeout(EFFECTIVE, effective(client))
            .await
            .with_context(|| format!("virt-api not asked within {} s", EFFECTIVE.as_secs()))?
    }
}

impl Drop for VirtApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Wait until the subresources are served and every webhook is asked: each refuses what no real one would take.
async fn effective(client: &Client) -> Result<()> {
    let machine = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": "probe" },
        "spec": { "running": true, "runStrategy": "Always", "template": { "spec": { "domain": { "devices": {} } } } },
    });
    let copy = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "snapshot.kubevirt.io/v1beta1", "kind": kind, "metadata": { "name": "probe" }, "spec": spec,
        })
    };
    let other = json!({ "apiGroup": "kubevirt.io", "kind": "Probe", "name": "probe" });
    let volume = |spec: Value| {
        json!({
            "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": { "name": "probe" }, "spec": spec,
        })
    };
    let restore = json!({ "target": other, "virtualMachineSnapshotName": "probe" });
    for (group, plural, object) in [
        ("kubevirt.io/v1", "virtualmachines", machine),
        (
            "snapshot.kubevirt.io/v1beta1",
            "virtualmachinesnapshots",
            copy("VirtualMachineSnapshot", json!({ "source": other })),
        ),
        ("snapshot.kubevirt.io/v1beta1", "virtualmachinerestores", copy("VirtualMachineRestore", restore)),
        ("cdi.kubevirt.io/v1beta1", "datavolumes", volume(json!({}))),
        (
            "cdi.kubevirt.io/v1beta1",
            "datavolumes",
            volume(json!({ "sourceRef": { "kind": "DataSource", "name": "probe" } })),
        ),
    ] {
        let path = format!("/apis/{group}/namespaces/{NAMESPACE}/{plural}?dryRun=All");
        loop {
            let request = http::Request::post(&path)
                .header("content-type", "application/json")
                .body(serde_json::to_vec(&object)?)?;
            match client.request::<Value>(request).await {
                Err(kube::Error::Api(status)) if status.message.contains("denied the request") => break,
                Err(kube::Error::Api(status)) => {
                    ensure!(status.message.contains("webhook"), "{plural}: {}", status.message);
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            time::sleep(POLL).await;
        }
    }
    loop {
        let request = http::Request::get(format!("/apis/{GROUP}/v1")).body(Vec::new())?;
        if client.request_text(request).await.is_ok() {
            return Ok(());
        }
        time::sleep(POLL).await;
    }
}
