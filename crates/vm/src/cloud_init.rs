//! The cloud-config that a request becomes: what cloud-init does at the first boot.
//!
//! Keys are cloud-init's own (cloudinit.readthedocs.io, "Module reference"): `user` renames the image's default user and
//! keeps its groups and sudo rule, `ssh_authorized_keys` are that user's. The host name is not here: KubeVirt writes
//! `spec.template.spec.hostname` into the `local-hostname` of the metadata (kubevirt `pkg/cloud-init`).

use std::fmt::Write as _;

use crate::name::{Package, PublicKey, TimeZone, User};
use crate::request::Request;

/// KubeVirt refuses more inline user data than this many bytes (`vmi-create-admitter.go`, `cloudInitUserMaxLen`).
pub const MAX_BYTES: usize = 2048;
/// The first line of a cloud-config.
pub const HEADER: &str = "#cloud-config";

/// What goes into a cloud-config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudConfig<'a> {
    /// The first user; absent means the image's own.
    pub user: Option<&'a str>,
    /// Their public keys.
    pub ssh_keys: Vec<&'a str>,
    /// An IANA time zone.
    pub timezone: Option<&'a str>,
    /// Packages to install.
    pub packages: Vec<&'a str>,
}

/// The inline user data of the machine: the request's own, or the one made from its fields; `None` if there is nothing
/// to say, or if a Secret says it.
pub fn user_data(request: &Request) -> Option<String> {
    let customization = &request.spec.customization;
    if customization.user_data_secret.is_some() {
        return None;
    }
    customization.user_data.clone().or_else(|| {
        let config = CloudConfig {
            user: request.spec.access.user.as_ref().map(User::as_str),
            ssh_keys: request.spec.access.ssh_keys.iter().map(PublicKey::as_str).collect(),
            timezone: customization.timezone.as_ref().map(TimeZone::as_str),
            packages: customization.packages.iter().map(Package::as_str).collect(),
        };
        config.text()
    })
}

impl CloudConfig<'_> {
    /// The text, the same for the same values: one key a line in fixed order, each value a double-quoted ASCII string,
    /// so that no value can be read as anything else. `None` if there is nothing to say.
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        let mut scalar = |key: &str, value: Option<&str>| {
            // writing to a String cannot fail
            let _ = value.map_or(Ok(()), |value| writeln!(text, "{key}: {}", quoted(value)));
        };
        scalar("user", self.user);
        scalar("timezone", self.timezone);
        for (key, values) in [("ssh_authorized_keys", &self.ssh_keys), ("packages", &self.packages)] {
            if !values.is_empty() {
                let _ = writeln!(text, "{key}:");
                for value in values {
                    let _ = writeln!(text, "  - {}", quoted(value));
                }
            }
        }
        if text.is_empty() { None } else { Some(format!("{HEADER}\n{text}")) }
    }
}

/// A YAML double-quoted scalar of ASCII characters alone.
fn quoted(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            ' '..='~' => write!(out, "{c}"),
            c if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::{CloudConfig, quoted};

    #[test]
    fn everything_there_is() {
        let config = CloudConfig {
            user: Some("jane"),
            ssh_keys: vec!["ssh-ed25519 AAAA jane@corp", "ssh-rsa BBBB \"x\""],
            timezone: Some("Europe/Berlin"),
            packages: vec!["htop", "g++"],
        };
        let text = "#cloud-config\nuser: \"jane\"\ntimezone: \"Europe/Berlin\"\nssh_authorized_keys:\n  - \"ssh-ed25519 AAAA jane@corp\"\n  \
                    - \"ssh-rsa BBBB \\\"x\\\"\"\npackages:\n  - \"htop\"\n  - \"g++\"\n";
        assert_eq!(config.text().as_deref(), Some(text));
        let value = crate::document::read(text.as_bytes(), crate::document::Form::Any).unwrap();
        assert_eq!(value["ssh_authorized_keys"][1], "ssh-rsa BBBB \"x\"");
        assert_eq!(value["packages"][1], "g++");
    }

    #[test]
    fn nothing_to_say_is_nothing() {
        assert_eq!(CloudConfig::default().text(), None);
    }

    #[test]
    fn strings_stay_strings() {
        assert_eq!(quoted("a: \"b\"\n# c\\ ü \u{1f600}"), r#""a: \"b\"\u000a# c\\ \u00fc \U0001f600""#);
    }
}
