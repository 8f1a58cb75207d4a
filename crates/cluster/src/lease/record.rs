//! A Lease, read and written.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{OPERATION_ANNOTATION, RUNS_ANNOTATION, VM_ANNOTATION};

/// Holds what was noted: a JSON map of short texts.
const NOTES: &str = "vmlifecycle.dev/notes";
/// The annotation is at most this long, in bytes: a quarter of what all annotations of an object may hold together
/// (apimachinery `TotalAnnotationSizeLimitB`, 256 KiB). An operation makes a handful of about 100 bytes, so some hundred
/// operations pass before a note is forgotten.
const MOST: usize = 64 * 1024;
/// As many runs of the holder are known by name, the newest: names have at most 63 characters, all of them about 1 KiB.
const MOST_RUNS: usize = 16;
/// The longest note, in bytes of key and value: dozens of them fit.
const LONGEST: usize = 1024;

/// Who holds a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `spec.holderIdentity`: the id of the request.
    pub id: String,
    /// What it does, where it said so.
    pub operation: Option<String>,
    /// Since when (`spec.acquireTime`), by its own clock.
    pub since: Option<Timestamp>,
    /// Until when, unless it renews (`spec.renewTime` and `spec.leaseDurationSeconds`), by its own clock.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request `{}`", self.id)?;
        if let Some(operation) = &self.operation {
            write!(f, " (`{operation}`)")?;
        }
        if let Some(since) = self.since {
            write!(f, " since {since:.0}")?;
        }
        self.until.map_or(Ok(()), |until| write!(f, ", until {until:.0} unless renewed"))
    }
}

/// Who holds it; none if nobody does.
pub(super) fn holder(lease: &Value) -> Option<Holder> {
    let spec = lease.get("spec")?;
    let id = spec.get("holderIdentity")?.as_str().filter(|id| !id.is_empty())?.to_owned();
    let time = |field: &str| spec.get(field)?.as_str()?.parse::<Timestamp>().ok();
    let until =
        time("renewTime").map(|t| t.saturating_add(signed(duration(lease))).unwrap_or(Timestamp::MAX));
    let operation = annotation(lease, OPERATION_ANNOTATION).map(str::to_owned);
    Some(Holder { id, operation, since: time("acquireTime"), until })
}

/// How long it lasts after each renewal.
pub(super) fn duration(lease: &Value) -> Duration {
    let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
    Duration::from_secs(seconds.unwrap_or_default())
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// What changes whenever somebody takes, renews or releases it.
pub(super) fn mark(lease: &Value) -> Value {
    lease.get("spec").cloned().unwrap_or_default()
}

fn annotation<'a>(lease: &'a Value, name: &str) -> Option<&'a str> {
    lease.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

/// Now, as `metav1.MicroTime` is written.
fn now() -> Value {
    json!(format!("{:.6}", Timestamp::now()))
}

/// Whose a Lease becomes, and what it says of that.
#[derive(Debug, Default)]
pub(super) struct Claim<'a> {
    /// `spec.holderIdentity`.
    pub(super) id: &'a str,
    pub(super) run: Option<&'a str>,
    pub(super) operation: Option<&'a str>,
    pub(super) vm: Option<&'a str>,
}

/// Ours from now on; a new holder counts as a transition, as in client-go. A run that comes while the Lease of its own request
/// is alive joins those that are noted; after that they are dead, and it begins alone.
pub(super) fn take(lease: &mut Value, claim: &Claim<'_>, duration: Duration) {
    let fresh = lease.get("spec").is_none();
    let last = holder(lease).filter(|h| h.id == claim.id);
    let ours = last.is_some();
    let alive = last.and_then(|h| h.until).is_some_and(|until| until >= Timestamp::now());
    let known = if alive { runs(lease) } else { Vec::new() };
    if !ours {
        let transitions = lease.pointer("/spec/leaseTransitions").and_then(Value::as_u64).unwrap_or_default();
        lease["spec"]["leaseTransitions"] = json!(if fresh { 0 } else { transitions.saturating_add(1) });
        lease["spec"]["holderIdentity"] = json!(claim.id);
        lease["spec"]["acquireTime"] = now();
        // the last holder's
        if let Some(Value::Object(annotations)) = lease.pointer_mut("/metadata/annotations") {
            annotations.remove(OPERATION_ANNOTATION);
            annotations.remove(RUNS_ANNOTATION);
        }
    }
    if let Some(run) = claim.run {
        set_runs(lease, known.into_iter().filter(|known| known != run).chain([run.to_owned()]).collect());
    }
    for (name, value) in [(OPERATION_ANNOTATION, claim.operation), (VM_ANNOTATION, claim.vm)] {
        if let Some(value) = value {
            lease["metadata"]["annotations"][name] = json!(value);
        }
    }
    renew(lease, duration);
}

pub(super) fn renew(lease: &mut Value, duration: Duration) {
    lease["spec"]["leaseDurationSeconds"] = json!(duration.as_secs().max(1));
    lease["spec"]["renewTime"] = now();
}

/// The runs of the holder that work under it, the oldest first; those that gave no name are not among them.
pub(super) fn runs(lease: &Value) -> Vec<String> {
    let names = annotation(lease, RUNS_ANNOTATION).unwrap_or_default().split(',');
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn set_runs(lease: &mut Value, mut runs: Vec<String>) {
    runs.drain(..runs.len().saturating_sub(MOST_RUNS));
    lease["metadata"]["annotations"][RUNS_ANNOTATION] = json!(runs.join(","));
}

/// This run is over; who works under the Lease still. What is nobody's by that is yet to be freed.
pub(super) fn leave(lease: &mut Value, run: &str) -> Vec<String> {
    let mut left = runs(lease);
    left.retain(|known| known != run);
    set_runs(lease, left.clone());
    left
}

/// Nobody's from now on; what was noted stays.
pub(super) fn free(lease: &mut Value) {
    lease["spec"]["holderIdentity"] = Value::Null;
    renew(lease, Duration::from_secs(1));
    if let Some(Value::Object(annotations)) = lease.pointer_mut("/metadata/annotations") {
        annotations.remove(OPERATION_ANNOTATION);
        annotations.remove(RUNS_ANNOTATION);
    }
}

/// What is noted under this key.
pub(super) fn noted(lease: &Value, key: &str) -> Option<String> {
    notes(lease).get(key)?.as_str().map(str::to_owned)
}

/// Whether a note is short enough to be kept.
pub(super) const fn fits(key: &str, value: &str) -> bool {
    key.len() + value.len() <= LONGEST
}

/// Note it as the newest; the oldest beyond the bound are forgotten.
pub(super) fn note(lease: &mut Value, key: &str, value: &str) {
    let mut notes = notes(lease);
    notes.shift_remove(key);
    notes.insert(key.to_owned(), json!(value));
    let mut surplus = Value::Object(notes.clone()).to_string().len().saturating_sub(MOST);
    notes.retain(|key, value| {
        let kept = surplus == 0;
        // `"key":"value",`
        surplus = surplus.saturating_sub(json!(key).to_string().len() + value.to_string().len() + 2);
        kept
    });
    lease["metadata"]["annotations"][NOTES] = json!(Value::Object(notes).to_string());
}

/// In the order of their making; what somebody else made of the annotation counts as nothing noted.
fn notes(lease: &Value) -> Map<String, Value> {
    annotation(lease, NOTES).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::{Claim, Holder, free, holder, leave, note, noted, runs, take};

    const LASTS: Duration = Duration::from_mins(5);

    fn by(id: &str) -> Claim<'_> {
        Claim { id, ..Claim::default() }
    }

    fn run<'a>(id: &'a str, run: &'a str) -> Claim<'a> {
        Claim { run: Some(run), ..by(id) }
    }

    #[test]
    fn fields_are_those_of_leader_election() {
        let mut lease = json!({});
        let claim = Claim { operation: Some("restart"), vm: Some("c/ns/web01"), ..run("a", "run-1") };
        take(&mut lease, &claim, LASTS);
        assert_eq!(lease["spec"]["leaseTransitions"], 0);
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 300);
        let acquired = lease["spec"]["acquireTime"].clone();
        let text = acquired.as_str().unwrap();
        assert_eq!((text.len(), &text[19..20], &text[26..]), (27, ".", "Z"), "a MicroTime: {text}");
        take(&mut lease, &by("a"), LASTS);
        assert_eq!(lease["spec"]["acquireTime"], acquired, "taken again, not anew");
        assert_eq!(lease["spec"]["leaseTransitions"], 0);
        assert_eq!(lease["metadata"]["annotations"]["vmlifecycle.dev/operation"], "restart");
        free(&mut lease);
        assert_eq!(holder(&lease), None);
        take(&mut lease, &by("b"), LASTS);
        assert_eq!(lease["spec"]["leaseTransitions"], 1);
        assert_eq!(
            lease["metadata"]["annotations"],
            json!({"vmlifecycle.dev/vm": "c/ns/web01"}),
            "the operation and its runs were another holder's"
        );
    }

    #[test]
    fn runs_of_one_request_are_counted() {
        let mut lease = json!({});
        take(&mut lease, &run("a", "run-1"), LASTS);
        take(&mut lease, &run("a", "run-2"), LASTS);
        // a later step of either, and the first step once more
        take(&mut lease, &by("a"), LASTS);
        take(&mut lease, &run("a", "run-1"), LASTS);
        assert_eq!(lease["metadata"]["annotations"]["vmlifecycle.dev/runs"], "run-2,run-1");
        assert_eq!(leave(&mut lease, "run-3"), ["run-2", "run-1"]);
        assert_eq!(leave(&mut lease, "run-1"), ["run-2"]);
        assert_eq!(runs(&lease), ["run-2"]);
        assert!(leave(&mut lease, "run-2").is_empty());

        for n in 0..40 {
            take(&mut lease, &run("a", &format!("run-{n}")), LASTS);
        }
        assert_eq!((runs(&lease).len(), runs(&lease)[0].as_str()), (16, "run-24"), "the newest are known");
    }

    #[test]
    fn dead_runs_are_forgotten_with_the_expiry() {
        let mut lease = json!({});
        take(&mut lease, &run("a", "dead"), LASTS);
        lease["spec"]["renewTime"] = json!("2026-01-01T00:00:00.000000Z");
        // a step that gives no name knows no better
        take(&mut lease, &by("a"), LASTS);
        assert_eq!(runs(&lease), ["dead"]);
        lease["spec"]["renewTime"] = json!("2026-01-01T00:00:00.000000Z");
        take(&mut lease, &run("a", "run-1"), LASTS);
        assert_eq!(runs(&lease), ["run-1"], "expired");
        take(&mut lease, &run("b", "run-2"), LASTS);
        assert_eq!(runs(&lease), ["run-2"], "another holder");
        free(&mut lease);
        take(&mut lease, &run("b", "run-3"), LASTS);
        assert_eq!(runs(&lease), ["run-3"], "free");
    }

    #[test]
    fn a_holder_is_said_with_its_times() {
        let lease = json!({
            "metadata": {"annotations": {"vmlifecycle.dev/operation": "restore"}},
            "spec": {
                "holderIdentity": "req-7", "leaseDurationSeconds": 300,
                "acquireTime": "2026-11-21T08:00:00.000000Z", "renewTime": "2026-11-21T08:01:30.500000Z"
            }
        });
        assert_eq!(
            holder(&lease).unwrap().to_string(),
            "request `req-7` (`restore`) since 2026-11-21T08:00:00Z, until 2026-11-21T08:06:30Z unless renewed"
        );
        let bare = json!({"spec": {"holderIdentity": "req-7"}});
        let nothing = Holder { id: "req-7".to_owned(), operation: None, since: None, until: None };
        assert_eq!(holder(&bare), Some(nothing));
        assert_eq!(holder(&json!({"spec": {"holderIdentity": ""}})), None);
    }

    #[test]
    fn the_newest_notes_that_fit_are_kept() {
        let mut lease = json!({"metadata": {"annotations": {"vmlifecycle.dev/notes": "not a map"}}});
        // as a restart notes them: 100 bytes each, with quotes, colon and comma
        let key = |n: usize| format!("restart/{n:0>50}");
        let uid = "4f2b0c1e-3b7a-4d0e-9a53-8f1c2d3e4f5a";
        let each = key(0).len() + uid.len() + 6;
        let fit = (64 * 1024 - 1) / each;
        assert!(fit > 600, "{fit}");
        for n in 0..=fit {
            note(&mut lease, &key(n), uid);
        }
        assert_eq!(noted(&lease, &key(0)), None);
        assert_eq!(noted(&lease, &key(1)).as_deref(), Some(uid));
        note(&mut lease, &key(1), &uid.replace('4', "5"));
        note(&mut lease, &key(fit + 1), uid);
        assert_eq!(noted(&lease, &key(1)).as_deref(), Some(&*uid.replace('4', "5")), "noted again is newest");
        assert_eq!(noted(&lease, &key(2)), None);
        let size = |lease: &serde_json::Value| {
            lease["metadata"]["annotations"]["vmlifecycle.dev/notes"].as_str().unwrap().len()
        };
        assert!(size(&lease) <= 64 * 1024 && size(&lease) > 64 * 1024 - 2 * each, "{}", size(&lease));
        // a long one takes the place of several
        note(&mut lease, "long", &"x".repeat(1000));
        assert!(size(&lease) <= 64 * 1024 && size(&lease) > 64 * 1024 - 2 * each, "{}", size(&lease));
        assert_eq!(noted(&lease, &key(fit + 1)).as_deref(), Some(uid));
    }
}
