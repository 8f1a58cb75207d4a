//! Requests with every field that goes together.

use serde_json::{Value, json};

/// One for a new machine.
pub(crate) fn base() -> Value {
    json!({
        "apiVersion": "vmlifecycle.dev/v1alpha1",
        "kind": "VMRequest",
        "metadata": {
            "requestId": "R1", "requestedBy": "jane", "onBehalfOf": "team", "ticket": "C1", "reason": "why",
            "requestedAt": "2026-09-01T10:00:00Z",
        },
        "spec": {
            "operation": "provision",
            "target": {"name": "web", "namespace": "team", "cluster": "prod"},
            "compute": {"preference": "fedora", "architecture": "amd64", "cpu": 2, "memory": "4Gi"},
            "image": {"source": "data-source", "name": "fedora", "namespace": "golden"},
            "disks": [
                {"name": "root", "role": "root", "size": "20Gi", "tier": "gold"},
                {"name": "data", "role": "data", "size": "1Ti", "storageClass": "local-nvme", "source": {"snapshot": "before"}},
            ],
            "configDisks": [{"name": "setup", "source": {"configMap": "setup"}, "serial": "s1"}],
            "networks": [
                {"name": "default", "type": "pod", "binding": "masquerade", "model": "virtio"},
                {"name": "lan", "type": "multus", "networkName": "infra/vlan-120", "binding": "bridge", "primary": false, "model": "e1000e",
                 "macAddress": "02:5e:10:00:00:01"},
            ],
            "access": {"user": "jane", "sshKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpNEKMNSmHRQXSBTUrxTPNX"],
                       "sshKeySecrets": [{"name": "team-keys", "propagationMethod": "qemuGuestAgent", "users": ["jane"]}],
                       "passwordSecret": "logins"},
            "customization": {"hostname": "web", "timezone": "UTC", "packages": ["htop"]},
            "labels": {"team": "payments"},
            "annotations": {"note": "why"},
            "nodeSelector": {"zone": "fra-1"},
            "devices": {
                "gpus": [{"name": "gpu", "deviceName": "nvidia.com/GA102GL_A10"}],
                "hostDevices": [{"name": "qat", "deviceName": "intel.com/qat"}],
            },
            "template": {"name": "hardened", "parameters": {"model": "host", "count": 2, "large": true, "zones": ["a"]}},
            "power": "on",
            "lifecycle": {"gracePeriodSeconds": 60, "environment": "prod", "owner": "payments", "costCenter": "4711", "expiresAt": "2027-09-01", "maintenanceWindow": "Mon-Thu,Sat 22:00-01:30 UTC"},
            "checks": {"guestAgent": true, "ip": true, "tcpPort": 22},
        },
    })
}

/// One for each operation on a machine that is there.
pub(crate) fn day_two_bases() -> Vec<Value> {
    let checks = json!({"guestAgent": true, "ip": true, "tcpPort": 22});
    let image = json!({"source": "data-source", "name": "fedora", "namespace": "golden"});
    [
        ("start", json!({}), Some(&checks)),
        ("stop", json!({"forceAfterSeconds": 60}), None),
        ("restart", json!({"forceAfterSeconds": 60}), Some(&checks)),
        ("snapshot", json!({"requireQuiesced": true, "deadlineSeconds": 60, "keepCount": 3, "keepDays": 30}), None),
        ("restore", json!({"snapshot": "web-1"}), Some(&checks)),
        ("repave", json!({"image": image, "keepOldDisk": true, "rollbackForSeconds": 600}), Some(&checks)),
        ("patch", json!({"profile": "security", "method": "offline"}), Some(&checks)),
        (
            "resize",
            json!({"compute": {"cpu": 4, "memory": "8Gi"}, "disks": [{"name": "data", "size": "2Ti"}], "allowRestart": true}),
            Some(&checks),
        ),
        ("deprovision", json!({"disks": "delete", "confirmName": "web"}), None),
        ("undelete", json!({"requestId": "R0"}), Some(&checks)),
    ]
    .into_iter()
    .map(|(operation, own, checks)| {
        let mut request = base();
        let target = request["spec"]["target"].clone();
        request["spec"] = json!({"operation": operation, "target": target, "operationSpec": own});
        if let Some(checks) = checks {
            request["spec"]["checks"] = checks.clone();
        }
        request
    })
    .collect()
}
