//! Which host keys the site knows, from its `known_hosts`.
//!
//! Names are compared as they are written, in plain text: the machine's own, `<namespace>/<name>`, first; only where that is not
//! there, its address (`10.1.2.3`, or `[10.1.2.3]:2222` for another port than 22). Hashed names and patterns are not
//! read, `@cert-authority` lines neither; a key of a `@revoked` line is refused whatever else is written. Format: sshd(8),
//! "`SSH_KNOWN_HOSTS` FILE FORMAT".

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cluster::Name;

/// What is known of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The name that it is known by; none means that it is not known.
    pub(crate) name: Option<String>,
    /// Key types as SSH calls them, and keys.
    keys: Vec<(String, Vec<u8>)>,
    revoked: Vec<Vec<u8>>,
}

/// What a key is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ours,
    Unknown,
    Changed,
    Revoked,
}

impl Known {
    /// What `known_hosts` says of this machine.
    pub(crate) fn read(known_hosts: &str, vm: &Name, address: IpAddr, port: u16) -> Self {
        let lines: Vec<Line<'_>> = known_hosts.lines().filter_map(Line::read).collect();
        let by_address = if port == 22 { address.to_string() } else { format!("[{address}]:{port}") };
        let revoked = lines.iter().filter(|l| l.marker == "@revoked").map(|l| l.key.clone()).collect();
        let of = |name: &str| {
            let named = lines.iter().filter(|l| l.marker.is_empty() && l.hosts.split(',').any(|h| h == name));
            named.map(|l| (l.kind.to_owned(), l.key.clone())).collect::<Vec<_>>()
        };
        let known = [vm.to_string(), by_address].into_iter().map(|name| (of(&name), name));
        match known.into_iter().find(|(keys, _)| !keys.is_empty()) {
            Some((keys, name)) => Self { name: Some(name), keys, revoked },
            None => Self { revoked, ..Self::default() },
        }
    }

    /// The algorithms to ask the server for, so that it shows a key that is known; none where nothing is.
    pub(crate) fn algorithms(&self) -> Option<String> {
        let mut all: Vec<&str> = Vec::new();
        for (kind, _) in &self.keys {
            // an RSA key signs in three ways, of which SHA-1 is no longer taken
            let kinds =
                if kind == "ssh-rsa" { &["rsa-sha2-512", "rsa-sha2-256"][..] } else { &[kind.as_str()] };
            all.extend(kinds.iter().filter(|k| !all.contains(k)).copied().collect::<Vec<_>>());
        }
        (!all.is_empty()).then(|| all.join(","))
    }

    /// Whether this is the machine.
    pub(crate) fn judge(&self, key: &[u8]) -> Verdict {
        if self.revoked.iter().any(|k| k == key) {
            Verdict::Revoked
        } else if self.keys.iter().any(|(_, k)| k == key) {
            Verdict::Ours
        } else if self.keys.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Changed
        }
    }
}

struct Line<'a> {
    marker: &'a str,
    hosts: &'a str,
    kind: &'a str,
    key: Vec<u8>,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        let (marker, hosts) = if first.starts_with('@') { (first, words.next()?) } else { ("", first) };
        let kind = words.next()?;
        let key = STANDARD.decode(words.next()?).ok()?;
        Some(Self { marker, hosts, kind, key })
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, Verdict};

    const ADDRESS: &str = "10.1.2.3";

    fn known(text: &str, port: u16) -> Known {
        Known::read(text, &"shop/web01".parse().unwrap(), ADDRESS.parse().unwrap(), port)
    }

    #[test]
    fn the_machines_own_name_comes_before_its_address() {
        // "one" and "two" in base64
        let text = "# ours\nshop/web01,shop/web02 ssh-ed25519 b25l comment\n10.1.2.3 ssh-ed25519 dHdv\n";
        let by_name = known(text, 22);
        assert_eq!(by_name.name.as_deref(), Some("shop/web01"));
        assert_eq!([by_name.judge(b"one"), by_name.judge(b"two")], [Verdict::Ours, Verdict::Changed]);
        let by_address = known("10.1.2.3 ssh-rsa dHdv\n10.1.2.3 ssh-ed25519 b25l", 22);
        assert_eq!(by_address.judge(b"two"), Verdict::Ours);
        assert_eq!(by_address.algorithms().unwrap(), "rsa-sha2-512,rsa-sha2-256,ssh-ed25519");
        assert_eq!(known("10.1.2.3 ssh-rsa dHdv", 2222).judge(b"two"), Verdict::Unknown);
        assert_eq!(known("[10.1.2.3]:2222 ssh-rsa dHdv", 2222).judge(b"two"), Verdict::Ours);
    }

    #[test]
    fn what_is_not_plainly_this_machine_is_not() {
        for text in [
            "",
            "web01 ssh-ed25519 b25l",
            "shop/* ssh-ed25519 b25l",
            "* ssh-ed25519 b25l",
            "@cert-authority shop/web01 ssh-ed25519 b25l",
            "|1|c2FsdA==|aGFzaA== ssh-ed25519 b25l",
            "shop/web01 ssh-ed25519",
            "shop/web01 ssh-ed25519 !!",
        ] {
            let known = known(text, 22);
            assert_eq!((known.judge(b"one"), known.algorithms()), (Verdict::Unknown, None), "{text}");
        }
        let revoked = known("shop/web01 ssh-ed25519 b25l\n@revoked * ssh-ed25519 b25l", 22);
        assert_eq!(revoked.judge(b"one"), Verdict::Revoked);
    }
}
