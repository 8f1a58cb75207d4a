//! Verbs and leases on a real API server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod lease;
mod verbs;

use cluster::{Cluster, Kind, Object};
use testbed::control_plane::ControlPlane;

/// A namespace of its own, and a connection.
async fn begin(namespace: &str) -> Cluster {
    let plane = ControlPlane::shared().await.unwrap();
    plane.ensure_namespace(namespace).await.unwrap();
    Cluster::connect(Some(&plane.kubeconfig())).await.unwrap()
}

fn object(kind: Kind, name: &str) -> Object {
    Object { kind, name: name.parse().unwrap() }
}
