//! How the three programs are called.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::binaries::Binaries;

/// The controllers of kube-controller-manager that run: those that tests of this project can tell from their absence.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,serviceaccount-controller,\
                           root-ca-certificate-publisher-controller,persistentvolumeclaim-protection-controller";

pub(super) fn etcd(binaries: &Binaries, folder: &Path) -> Result<Command> {
    let mut command = binaries.command("etcd").context("no `etcd`")?;
    command.args([
        format!("--data-dir={}", folder.join("etcd").display()),
        // A socket in our own folder: nobody else reaches it, and no port is taken.
        format!("--listen-client-urls=unix://{}", folder.join("etcd.sock").display()),
        // Nobody asks for it, but it has to look like an address.
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]);
    Ok(command)
}

pub(super) fn api_server(binaries: &Binaries, folder: &Path, port: u16) -> Result<Command> {
    let mut command = binaries.command("kube-apiserver").context("no `kube-apiserver`")?;
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    command.args([
        format!("--etcd-servers=unix://{}", folder.join("etcd.sock").display()),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        file("cert-dir", "certificates"),
        file("tls-cert-file", "server.crt"),
        file("tls-private-key-file", "server.key"),
        file("client-ca-file", "ca.crt"),
        file("service-account-key-file", "tokens.key"),
        file("service-account-signing-key-file", "tokens.key"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--allow-privileged=true".to_owned(),
    ]);
    Ok(command)
}

/// None where the programs came without it.
pub(super) fn controller_manager(binaries: &Binaries, folder: &Path) -> Option<Command> {
    let mut command = binaries.command("kube-controller-manager")?;
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    command.args([
        file("kubeconfig", "controller-manager.kubeconfig"),
        file("service-account-private-key-file", "tokens.key"),
        file("root-ca-file", "ca.crt"),
        format!("--controllers={CONTROLLERS}"),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ]);
    Some(command)
}
