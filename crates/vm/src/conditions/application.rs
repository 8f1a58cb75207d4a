//! Whether an Argo CD Application shows our commit live.
//!
//! Sources: argo-cd 3.5.7 `pkg/apis/application/v1alpha1/types.go`, `controller/appcontroller.go`
//! (`processRequestedAppOperation`, `autoSync`), `controller/state.go`.

use std::time::Duration;

use serde_json::Value;

use super::locks::{SKIP_RECONCILE, operating, paused_by};
use super::view::View;
use super::{State, with_words};

/// A repository that does not answer, or a project that is made in the same minute, mends itself; Argo CD was asked to
/// look again two or three times in this while.
const COMPARISON: Duration = Duration::from_mins(1);
/// A deleted Application may come back from its parent.
const DELETION: Duration = Duration::from_mins(1);
/// Argo CD says Suspended for a moment while a machine stops.
const SUSPENDED: Duration = Duration::from_secs(30);
/// A compared Application that does not list the machine belongs to something else, or the list lags.
const UNLISTED: Duration = Duration::from_mins(1);
/// What admission refuses of our commit it refuses again, unless a snapshot or a restore was in its way; Argo CD tries for
/// minutes, with growing pauses. Its first three or four attempts fall into this while.
const REFUSED: Duration = Duration::from_secs(45);

/// How a commit stands to ours, by the history in Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Ours, or a later one in which the machine's folder is as in ours.
    Contains,
    /// A later one in which the machine's folder is another or gone.
    Replaced,
    /// An earlier one, or none that Git knows to come after ours.
    Lacks,
}

/// What an Application has to show.
#[derive(Clone, Copy)]
pub struct WantedApplication<'a> {
    /// Full id of our commit; without one no revision is accepted.
    pub commit: Option<&'a str>,
    /// The machine's folder in Git, which tells the sources of an Application apart.
    pub path: Option<&'a str>,
    /// Namespace and name of the machine that it has to apply.
    pub machine: (&'a str, &'a str),
    /// The machine is declared stopped.
    pub stopped: bool,
    /// `status.reconciledAt` when this wait began: only what was compared later counts. Empty if there was none.
    pub reconciled_before: &'a str,
    /// How a commit stands to ours, where that was found out; equality needs no asking.
    pub relation: &'a dyn Fn(&str) -> Option<Relation>,
}

impl std::fmt::Debug for WantedApplication<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WantedApplication").field("commit", &self.commit).finish_non_exhaustive()
    }
}

impl WantedApplication<'_> {
    fn relation(&self, revision: &str) -> Option<Relation> {
        if !is_commit(revision) {
            return None;
        }
        if self.commit == Some(revision) { Some(Relation::Contains) } else { (self.relation)(revision) }
    }

    fn contains(&self, revision: &str) -> bool {
        self.relation(revision) == Some(Relation::Contains)
    }
}

/// Whether text has the form of a full commit id: 40 hex digits (SHA-1) or 64 (SHA-256). Argo CD puts a branch name into
/// `status.sync.revision` when it cannot generate the manifests.
pub fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A commit id as people read it: 7 digits; anything else as it is.
pub fn short(revision: &str) -> &str {
    if is_commit(revision) { revision.get(..7).unwrap_or(revision) } else { revision }
}

/// When the Application was last compared, as Argo CD wrote it (RFC 3339, whole seconds), or empty.
pub fn reconciled_at(application: &Value) -> &str {
    View(application).text("/status/reconciledAt")
}

/// The revisions that say where the Application stands: of the last comparison (of several sources, that of the source
/// with our folder, else all), then of the last operation. None that has not the form of a commit id.
pub fn compared_revisions<'a>(application: &'a Value, path: Option<&str>) -> Vec<&'a str> {
    let app = View(application);
    let operation = operation_revisions(app);
    let mut revisions: Vec<&str> = compared(app, path);
    revisions.extend(operation);
    revisions.retain(|r| is_commit(r));
    revisions.dedup();
    revisions
}

pub(super) fn compared<'a>(app: View<'a>, path: Option<&str>) -> Vec<&'a str> {
    let sources: Vec<&str> = app.list("/spec/sources").map(|s| s.text("/path")).collect();
    let revisions: Vec<&str> = app.list("/status/sync/revisions").filter_map(|r| r.0.as_str()).collect();
    if sources.is_empty() || revisions.is_empty() {
        return vec![app.text("/status/sync/revision")];
    }
    let ours = |source: &&str| path.is_some_and(|p| p == *source || p.starts_with(&format!("{source}/")));
    match sources.iter().position(|s| !s.is_empty() && ours(s)).and_then(|i| revisions.get(i)) {
        Some(revision) => vec![revision],
        None => revisions,
    }
}

/// What the last operation synced, or was asked to sync if it did not get as far.
fn operation_revisions(app: View<'_>) -> Vec<&str> {
    let at = |one: &str, all: &str| -> Vec<_> {
        let one = Some(app.text(one)).filter(|r| !r.is_empty());
        one.into_iter().chain(app.list(all).filter_map(|r| r.0.as_str())).collect()
    };
    let synced =
        at("/status/operationState/syncResult/revision", "/status/operationState/syncResult/revisions");
    if synced.is_empty() {
        let asked = "/status/operationState/operation/sync";
        return at(&format!("{asked}/revision"), &format!("{asked}/revisions"));
    }
    synced
}

/// Whether the Application shows our commit, or a later one with the same folder, compared since the wait began, applied,
/// and with nothing in flight.
pub fn application_state(application: Option<&Value>, wanted: &WantedApplication<'_>) -> State {
    let Some(application) = application else {
        return State::pending("ApplicationMissing", "does not exist");
    };
    let app = View(application);
    if let Some(revision) =
        compared(app, wanted.path).iter().find(|r| wanted.relation(r) == Some(Relation::Replaced))
    {
        return State::Superseded(format!(
            "is at {}, which holds another state of this machine",
            short(revision)
        ));
    }
    if app.deleting() {
        return State::patient("Deleting", "is being deleted", DELETION);
    }
    if let Some(paused) = paused(app) {
        return paused;
    }
    match gate(app, wanted) {
        Ok(()) => State::Ready,
        Err(state) => trouble(app, wanted).unwrap_or(state),
    }
}

/// Argo CD leaves it alone, its deletion included.
pub(super) fn paused(app: View<'_>) -> Option<State> {
    let id = paused_by(app.0)?;
    let by = if id.is_empty() { "somebody".to_owned() } else { format!("request `{id}`") };
    Some(State::pending("Paused", format!("is paused by {by} (annotation `{SKIP_RECONCILE}`)")))
}

/// The gate that only a live change passes; else the first thing that is missing.
fn gate(app: View<'_>, wanted: &WantedApplication<'_>) -> Result<(), State> {
    let reconciled = app.text("/status/reconciledAt");
    if reconciled.is_empty() || reconciled == wanted.reconciled_before {
        return Err(State::pending("NotRefreshed", "was not compared with Git since this wait began"));
    }
    let status = match app.text("/status/sync/status") {
        "" => "Unknown",
        status => status,
    };
    let revisions = compared(app, wanted.path);
    if !revisions.iter().any(|r| wanted.contains(r)) {
        let at = revisions.iter().map(|r| short(r)).collect::<Vec<_>>().join(", ");
        let at = if at.is_empty() { "no revision".to_owned() } else { at };
        let want = wanted.commit.map_or_else(String::new, |c| format!(" (want {})", short(c)));
        return Err(State::pending("OtherRevision", format!("is {status} at {at}{want}")));
    }
    let at = revisions.iter().find(|r| wanted.contains(r)).map_or("", |r| short(r));
    if operating(app) {
        return Err(State::pending(
            "Syncing",
            with_words(&format!("is syncing at {at}"), operation_words(app).as_str()),
        ));
    }
    if status != "Synced" {
        let how = if app.at("/spec/syncPolicy/automated").is_none() {
            ", and its sync is not automated"
        } else {
            ""
        };
        return Err(State::pending(status, format!("is {status} at {at}{how}")));
    }
    if !compared_to_spec(app) {
        return Err(State::pending(
            "SpecChanged",
            "was compared with another source or destination than it now has",
        ));
    }
    // both are whole seconds of one server's clock in one format, so they compare as text
    if reconciled < app.text("/status/operationState/finishedAt") {
        return Err(State::pending("NotCompared", format!("was not compared since it synced {at}")));
    }
    listed(app, wanted.machine)
}

/// `status.resources` has the machine, as Synced. Health is not there by default since Argo CD 3.0.
fn listed(app: View<'_>, (namespace, name): (&str, &str)) -> Result<(), State> {
    let machine = app.list("/status/resources").find(|r| {
        r.text("/group") == "kubevirt.io"
            && r.text("/kind") == "VirtualMachine"
            && r.text("/namespace") == namespace
            && r.text("/name") == name
    });
    let what = format!("virtual machine `{namespace}/{name}`");
    match machine {
        None => Err(State::patient("MachineUnlisted", format!("does not list {what}"), UNLISTED)),
        Some(r) if r.flag("/requiresPruning") => {
            Err(State::patient("MachineUnlisted", format!("wants to prune {what}"), UNLISTED))
        }
        Some(r) if r.text("/status") != "Synced" => {
            Err(State::pending("OutOfSync", format!("says that {what} is {}", r.text("/status"))))
        }
        Some(_) => Ok(()),
    }
}

/// The comparison was made with the sources and the destination that the spec names now. Only what decides where things
/// come from and go to: the rest of the spec may be written in more than one way.
fn compared_to_spec(app: View<'_>) -> bool {
    let part = |v: View<'_>| {
        ["/repoURL", "/path", "/targetRevision", "/chart"].map(|field| v.text(field).to_owned())
    };
    let several = |base: &str| app.list(&format!("{base}/sources")).map(part).collect::<Vec<_>>();
    let (spec, compared) = (several("/spec"), several("/status/sync/comparedTo"));
    let sources = if spec.is_empty() {
        app.at("/spec/source").map(part) == app.at("/status/sync/comparedTo/source").map(part)
    } else {
        spec == compared
    };
    let destination = |base: &str| {
        ["server", "name", "namespace"]
            .map(|field| app.text(&format!("{base}/destination/{field}")).to_owned())
    };
    sources && destination("/spec") == destination("/status/sync/comparedTo")
}

/// What keeps the gate shut and will not open it by itself.
fn trouble(app: View<'_>, wanted: &WantedApplication<'_>) -> Option<State> {
    let ours = operated_on(app, wanted);
    let words = operation_words(app);
    match app.text("/status/operationState/phase") {
        phase @ ("Failed" | "Error") if ours && app.at("/operation").is_none() => {
            return Some(State::failed(format!("Sync{phase}"), with_words("failed to sync", &words)));
        }
        // with a time of its end it waits for the next attempt; that attempt begins without the words of the last
        "Running"
            if app.at("/status/operationState/finishedAt").is_some()
                || app.number("/status/operationState/retryCount") > Some(0) =>
        {
            let message = with_words("failed to sync, and Argo CD tries again", &words);
            let refused = ours && denied(&words);
            return Some(if refused {
                State::patient("SyncRetry", message, REFUSED)
            } else {
                State::pending("SyncRetry", message)
            });
        }
        // of our commit a machine that starts is waited for rightly; an older one's keeps ours from being synced
        "Running" if (wanted.stopped || !ours) && waits_for_machine(app) => {
            return Some(deadlock(app, &words));
        }
        _ => {}
    }
    for kind in ["InvalidSpecError", "ComparisonError", "UnknownError"] {
        // an Application's conditions have no status: that one is there means that it holds
        if let Some(condition) = app.condition(kind) {
            return Some(State::patient(
                kind,
                with_words("cannot be compared", condition.text("/message")),
                COMPARISON,
            ));
        }
    }
    let condition = app.condition("SyncError")?;
    compared(app, wanted.path).iter().any(|r| wanted.contains(r)).then(|| {
        State::patient("SyncError", with_words("is not synced", condition.text("/message")), COMPARISON)
    })
}

/// Words of an admission webhook or policy, or of a schema: what they refuse they refuse again.
pub(super) fn denied(words: &str) -> bool {
    [" denied the request", " denied request", " is invalid: "].iter().any(|part| words.contains(part))
}

/// Whether the last operation was about our commit, or one that holds it.
pub(super) fn operated_on(app: View<'_>, wanted: &WantedApplication<'_>) -> bool {
    operation_revisions(app).iter().any(|r| wanted.contains(r))
}

pub(super) fn waits_for_machine(app: View<'_>) -> bool {
    app.text("/status/operationState/message")
        .contains("waiting for healthy state of kubevirt.io/VirtualMachine/")
}

/// argoproj/argo-cd#29663: where Argo CD calls a stopped machine Suspended, a sync with waves or hooks never ends. While
/// the machine is still stopping it is Progressing, and all is well.
pub(super) fn deadlock(app: View<'_>, words: &str) -> State {
    let message = with_words(
        "waits for a stopped machine to become healthy, which never happens (argo-cd#29663)",
        words,
    );
    if app.text("/status/health/status") == "Suspended" {
        State::patient("SuspendedDeadlock", message, SUSPENDED)
    } else {
        State::pending("Syncing", with_words("is syncing", words))
    }
}

/// The operation's message and those of the resources that failed in it, each once.
fn operation_words(app: View<'_>) -> String {
    let mut words = vec![app.text("/status/operationState/message").to_owned()];
    for resource in app.list("/status/operationState/syncResult/resources") {
        let failed = resource.text("/status") == "SyncFailed"
            || matches!(resource.text("/hookPhase"), "Failed" | "Error");
        let message = resource.text("/message");
        if failed && !message.is_empty() && !words.iter().any(|w| w.contains(message)) {
            words.push(format!("{} `{}`: {message}", resource.text("/kind"), resource.text("/name")));
        }
    }
    words.retain(|w| !w.is_empty());
    words.join("; ")
}

/// What the parent of an Application that does not exist yet says: why it cannot make it, or that it has not got there.
pub fn parent_state(parent: Option<&Value>, leaf: (&str, &str), wanted: &WantedApplication<'_>) -> State {
    let Some(parent) = parent else {
        return State::patient("ParentMissing", "does not exist", COMPARISON);
    };
    let app = View(parent);
    let failed = app.list("/status/operationState/syncResult/resources").find(|r| {
        r.text("/kind") == "Application"
            && r.text("/name") == leaf.1
            && r.text("/namespace") == leaf.0
            && r.text("/status") == "SyncFailed"
    });
    let ours = operated_on(app, wanted);
    if let Some(resource) = failed.filter(|_| ours) {
        let what = format!("failed to sync application `{}`", leaf.1);
        return State::failed("SyncFailed", with_words(&what, resource.text("/message")));
    }
    match trouble(app, wanted) {
        // others share the parent, and what failed in it may be theirs; a later commit makes it try again
        Some(State::Failed(f)) => State::patient(f.reason, f.message, COMPARISON),
        Some(state) => state,
        None => {
            let at = compared(app, None).iter().map(|r| short(r)).collect::<Vec<_>>().join(", ");
            let status = app.text("/status/sync/status");
            State::pending("ApplicationMissing", format!("has not made it yet: it is {status} at {at}"))
        }
    }
}
