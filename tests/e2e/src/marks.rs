//! Marks in disks: what was in a volume before, and is it there still?
//!
//! They are read and written from outside, where the storage keeps a volume as a folder on this machine (`../shared/cluster`
//! does). On other storage this cannot be seen, and the scenarios that need it say so and fail.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::setup::World;

/// Where `../shared/cluster` keeps volumes.
const VOLUMES: &str = "/var/tmp/vm-cluster/storage/volumes";
/// A mark's length in bytes.
const LENGTH: usize = 16;
/// Where scenarios write: behind what any image brings.
const PLACE: u64 = 40 << 20;

impl World {
    /// The claim of a machine's volume, as the machine itself names it.
    pub(crate) fn claim(&self, machine: &str, volume: &str) -> Result<String> {
        let machine = self.machine(machine)?.with_context(|| format!("no VirtualMachine {machine}"))?;
        let volumes = machine["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        let found = volumes.iter().find(|v| v["name"] == volume);
        let claim = found.and_then(|v| v["persistentVolumeClaim"]["claimName"].as_str());
        Ok(claim.with_context(|| format!("the machine has no claim for `{volume}`: {volumes:?}"))?.to_owned())
    }

    /// What the image that filled this claim begins with.
    pub(crate) fn image_mark(&self, claim: &str) -> Result<String> {
        read(&self.disk(claim)?, 0)
    }

    /// What a scenario wrote into this claim; nothing is `""`.
    pub(crate) fn mark(&self, claim: &str) -> Result<String> {
        read(&self.disk(claim)?, PLACE)
    }

    /// Write a mark of up to 16 characters.
    pub(crate) fn set_mark(&self, claim: &str, mark: &str) -> Result<()> {
        ensure!(mark.len() <= LENGTH, "`{mark}` is too long");
        let mut bytes = [0; LENGTH];
        bytes.iter_mut().zip(mark.bytes()).for_each(|(to, from)| *to = from);
        let file = OpenOptions::new().write(true).open(self.disk(claim)?)?;
        file.write_all_at(&bytes, PLACE)?;
        file.sync_all()?;
        Ok(())
    }

    /// The uid of a claim: another one is another volume.
    pub(crate) fn claim_uid(&self, claim: &str) -> Result<String> {
        let found = self.kubectl.get(&["pvc", claim, "-n", &self.machines])?;
        Ok(found["metadata"]["uid"].as_str().context("a claim without a uid")?.to_owned())
    }

    fn disk(&self, claim: &str) -> Result<PathBuf> {
        let found = self.kubectl.get(&["pvc", claim, "-n", &self.machines])?;
        let volume = found["spec"]["volumeName"].as_str().with_context(|| format!("{claim} is not bound"))?;
        let volume = self.kubectl.get(&["pv", volume])?;
        let handle = volume["spec"]["csi"]["volumeHandle"].as_str().context("not a CSI volume")?;
        let file = Path::new(VOLUMES).join(handle).join("disk.img");
        ensure!(
            file.is_file(),
            "marks in disks can be read where volumes are folders only: no {}",
            file.display()
        );
        Ok(file)
    }
}

fn read(file: &Path, place: u64) -> Result<String> {
    let mut bytes = [0; LENGTH];
    let read = File::open(file)?.read_at(&mut bytes, place)?;
    let text = bytes.get(..read).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}
