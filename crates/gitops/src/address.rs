//! Where the repository is: the one form of address that is let through to libgit2.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The address of a repository: `https://host[:port]/path`, or `http://` where the host is the loopback address.
///
/// There is no user in it, no query, and nothing that any Git client reads as an option, a command or a local path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    https: bool,
    host: String,
    port: u16,
}

const FORM: &str = "expected `https://host/path`";

impl Address {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port, the port only where it is not the scheme's own.
    pub fn host(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        if self.port == default { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The host's name or IP address, without brackets.
    pub(crate) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is TLS.
    pub(crate) const fn is_https(&self) -> bool {
        self.https
    }

    /// Whether scheme, host and port are the same.
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Address {
    type Err = &'static str;

    /// The reason never repeats the text, which may hold a password.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text.starts_with('-') {
            return Err("it starts with `-`");
        }
        if text.len() > 2000 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("expected at most 2000 visible ASCII characters");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let scp = text
                .split_once(':')
                .is_some_and(|(host, path)| !host.contains('/') && !path.starts_with(':') && host.len() > 1);
            return Err(if scp { "ssh is not supported yet" } else { FORM });
        };
        let https = match scheme {
            "https" => true,
            "http" => false,
            "ssh" | "git+ssh" | "ssh+git" => return Err("ssh is not supported yet"),
            _ => return Err(FORM),
        };
        let (authority, path) = rest.split_once('/').ok_or("it has no path")?;
        if authority.contains('@') {
            return Err("user and password do not belong into it");
        }
        let (host, port) = split_port(authority).ok_or(FORM)?;
        let host = host.to_ascii_lowercase();
        let port = match port {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(port) => {
                port.parse().ok().filter(|p| *p != 0).ok_or("its port is not a number from 1 to 65535")?
            }
        };
        check_host(&host)?;
        check_path(path)?;
        if !https && !is_loopback(&host) {
            return Err("plain http is for the loopback address only");
        }
        Ok(Self { text: text.to_owned(), https, host, port })
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    Some(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().map(drop).map_err(|_| "its host is not an IPv6 address");
    }
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if host.len() <= 253 && host.split('.').all(label) { Ok(()) } else { Err("its host is not a host name") }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it has no path");
    }
    if path.contains(['?', '#']) {
        return Err("a query does not belong into it");
    }
    let plain = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'/' | b'.' | b'_' | b'~' | b'+' | b'-' | b':' | b'@' | b'=' | b',')
    };
    if !path.bytes().all(plain) || path.split('/').any(|s| s.starts_with('-') || matches!(s, "." | "..")) {
        return Err("its path has parts that no repository's has");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn https_and_loopback_http_are_addresses() {
        for (text, host) in [
            ("https://git.example.org/team/machines.git", "git.example.org"),
            ("https://GIT.example.org:8443/machines", "git.example.org:8443"),
            ("https://10.0.0.1/machines", "10.0.0.1"),
            ("https://[fd00::1]:3000/machines", "[fd00::1]:3000"),
            ("http://127.0.0.1:8080/machines.git", "127.0.0.1:8080"),
            ("http://localhost/machines.git", "localhost"),
            ("http://[::1]:80/machines.git", "[::1]"),
            ("https://dev.azure.example/team/project/_git/machines", "dev.azure.example"),
        ] {
            assert_eq!(text.parse::<Address>().map(|a| a.host()), Ok(host.to_owned()), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let form = super::FORM;
        let http = "plain http is for the loopback address only";
        let (visible, parts) =
            ("expected at most 2000 visible ASCII characters", "its path has parts that no repository's has");
        for (text, why) in [
            ("", form),
            ("/srv/machines.git", form),
            ("./machines.git", form),
            ("file:///srv/machines.git", form),
            ("FILE:///srv/machines.git", form),
            ("git://git.example.org/machines.git", form),
            ("ftp://git.example.org/machines.git", form),
            ("HTTPS://git.example.org/machines.git", form),
            ("ext::sh -c true", visible),
            ("ext::sh", form),
            ("C:/machines.git", form),
            ("https:/git.example.org/machines.git", "ssh is not supported yet"),
            ("git@git.example.org:machines.git", "ssh is not supported yet"),
            ("ssh://git@git.example.org/machines.git", "ssh is not supported yet"),
            ("--upload-pack=touch", "it starts with `-`"),
            ("-https://git.example.org/machines.git", "it starts with `-`"),
            ("https://user:password@git.example.org/m", "user and password do not belong into it"),
            ("https://user@git.example.org/m", "user and password do not belong into it"),
            ("https://git.example.org", "it has no path"),
            ("https://git.example.org/", "it has no path"),
            ("https:///machines.git", "its host is not a host name"),
            ("https://-oProxyCommand/machines.git", "its host is not a host name"),
            ("https://git..example.org/m", "its host is not a host name"),
            ("https://[::1/machines.git", form),
            ("https://[not-six]/machines.git", "its host is not an IPv6 address"),
            ("https://git.example.org:0/m", "its port is not a number from 1 to 65535"),
            ("https://git.example.org:70000/m", "its port is not a number from 1 to 65535"),
            ("https://git.example.org:/m", "its port is not a number from 1 to 65535"),
            ("http://git.example.org/m", http),
            ("http://169.254.169.254/m", http),
            ("http://127.0.0.1.example.org/m", http),
            ("https://git.example.org/m?service=x", "a query does not belong into it"),
            ("https://git.example.org/m#x", "a query does not belong into it"),
            ("https://git.example.org/a/../b", parts),
            ("https://git.example.org/a/-b", parts),
            ("https://git.example.org/a%0ab", parts),
            ("https://git.example.org/a\\b", parts),
            ("https://git.example.org/a b", visible),
            ("https://git.example.org/a\nb", visible),
            ("https://gıt.example.org/a", visible),
        ] {
            assert_eq!(text.parse::<Address>(), Err(why), "{text:?}");
        }
    }
}
