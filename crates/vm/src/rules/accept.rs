//! From a document without problems to the request that everything else works with.

use serde_json::Value;

use crate::day_two;
use crate::policy::Policy;
use crate::request::{Accepted, Image, NetworkKind, Request, Target};

/// The request with every default explicit: those of the format by its types, those of the site by its policy.
///
/// Hold to [`super::request`] first: an error here means that schema, rules and types disagree, which is a bug.
/// Accepting what was accepted changes nothing.
pub fn accepted(request: &Value, policy: &Policy) -> Result<Accepted, serde_json::Error> {
    if request.pointer("/spec/operation").is_some_and(|word| word == "provision") {
        return accept(request, policy).map(Accepted::Provision);
    }
    let mut accepted: day_two::Request = serde_json::from_value(request.clone())?;
    let spec = &mut accepted.spec;
    cluster(request, &mut spec.target, policy);
    if let day_two::Operation::Repave(day_two::Repave { image: Some(image), .. }) = &mut spec.operation {
        image_namespace(image, &spec.target, policy);
    }
    Ok(Accepted::DayTwo(accepted))
}

/// As [`accepted`], for a request for a new machine.
pub fn accept(request: &Value, policy: &Policy) -> Result<Request, serde_json::Error> {
    let absent = |pointer: &str| request.pointer(pointer).is_none();
    let mut accepted: Request = serde_json::from_value(request.clone())?;
    let spec = &mut accepted.spec;
    cluster(request, &mut spec.target, policy);
    if absent("/spec/lifecycle/gracePeriodSeconds") {
        spec.lifecycle.grace_period_seconds = policy.defaults.grace_period_seconds;
    }
    let named = spec.lifecycle.environment.as_ref();
    let environment = named.and_then(|name| policy.environments.get(name));
    spec.lifecycle.protected |= environment.is_some_and(|environment| environment.protected);
    for disk in &mut spec.disks {
        if disk.tier.is_none() && disk.storage_class.is_none() {
            disk.tier.clone_from(&policy.defaults.tier);
        }
        if let Some(class) = disk.tier.as_ref().and_then(|tier| policy.storage_tiers.get(tier)) {
            disk.storage_class = Some(class.clone());
        }
    }
    for disk in &mut spec.config_disks {
        disk.serial = disk.serial.take().or_else(|| disk.name.as_str().parse().ok());
    }
    for network in spec.networks.iter_mut().filter(|network| network.kind == NetworkKind::Multus) {
        network.binding = Some(network.bound());
        network.network_name = network.network_name.as_ref().map(|name| name.within(&spec.target.namespace));
    }
    image_namespace(&mut spec.image, &spec.target, policy);
    spec.customization.hostname.get_or_insert_with(|| spec.target.name.clone());
    Ok(accepted)
}

fn cluster(request: &Value, target: &mut Target, policy: &Policy) {
    if request.pointer("/spec/target/cluster").is_none() {
        target.cluster = policy.defaults.cluster.clone();
    }
}

fn image_namespace(image: &mut Image, target: &Target, policy: &Policy) {
    if let Image::DataSource { namespace, .. } = image {
        let default = policy.images.data_sources.default.as_ref();
        namespace.get_or_insert_with(|| default.unwrap_or(&target.namespace).clone());
    }
}
