//! kubectl, as a user of the cluster has it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// kubectl with the environment's `KUBECONFIG`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kubectl;

impl Kubectl {
    /// Run it; standard output, or an error with standard error.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.feed(arguments, "")
    }

    /// Run it with text on standard input.
    pub fn feed(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new("kubectl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start kubectl; it must be on PATH")?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {}: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Create or update what these documents say.
    pub fn apply(&self, documents: &[Value]) -> Result<()> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": documents});
        self.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &list.to_string()).map(drop)
    }

    /// Read objects: `arguments` follow `kubectl get -o json`.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.run(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).context("kubectl printed no JSON")
    }

    /// Read one object, `None` if it is not there.
    pub fn find(&self, arguments: &[&str]) -> Result<Option<Value>> {
        let text = self.run(&[&["get", "-o", "json", "--ignore-not-found"], arguments].concat())?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }
}
