//! What can go wrong, or another way, while a machine is provisioned: each by a name that tests and the demo ask for.
//!
//! A scenario is a request, what the stand-ins do about it, and for some a thing that somebody does on the way. Every one of them
//! names the source of its fact: code of a release, an issue, or `measured.md`, which is what a real cluster was seen to do. What a
//! scenario shows is shown of the flow, never of Argo CD, KubeVirt or CDI.
//!
//! Not here, because a provision never meets it: the run strategies that no request can ask for but by an edit in Git
//! ([`ALL`] has one); `Provisioning` and `DataVolumeError` of `printableStatus`, which are about volumes of the kind `dataVolume`,
//! where ours are claims; `WaitingForReceiver`, of a migration between clusters.

mod argocd;
mod cdi;
mod kubevirt;
mod stage;

use serde_json::{Value, json};

pub use stage::Place;

/// One of [`ALL`].
#[derive(Debug)]
pub struct Scenario {
    /// Kebab-case: whose doing it is, then what.
    pub name: &'static str,
    /// What happens, for people.
    pub about: &'static str,
    /// Where the fact is from.
    pub source: &'static str,
    /// What is asked for besides a machine from a container disk.
    request: fn(&mut Value),
    /// What is wrong from the beginning.
    wrong: fn() -> Vec<Wrong>,
    /// What is done as soon as a step says these words.
    turn: Option<(&'static str, Turn)>,
    /// The value of an object's [facet](crate::conformance::facet) that says that the cause is there, where it stays: the wait of the flow
    /// begins then, so that a busy machine does not eat up its deadline.
    shown: Option<(&'static str, &'static str, &'static str)>,
    /// The flow's `timeout`: no end where the flow ends by itself, and an affordable one where something stays as it is.
    pub timeout: &'static str,
}

/// For what ends by itself, within the minute that the flow has patience with most things: a busy machine is no cause.
const LONG: &str = "5m";
/// For what stays as it is, once it is there.
const SHORT: &str = "25s";

/// What is wrong, and with what.
#[derive(Debug)]
enum Wrong {
    /// The Application of the machine.
    Application(crate::argocd::Fault),
    /// The Application that makes it.
    Parent(crate::argocd::Fault),
    /// The machine, or its instance.
    Machine(crate::kubevirt::Fault),
    /// The volume of its boot disk.
    Disk(crate::cdi::Fault),
    /// The Application is there already, and has applied an object with this sync option that Git does not hold any more.
    Leftover(&'static str),
}

/// What somebody does on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Whatever was wrong is right again.
    Heal,
    /// Others commit so many times to the branch, elsewhere; then whatever was wrong is right again.
    Overtake(usize),
    /// Somebody commits this run strategy for the machine; then whatever was wrong is right again.
    Replace(&'static str),
    /// Somebody halts the machine in the cluster, beside Git.
    Halt,
}

/// Every scenario.
pub const ALL: [&[Scenario]; 3] = [&argocd::ALL, &kubevirt::ALL, &cdi::ALL];

/// All of [`ALL`], one after the other.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.into_iter().flatten()
}

impl Scenario {
    /// One that goes well, from a container disk, in time: the others say what differs.
    const fn new(name: &'static str, about: &'static str, source: &'static str) -> Self {
        Self { name, about, source, request: |_| (), wrong: Vec::new, turn: None, shown: None, timeout: LONG }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        all().find(|scenario| scenario.name == name)
    }

    /// The request for the machine of this name.
    pub fn request(&self, namespace: &str, name: &str) -> Value {
        let mut request = json!({
            "apiVersion": "vmlifecycle.dev/v1alpha1",
            "kind": "VMRequest",
            "metadata": {"requestId": format!("scenario-{}", self.name), "requestedBy": "a scenario"},
            "spec": {
                "operation": "provision",
                "target": {"name": name, "namespace": namespace},
                "compute": {"cpu": 1, "memory": "1Gi"},
                "image": {"source": "container-disk", "reference": "quay.io/containerdisks/fedora:42"},
                "lifecycle": {"gracePeriodSeconds": 5},
            },
        });
        (self.request)(&mut request["spec"]);
        request
    }

    /// Whether it takes a while, because the flow waits for what does not come.
    pub fn lasts(&self) -> bool {
        self.timeout == SHORT || (self.turn.is_none() && !(self.wrong)().is_empty())
    }

    /// The words of a step at which [`Scenario::turn`] is to be called, once.
    pub fn turns_at(&self) -> Option<&'static str> {
        self.turn.map(|(words, _)| words)
    }
}

/// A machine that is declared stopped.
fn off(spec: &mut Value) {
    spec["power"] = "off".into();
}

/// A boot disk that is imported.
fn disk(spec: &mut Value) {
    spec["image"] = json!({"source": "http", "url": "https://images.corp.example/first.img"});
    spec["disks"] = json!([{"name": "root", "role": "root", "size": "10Gi"}]);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Wrong, all};
    use crate::cdi::{Fault, PHASES};

    #[test]
    fn a_name_is_one_scenarios_and_every_one_has_a_source() {
        let names: BTreeSet<_> = all().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().count());
        for scenario in all() {
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            // it is the name of a namespace in tests
            assert!(scenario.name.len() < 50 && scenario.name.chars().all(kebab), "{}", scenario.name);
            assert!(!scenario.about.is_empty() && !scenario.source.is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn every_phase_of_a_data_volume_is_passed_or_stayed_in() {
        let mut phases = BTreeSet::from(["ImportScheduled", "ImportInProgress", "Succeeded"]);
        for scenario in all() {
            for wrong in (scenario.wrong)() {
                if let Wrong::Disk(Fault::Through(some) | Fault::Stays(some)) = wrong {
                    phases.extend(some);
                }
            }
        }
        assert_eq!(phases, BTreeSet::from(PHASES));
    }
}
