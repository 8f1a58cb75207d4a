//! Which flow needs which rule.

use crate::play::Play;
use crate::play::Play::{
    Api, Deprovision, Golden, GoldenSnapshot, Grow, Guest, Patch, Provision, ProvisionCrash, ResizeCrash,
    Restart, RestartCrash, Restore, Snapshot, StuckDeprovision, StuckPatch, StuckRestore, Verify,
};

/// How it is seen that a rule is missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The flow ends with `permission`, and says which resource it could not use.
    Refused,
    /// These words are not said, which are said with it: what only explains decides nothing.
    Untold(&'static str),
    /// The Lease of the machine is not given back.
    Kept,
    /// The claim of a disk that grows requests these bytes, and others with it.
    Size { without: &'static str, with: &'static str },
}

use Seen::{Kept, Refused, Size, Untold};

/// What the last warning of a machine says, where events may be read.
const WARNING: Seen = Untold("last warning: Told: by an event");
/// CDI's default of 6 % for file systems, and the 20 % of this cluster's settings: of 2Gi, then of 3Gi.
const SIZES: Seen = Size { without: "2276332667", with: "3865470567" };

const MACHINE: &[&str] = &["virtualmachines", "virtualmachineinstances", "datavolumes"];

/// Account, flow, how it is seen, resources.
pub(crate) const TABLE: &[(&str, Play, Seen, &[&str])] = &[
    ("publish-vm", Provision, Refused, &["leases"]),
    ("await-vm", Provision, Refused, &["leases", "applications"]),
    ("await-vm", Provision, Refused, MACHINE),
    ("await-vm", ProvisionCrash, WARNING, &["events"]),
    ("report-outcome", Provision, Refused, &["pipelineruns", "taskruns"]),
    ("report-outcome", Provision, Kept, &["leases"]),
    ("power-vm", Restart, Refused, &["leases", "applications", "persistentvolumeclaims"]),
    ("power-vm", Restart, Refused, MACHINE),
    ("power-vm", RestartCrash, WARNING, &["events"]),
    ("power-vm", Api("on"), Refused, &["virtualmachines/start"]),
    ("power-vm", Api("off"), Refused, &["virtualmachines/stop"]),
    ("power-vm", Api("restart"), Refused, &["virtualmachines/restart"]),
    ("snapshot-vm", Snapshot, Refused, &["leases", "virtualmachines"]),
    ("snapshot-vm", Snapshot, Refused, &["virtualmachinerestores", "virtualmachinesnapshots"]),
    ("snapshot-vm", Snapshot, Refused, &["virtualmachinesnapshotcontents", "volumesnapshots"]),
    ("patch-guest", Guest, Refused, &["leases", "virtualmachineinstances", "virtualmachines"]),
    ("patch-guest", Guest, Refused, &["virtualmachinesnapshots"]),
    ("verify-vm", Verify, Refused, &["leases", "persistentvolumeclaims"]),
    ("verify-vm", Verify, Refused, MACHINE),
    ("prepare-restore", Restore, Refused, &["leases", "virtualmachines", "virtualmachinerestores"]),
    (
        "prepare-restore",
        Restore,
        Refused,
        &["virtualmachinesnapshots", "virtualmachinesnapshotcontents", "volumesnapshots"],
    ),
    ("restore-vm", Restore, Refused, &["leases", "applications", "pods"]),
    ("restore-vm", Restore, Refused, MACHINE),
    (
        "restore-vm",
        Restore,
        Refused,
        &["virtualmachinesnapshots", "virtualmachinesnapshotcontents", "volumesnapshots"],
    ),
    ("restore-vm", Restore, Refused, &["virtualmachinerestores", "persistentvolumeclaims"]),
    ("restore-vm", StuckRestore, WARNING, &["events"]),
    ("prepare-vm", Golden, Refused, &["leases", "datasources", "persistentvolumeclaims"]),
    ("prepare-vm", Golden, Refused, MACHINE),
    ("prepare-vm", GoldenSnapshot, Refused, &["volumesnapshots"]),
    ("prepare-vm", Golden, Untold("is about to get a newer image"), &["dataimportcrons"]),
    ("check-patch", Patch, Refused, &["leases", "virtualmachines", "virtualmachinesnapshots"]),
    ("prepare-patch", Patch, Refused, &["leases", "applications", "virtualmachinesnapshots"]),
    ("prepare-patch", Patch, Refused, MACHINE),
    ("prepare-patch", StuckPatch, WARNING, &["events"]),
    // what is taken back is not patched by the same request again: each on a machine of its own
    ("patch-disk", Patch, Refused, &["leases"]),
    ("patch-disk", Patch, Refused, &["virtualmachines"]),
    ("patch-disk", Patch, Refused, &["virtualmachineinstances"]),
    ("patch-disk", Patch, Refused, &["persistentvolumeclaims"]),
    ("patch-disk", Patch, Refused, &["pods"]),
    ("resize-vm", Grow, Refused, &["leases", "applications", "persistentvolumeclaims"]),
    ("resize-vm", Grow, Refused, &["storageclasses"]),
    ("resize-vm", Grow, Refused, MACHINE),
    ("resize-vm", Grow, SIZES, &["cdiconfigs"]),
    ("resize-vm", ResizeCrash, WARNING, &["events"]),
    ("deprovision-vm", Deprovision, Refused, &["leases", "applications", "persistentvolumeclaims"]),
    ("deprovision-vm", Deprovision, Refused, &["pods"]),
    ("deprovision-vm", Deprovision, Refused, MACHINE),
    ("deprovision-vm", StuckDeprovision, WARNING, &["events"]),
];
