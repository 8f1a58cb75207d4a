//! Everything about one machine, read.

use cluster::{
    Cluster, DATA_VOLUME, Error, Name, Object, PERSISTENT_VOLUME_CLAIM, VIRTUAL_MACHINE,
    VIRTUAL_MACHINE_INSTANCE,
};
use serde_json::Value;
use vm::conditions::claims;

use crate::checks::agent;
use crate::disks::Disk;
use crate::facts::boot_claim;
use crate::wanted::Wanted;

/// One machine as it was read, object by object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Looked {
    pub(crate) vm: Option<Value>,
    pub(crate) vmi: Option<Value>,
    pub(crate) disks: Vec<Disk>,
    /// What its guest agent tells, or why that could not be read; none where it is not needed or there is no agent.
    pub(crate) guest: Option<Result<Value, String>>,
}

/// Read all of it.
pub(crate) async fn look(cluster: &Cluster, name: &Name, wanted: &Wanted) -> Result<Looked, Error> {
    let get = async |kind, name: &Name| cluster.get(&Object { kind, name: name.clone() }).await;
    let vm = get(VIRTUAL_MACHINE, name).await?;
    let vmi = get(VIRTUAL_MACHINE_INSTANCE, name).await?;
    let mut disks = Vec::new();
    if let Some(vm) = &vm {
        let boot = boot_claim(vm, "/spec/template/spec");
        for claim in claims(vm) {
            let mut disk = Disk { claim: claim.to_owned(), data: claim != boot, ..Disk::default() };
            // a name that no object can have is the name of none
            if let Ok(name) = name.sibling(claim) {
                disk.volume_claim = get(PERSISTENT_VOLUME_CLAIM, &name).await?;
                disk.data_volume = match get(DATA_VOLUME, &name).await {
                    // a cluster without CDI has claims, and nobody who fills them
                    Err(error) if error.not_served() => None,
                    answer => answer?,
                };
            }
            disks.push(disk);
        }
    }
    let asks = wanted.hostname.is_some() && !wanted.stopped && !wanted.disks_only;
    let guest = match &vmi {
        Some(vmi) if asks && agent(vmi) => {
            let instance = Object { kind: VIRTUAL_MACHINE_INSTANCE, name: name.clone() };
            Some(cluster.guest_info(&instance).await.map_err(|error| error.to_string()))
        }
        _ => None,
    };
    Ok(Looked { vm, vmi, disks, guest })
}
