//! What CDI and the storage below it do.
//!
//! Of another source than http the phases alone are played, one after the other, for the same disk.

use super::{LONG, SHORT, Scenario, Turn, Wrong, disk, off};
use crate::cdi::Fault;

/// CDI's words for an importer that reaches nothing (pkg/importer/http-datasource.go).
const UNREACHABLE: &str =
    "Unable to connect to http data source: expected status code 200, got 404. Status: 404 Not Found";
const PHASES: &str = "CDI 1.65 core/v1beta1/types.go";

/// The disk goes through these phases.
const fn through(name: &'static str, about: &'static str, wrong: fn() -> Vec<Wrong>) -> Scenario {
    Scenario { request: disk, wrong, ..Scenario::new(name, about, PHASES) }
}

/// The disk does not come to be filled.
const fn stuck(
    name: &'static str,
    about: &'static str,
    source: &'static str,
    (facet, value): (&'static str, &'static str),
    wrong: fn() -> Vec<Wrong>,
) -> Scenario {
    let shown = Some(("DataVolume root", facet, value));
    Scenario { request: disk, wrong, shown, timeout: SHORT, ..Scenario::new(name, about, source) }
}

fn phases(phases: &'static [&'static str]) -> Vec<Wrong> {
    vec![Wrong::Disk(Fault::Through(phases))]
}

fn stays(phases: &'static [&'static str]) -> Vec<Wrong> {
    vec![Wrong::Disk(Fault::Stays(phases))]
}

fn import(reason: &'static str, words: &str) -> Vec<Wrong> {
    vec![Wrong::Disk(Fault::Import(reason, words.to_owned()))]
}

pub(super) const ALL: [Scenario; 18] = [
    through("cdi-import", "ImportScheduled, ImportInProgress, Succeeded", Vec::new),
    through("cdi-import-of-a-bound-claim", "the claim is bound before the import begins", || {
        phases(&["Pending", "PVCBound", "ImportScheduled", "ImportInProgress"])
    }),
    through("cdi-host-assisted-clone", "the disk is copied by pods", || {
        phases(&["CloneScheduled", "CloneInProgress"])
    }),
    through("cdi-smart-clone", "the disk is cloned by a snapshot of the storage", || {
        phases(&["SnapshotForSmartCloneInProgress", "CloneFromSnapshotSourceInProgress"])
    }),
    through("cdi-smart-clone-of-an-older-release", "the claim is made from the snapshot", || {
        phases(&["SnapshotForSmartCloneInProgress", "SmartClonePVCInProgress", "ExpansionInProgress"])
    }),
    through("cdi-csi-clone", "the disk is cloned by the storage, grown, and moved to its namespace", || {
        phases(&[
            "CSICloneInProgress",
            "PrepClaimInProgress",
            "ExpansionInProgress",
            "NamespaceTransferInProgress",
            "RebindInProgress",
        ])
    }),
    through("cdi-wait-for-first-consumer", "nothing is imported before the machine starts", || {
        phases(&["WaitForFirstConsumer", "ImportScheduled", "ImportInProgress"])
    }),
    through("cdi-pending-population", "the same where a populator fills the claim", || {
        phases(&["PendingPopulation", "ImportScheduled", "ImportInProgress"])
    }),
    Scenario {
        request: |spec| {
            disk(spec);
            off(spec);
        },
        wrong: || phases(&["WaitForFirstConsumer", "ImportScheduled", "ImportInProgress"]),
        ..Scenario::new(
            "cdi-wait-for-first-consumer-of-a-stopped-machine",
            "nothing is imported, for nobody starts the machine: it is as declared",
            "domain-semantics.md 5",
        )
    },
    stuck(
        "cdi-import-fails",
        "the importer ends with an error, again and again",
        "measured.md; domain-semantics.md 1.4",
        ("Running", "False Error"),
        || import("Error", UNREACHABLE),
    ),
    Scenario {
        request: disk,
        wrong: || import("Error", UNREACHABLE),
        turn: Some(("cannot be filled", Turn::Heal)),
        ..Scenario::new(
            "cdi-import-fails-for-a-while",
            "the importer ends with an error until the server has the image",
            "domain-semantics.md 1.4 (DataVolumeError is transient)",
        )
    },
    stuck(
        "cdi-importer-image-missing",
        "the importer's own image cannot be pulled",
        "CDI 1.65 pkg/controller/common/util.go (reason `ImagePullFailed`)",
        ("Running", "False ImagePullFailed"),
        || import("ImagePullFailed", "Back-off pulling image \"registry.local/cdi-importer:1\""),
    ),
    Scenario {
        timeout: LONG,
        ..stuck(
            "cdi-no-claim",
            "a quota forbids the claim",
            "CDI 1.65 pkg/controller/datavolume/conditions.go (`ErrExceededQuota`)",
            ("Bound", "False ErrExceededQuota"),
            || {
                let words = "persistentvolumeclaims \"root\" is forbidden: exceeded quota: disks";
                vec![Wrong::Disk(Fault::NoClaim("ErrExceededQuota", words.to_owned()))]
            },
        )
    },
    stuck(
        "cdi-clone-without-restore-size",
        "SnapshotForSmartCloneInProgress for good",
        "measured.md",
        ("phase", "SnapshotForSmartCloneInProgress"),
        || stays(&["SnapshotForSmartCloneInProgress"]),
    ),
    stuck(
        "cdi-upload-awaited",
        "UploadReady: it waits for somebody who uploads",
        PHASES,
        ("phase", "UploadReady"),
        || stays(&["UploadScheduled", "UploadReady"]),
    ),
    stuck("cdi-failed", "Failed: CDI does not try again", PHASES, ("phase", "Failed"), || {
        stays(&["ImportScheduled", "Failed"])
    }),
    stuck(
        "cdi-paused",
        "Paused: a warm import waits for its next checkpoint",
        PHASES,
        ("phase", "Paused"),
        || stays(&["ImportScheduled", "Paused"]),
    ),
    stuck("cdi-unknown", "Unknown: CDI cannot tell", PHASES, ("phase", "Unknown"), || stays(&["Unknown"])),
];
