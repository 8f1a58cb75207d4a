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
        "ParentMissing" => "name the Application that makes this one by `--parent-application`",
        _ => return None,
    })
}
