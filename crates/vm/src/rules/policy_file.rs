//! What the schema of a policy cannot say.

use serde_json::Value;

use crate::policy::{Finding, NamePattern, NameTemplate, PolicyFile, check, listed};
use crate::problem::{Code, Problem};
use crate::quantity::Quantity;

use super::{Facts, merge};

/// A policy as it is meant, or every problem of its file.
pub fn policy_file(file: &Value, schema: Vec<Problem>) -> Result<PolicyFile, Vec<Problem>> {
    let policy = read(file, schema)?;
    let problems = defaults(&policy);
    if problems.is_empty() { Ok(policy) } else { Err(problems) }
}

/// What is odd about a policy, or every problem for which it cannot be read.
pub fn policy_check(file: &Value, schema: Vec<Problem>) -> Result<Vec<Finding>, Vec<Problem>> {
    read(file, schema).map(|policy| check(&policy.spec))
}

fn read(file: &Value, schema: Vec<Problem>) -> Result<PolicyFile, Vec<Problem>> {
    let mut found = Vec::new();
    let facts = Facts { request: file, schema: &schema };
    let pattern = |text: String| NamePattern::try_from(text).err();
    let template = |text: String| NameTemplate::try_from(text).err();
    for (pointer, why) in [
        ("/spec/namePattern", &pattern as &dyn Fn(String) -> Option<String>),
        ("/spec/nameTemplate", &template),
    ] {
        let why = facts.text(pointer).and_then(|text| why(text.to_owned()));
        found.extend(why.map(|why| Problem::new(pointer, Code::Pattern, why)));
    }
    for pointer in ["/spec/limits/memory", "/spec/limits/diskSize"] {
        if facts.text(pointer).is_some() && facts.parsed::<Quantity>(pointer).is_none() {
            found.push(Problem::new(pointer, Code::Range, "more than 1024Ti"));
        }
    }
    let problems = merge(schema, found);
    if !problems.is_empty() {
        return Err(problems);
    }
    let read = serde_json::from_value::<PolicyFile>(file.clone());
    read.map_err(|error| vec![Problem::new("", Code::Type, error.to_string())])
}

/// Defaults that the policy itself would refuse.
fn defaults(file: &PolicyFile) -> Vec<Problem> {
    let policy = &file.spec;
    let mut found = Vec::new();
    if !listed(&policy.clusters, policy.defaults.cluster.as_str()) {
        let message = format!("`{}` is not among `clusters`", policy.defaults.cluster);
        found.push(Problem::new("/spec/defaults/cluster", Code::PolicyCluster, message));
    }
    if let Some(tier) = policy.defaults.tier.as_ref().filter(|tier| !policy.storage_tiers.contains_key(tier))
    {
        let message = format!("`{tier}` is not among `storageTiers`");
        found.push(Problem::new("/spec/defaults/tier", Code::PolicyStorage, message));
    }
    found
}
