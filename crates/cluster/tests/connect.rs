//! What is wrong with a kubeconfig is said before anything is asked.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use cluster::Cluster;
use serde_json::{Value, json};

async fn refused(config: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, config).unwrap();
    let failure = Cluster::connect(Some(&path)).await.unwrap_err();
    assert_eq!(failure.kind(), step::Kind::Usage);
    failure.message().replace(folder.path().to_str().unwrap(), "")
}

fn config(user: &Value, cluster: &Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
    })
    .to_string()
}

#[tokio::test]
async fn a_kubeconfig_starts_no_program() {
    let server = json!({"server": "https://10.0.0.1:6443"});
    for (user, cluster, message) in [
        (
            json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": ["/tmp/x"]}}),
            &server,
            "cannot use kubeconfig `/config`: it runs a program to log in (`exec`)",
        ),
        (
            json!({"auth-provider": {"name": "gcp", "config": {"cmd-path": "touch"}}}),
            &server,
            "cannot use kubeconfig `/config`: it logs in with an `auth-provider`",
        ),
        (
            json!({"token": "t"}),
            &json!({"server": "https://10.0.0.1:6443", "proxy-url": "http://proxy:3128"}),
            "cannot use kubeconfig `/config`: it goes through a proxy (`proxy-url`), which is not supported",
        ),
    ] {
        assert_eq!(refused(&config(&user, cluster)).await, message);
    }
}

#[tokio::test]
async fn a_wrong_kubeconfig_is_a_wrong_flag() {
    assert_eq!(refused("{}").await, "cannot use kubeconfig `/config`: failed to determine current context");
    let failure = Cluster::connect(Some("/nowhere/config".as_ref())).await.unwrap_err();
    assert_eq!(
        failure.message(),
        "cannot use kubeconfig `/nowhere/config`: failed to read kubeconfig from '\"/nowhere/config\"': No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn outside_of_a_pod_a_kubeconfig_is_needed() {
    let failure = Cluster::connect(None).await.unwrap_err();
    assert_eq!(failure.kind(), step::Kind::Usage);
    assert_eq!(
        failure.hint_text(),
        Some("give `--kubeconfig FILE`, or run in a pod whose ServiceAccount token is mounted")
    );
}

/// What a workspace of Tekton is bound to.
#[tokio::test]
async fn a_folder_holds_the_kubeconfig_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), "{}").unwrap();
    let failure = Cluster::connect(Some(folder.path())).await.unwrap_err();
    let path = folder.path().join("kubeconfig");
    assert_eq!(
        failure.message(),
        format!("cannot use kubeconfig `{}`: failed to determine current context", path.display())
    );
}
