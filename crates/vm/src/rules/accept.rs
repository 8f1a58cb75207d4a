//! From a document without problems to the request that everything else works with.

use serde_json::Value;

use crate::policy::Policy;
use crate::request::{Image, Request};

/// The request with every default explicit: those of the format by its types, those of the site by its policy.
///
/// Hold to [`super::request`] first: an error here means that schema, rules and types disagree, which is a bug.
/// Accepting what was accepted changes nothing.
pub fn accept(request: &Value, policy: &Policy) -> Result<Request, serde_json::Error> {
    let absent = |pointer: &str| request.pointer(pointer).is_none();
    let mut accepted: Request = serde_json::from_value(request.clone())?;
    let spec = &mut accepted.spec;
    if absent("/spec/target/cluster") {
        spec.target.cluster = policy.defaults.cluster.clone();
    }
    if absent("/spec/lifecycle/gracePeriodSeconds") {
        spec.lifecycle.grace_period_seconds = policy.defaults.grace_period_seconds;
    }
    for disk in &mut spec.disks {
        if disk.tier.is_none() && disk.storage_class.is_none() {
            disk.tier.clone_from(&policy.defaults.tier);
        }
        if let Some(class) = disk.tier.as_ref().and_then(|tier| policy.storage_tiers.get(tier)) {
            disk.storage_class = Some(class.clone());
        }
    }
    if let Image::DataSource { namespace, .. } = &mut spec.image {
        let default = policy.images.data_sources.default.as_ref();
        namespace.get_or_insert_with(|| default.unwrap_or(&spec.target.namespace).clone());
    }
    spec.customization.hostname.get_or_insert_with(|| spec.target.name.clone());
    Ok(accepted)
}
