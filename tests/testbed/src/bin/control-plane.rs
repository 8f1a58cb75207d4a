//! A control plane to look at: prints its kubeconfig and runs until standard input ends or the process does.

use std::io::{Read as _, Write as _};

use testbed::control_plane::ControlPlane;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    writeln!(std::io::stdout(), "export KUBECONFIG={}", plane.kubeconfig().display())?;
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
