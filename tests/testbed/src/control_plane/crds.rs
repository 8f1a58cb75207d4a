//! The CRDs in `tests/testbed/crds`, as their projects publish them.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use kube::Client;
use serde_json::Value;
use tokio::time;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
const SERVED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Install all CRDs, without the fields of restores that are `absent`, and wait until each of their versions is served, which is
/// more than Established.
pub(super) async fn install(client: &Client, absent: &[&str]) -> Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(FOLDER).with_context(|| format!("cannot read `{FOLDER}`"))? {
        paths.push(entry?.path());
    }
    try_join_all(paths.into_iter().map(|path| install_one(client, path, absent))).await.map(drop)
}

async fn install_one(client: &Client, path: PathBuf, absent: &[&str]) -> Result<()> {
    let name = path.file_stem().and_then(|name| name.to_str()).context("a CRD file without a name")?;
    let url = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    // The server reads YAML itself.
    let mut document = fs::read(&path)?;
    if name == "virtualmachinerestores.snapshot.kubevirt.io" && !absent.is_empty() {
        document = without(&document, absent)?;
    }
    let applied = super::apply_bytes(client, &url, document).await?;
    let spec = &applied["spec"];
    let (group, plural) = (string(&spec["group"])?, string(&spec["names"]["plural"])?);
    for version in spec["versions"].as_array().context("a CRD without versions")? {
        if version["served"] == Value::Bool(true) {
            let url = format!("/apis/{group}/{}/{plural}?limit=1", string(&version["name"])?);
            time::timeout(SERVED, served(client, &url))
                .await
                .with_context(|| format!("`{name}` not served after {} s", SERVED.as_secs()))??;
        }
    }
    Ok(())
}

/// A CRD without some fields of its `spec`, as releases had it that did not know them.
fn without(document: &[u8], absent: &[&str]) -> Result<Vec<u8>> {
    let mut crd: Value = serde_saphyr::from_slice(document)?;
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let properties = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let properties = properties.as_object_mut().context("a CRD without a schema of its spec")?;
        for field in absent {
            properties.remove(*field).with_context(|| format!("the CRD has no `{field}`"))?;
        }
    }
    Ok(serde_json::to_vec(&crd)?)
}

async fn served(client: &Client, url: &str) -> Result<()> {
    loop {
        match client.request_text(http::Request::get(url).body(Vec::new())?).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 503 => {}
            Err(error) => bail!("cannot list `{url}`: {error}"),
        }
        time::sleep(POLL).await;
    }
}

fn string(value: &Value) -> Result<&str> {
    value.as_str().context("a CRD without a name")
}
