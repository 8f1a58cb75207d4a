//! What is in a disk: one word in place of bytes, so that a test sees whether data was kept, copied, put back or lost.
//!
//! The word is an annotation of the claim, in the way of its volume: it is set when the claim is filled, lost with the claim, copied
//! by clones and snapshots. Nothing else reads it.

use anyhow::{Context as _, Result};
use kube::Client;
use serde_json::{Value, json};

use crate::standin::{Objects, claims};

/// The annotation of a `PersistentVolumeClaim`, or of a `VolumeSnapshot`, that holds the word.
pub const CONTENT: &str = "testbed.vmlifecycle.dev/content";
/// What is in a disk that nothing was ever written to.
pub const BLANK: &str = "blank";

/// The disks of a cluster.
#[derive(Debug, Clone)]
pub struct Disks(Objects);

impl Disks {
    /// The disks that `client` reaches.
    pub fn new(client: Client) -> Self {
        Self(Objects::new(client))
    }

    /// What is in the disk of a claim; none where there is no claim, or nothing filled it yet.
    pub async fn read(&self, namespace: &str, claim: &str) -> Result<Option<String>> {
        let claim = self.0.get(&claims().path(namespace, claim)).await?;
        Ok(claim.as_ref().and_then(content).map(str::to_owned))
    }

    /// Write into the disk of a claim, as the guest would.
    pub async fn write(&self, namespace: &str, claim: &str, word: &str) -> Result<()> {
        let path = claims().path(namespace, claim);
        let there = self.0.get(&path).await?.with_context(|| format!("no claim `{namespace}/{claim}`"))?;
        content(&there).with_context(|| format!("claim `{namespace}/{claim}` holds no disk yet"))?;
        self.0.merge(&path, &marked(word)).await
    }
}

/// What an object's disk holds.
pub(crate) fn content(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][CONTENT].as_str()
}

/// A merge patch that puts a word in.
pub(crate) fn marked(word: &str) -> Value {
    json!({ "metadata": { "annotations": { CONTENT: word } } })
}
