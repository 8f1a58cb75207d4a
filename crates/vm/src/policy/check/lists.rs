//! Items of lists that say nothing: another one says it already, or no name is like it.

use super::finding::{Finding, Rule};
use crate::policy::{PLATFORM, Policy, Wildcard};
use crate::problem::echo;

/// The longest name in each kind of list, in characters: DNS labels, and names of Kubernetes objects (subdomains).
pub(super) const LABEL: usize = 63;
const SUBDOMAIN: usize = 253;

pub(super) fn check(policy: &Policy, found: &mut Vec<Finding>) {
    let images = &policy.images;
    for (pointer, list, longest) in [
        ("/spec/clusters", &policy.clusters, LABEL),
        ("/spec/namespaces", &policy.namespaces, LABEL),
        ("/spec/instanceTypes", &policy.instance_types, SUBDOMAIN),
        ("/spec/images/dataSources/namespaces", &images.data_sources.namespaces, LABEL),
        ("/spec/patchProfiles", &policy.patch_profiles, LABEL),
        ("/spec/storageClasses", &policy.storage_classes, SUBDOMAIN),
    ] {
        names(pointer, list, longest, found);
    }
    let texts: Vec<&str> = images.registries.iter().map(String::as_str).collect();
    let within =
        |wide: &str, narrow: &str| narrow.strip_prefix(wide).is_some_and(|rest| rest.starts_with('/'));
    twice("/spec/images/registries", &texts, within, found);
    let texts: Vec<&str> = images.url_prefixes.iter().map(String::as_str).collect();
    let within = |wide: &str, narrow: &str| wide.ends_with('/') && narrow.starts_with(wide);
    twice("/spec/images/urlPrefixes", &texts, within, found);
    for (at, text) in texts.iter().enumerate() {
        if let Some(part) = crate::rules::twofold(text) {
            let message = format!("no address is taken that has `{part}` in its path");
            let finding = Finding::new(format!("/spec/images/urlPrefixes/{at}"), Rule::Unreachable, message);
            found.push(finding.hint("give the path as it is on the server"));
        }
    }
    default_data_source(policy, found);
    platform(policy, found);
}

/// Items that another one covers, or that no name of at most so many characters is like.
pub(super) fn names(pointer: &str, list: &[Wildcard], longest: usize, found: &mut Vec<Finding>) {
    let texts: Vec<&str> = list.iter().map(Wildcard::as_str).collect();
    twice(
        pointer,
        &texts,
        |wide, narrow| wide.strip_suffix('*').is_some_and(|start| narrow.starts_with(start)),
        found,
    );
    for (at, text) in texts.iter().enumerate() {
        let start = text.trim_end_matches('*');
        let why = if longest == LABEL && start.contains('.') {
            "a name here has no dots"
        } else if start.len() > longest
            || start.contains("..")
            || start.contains(".-")
            || start.contains("-.")
        {
            "no name is like this"
        } else {
            continue;
        };
        let finding =
            Finding::new(format!("{pointer}/{at}"), Rule::Unreachable, format!("{}: {why}", echo(text)));
        found.push(finding.hint("correct or remove it"));
    }
}

/// Items that another one of the list covers.
pub(super) fn twice(
    pointer: &str,
    list: &[&str],
    covers: impl Fn(&str, &str) -> bool,
    found: &mut Vec<Finding>,
) {
    for (at, narrow) in list.iter().enumerate() {
        let wide = list.iter().find(|wide| *wide != narrow && covers(wide, narrow));
        if let Some(wide) = wide {
            let message = format!("{} says it already", echo(wide));
            found.push(Finding::new(format!("{pointer}/{at}"), Rule::Redundant, message).hint("remove it"));
        }
    }
}

fn default_data_source(policy: &Policy, found: &mut Vec<Finding>) {
    let sources = &policy.images.data_sources;
    let Some(default) = &sources.default else { return };
    for (at, _) in sources.namespaces.iter().enumerate().filter(|(_, item)| item.as_str() == default.as_str())
    {
        let pointer = format!("/spec/images/dataSources/namespaces/{at}");
        found
            .push(Finding::new(pointer, Rule::Redundant, "the default may be used anyway").hint("remove it"));
    }
}

/// Namespaces of the platform that are let in by a wildcard which does not name them.
fn platform(policy: &Policy, found: &mut Vec<Finding>) {
    for (at, item) in policy.namespaces.iter().enumerate() {
        let Some(start) = item.as_str().strip_suffix('*') else { continue };
        let lets_in = |name: &&&str| {
            let own = name.trim_end_matches(['*', '-']);
            own.starts_with(start) && own.len() > start.len()
        };
        if let Some(name) = PLATFORM.iter().find(lets_in) {
            let message = format!("{} lets machines into the platform's own `{name}`", echo(item.as_str()));
            found.push(
                Finding::new(format!("/spec/namespaces/{at}"), Rule::Open, message)
                    .hint("list the namespaces of teams, such as `team-*`"),
            );
        }
    }
}
