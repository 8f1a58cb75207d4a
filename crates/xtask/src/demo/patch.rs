//! A boot disk that is patched, and one whose patch fails.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::pipeline::Flow;
use tokio::task::block_in_place;

use super::day_two::{NAMESPACE, claim, disks, machine_state, request};
use super::scene::{Scene, play};

/// Writes on the file that stands for the disk: `--format raw --add DISK --commands-from-file FILE …`.
const GOOD: &str = "#!/bin/sh\nwhile read -r line; do\n  echo \"[stand-in] $line\"\n  echo \"$line\" >>\"$4\"\ndone <\"$6\"\n";
const BAD: &str = "#!/bin/sh\necho half >>\"$4\"\necho 'virt-customize: error: [stand-in] no space left on device' >&2\nexit 1\n";
/// A profile of the site.
const PROFILE: &str = "update\nrun-command systemctl enable chronyd\n";

/// One that ends well, the same again, and one that fails.
pub(super) async fn show(scene: &Scene<'_>) -> Result<()> {
    println!(
        "\nstand-in: a script in the place of virt-customize, and a file in the place of the boot disk's content;"
    );
    println!(
        "  nothing of libguestfs is run here, and no guest's disk is changed. The steps run as an administrator"
    );
    let folder = tempfile::tempdir()?;
    println!("\n=== the profile `security` of the site\n{}", PROFILE.trim_end());

    println!("\n=== a patch, by the stand-in of virt-customize");
    let flow = flow(scene, folder.path(), "demo-patch", GOOD).await?;
    ensure!(block_in_place(|| play(&flow))?.succeeded, "the flow failed");
    let disk = folder.path().join("demo-patch/disk/disk.img");
    let patched = fs::read_to_string(&disk)?;
    println!("\n=== the file in the place of the boot disk\n{}", patched.trim_end());
    machine_state(scene).await?;

    println!("\n=== the same request again: neither stopped nor patched");
    let again = Flow {
        run: testbed::pipeline::Run { name: "demo-patch-again".to_owned(), ..flow.run.clone() },
        ..flow
    };
    ensure!(block_in_place(|| play(&again))?.succeeded, "the flow failed");
    ensure!(fs::read_to_string(&disk)? == patched, "the disk was patched twice");

    println!("\n=== a patch that fails, by the stand-in of virt-customize: taken back");
    let flow = self::flow(scene, folder.path(), "demo-patch-2", BAD).await?;
    ensure!(!block_in_place(|| play(&flow))?.succeeded, "a patch that failed counts as done");
    disks(scene, "after the rollback").await?;
    machine_state(scene).await
}

/// The flow with this script in the place of virt-customize, and a file in the place of the disk.
async fn flow(scene: &Scene<'_>, folder: &Path, id: &str, script: &str) -> Result<Flow> {
    let wanted = request(id, "patch", &json!({"operationSpec": {"profile": "security"}}));
    let mut flow = scene.flow("patch-vm", id, &wanted)?;
    let folder = folder.join(id);
    for name in ["profiles", "disk"] {
        fs::create_dir_all(folder.join(name))?;
    }
    flow.put_program(&folder.join("binaries"), "virt-customize", script)?;
    fs::write(folder.join("profiles/security.commands"), PROFILE)?;
    fs::write(folder.join("disk/disk.img"), "the boot disk\n")?;
    // the pod mounts the volume, so the run is where the machine is; the accounts are elsewhere
    NAMESPACE.clone_into(&mut flow.run.namespace);
    flow.accounts.clear();
    flow.params.insert("image".to_owned(), "libguestfs".to_owned());
    flow.workspaces.insert("profiles".to_owned(), folder.join("profiles"));
    flow.claims.insert(claim(scene, "root").await?, folder.join("disk"));
    Ok(flow)
}
