//! What goes wrong on demand.

use std::mem::discriminant;

/// What Argo CD does otherwise than it should, or than release 3.5.7 does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// So many refreshes are lost: the annotation goes, and nothing else moves (argo-cd#28392).
    LosesRefreshes(usize),
    /// Nothing is looked at; it finds the newest commit when it is back, and never saw those between.
    Away,
    /// Compared with the commit of the last comparison, whatever the branch holds: `reconciledAt` moves on, Synced and the old
    /// revision stay.
    Stale,
    /// So many attempts of a sync fail, in these words.
    SyncFails(String, usize),
    /// The manifests cannot be generated, in these words: `Unknown` at the name of the branch, Healthy, and a `ComparisonError`
    /// (seen on 3.5.7).
    NoManifests(String),
    /// A sync is over when the machine that it applied is healthy, as one with waves or hooks is.
    Waves,
    /// A stopped machine is Suspended, as before 3.5: `health.lua` of `VirtualMachine` had no rule for it.
    StoppedIsSuspended,
    /// `status.resources[].health` is there, and `resourceHealthSource` is not: before 3.0, or with `controller.resource.health.persist`.
    HealthInResources,
}

/// The faults of each Application by name; those of all are without one.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Option<String>, Fault)>);

impl Faults {
    /// Do wrong, with one Application or with all; what was wrong of this kind is no more.
    pub(super) fn set(&mut self, of: Option<&str>, fault: Fault) {
        self.unset(of, &fault);
        self.0.push((of.map(str::to_owned), fault));
    }

    /// Do right again in this.
    pub(super) fn unset(&mut self, of: Option<&str>, kind: &Fault) {
        self.0.retain(|(name, fault)| name.as_deref() != of || discriminant(fault) != discriminant(kind));
    }

    /// Do everything right again with this Application.
    pub(super) fn heal(&mut self, of: &str) {
        self.0.retain(|(name, _)| name.as_deref() != Some(of));
    }

    fn of<'a>(&'a mut self, application: &'a str) -> impl Iterator<Item = &'a mut Fault> {
        let concerns = move |of: &Option<String>| of.as_deref().is_none_or(|name| name == application);
        self.0.iter_mut().filter(move |(of, _)| concerns(of)).map(|(_, fault)| fault)
    }

    /// Whether this is wrong with the Application.
    pub(super) fn has(&mut self, application: &str, fault: &Fault) -> bool {
        self.of(application).any(|other| other == fault)
    }

    /// Whether this refresh is one to lose.
    pub(super) fn lose(&mut self, application: &str) -> bool {
        self.of(application).any(|fault| match fault {
            Fault::LosesRefreshes(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
    }

    /// How many refreshes of all Applications are still to be lost.
    pub(super) fn to_lose(&self) -> usize {
        let left = self.0.iter().map(|(of, fault)| match fault {
            Fault::LosesRefreshes(left) if of.is_none() => *left,
            _ => 0,
        });
        left.sum()
    }

    /// The words in which this attempt fails, if it is one to fail.
    pub(super) fn fail(&mut self, application: &str) -> Option<String> {
        self.of(application).find_map(|fault| match fault {
            Fault::SyncFails(words, left) if *left > 0 => {
                *left = left.saturating_sub(1);
                Some(words.clone())
            }
            _ => None,
        })
    }

    /// Why there are no manifests.
    pub(super) fn no_manifests(&mut self, application: &str) -> Option<String> {
        self.of(application).find_map(|fault| match fault {
            Fault::NoManifests(words) => Some(words.clone()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults};

    #[test]
    fn a_fault_is_of_one_application_or_of_all_and_is_used_up() {
        let mut faults = Faults::default();
        faults.set(Some("a"), Fault::LosesRefreshes(1));
        faults.set(Some("a"), Fault::SyncFails("no".to_owned(), 1));
        assert!(!faults.lose("b") && faults.lose("a") && !faults.lose("a"));
        assert_eq!(
            [faults.fail("b"), faults.fail("a"), faults.fail("a")],
            [None, Some("no".to_owned()), None]
        );
        faults.set(None, Fault::Away);
        assert!(faults.has("a", &Fault::Away) && faults.has("b", &Fault::Away));
        faults.heal("a");
        assert!(faults.has("a", &Fault::Away));
        faults.unset(None, &Fault::Away);
        assert!(!faults.has("a", &Fault::Away));
    }
}
