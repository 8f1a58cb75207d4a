//! What is odd about a policy that can be read: rules that never hold, rules that say the same twice, rules that exclude each
//! other, and rules that leave open what they seem to close.
//!
//! A finding is certain: whatever is told here is so for every request. What a site may have meant is not guessed at.

mod environments;
mod finding;
mod keys;
mod lists;
mod names;
#[cfg(test)]
mod tests;

pub use finding::{Finding, Rule};

use super::{Policy, RequiredField, listed};
use crate::layout::VOLUME_SUFFIX;

/// The longest name of a machine with a boot disk, in characters: `<name>-root-<6 digits>` has to fit 63.
const WITH_BOOT_DISK: usize = 63 - "-root".len() - VOLUME_SUFFIX;
/// The longest name of any machine.
const NAME: usize = 63;

/// The operation that most rules are for.
const PROVISION: &[&str] = &["provision"];

/// Every finding, in the order of the document.
pub fn check(policy: &Policy) -> Vec<Finding> {
    let mut found = Vec::new();
    operations(policy, &mut found);
    clusters(policy, &mut found);
    name_pattern(policy, &mut found);
    sizes(policy, &mut found);
    required(policy, &mut found);
    disks(policy, &mut found);
    lists::check(policy, &mut found);
    keys::check(policy, &mut found);
    environments::check(policy, &mut found);
    found.sort_by(Finding::order);
    found
}

/// Rules for operations that nobody may ask for.
fn operations(policy: &Policy, found: &mut Vec<Finding>) {
    let any = |words: &[&str]| words.iter().any(|word| policy.allows_operation(word));
    let limits = &policy.limits;
    let rules: [(&str, bool, &[&str]); 7] = [
        ("/spec/limits/cpu", limits.cpu.is_some(), &["provision", "resize"]),
        ("/spec/limits/memory", limits.memory.is_some(), &["provision", "resize"]),
        ("/spec/limits/diskSize", limits.disk_size.is_some(), &["provision", "resize"]),
        ("/spec/instanceTypes", !policy.instance_types.is_empty(), &["provision", "resize"]),
        ("/spec/images/registries", !policy.images.registries.is_empty(), &["provision", "repave"]),
        ("/spec/images/urlPrefixes", !policy.images.url_prefixes.is_empty(), &["provision", "repave"]),
        ("/spec/patchProfiles", !policy.patch_profiles.is_empty(), &["patch"]),
    ];
    let new: [(&str, bool); 17] = [
        ("/spec/limits/disks", limits.disks.is_some()),
        ("/spec/limits/gpus", limits.gpus.is_some()),
        ("/spec/limits/hostDevices", limits.host_devices.is_some()),
        ("/spec/limits/lifetimeDays", limits.lifetime_days.is_some()),
        ("/spec/networks", !policy.networks.is_empty()),
        ("/spec/storageTiers", !policy.storage_tiers.is_empty()),
        ("/spec/storageClasses", !policy.storage_classes.is_empty()),
        ("/spec/labels", !policy.labels.is_empty()),
        ("/spec/annotations", !policy.annotations.is_empty()),
        ("/spec/nodeSelector", !policy.node_selector.is_empty()),
        ("/spec/devices", !policy.devices.is_empty()),
        ("/spec/allow/userData", policy.allow.user_data),
        ("/spec/allow/userDataSecret", policy.allow.user_data_secret),
        ("/spec/allow/macAddress", policy.allow.mac_address),
        ("/spec/allow/sysprep", policy.allow.sysprep),
        ("/spec/allow/accessCredentials", policy.allow.access_credentials),
        ("/spec/allow/configDisks", policy.allow.config_disks),
    ];
    let new = new.into_iter().map(|(pointer, set)| (pointer, set, PROVISION));
    for (pointer, set, words) in rules.into_iter().chain(new) {
        if set && !any(words) {
            let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" and ");
            let message = format!("it is for {words} alone, and `operations` does not allow that");
            found.push(
                Finding::new(pointer, Rule::Unreachable, message).hint("remove it, or allow the operation"),
            );
        }
    }
}

/// Clusters that no request ever has, and a default that is none of them.
fn clusters(policy: &Policy, found: &mut Vec<Finding>) {
    let default = policy.defaults.cluster.as_str();
    if !listed(&policy.clusters, default) {
        let message =
            format!("`{default}` is not among `clusters`, so the policy is refused with every request");
        found.push(Finding::new("/spec/defaults/cluster", Rule::Contradiction, message).hint("add it there"));
    }
    if policy.allow.cluster_by_requester {
        return;
    }
    for (at, cluster) in policy.clusters.iter().enumerate().filter(|(_, cluster)| !cluster.matches(default)) {
        let message = format!(
            "requests may name no cluster but the default, `{default}`, which `{}` is not",
            cluster.as_str()
        );
        found.push(
            Finding::new(format!("/spec/clusters/{at}"), Rule::Unreachable, message)
                .hint("set `allow.clusterByRequester`"),
        );
    }
}

/// A pattern that no name of a machine matches.
fn name_pattern(policy: &Policy, found: &mut Vec<Finding>) {
    let Some(pattern) = &policy.name_pattern else { return };
    let pointer = "/spec/namePattern";
    let finding = match names::shortest(pattern.as_str()) {
        None => Finding::new(pointer, Rule::Contradiction, "no name matches it, so every request is denied")
            .hint("names are of a-z, 0-9 and -"),
        Some(length) if length > NAME => {
            let message =
                format!("what matches it has {length} characters or more, and a name at most {NAME}");
            Finding::new(pointer, Rule::Contradiction, message).hint("shorten it")
        }
        Some(length) if length > WITH_BOOT_DISK && policy.limits.disks != Some(0) => {
            let message =
                format!("what matches it has {length} characters or more: no machine could have a boot disk");
            Finding::new(pointer, Rule::Contradiction, message)
                .hint(format!("leave room: at most {WITH_BOOT_DISK}"))
        }
        Some(_) => return,
    };
    found.push(finding);
}

/// Limits that instance types do not know.
fn sizes(policy: &Policy, found: &mut Vec<Finding>) {
    if !["provision", "resize"].iter().any(|word| policy.allows_operation(word)) {
        return;
    }
    let limits = [("cpu", policy.limits.cpu.is_some()), ("memory", policy.limits.memory.is_some())];
    for (field, _) in limits.iter().filter(|(_, set)| *set) {
        let pointer = format!("/spec/limits/{field}");
        if !policy.allow.cpu_and_memory {
            let message = "machines are sized by instance type alone, which is not held to it";
            found.push(
                Finding::new(pointer, Rule::Unreachable, message).hint("remove it, and list `instanceTypes`"),
            );
        } else if policy.instance_types.is_empty() {
            let message = "an instance type is not held to it, and every one may be named";
            found.push(Finding::new(pointer, Rule::Open, message).hint("list `instanceTypes`"));
        }
    }
}

/// Fields of new machines where nobody may ask for one, and a lifetime that whoever gives no last day is not held to.
fn required(policy: &Policy, found: &mut Vec<Finding>) {
    let provision = policy.allows_operation("provision");
    for (at, field) in policy.required.iter().enumerate() {
        if field.is_of_a_machine() && !provision {
            let message =
                format!("`{}` is for `provision` alone, and `operations` does not allow that", field.word());
            let finding = Finding::new(format!("/spec/required/{at}"), Rule::Unreachable, message);
            found.push(finding.hint("remove it, or allow the operation"));
        }
    }
    if provision
        && policy.limits.lifetime_days.is_some()
        && !environments::all_require(policy, RequiredField::ExpiresAt)
    {
        let message = "a machine without `expiresAt` is not held to it";
        let finding = Finding::new("/spec/limits/lifetimeDays", Rule::Open, message);
        found.push(finding.hint("add `expiresAt` to `required`"));
    }
}

/// Rules for disks where there may be none, and a default tier that is not there.
fn disks(policy: &Policy, found: &mut Vec<Finding>) {
    let tier = policy.defaults.tier.as_ref();
    if let Some(tier) = tier.filter(|tier| !policy.storage_tiers.contains_key(tier)) {
        let message =
            format!("`{tier}` is not among `storageTiers`, so the policy is refused with every request");
        found.push(Finding::new("/spec/defaults/tier", Rule::Contradiction, message).hint("add it there"));
    }
    if policy.limits.disks != Some(0) {
        return;
    }
    let images = &policy.images;
    for (pointer, set) in [
        ("/spec/limits/diskSize", policy.limits.disk_size.is_some()),
        ("/spec/storageTiers", !policy.storage_tiers.is_empty()),
        ("/spec/storageClasses", !policy.storage_classes.is_empty()),
        ("/spec/images/urlPrefixes", !images.url_prefixes.is_empty()),
        ("/spec/images/dataSources/default", images.data_sources.default.is_some()),
        ("/spec/images/dataSources/namespaces", !images.data_sources.namespaces.is_empty()),
    ] {
        // `repave` and `resize` are about disks of machines that were there before the policy
        let repaved = pointer.starts_with("/spec/images") && policy.allows_operation("repave");
        let resized = pointer.ends_with("/diskSize") && policy.allows_operation("resize");
        if set && !repaved && !resized {
            let message = "it is for machines with disks, and `limits.disks` is 0";
            found.push(Finding::new(pointer, Rule::Unreachable, message).hint("allow disks, or remove it"));
        }
    }
}
