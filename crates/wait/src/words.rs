//! The way out, for reasons that have one.

/// What to do about a failure with this reason.
pub(crate) fn way_out(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "SyncFailed" | "SyncError" | "SyncRetry" => {
            "send a request that the cluster accepts: Argo CD gives the same commit up"
        }
        "ComparisonError" | "InvalidSpecError" | "UnknownError" => {
            "look at the Application's source and project, and at its repository's credentials in Argo CD"
        }
        "SuspendedDeadlock" => {
            "terminate the operation in Argo CD, and use no sync waves or hooks beside machines"
        }
        "ErrImagePull" | "ImagePullBackOff" => "name an image that the cluster can pull",
        "ErrorPvcNotFound" => "name a volume that exists, or declare it as a disk",
        "CrashLoopBackOff" => "look at the launcher pod's log: it says why the machine did not start",
        "ErrorUnschedulable" => "ask for less, or make room: the words above are the scheduler's",
        "DataVolumeError" | "DataVolumeFailed" => {
            "look at the image source of the disk and at CDI's importer pod"
        }
        "RestartRequired" => "restart the machine: the change takes effect when it starts",
        "Halted" | "NotHalted" | "OtherDigest" => {
            "somebody changed the machine beside Git; Argo CD's self-heal would undo that"
        }
        "MachineUnlisted" => "this Application does not apply this machine: look at its source path",
        "NotServed" => {
            "install what serves it, or name the right cluster by `--kubeconfig` or `--machine-kubeconfig`"
        }
        "WouldBeEmpty" => {
            "keep one other manifest in that Application's folder, or set `allowEmpty` in its sync policy"
        }
        "PathMissing" => "delete that Application, or keep one file in its folder: Git has no empty folders",
        "DeletionDenied" => {
            "take away what forbids it, such as the label `kubevirt.io/vm-delete-protection`, by a change in Git"
        }
        "NotPruned" | "PruneSkipped" => {
            "let the parent prune it (`prune: true`, no `Prune=false` on it), or delete the Application by hand"
        }
        "Orphaned" => {
            "delete it by hand; its Application had no finalizer, or Argo CD does not know its cluster"
        }
        "ClaimLeft" => "delete it by hand, if its data are not needed",
        "ClaimLost" | "ClaimDeleted" => {
            "its volume may still be there: set its reclaim policy to `Retain` before anything else"
        }
        "ClaimOwned" => "take that owner reference away at once: the claim is deleted when the machine is",
        "ParentMissing" => "name the Application that makes this one by `--parent-application`",
        _ => return None,
    })
}
