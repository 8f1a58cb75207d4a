//! What Argo CD does.

use super::{SHORT, Scenario, Turn, Wrong, off};
use crate::argocd::Fault;

/// In the API server's words for what Argo CD's account may not do (apiserver `pkg/endpoints/handlers/responsewriters/errors.go`).
const FORBIDDEN: &str = "virtualmachines.kubevirt.io \"web\" is forbidden: User \"system:serviceaccount:argocd:argocd-application-controller\" \
                         cannot patch resource \"virtualmachines\" in API group \"kubevirt.io\"";
/// In the API server's words for a write that lost a race (apimachinery `api/errors`, `NewConflict`).
const CONFLICT: &str = "Operation cannot be fulfilled on virtualmachines.kubevirt.io \"web\": the object has been modified; please \
                        apply your changes to the latest version and try again";
/// In Argo CD's words (measured.md: the reason is in the condition `ComparisonError`).
const BUILD: &str = "`kustomize build <path to cached source>` failed exit status 1: Error: accumulating resources: no such file";

pub(super) const ALL: [Scenario; 15] = [
    Scenario::new(
        "argocd-health-in-app-tree",
        "health of single resources is kept in the app tree: the Application holds its own alone",
        "measured.md; argo-cd docs/operator-manual/upgrading/2.14-3.0.md",
    ),
    Scenario {
        wrong: || vec![Wrong::Application(Fault::HealthInResources)],
        ..Scenario::new(
            "argocd-health-in-resources",
            "health of each resource stands in the Application, as before 3.0",
            "argo-cd docs/operator-manual/upgrading/2.14-3.0.md (`controller.resource.health.persist`)",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Parent(Fault::LosesRefreshes(2))],
        ..Scenario::new(
            "argocd-lost-refresh",
            "the first two refreshes are lost: the annotation goes, and nothing else moves",
            "argo-cd#28392, #28306",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Application(Fault::Away)],
        turn: Some(("was not compared", Turn::Overtake(20))),
        ..Scenario::new(
            "argocd-skipped-revisions",
            "twenty commits of others come on top before Argo CD looks: it never compares ours",
            "domain-semantics.md 3.2, 2; argo-cd 3.5.7 controller/state.go",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Application(Fault::Away)],
        turn: Some(("was not compared", Turn::Replace("Manual"))),
        ..Scenario::new(
            "argocd-superseded",
            "somebody commits another run strategy for the machine before Argo CD looks",
            "domain-semantics.md 3.2, 2",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Parent(Fault::Stale)],
        timeout: SHORT,
        ..Scenario::new(
            "argocd-stale-status",
            "each comparison is with the old commit: `reconciledAt` moves on, Synced and the old revision stay",
            "argo-cd#28392, #28306, fix #28603",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Application(Fault::SyncFails(CONFLICT.to_owned(), 2))],
        ..Scenario::new(
            "argocd-sync-retried",
            "two attempts of the sync lose a race with another writer, the third does not",
            "argo-cd 3.5.7 controller/appcontroller.go `processRequestedAppOperation`",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Application(Fault::SyncFails(FORBIDDEN.to_owned(), usize::MAX))],
        ..Scenario::new(
            "argocd-sync-failed",
            "Argo CD may not write the machine, and gives the commit up after five retries",
            "argo-cd 3.5.7 controller/appcontroller.go `processRequestedAppOperation`, `autoSync`",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Application(Fault::NoManifests(BUILD.to_owned()))],
        ..Scenario::new(
            "argocd-manifest-error",
            "the manifests cannot be generated: `Unknown` and Healthy, the branch's name in the place of a revision",
            "measured.md",
        )
    },
    Scenario {
        request: off,
        ..Scenario::new(
            "argocd-stopped-is-healthy",
            "a machine that is declared stopped is Healthy",
            "measured.md; argo-cd 3.5.7 resource_customizations/kubevirt.io/VirtualMachine/health.lua",
        )
    },
    Scenario {
        request: off,
        wrong: || vec![Wrong::Application(Fault::StoppedIsSuspended)],
        ..Scenario::new(
            "argocd-stopped-is-suspended",
            "a machine that is declared stopped is Suspended",
            "measured.md (older releases); argo-cd#29663",
        )
    },
    Scenario {
        request: off,
        wrong: || vec![Wrong::Application(Fault::StoppedIsSuspended), Wrong::Application(Fault::Waves)],
        ..Scenario::new(
            "argocd-suspended-deadlock",
            "a sync with waves waits for a stopped machine to become healthy, which never happens",
            "argo-cd#29663, PR #29664",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Leftover("Prune=false")],
        ..Scenario::new(
            "argocd-prune-skipped",
            "an object of an earlier commit is not pruned, so the Application stays OutOfSync",
            "argo-cd docs/user-guide/sync-options.md `Prune=false`",
        )
    },
    Scenario {
        wrong: || vec![Wrong::Leftover("Prune=confirm")],
        shown: Some(("Application", "operation", "Running")),
        timeout: SHORT,
        ..Scenario::new(
            "argocd-prune-unconfirmed",
            "an object of an earlier commit is pruned when somebody confirms it, and nothing is applied before",
            "argo-cd docs/user-guide/sync-options.md `Prune=confirm`; gitops-engine pkg/sync/sync_context.go",
        )
    },
    Scenario {
        turn: Some(("waiting for kubevirt", Turn::Halt)),
        ..Scenario::new(
            "argocd-heals-a-halted-machine",
            "somebody stops the machine beside Git while it starts, and self-heal puts it right",
            "domain-semantics.md 1.2 (`stop` patches the spec), 3.5",
        )
    },
];
