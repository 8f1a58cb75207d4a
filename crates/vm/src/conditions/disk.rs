//! What fills the disks of a machine.
//!
//! Sources: CDI 1.65 `core/v1beta1/types.go`; what a cluster was seen to do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::view::View;
use super::{State, or_word, with_words};

/// CDI starts a failed importer again after 10, 20, 40 and 80 s: four attempts.
const IMPORT: Duration = Duration::from_mins(2);
/// A quota may be raised, and a claim that is refused is tried again.
const REFUSED: Duration = Duration::from_mins(1);

/// The disks of a machine by claim name, each with its DataVolume, or none where the claim has none.
pub type Claims<'a> = BTreeMap<&'a str, Option<&'a Value>>;

/// What the disks say together.
pub(super) struct Disks<'a> {
    /// The worst of them; none when all are done.
    pub(super) verdict: Option<State>,
    /// The claims with a DataVolume, and those without.
    made: Vec<&'a str>,
    unmade: Vec<&'a str>,
}

impl<'a> Disks<'a> {
    /// Whether a claim that these words name has no DataVolume to make it; if they name none, whether any has none.
    pub(super) fn nobody_makes_one_of(&self, words: &str) -> bool {
        let named = |claim: &&&str| words.split([' ', '/', ',']).any(|word| word == **claim);
        let other = self.made.iter().any(|c| named(&c));
        self.unmade.iter().any(|c| !other || named(&c))
    }

    pub(super) fn of(claims: &Claims<'a>) -> Self {
        let (made, unmade): (Vec<_>, Vec<_>) = claims.iter().partition(|(_, dv)| dv.is_some());
        let names = |claims: Vec<(&&'a str, _)>| claims.into_iter().map(|(name, _)| *name).collect();
        let mut states: Vec<State> =
            claims.iter().filter_map(|(name, dv)| dv.and_then(|dv| disk_state(name, View(dv)))).collect();
        // failed before impatient before pending, in the order of names
        states.sort_by_key(|s| match s {
            State::Failed(_) => 0,
            State::Pending(p) if p.patience.is_some() => 1,
            _ => 2,
        });
        Self { verdict: states.into_iter().next(), made: names(made), unmade: names(unmade) }
    }
}

/// What a DataVolume still lacks. One that waits for its first consumer is done: its machine is what it waits for.
fn disk_state(name: &str, dv: View<'_>) -> Option<State> {
    let words = || {
        let said =
            ["Running", "Bound"].into_iter().filter_map(|kind| dv.denies(kind)).map(|c| c.text("/message"));
        said.into_iter().find(|words| !words.is_empty()).unwrap_or_default()
    };
    let phase = dv.text("/status/phase");
    match phase {
        "Succeeded" | "WaitForFirstConsumer" | "PendingPopulation" => return None,
        "Failed" => {
            return Some(State::failed(
                "DataVolumeFailed",
                with_words(&format!("has a disk `{name}` that failed"), words()),
            ));
        }
        _ => {}
    }
    // An importer that is started again and again runs for a moment each time: that nothing has come yet is what counts.
    let nothing =
        matches!(dv.text("/status/progress"), "" | "N/A") && dv.number("/status/restartCount") > Some(0);
    let stopped =
        dv.denies("Running").is_some_and(|c| matches!(c.text("/reason"), "Error" | "ImagePullFailed"));
    if stopped || nothing {
        let what = format!("has a disk `{name}` that cannot be filled");
        return Some(State::patient("DataVolumeError", with_words(&what, words()), IMPORT));
    }
    // such as ErrExceededQuota (which has status Unknown) and ErrClaimNotValid
    if let Some(bound) =
        dv.condition("Bound").filter(|c| c.text("/reason").starts_with("Err") && c.text("/status") != "True")
    {
        let what = format!("has a disk `{name}` that cannot be made");
        return Some(State::patient(
            bound.text("/reason"),
            with_words(&what, bound.text("/message")),
            REFUSED,
        ));
    }
    // CDI does not begin: the source is not there, or the disk is smaller than it (CloneWithoutSource, CloneValidationFailed;
    // CDI 1.65 controller/datavolume/clone-controller-base.go). A golden image may be on its way; a snapshot that is named is not.
    if let Some(bound) = dv.denies("Bound").filter(|c| c.text("/reason").starts_with("Clone")) {
        let what = format!("has a disk `{name}` that cannot be made");
        let (reason, message) = (bound.text("/reason"), with_words(&what, bound.text("/message")));
        return Some(match dv.at("/spec/source/snapshot") {
            Some(_) => State::patient(reason, message, REFUSED),
            None => State::pending(reason, message),
        });
    }
    let progress = match dv.text("/status/progress") {
        "" | "N/A" => String::new(),
        progress => format!(" ({progress})"),
    };
    Some(State::pending(
        "DataVolumePending",
        format!("has a disk `{name}` that is {}{progress}", or_word(phase, "new")),
    ))
}
