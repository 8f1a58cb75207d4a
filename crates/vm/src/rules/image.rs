//! Where a disk comes from: addresses that every reader must take for the same place.

use crate::name::ImageReference;
use crate::problem::{Code, Problem};

use super::Facts;

/// Where requests name images: that of a new machine, and that of a new boot disk.
pub(super) const IMAGES: [&str; 2] = ["/spec/image", "/spec/operationSpec/image"];

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Problem>) {
    for image in IMAGES {
        let pointer = format!("{image}/reference");
        if facts.text(&pointer).is_some() && facts.parsed::<ImageReference>(&pointer).is_none() {
            let message = "the registry's name is longer than 253 characters";
            found.push(Problem::new(pointer, Code::Pattern, message));
        }
        let pointer = format!("{image}/url");
        let Some(url) = facts.text(&pointer) else { continue };
        if facts.parsed::<crate::name::HttpUrl>(&pointer).is_none() {
            found.push(Problem::new(pointer, Code::Pattern, "the host's name is longer than 253 characters"));
        } else if let Some(part) = twofold(url) {
            let message = format!("`{part}` in the path: servers disagree about which file that is");
            found
                .push(Problem::new(pointer, Code::Url, message).hint("give the path as it is on the server"));
        }
    }
}

/// A part of the path that one server resolves and another takes by its letters, so that a prefix could be left again.
pub(crate) fn twofold(url: &str) -> Option<&'static str> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.split_once('/').map_or("", |(_, path)| path).split('?').next().unwrap_or_default();
    let lower = path.to_lowercase();
    let parts = || path.split('/');
    [
        ("..", parts().any(|part| part == "..")),
        (".", parts().any(|part| part == ".")),
        ("//", path.contains("//") || path.starts_with('/')),
        ("%2e", lower.contains("%2e")),
        ("%2f", lower.contains("%2f")),
        ("%5c", lower.contains("%5c")),
        ("%00", lower.contains("%00")),
    ]
    .into_iter()
    .find_map(|(part, there)| there.then_some(part))
}

/// Why a host is not fetched from unless the policy lists it: the fetch happens inside of the cluster.
pub(super) fn inside(host: &str) -> Option<&'static str> {
    let name = host.split(':').next().unwrap_or_default().to_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = last.bytes().all(|b| b.is_ascii_digit());
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if digits || hexadecimal {
        // WHATWG URL, "ends in a number": whatever ends so is an IPv4 address, `127.1` and `2130706433` included
        return Some("an IP address");
    }
    let labels: Vec<&str> = name.split('.').collect();
    if last == "localhost" {
        return Some("the cluster's own node");
    }
    if labels.len() == 1 || labels.contains(&"svc") || name.ends_with(".cluster.local") || last == "internal"
    {
        return Some("a service inside of the cluster");
    }
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn hosts_inside_of_the_cluster() {
        for (host, why) in [
            ("images.corp.example", None),
            ("images.corp.example:8443", None),
            ("registry.local", None),
            ("svc.example", Some("a service inside of the cluster")),
            ("10.0.0.1", Some("an IP address")),
            ("127.1", Some("an IP address")),
            ("2130706433", Some("an IP address")),
            ("0x7f.0x1", Some("an IP address")),
            ("169.254.169.254:80", Some("an IP address")),
            ("localhost", Some("the cluster's own node")),
            ("a.localhost:5000", Some("the cluster's own node")),
            ("web", Some("a service inside of the cluster")),
            ("registry:5000", Some("a service inside of the cluster")),
            ("web.team.svc", Some("a service inside of the cluster")),
            ("web.team.svc.cluster.local", Some("a service inside of the cluster")),
            ("metadata.google.internal", Some("a service inside of the cluster")),
        ] {
            assert_eq!(super::inside(host), why, "{host}");
        }
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways() {
        for (url, part) in [
            ("https://a.corp/disks/x.img", None),
            ("https://a.corp/disks/x..img?from=/../y", None),
            ("https://a.corp", None),
            ("https://a.corp/disks/../x", Some("..")),
            ("https://a.corp/./x", Some(".")),
            ("https://a.corp//x", Some("//")),
            ("https://a.corp/x//y", Some("//")),
            ("https://a.corp/%2E%2e/x", Some("%2e")),
            ("https://a.corp/x%2fy", Some("%2f")),
            ("https://a.corp/x%5Cy", Some("%5c")),
            ("https://a.corp/x%00", Some("%00")),
        ] {
            assert_eq!(super::twofold(url), part, "{url}");
        }
    }
}
