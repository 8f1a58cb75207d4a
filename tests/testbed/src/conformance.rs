//! What the objects of a machine go through, recorded, and two such recordings compared.
//!
//! The same recorder watches a real cluster and one with stand-ins; where the two differ, the stand-in is wrong. What it keeps is
//! [facets](facet) of objects, such as `printableStatus` of the `VirtualMachine`: of each the sequence of distinct values, from the object's
//! creation on. Facets are compared one by one: which of two controllers writes first is no difference, the order within one facet is.
//!
//! How two sequences of a facet are compared ([`compare`]):
//!
//! - Two or three values that take turns count once: `ErrImagePull, ImagePullBackOff, ErrImagePull, ImagePullBackOff` is
//!   `ErrImagePull, ImagePullBackOff`, for how often depends on how long one looks, and Argo CD may sync once more what is synced.
//! - The rest must be the same values in the same order. A value that is passed so fast that one side may not write it at all is
//!   allowed to be absent on either side, but only where [`MAY_BE_MISSED`] names it, with the reason.
//! - An object that only one side has is a difference.

mod compare;
pub mod facet;
mod record;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

pub use compare::{Difference, MAY_BE_MISSED, Missed, compare};
pub use record::{Recorder, Subject};

/// What was seen of one machine in one scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// The scenario.
    pub scenario: String,
    /// On what, such as `stand-ins` or `Kubernetes v1.36.1`.
    pub on: String,
    /// The distinct values by object, such as `DataVolume root`, and facet, such as `phase`.
    pub objects: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Recording {
    /// What a file holds that [`Recording::write`] wrote.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Write it as JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, format!("{text}\n")).with_context(|| file.display().to_string())
    }

    /// How many distinct values were seen.
    pub fn states(&self) -> usize {
        self.objects.values().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// The last value of a facet.
    pub fn last(&self, object: &str, facet: &str) -> Option<&str> {
        self.objects.get(object)?.get(facet)?.last().map(String::as_str)
    }

    /// Add what is seen of an object now.
    fn add(&mut self, object: &str, seen: Vec<(&'static str, String)>) -> bool {
        let mut new = false;
        let facets = self.objects.entry(object.to_owned()).or_default();
        for (facet, value) in seen {
            let values = facets.entry(facet.to_owned()).or_default();
            if values.last() != Some(&value) {
                values.push(value);
                new = true;
            }
        }
        new
    }
}
