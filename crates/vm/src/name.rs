//! Names and other short strings that are right by construction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a string is not a value of the type: the rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

/// A string type whose values all satisfy one rule.
macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The rule, for people.
            pub const RULE: &'static str = $rule;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Refused;

            fn from_str(text: &str) -> Result<Self, Refused> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(Refused(Self::RULE)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refused;

            fn try_from(text: String) -> Result<Self, Refused> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

mod resource;
mod time;

pub use resource::{DeviceName, Serial};
pub(crate) use time::window;
pub use time::{MaintenanceWindow, TimeZone};

checked! {
    /// A DNS label as Kubernetes wants it for namespaces, machines, clusters, volumes: RFC 1123, at most 63 characters.
    Label,
    is_label,
    "at most 63 of a-z, 0-9 and -, with a letter or digit first and last"
}

checked! {
    /// The name of a Kubernetes object whose name may hold dots: a DNS subdomain of RFC 1123, at most 253 characters.
    Subdomain,
    is_subdomain,
    "at most 253 of a-z, 0-9, - and ., with a letter or digit first and last in each part"
}

checked! {
    /// The idempotency key of a request; it names everything that follows from it.
    RequestId,
    |text| {
        (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    },
    "at most 64 of A-Z, a-z, 0-9, ., _ and -, with a letter or digit first"
}

checked! {
    /// One line of text for people: at most 500 characters, nothing that a terminal or a reader of trailers acts on.
    Line,
    |text| !text.trim().is_empty() && text.chars().count() <= 500 && !text.chars().any(is_unprintable),
    "1 to 500 printable characters on one line"
}

checked! {
    /// The login name of the first user of a Linux guest (useradd's own rule, at most 32 characters).
    User,
    |text| {
        (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
    },
    "at most 32 of a-z, 0-9, _ and -, with a letter or _ first"
}

checked! {
    /// The name of a package as dnf, apt and apk have them.
    Package,
    |text| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        (1..=100).contains(&text.len())
            && text.bytes().next().is_some_and(inner)
            && text.bytes().all(|b| inner(b) || matches!(b, b'+' | b'.' | b'_' | b'-'))
    },
    "at most 100 of a-z, 0-9, +, ., _ and -, with a letter or digit first"
}

checked! {
    /// One line of an OpenSSH public key file: type, base64 key, optional comment.
    PublicKey,
    is_public_key,
    "one OpenSSH public key on one line, such as `ssh-ed25519 AAAA… jane@corp`"
}

checked! {
    /// A container image as the kubelet reads it, with its registry and a tag or a digest: `quay.io/containerdisks/fedora:42`.
    /// The registry is a name with a dot or a port: what has neither, the kubelet looks up on a registry of its own choice.
    ImageReference,
    is_image_reference,
    "an image such as `quay.io/containerdisks/fedora:42`, with registry, and tag or @sha256 digest"
}

checked! {
    /// An absolute http(s) address without user information, fragment or white space.
    HttpUrl,
    is_http_url,
    "an address such as `https://images.example/disk.qcow2`, without user, password or fragment"
}

checked! {
    /// A `NetworkAttachmentDefinition` as Multus reads it: its name, which is then one of the machine's own namespace, or
    /// `<namespace>/<name>`. Multus takes DNS labels for both (multus-cni `pkg/k8sclient`, `parsePodNetworkObjectName`).
    NetworkName,
    |text| text.split_once('/').map_or_else(|| is_label(text), |(namespace, name)| is_label(namespace) && is_label(name)),
    "the name of a network such as `vlan-120`, or `<namespace>/<name>`"
}

checked! {
    /// The address of a network card: unicast, in lower case. Neither the one that is none, nor the one that KubeVirt's bridge in
    /// the pod has (kubevirt `pkg/network/link`, `IsReserved`).
    MacAddress,
    |text| {
        let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let multicast = |byte: &u8| matches!(byte, b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f');
        text.split(':').count() == 6
            && text.split(':').all(pair)
            && !text.as_bytes().get(1).is_some_and(multicast)
            && !MacAddress::RESERVED.contains(&text)
    },
    "a unicast address in lower case such as `02:5e:10:00:00:01`"
}

checked! {
    /// The key of a label or an annotation: a name of at most 63 characters, with a DNS subdomain and `/` before it or not.
    /// Kubernetes takes 317 characters; 253 are enough.
    LabelKey,
    |text| {
        let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
        text.len() <= 253 && prefix.is_none_or(is_subdomain) && is_qualified(name)
    },
    "a key of at most 253 characters such as `team` or `corp.example/team`"
}

checked! {
    /// The value of a label, not empty.
    LabelValue,
    is_qualified,
    "at most 63 of A-Z, a-z, 0-9, ., _ and -, with a letter or digit first and last"
}

checked! {
    /// The name of a parameter of a template: what stands there behind `parameters.`.
    ParameterName,
    |text| {
        (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_alphanumeric())
    },
    "1 to 63 letters and digits, the first a small letter, such as `cpuModel`"
}

impl LabelKey {
    /// Domains whose keys mean something to the platform, those below them included: who sets one steers a controller.
    const PLATFORM: [&'static str; 11] = [
        "kubernetes.io",
        "k8s.io",
        "kubevirt.io",
        "openshift.io",
        "argoproj.io",
        "tekton.dev",
        "cncf.io",
        "istio.io",
        "cilium.io",
        "ovn.org",
        "vmlifecycle.dev",
    ];

    /// The domain of the platform that the key belongs to, if it does.
    pub fn platform(&self) -> Option<&'static str> {
        Self::platform_of(&self.0)
    }

    /// As [`Self::platform`], of a key or its beginning.
    pub(crate) fn platform_of(key: &str) -> Option<&'static str> {
        let (prefix, _) = key.split_once('/')?;
        let below = |domain: &str| {
            prefix.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        Self::PLATFORM.into_iter().find(|domain| below(domain))
    }
}

impl NetworkName {
    /// The namespace, where it is given.
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }

    /// The name without namespace.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// With a namespace, whether it was given or not.
    #[must_use]
    pub fn within(&self, own: &Label) -> Self {
        if self.namespace().is_some() { self.clone() } else { Self(format!("{own}/{}", self.0)) }
    }
}

impl MacAddress {
    /// Addresses of the right form that no machine may have.
    pub const RESERVED: [&'static str; 2] = ["00:00:00:00:00:00", "02:00:00:00:00:00"];
}

pub(crate) fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| inner(b) || b == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

/// A "qualified name" of Kubernetes without its prefix.
fn is_qualified(text: &str) -> bool {
    let end = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && end(text.bytes().next())
        && end(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a character is none that a person sees: a control character, a line separator, a bidirectional or zero-width
/// control, an interlinear annotation. Requests may not hold them, and what is printed has them escaped.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn is_public_key(text: &str) -> bool {
    const TYPES: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let mut words = text.splitn(3, ' ');
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return false };
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    text.len() <= 1024
        && TYPES.contains(&kind)
        && key.len() >= 32
        && key.starts_with("AAAA")
        && key.bytes().all(base64)
        && words.next().is_none_or(|comment| comment.bytes().all(|b| b == b' ' || b.is_ascii_graphic()))
}

fn is_image_reference(text: &str) -> bool {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let hex = |d: &str| d.len() == 64 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let digest_fits = digest.is_none_or(|d| d.strip_prefix("sha256:").is_some_and(hex));
    let (path, tag) = match name.rsplit_once(':') {
        // a colon before the last slash belongs to the registry's port
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let tag_fits = tag.is_none_or(|t| {
        (1..=128).contains(&t.len())
            && t.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    });
    let mut parts = path.split('/');
    let host_fits = parts.next().is_some_and(|host| {
        let named = host.contains(['.', ':']);
        let (host, port) = host.split_once(':').map_or((host, "1"), |(host, port)| (host, port));
        named
            && is_subdomain(host)
            && (1..=5).contains(&port.len())
            && port.bytes().all(|b| b.is_ascii_digit())
    });
    let part_fits = |part: &str| {
        let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(end)
            && part.ends_with(end)
            && part.chars().all(|c| end(c) || matches!(c, '.' | '_' | '-'))
    };
    let rest: Vec<&str> = parts.collect();
    text.len() <= 512
        && (tag.is_some() || digest.is_some())
        && digest_fits
        && tag_fits
        && host_fits
        && !rest.is_empty()
        && rest.into_iter().all(part_fits)
}

fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let (name, port) = host.split_once(':').map_or((host, "1"), |(name, port)| (name, port));
    text.len() <= 2000
        && is_subdomain(name)
        && (1..=5).contains(&port.len())
        && port.bytes().all(|b| b.is_ascii_digit())
        && rest.bytes().all(|b| {
            b.is_ascii_graphic()
                && !matches!(
                    b,
                    b'"' | b'\''
                        | b'\\'
                        | b'<'
                        | b'>'
                        | b'`'
                        | b'{'
                        | b'}'
                        | b'|'
                        | b'^'
                        | b'#'
                        | b'@'
                        | b'$'
                )
        })
}
