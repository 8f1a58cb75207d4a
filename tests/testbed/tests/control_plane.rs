//! The control plane is a real one: it judges by schema, collects garbage, checks rights and comes back after a crash.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use testbed::control_plane::{self, ControlPlane};

async fn within<T>(limit: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("not seen within {} s", limit.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn dynamic(client: kube::Client, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(client, namespace, &resource)
}

fn machine(name: &str, spec: &Value) -> Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": { "name": name }, "spec": spec,
    }))?)
}

fn status(error: kube::Error) -> Result<(u16, String)> {
    match error {
        kube::Error::Api(status) => Ok((status.code, status.message)),
        other => bail!("not from the API server: {other}"),
    }
}

#[tokio::test]
async fn a_machine_is_taken_and_a_wrong_one_refused() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    plane.ensure_namespace("schema").await?;
    let machines = dynamic(plane.client().await?, "kubevirt.io/v1", "VirtualMachine", "schema");
    let post = PostParams::default();

    let template = json!({ "spec": { "domain": { "devices": {}, "memory": { "guest": "64Mi" } } } });
    let good = machine("good", &json!({ "runStrategy": "Halted", "template": template }))?;
    let made = machines.create(&post, &good).await?;
    assert!(made.metadata.uid.is_some());

    let unchecked = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct \
                     the existing errors to complete validation";
    let bad = machine("bad", &json!({ "runStrategy": 1, "template": template }))?;
    let refused = status(machines.create(&post, &bad).await.unwrap_err())?;
    assert_eq!(
        refused,
        (
            422,
            format!(
                "VirtualMachine.kubevirt.io \"bad\" is invalid: [spec.runStrategy: Invalid value: \"integer\": spec.runStrategy in \
                 body must be of type string: \"integer\", {unchecked}]"
            )
        )
    );
    let empty = status(machines.create(&post, &machine("empty", &json!({}))?).await.unwrap_err())?;
    assert_eq!(
        empty,
        (
            422,
            format!(
                "VirtualMachine.kubevirt.io \"empty\" is invalid: [spec.template: Required value, {unchecked}]"
            )
        )
    );
    Ok(())
}

#[tokio::test]
async fn a_claim_goes_with_the_data_volume_that_owns_it() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    plane.require_controller_manager()?;
    plane.ensure_namespace("garbage").await?;
    let client = plane.client().await?;
    let volumes = dynamic(client.clone(), "cdi.kubevirt.io/v1beta1", "DataVolume", "garbage");
    let volume = serde_json::from_value(json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": { "name": "disk" },
        "spec": { "source": { "blank": {} }, "storage": { "resources": { "requests": { "storage": "1Gi" } } } },
    }))?;
    let volume = volumes.create(&PostParams::default(), &volume).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, "garbage");
    let claim = |name: &str, owners: Value| -> Result<PersistentVolumeClaim> {
        Ok(serde_json::from_value(json!({
            "metadata": { "name": name, "ownerReferences": owners },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        }))?)
    };
    let owner = json!([{ "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": "disk", "uid": volume.metadata.uid }]);
    claims.create(&PostParams::default(), &claim("disk", owner)?).await?;
    claims.create(&PostParams::default(), &claim("other", json!([]))?).await?;

    volumes.delete("disk", &DeleteParams::default()).await?;
    within(Duration::from_secs(30), async || Ok(claims.get_opt("disk").await?.is_none().then_some(())))
        .await?;
    assert!(claims.get_opt("other").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn rights_are_those_of_the_account() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    let account = plane.kubeconfig_for_service_account("rights", "waiter").await?;
    let user = plane.kubeconfig_for_user("jane", &["team:blue"])?;
    let message = async |kubeconfig: &Path| -> Result<(u16, String)> {
        let maps: Api<ConfigMap> = Api::namespaced(control_plane::client(kubeconfig).await?, "rights");
        status(maps.get("x").await.unwrap_err())
    };
    let cannot = "cannot get resource \"configmaps\" in API group \"\" in the namespace \"rights\"";
    assert_eq!(
        message(&account).await?,
        (
            403,
            format!("configmaps \"x\" is forbidden: User \"system:serviceaccount:rights:waiter\" {cannot}")
        )
    );
    assert_eq!(
        message(&user).await?,
        (403, format!("configmaps \"x\" is forbidden: User \"jane\" {cannot}"))
    );

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "reader" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [
            { "kind": "ServiceAccount", "name": "waiter", "namespace": "rights" },
            { "kind": "Group", "name": "team:blue", "apiGroup": "rbac.authorization.k8s.io" },
        ],
    });
    let rbac = "rbac.authorization.k8s.io/v1";
    for (kind, object) in [("Role", role), ("RoleBinding", binding)] {
        let api = dynamic(plane.client().await?, rbac, kind, "rights");
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    }
    let not_found = (404, "configmaps \"x\" not found".to_owned());
    // The authorizer sees a new binding a moment later.
    for kubeconfig in [&account, &user] {
        within(Duration::from_secs(10), async || Ok((message(kubeconfig).await? == not_found).then_some(())))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_comes_back_with_everything() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let map = serde_json::from_value(json!({ "metadata": { "name": "kept" }, "data": { "a": "1" } }))?;
    let uid = maps.create(&PostParams::default(), &map).await?.metadata.uid;
    for _ in 0..3 {
        plane.stop_api_server();
        assert!(matches!(
            maps.get("kept").await.unwrap_err(),
            kube::Error::Service(_) | kube::Error::HyperError(_)
        ));
        plane.start_api_server().await?;
        assert_eq!(maps.get("kept").await?.metadata.uid, uid);
    }
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_behind() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (folder, url) = (plane.logs(), plane.url());
    assert!(folder.is_dir());
    drop(plane);
    assert!(!folder.exists());
    assert!(refuses(&url));
    Ok(())
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_behind() -> Result<()> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line)?;
    let kubeconfig = Path::new(line.trim().strip_prefix("export KUBECONFIG=").unwrap());
    let config = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let url = config.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
    control_plane::client(kubeconfig).await?.apiserver_version().await?;

    child.kill()?;
    child.wait()?;
    let folder = kubeconfig.parent().unwrap();
    within(Duration::from_secs(10), async || Ok((!folder.exists() && refuses(&url)).then_some(()))).await
}

fn refuses(url: &str) -> bool {
    let connected = TcpStream::connect(url.trim_start_matches("https://"));
    connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
