//! The stage is cleared: what lies outside of this run's namespaces goes by its name.

use std::time::Duration;

use anyhow::Result;

use crate::setup::{ARGOCD, World};
use crate::until;

impl World {
    /// Take everything of this run out of the cluster again; cluster roles stay, which all installations share.
    pub(crate) fn tear_down(&self) -> Result<()> {
        self.kubectl.run(&["delete", "application", &self.machines, "-n", ARGOCD, "--timeout=180s"])?;
        until("the machines' Applications to go", Duration::from_mins(3), || {
            let left = self.of_this_run(&["application", "-n", ARGOCD])?.len();
            Ok(if left == 0 { Ok(()) } else { Err(format!("{left} left")) })
        })?;
        let secrets =
            ["delete", "secret", &self.machines, &self.ssh_repository(), "-n", ARGOCD, "--ignore-not-found"];
        self.kubectl.run(&secrets)?;
        let large = format!("{}-large", self.machines);
        self.kubectl.run(&["delete", "virtualmachineclusterinstancetype", &self.machines, &large])?;
        self.kubectl.run(&["delete", "virtualmachineclusterpreference", &self.machines])?;
        for binding in self.of_this_run(&["clusterrolebinding"])? {
            self.kubectl.run(&["delete", &binding])?;
        }
        self.kubectl
            .run(&["delete", "namespace", &self.machines, &self.namespace, "--timeout=180s"])
            .map(drop)
    }

    /// What is called after this run's namespaces, as `kubectl get` with these arguments finds it.
    fn of_this_run(&self, what: &[&str]) -> Result<Vec<String>> {
        let found = self.kubectl.run(&[&["get", "-o", "name"], what].concat())?;
        Ok(found.lines().filter(|name| name.contains(&self.machines)).map(str::to_owned).collect())
    }
}
