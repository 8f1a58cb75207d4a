//! Changes of live objects that nobody committed: seen without a refresh, and undone where self-heal is on.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::Options;
use crate::standin::{items, text};

/// The parts of an object that somebody may have changed: none for one that is gone.
pub(super) type Print = HashMap<String, Value>;

/// What the live objects of an Application look like.
pub(super) fn print(application: &Value, live: &super::health::Live) -> Print {
    let mut print = HashMap::new();
    for resource in items(application, "/status/resources") {
        let (kind, namespace, name) =
            (text(resource, "/kind"), text(resource, "/namespace"), text(resource, "/name"));
        let Some(object) = live.get(kind, namespace, name) else { continue };
        let metadata = &object["metadata"];
        let seen = json!([metadata["uid"], metadata["labels"], metadata["annotations"], object["spec"]]);
        print.insert(format!("{kind}/{namespace}/{name}"), seen);
    }
    print
}

/// How long self-heal still holds back: at once the first time for a commit, then longer each time.
pub(super) fn hold_back(state: &Value, options: &Options) -> Option<Duration> {
    let attempts =
        state.pointer("/operation/sync/autoHealAttemptsCount").and_then(Value::as_u64).unwrap_or(0);
    let steps = u32::try_from(attempts.checked_sub(1)?).unwrap_or(u32::MAX);
    let wait = (options.heal * 3_u32.saturating_pow(steps)).min(Duration::from_mins(5));
    let finished = text(state, "/finishedAt").parse::<jiff::Timestamp>().ok()?;
    let since = jiff::Timestamp::now().duration_since(finished);
    wait.checked_sub(Duration::try_from(since).ok()?).filter(|rest| !rest.is_zero())
}

/// The resources that a healing sync is limited to.
pub(super) fn changed(status: &Value) -> Value {
    let changed = items(status, "/resources").iter().filter(|resource| resource["status"] != "Synced");
    let name = |resource: &Value| {
        let mut name = json!({ "kind": resource["kind"], "name": resource["name"] });
        if let Some(group) = resource.get("group") {
            name["group"] = group.clone();
        }
        name
    };
    changed.map(name).collect()
}

/// The earliest of some moments, from now.
pub(super) fn soonest<'a>(moments: impl Iterator<Item = &'a Instant>) -> Option<Duration> {
    moments.min().map(|at| at.saturating_duration_since(Instant::now()))
}
