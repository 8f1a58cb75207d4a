//! A machine that is patched while it runs, by its own shell.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::pipeline::Flow;
use testbed::sshd::Sshd;
use tokio::task::block_in_place;

use super::day_two::{NAMESPACE, machine_state, request};
use super::scene::{Scene, play};

/// Profiles of the site; the folder of the guest is put in the place of `@`.
const GOOD: &str = "echo installing updates\necho patched >>@/guest\n";
const BAD: &str = "echo 'no mirror answers' >&2\nexit 7\n";

/// One that ends well, the same again, and one that fails.
pub(super) async fn show(scene: &Scene<'_>, machine: &str) -> Result<()> {
    println!(
        "\nstand-in: this machine is the guest, by OpenSSH's server on a port and with a key of its own; the profile is run by its shell"
    );
    let sshd = Sshd::start()?;
    sshd.knows(&[&format!("{NAMESPACE}/{machine}")], "host")?;
    let guest = sshd.folder().join("guest");

    println!("\n=== a patch in the guest, after a snapshot; the machine runs on");
    let mut flow = flow(scene, &sshd, "demo-guest", GOOD)?;
    ensure!(block_in_place(|| play(&flow))?.succeeded, "the flow failed");
    println!("\n=== what the guest has\n{}", fs::read_to_string(&guest)?.trim_end());
    machine_state(scene).await?;

    println!("\n=== the same request again: not patched twice");
    "demo-guest-again".clone_into(&mut flow.run.name);
    ensure!(block_in_place(|| play(&flow))?.succeeded, "the flow failed");
    ensure!(fs::read_to_string(&guest)? == "patched\n", "the guest was patched twice");

    println!("\n=== a patch that fails in the guest: nothing is taken back, the way back is told");
    let flow = self::flow(scene, &sshd, "demo-guest-2", BAD)?;
    ensure!(!block_in_place(|| play(&flow))?.succeeded, "a patch that failed counts as done");
    machine_state(scene).await
}

/// The flow with this profile, and `sshd` as the guest.
fn flow(scene: &Scene<'_>, sshd: &Sshd, id: &str, profile: &str) -> Result<Flow> {
    let spec = json!({"operationSpec": {"profile": "security", "method": "in-guest"}});
    let mut flow = scene.flow("patch-guest-vm", id, &request(id, "patch", &spec))?;
    let profiles = sshd.folder().join(id);
    fs::create_dir(&profiles)?;
    let folder = sshd.folder().display().to_string();
    fs::write(profiles.join("security.sh"), profile.replace('@', &folder))?;
    flow.workspaces.insert("profiles".to_owned(), profiles);
    sshd.is_guest_of(&mut flow)?;
    Ok(flow)
}
