//! Kubeconfig files with everything inside, as `kubectl` and Kubernetes' clients read them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::pki::Pair;

/// What a kubeconfig proves its user by.
pub(super) enum Credential {
    Certificate(Pair),
    Token(String),
}

/// Write a kubeconfig that only its owner may read. JSON is YAML too.
pub(super) fn write(path: &Path, server: &str, authority: &[u8], credential: &Credential) -> Result<()> {
    let encoded = |bytes: &[u8]| Value::String(openssl::base64::encode_block(bytes));
    let user = match credential {
        Credential::Certificate(pair) => json!({
            "client-certificate-data": encoded(&pair.certificate),
            "client-key-data": encoded(&pair.key),
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "testbed", "cluster": { "server": server, "certificate-authority-data": encoded(authority) } }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "user" } }],
        "current-context": "testbed",
    });
    fs::write(path, serde_json::to_vec_pretty(&config)?)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
