//! A guest in a folder, what the site has for it, and a request about it.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use testbed::sshd::Sshd;

use crate::bed::{Ended, Run};

pub(crate) struct Guest {
    sshd: Sshd,
}

impl Deref for Guest {
    type Target = Sshd;

    fn deref(&self) -> &Sshd {
        &self.sshd
    }
}

impl Guest {
    /// With this profile `security`, and everything as it should be.
    pub(crate) fn new(script: &str) -> Self {
        let guest = Self { sshd: Sshd::start().unwrap() };
        for name in ["site", "state"] {
            fs::create_dir(guest.at(name)).unwrap();
        }
        let log = guest.at("sudo.log");
        let sudo = "#!/bin/sh\n[ \"$1 $2\" = \"-n --\" ] || exit 9\nshift 2\n";
        executable(&guest.at("bin/sudo"), &format!("{sudo}echo \"$*\" >> {}\nexec \"$@\"\n", log.display()));
        guest.profile(script);
        guest.knows(&["shop/web01"], "host").unwrap();
        guest.asks("patch", &json!({"profile": "security", "method": "in-guest"}));
        let handed = json!({"vm": "shop/web01", "address": "127.0.0.1"});
        fs::write(guest.at("address.json"), handed.to_string()).unwrap();
        guest
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// What a file of the guest holds; empty where it is not there.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    /// `@` stands for the guest's folder.
    pub(crate) fn profile(&self, script: &str) {
        let script = script.replace('@', &self.folder().display().to_string());
        fs::write(self.at("site/security.sh"), script).unwrap();
    }

    pub(crate) fn asks(&self, operation: &str, spec: &serde_json::Value) {
        let request = json!({
            "apiVersion": "vmlifecycle.dev/v1alpha1", "kind": "VMRequest",
            "metadata": {"requestId": "REQ-1", "requestedBy": "jane@corp.example"},
            "spec": {
                "operation": operation, "operationSpec": spec,
                "target": {"name": "web01", "namespace": "shop", "cluster": "in-cluster"},
                "checks": {"tcpPort": 443}
            }
        });
        fs::write(self.at("request.json"), request.to_string()).unwrap();
    }

    /// The step begins, with these flags in the place of what it would have.
    pub(crate) fn begin(&self, flags: &[&str]) -> Run {
        let at = |flag: &str, name: &str| format!("--{flag}={}", self.at(name).display());
        let mut all = vec![
            at("request-file", "request.json"),
            at("address-file", "address.json"),
            at("profiles", "site"),
            at("ssh-directory", "ssh"),
            at("state-directory", "state"),
            format!("--user={}", Sshd::user().unwrap()),
            format!("--port={}", self.port()),
        ];
        let name = |flag: &str| flag.split('=').next().unwrap_or_default().to_owned();
        all.retain(|kept| !flags.iter().any(|given| name(given) == name(kept)));
        all.extend(flags.iter().map(ToString::to_string));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Run::begin(env!("CARGO_BIN_EXE_patch-guest"), Path::new("/nowhere"), &all)
    }

    pub(crate) async fn patch(&self, flags: &[&str]) -> Ended {
        self.begin(flags).end().await
    }

    /// Until the guest has this file.
    pub(crate) async fn has(&self, name: &str) {
        let wait = async {
            while !self.at(name).exists() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_mins(1), wait).await.is_ok(), "never: {name}");
    }
}

pub(crate) fn executable(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}
