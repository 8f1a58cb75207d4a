//! Two recordings of one scenario, one of them of a real cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Recording;

/// A value that may be absent on either side.
#[derive(Debug, PartialEq, Eq)]
pub struct Missed {
    /// The beginning of the object's name in a recording: its kind.
    pub object: &'static str,
    /// The facet.
    pub facet: &'static str,
    /// The value.
    pub value: &'static str,
    /// Right after which value only; anywhere if none is named.
    pub after: Option<&'static str>,
    /// Why a watch may never be shown it.
    pub why: &'static str,
}

const fn missed(object: &'static str, facet: &'static str, value: &'static str, why: &'static str) -> Missed {
    Missed { object, facet, value, after: None, why }
}

const TOGETHER: &str = "written together with what follows where the controller finds it all at once";
const LOOKS: &str = "seen only by a look that falls between two writes of others";

/// Every value that one side may have and the other not. Whatever else differs is a difference.
pub const MAY_BE_MISSED: [Missed; 18] = [
    missed("VirtualMachine", "Ready", "False VMINotExists", LOOKS),
    missed("VirtualMachine", "Ready", "False VMIConditionMissing", LOOKS),
    missed("VirtualMachine", "printableStatus", "-", TOGETHER),
    missed("VirtualMachine", "printableStatus", "WaitingForVolumeBinding", LOOKS),
    missed("VirtualMachineInstance", "phase", "-", TOGETHER),
    missed(
        "VirtualMachineInstance",
        "phase",
        "Scheduled",
        "a guest that starts at once is Running at the next look",
    ),
    missed("DataVolume", "phase", "-", TOGETHER),
    missed("DataVolume", "phase", "Pending", LOOKS),
    missed("DataVolume", "Bound", "False NotFound", LOOKS),
    missed(
        "DataVolume",
        "Running",
        "False Unschedulable",
        "a pod that is looked at before its volume is there",
    ),
    missed("PersistentVolumeClaim", "phase", "-", "the API server itself begins with Pending"),
    missed("Application", "sync", "-", TOGETHER),
    missed("Application", "health", "-", TOGETHER),
    missed("Application", "health", "Missing", LOOKS),
    Missed {
        after: Some("Missing"),
        ..missed("Application", "health", "Healthy", "Argo CD has not seen yet all that it applied")
    },
    missed("Application", "health", "Suspended", "a machine that is to start is Stopped for a moment"),
    missed("Application", "operation", "-", "the state of the last operation goes as the next one begins"),
    missed("Application", "health of resources", "-", TOGETHER),
];

/// One thing in which the stand-ins differ from the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The object, such as `DataVolume root`.
    pub object: String,
    /// The facet, such as `phase`.
    pub facet: String,
    /// The whole sequence on the cluster.
    pub real: Vec<String>,
    /// The whole sequence of the stand-ins.
    pub stand_in: Vec<String>,
    /// What the stand-ins lack, and have too much, each after which value.
    pub what: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.object, self.facet)?;
        writeln!(f, "    cluster:   {}", shown(&self.real))?;
        writeln!(f, "    stand-ins: {}", shown(&self.stand_in))?;
        write!(f, "    {}", self.what.join("; "))
    }
}

fn shown(values: &[String]) -> String {
    if values.is_empty() { "no such object".to_owned() } else { values.join(" → ") }
}

/// In what the stand-ins differ; empty where they do as the cluster does.
pub fn compare(real: &Recording, stand_in: &Recording) -> Vec<Difference> {
    let none = BTreeMap::new();
    let objects: BTreeSet<_> = real.objects.keys().chain(stand_in.objects.keys()).collect();
    let mut differences = Vec::new();
    for object in objects {
        let of =
            |recording: &'_ Recording| recording.objects.get(object).cloned().unwrap_or_else(|| none.clone());
        let (ours, theirs) = (of(stand_in), of(real));
        // an object that is not there on one side is told once, by its first facet
        let facets: BTreeSet<_> = match (theirs.is_empty(), ours.is_empty()) {
            (false, false) => theirs.keys().chain(ours.keys()).collect(),
            _ => theirs.keys().chain(ours.keys()).filter(|facet| *facet == "exists").collect(),
        };
        for facet in facets {
            let at = |of: &BTreeMap<String, Vec<String>>| once(of.get(facet).map_or(&[][..], Vec::as_slice));
            let (real, stand_in) = (at(&theirs), at(&ours));
            let may = |after: &str, value: &str| may_be_missed(object, facet, after, value);
            // what is before and after a value that one side has not seen may be one
            if without(&real, may) == without(&stand_in, may) {
                continue;
            }
            let what = deviations(&real, &stand_in, may);
            if !what.is_empty() {
                differences.push(Difference {
                    object: object.clone(),
                    facet: facet.clone(),
                    real,
                    stand_in,
                    what,
                });
            }
        }
    }
    differences
}

fn may_be_missed(object: &str, facet: &str, after: &str, value: &str) -> bool {
    let kind = object.split(' ').next();
    MAY_BE_MISSED.iter().any(|one| {
        let place = kind == Some(one.object) && one.facet == facet;
        place && one.value == value && one.after.is_none_or(|before| before == after)
    })
}

/// Two or three values that take turns, once.
fn once(values: &[String]) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        seen.push(value.clone());
        for turn in [2, 3] {
            let (before, last) = seen.split_at(seen.len().saturating_sub(turn));
            if before.ends_with(last) {
                seen.truncate(before.len());
            }
        }
    }
    seen
}

/// The sequence without what may be absent.
fn without(values: &[String], may: impl Fn(&str, &str) -> bool) -> Vec<&str> {
    let before = std::iter::once("").chain(values.iter().map(String::as_str));
    let both = before.zip(values.iter().map(String::as_str));
    let mut left: Vec<&str> =
        both.filter(|(after, value)| !may(after, value)).map(|(_, value)| value).collect();
    left.dedup();
    left
}

/// What has to be done to the stand-ins' sequence to make it the cluster's: along the longest sequence that they share.
fn deviations(real: &[String], stand_in: &[String], may: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let shared = shared(real, stand_in);
    let (mut what, mut after) = (Vec::new(), "the beginning");
    let (mut r, mut s) = (0, 0);
    for (next_r, next_s) in shared.into_iter().chain([(real.len(), stand_in.len())]) {
        for value in real[r..next_r].iter().filter(|value| !may(after, value)) {
            what.push(format!("the stand-ins lack `{value}` after {after}"));
        }
        for value in stand_in[s..next_s].iter().filter(|value| !may(after, value)) {
            what.push(format!("the stand-ins say `{value}` after {after}, the cluster does not"));
        }
        if let Some(value) = real.get(next_r) {
            after = value;
        }
        (r, s) = (next_r + 1, next_s + 1);
    }
    what
}

/// The positions of the longest common subsequence.
fn shared(a: &[String], b: &[String]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = if a[i] == b[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::{Recording, compare};

    /// A recording with these values of one facet.
    fn of(object: &str, facet: &'static str, values: &[&str]) -> Recording {
        let mut recording = Recording::default();
        for value in values {
            recording.add(object, vec![("exists", "yes".to_owned()), (facet, (*value).to_owned())]);
        }
        recording
    }

    fn told(facet: &'static str, real: &[&str], stand_in: &[&str]) -> Vec<String> {
        let (real, stand_in) = (of("VirtualMachine", facet, real), of("VirtualMachine", facet, stand_in));
        compare(&real, &stand_in).into_iter().flat_map(|difference| difference.what).collect()
    }

    #[test]
    fn the_same_order_is_no_difference_and_another_is() {
        let running = ["Stopped", "Starting", "Running"];
        assert_eq!(told("printableStatus", &running, &running), [""; 0]);
        assert_eq!(
            told("printableStatus", &running, &["Starting", "Stopped", "Running"]),
            [
                "the stand-ins lack `Stopped` after the beginning",
                "the stand-ins say `Stopped` after Starting, the cluster does not",
            ]
        );
        assert_eq!(
            told("printableStatus", &running, &running[..2]),
            ["the stand-ins lack `Running` after Starting"]
        );
    }

    #[test]
    fn what_is_passed_fast_may_be_missed_only_where_it_is_named() {
        let waits = ["Stopped", "WaitingForVolumeBinding", "Starting", "Running"];
        let without = ["Stopped", "Starting", "Running"];
        assert_eq!(told("printableStatus", &waits, &without), [""; 0]);
        assert_eq!(told("printableStatus", &without, &waits), [""; 0]);
        // of another facet it is not named
        assert_eq!(
            told("Ready", &waits, &without),
            ["the stand-ins lack `WaitingForVolumeBinding` after Stopped"]
        );
    }

    #[test]
    fn how_often_two_values_took_turns_is_no_difference() {
        let twice = ["Starting", "ErrImagePull", "ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"];
        assert_eq!(told("printableStatus", &twice, &twice[..3]), [""; 0]);
        assert_eq!(
            told("printableStatus", &twice, &twice[..2]),
            ["the stand-ins lack `ImagePullBackOff` after ErrImagePull"]
        );
    }

    #[test]
    fn another_sync_is_no_difference_and_one_that_fails_is() {
        let (once, again) =
            (["-", "Running", "Succeeded"], ["-", "Running", "Succeeded", "-", "Running", "Succeeded"]);
        assert_eq!(told("operation", &again, &once), [""; 0]);
        let failed = ["-", "Running", "Succeeded", "-", "Running", "Failed"];
        assert_ne!(told("operation", &failed, &once), [""; 0]);
    }

    #[test]
    fn what_is_on_both_sides_of_a_missed_value_may_be_one() {
        let health = |real: &[&str], stand_in: &[&str]| {
            let (real, stand_in) = (of("Application", "health", real), of("Application", "health", stand_in));
            compare(&real, &stand_in).into_iter().flat_map(|difference| difference.what).collect::<Vec<_>>()
        };
        let passes = ["Missing", "Progressing", "Suspended", "Progressing"];
        assert_eq!(health(&passes, &["Missing", "Suspended", "Progressing"]), [""; 0]);
        assert_ne!(health(&passes, &["Missing", "Suspended"]), [""; 0]);
        // early, and not late
        let early = ["Missing", "Healthy", "Progressing", "Healthy"];
        assert_eq!(health(&early, &["Missing", "Progressing", "Healthy"]), [""; 0]);
        assert_ne!(health(&early, &["Missing", "Progressing"]), [""; 0]);
    }

    #[test]
    fn an_object_of_one_side_is_told_once() {
        let real = of("DataVolume root", "phase", &["Pending", "Succeeded"]);
        let differences = compare(&real, &Recording::default());
        let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "DataVolume root exists\n    cluster:   yes\n    stand-ins: no such object\n    the stand-ins lack `yes` after the beginning"
            ]
        );
    }
}
