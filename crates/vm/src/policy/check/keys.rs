//! Items of lists of networks, of keys and of what nodes have, that say nothing or let nothing in.

use std::str::FromStr;

use super::finding::{Finding, Rule};
use super::lists::{names, twice};
use crate::name::{DeviceName, LabelKey, LabelValue, NetworkName};
use crate::policy::{Policy, Wildcard};
use crate::problem::echo;

/// What can stand in place of the `*` if anything can.
const TAILS: [&str; 4] = ["", "x", "/x", "x/x"];

pub(super) fn check(policy: &Policy, found: &mut Vec<Finding>) {
    // one without namespace is about networks of the machine's own
    let alike = |wide: &str, narrow: &str| wide.contains('/') == narrow.contains('/');
    items::<NetworkName>("/spec/networks", &policy.networks, alike, found);
    for (pointer, list) in [("/spec/labels", &policy.labels), ("/spec/annotations", &policy.annotations)] {
        items::<LabelKey>(pointer, list, |_, _| true, found);
        for (at, item) in list.iter().enumerate() {
            if let Some(domain) = LabelKey::platform_of(item.as_str()) {
                let message = format!("keys of `{domain}` belong to the platform, and no request gives them");
                let finding = Finding::new(format!("{pointer}/{at}"), Rule::Unreachable, message);
                found.push(finding.hint("remove it"));
            }
        }
    }
    for (at, label) in policy.node_selector.iter().enumerate() {
        let pointer = format!("/spec/nodeSelector/{at}");
        items::<LabelValue>(&format!("{pointer}/values"), &label.values, |_, _| true, found);
        namespaces(&format!("{pointer}/namespaces"), &label.namespaces, policy, found);
        let wider = policy.node_selector.iter().enumerate().find(|(other, wide)| {
            *other != at
                && wide.key == label.key
                && holds(&wide.values, &label.values)
                && holds(&wide.namespaces, &label.namespaces)
                // of two that say the same the first is kept
                && (*other < at || !holds(&label.values, &wide.values) || !holds(&label.namespaces, &wide.namespaces))
        });
        said(&pointer, wider.map(|(other, _)| format!("/spec/nodeSelector/{other}")), found);
    }
    for (at, device) in policy.devices.iter().enumerate() {
        let pointer = format!("/spec/devices/{at}");
        let name = std::slice::from_ref(&device.device_name);
        if unlike::<DeviceName>(device.device_name.as_str()) {
            found.push(no_name(&format!("{pointer}/deviceName"), &device.device_name));
        }
        namespaces(&format!("{pointer}/namespaces"), &device.namespaces, policy, found);
        let wider = policy.devices.iter().enumerate().find(|(other, wide)| {
            let (wide_name, wide_in) = (std::slice::from_ref(&wide.device_name), &wide.namespaces);
            *other != at
                && holds(wide_name, name)
                && holds(wide_in, &device.namespaces)
                && (*other < at || !holds(name, wide_name) || !holds(&device.namespaces, wide_in))
        });
        said(&pointer, wider.map(|(other, _)| format!("/spec/devices/{other}")), found);
    }
    for (field, limit) in [("gpus", policy.limits.gpus), ("hostDevices", policy.limits.host_devices)] {
        if limit.is_some() && policy.devices.is_empty() {
            let message = "no device is allowed, as `devices` lists none";
            let finding = Finding::new(format!("/spec/limits/{field}"), Rule::Unreachable, message);
            found.push(finding.hint("list them, or remove it"));
        }
    }
}

/// Items that no name is like, and those that another one covers.
fn items<T: FromStr>(
    pointer: &str,
    list: &[Wildcard],
    alike: impl Fn(&str, &str) -> bool,
    found: &mut Vec<Finding>,
) {
    let texts: Vec<&str> = list.iter().map(Wildcard::as_str).collect();
    twice(pointer, &texts, |wide, narrow| alike(wide, narrow) && covers(wide, narrow), found);
    for (at, item) in list.iter().enumerate().filter(|(_, item)| unlike::<T>(item.as_str())) {
        found.push(no_name(&format!("{pointer}/{at}"), item));
    }
}

fn no_name(pointer: &str, item: &Wildcard) -> Finding {
    let message = format!("{}: no name is like this", echo(item.as_str()));
    Finding::new(pointer, Rule::Unreachable, message).hint("correct or remove it")
}

/// Namespaces, of which machines can be in each.
pub(super) fn namespaces(pointer: &str, list: &[Wildcard], policy: &Policy, found: &mut Vec<Finding>) {
    names(pointer, list, super::lists::LABEL, found);
    let all = &policy.namespaces;
    for (at, item) in list.iter().enumerate() {
        let any = |other: &Wildcard| {
            covers(other.as_str(), item.as_str()) || covers(item.as_str(), other.as_str()) || other == item
        };
        // what is no namespace at all is told already
        if !item.as_str().contains('.') && !all.is_empty() && !all.iter().any(any) {
            let message =
                format!("{}: no machine may be there, as `namespaces` lists it not", echo(item.as_str()));
            let finding = Finding::new(format!("{pointer}/{at}"), Rule::Unreachable, message);
            found.push(finding.hint("add it there, or remove it here"));
        }
    }
}

fn said(pointer: &str, wider: Option<String>, found: &mut Vec<Finding>) {
    if let Some(wider) = wider {
        let message = format!("`{wider}` says it already");
        found.push(Finding::new(pointer, Rule::Redundant, message).hint("remove it"));
    }
}

/// Whether whatever is in the one list is in the other; an empty one holds everything.
fn holds(wide: &[Wildcard], narrow: &[Wildcard]) -> bool {
    wide.is_empty()
        || !narrow.is_empty()
            && narrow
                .iter()
                .all(|item| wide.iter().any(|wide| wide == item || covers(wide.as_str(), item.as_str())))
}

/// Whether the wildcard stands for the other as well.
fn covers(wide: &str, narrow: &str) -> bool {
    wide.strip_suffix('*').is_some_and(|start| narrow != wide && narrow.starts_with(start))
}

/// Whether no name at all is meant.
fn unlike<T: FromStr>(item: &str) -> bool {
    match item.strip_suffix('*') {
        None => item.parse::<T>().is_err(),
        Some(start) => TAILS.iter().all(|tail| format!("{start}{tail}").parse::<T>().is_err()),
    }
}
