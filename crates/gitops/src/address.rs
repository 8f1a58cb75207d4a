//! Where the repository is: the forms of address that are asked, and no others.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The address of a repository: `https://host[:port]/path`, or `http://` where the host is the loopback address;
/// `ssh://user@host[:port]/path`, or `user@host:path`.
///
/// There is no password in it, no query, and nothing that any Git client reads as an option, a command or a local path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    way: Way,
    host: String,
    port: u16,
}

/// How the server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    Https,
    /// To the loopback address alone.
    Http,
    /// As this user, who is `git` on most servers.
    Ssh(String),
}

impl Way {
    const fn port(&self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Ssh(_) => 22,
        }
    }
}

const FORM: &str = "expected `https://host/path` or `ssh://user@host/path`";

impl Address {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port, the port only where it is not the scheme's own.
    pub fn host(&self) -> String {
        if self.port == self.way.port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The host's name or IP address, without brackets.
    pub fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) const fn way(&self) -> &Way {
        &self.way
    }

    /// The path as it is asked for by HTTP: with a slash at its beginning and none at its end.
    pub(crate) fn target(&self) -> &str {
        let rest = self.text.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'))
    }

    /// The path as the shell of a server over SSH gets it, without quotes: from the root, from a home (`~/…`, `~user/…`), or as the
    /// server's user finds it.
    pub(crate) fn argument(&self) -> &str {
        match self.text.split_once("://") {
            None => self.text.split_once(':').map_or("", |(_, path)| path),
            Some(_) => {
                self.target().strip_prefix('/').filter(|path| path.starts_with('~')).unwrap_or(self.target())
            }
        }
    }

    /// `https`, `http` or `ssh`.
    pub const fn scheme(&self) -> &'static str {
        match self.way {
            Way::Https => "https",
            Way::Http => "http",
            Way::Ssh(_) => "ssh",
        }
    }

    /// The path, without slashes around it and without `.git` at its end: forges serve a repository under both names.
    pub fn path(&self) -> &str {
        let rest = self.text.split_once("://").map(|(_, rest)| rest.split_once('/'));
        let path = rest.unwrap_or_else(|| self.text.split_once(':')).map_or("", |(_, path)| path);
        let path = path.trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path)
    }

    /// Whether scheme, user, host and port are the same.
    pub fn same_server(&self, other: &Self) -> bool {
        (&self.way, &self.host, self.port) == (&other.way, &other.host, other.port)
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
        let Some((scheme, rest)) = text.split_once("://") else { return scp_like(text) };
        let (authority, path) = rest.split_once('/').ok_or("it has no path")?;
        let (way, authority) = match scheme {
            "https" => (Way::Https, authority),
            "http" => (Way::Http, authority),
            "ssh" => {
                let (user, authority) = authority.rsplit_once('@').ok_or(NO_USER)?;
                (Way::Ssh(check_user(user)?), authority)
            }
            _ => return Err(FORM),
        };
        if authority.contains('@') {
            return Err("user and password do not belong into it");
        }
        let (host, port) = split_port(authority).ok_or(FORM)?;
        let port = match port {
            None => way.port(),
            Some(port) => {
                // `+80` is a number to Rust
                let digits = port.bytes().all(|b| b.is_ascii_digit());
                let number = port.parse().ok().filter(|p| digits && *p != 0);
                number.ok_or("its port is not a number from 1 to 65535")?
            }
        };
        let host = host.to_ascii_lowercase();
        check_host(&host)?;
        check_path(path)?;
        if way == Way::Http && !is_loopback(&host) {
            return Err("plain http is for the loopback address only");
        }
        Ok(Self { text: text.to_owned(), way, host, port })
    }
}

const NO_USER: &str = "it has no user, such as `git@`";

/// `user@host:path`, with the path as the server's user finds it.
fn scp_like(text: &str) -> Result<Address, &'static str> {
    let (login, path) = text.split_once(':').filter(|(_, path)| !path.starts_with(':')).ok_or(FORM)?;
    let (user, host) = login.rsplit_once('@').ok_or(if login.contains('/') { FORM } else { NO_USER })?;
    let (user, host) = (check_user(user)?, host.to_ascii_lowercase());
    check_host(&host)?;
    check_path(path)?;
    Ok(Address { text: text.to_owned(), port: 22, way: Way::Ssh(user), host })
}

fn check_user(user: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if user.contains(':') {
        return Err("a password does not belong into it");
    }
    if user.is_empty() || user.len() > 64 || user.starts_with('-') || !user.bytes().all(plain) {
        return Err("its user is not the name of one");
    }
    Ok(user.to_owned())
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
    fn https_ssh_and_loopback_http_are_addresses() {
        for (text, host) in [
            ("https://git.example.org/team/machines.git", "git.example.org"),
            ("https://GIT.example.org:8443/machines", "git.example.org:8443"),
            ("https://10.0.0.1/machines", "10.0.0.1"),
            ("https://[fd00::1]:3000/machines", "[fd00::1]:3000"),
            ("http://127.0.0.1:8080/machines.git", "127.0.0.1:8080"),
            ("http://localhost/machines.git", "localhost"),
            ("http://[::1]:80/machines.git", "[::1]"),
            ("https://dev.azure.example/team/project/_git/machines", "dev.azure.example"),
            ("git@git.example.org:team/machines.git", "git.example.org"),
            ("org-123@GIT.example.org:team/machines.git", "git.example.org"),
            ("ssh://git@git.example.org/team/machines.git", "git.example.org"),
            ("ssh://git@git.example.org:7999/team/machines.git", "git.example.org:7999"),
            ("ssh://git@[fd00::1]:22/~/machines.git", "[fd00::1]"),
        ] {
            assert_eq!(text.parse::<Address>().map(|a| a.host()), Ok(host.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_repository_has_one_path_however_it_is_written() {
        for text in [
            "https://git.example.org/team/machines.git",
            "https://git.example.org:8443/team/machines/",
            "git@git.example.org:team/machines.git",
            "git@git.example.org:/team/machines",
            "ssh://git@[fd00::1]:22/team/machines.git",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().path(), "team/machines", "{text}");
        }
    }

    #[test]
    fn a_shell_gets_the_path_as_git_gives_it() {
        for (text, wanted) in [
            ("git@git.example.org:team/machines.git", "team/machines.git"),
            ("git@git.example.org:/srv/machines.git", "/srv/machines.git"),
            ("git@git.example.org:~me/machines.git", "~me/machines.git"),
            ("ssh://git@git.example.org:7999/team/machines.git", "/team/machines.git"),
            ("ssh://git@[fd00::1]:22/~/machines.git", "~/machines.git"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().argument(), wanted, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let (form, user) = (super::FORM, super::NO_USER);
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
            ("C:/machines.git", user),
            ("https:/git.example.org/machines.git", user),
            ("git.example.org:machines.git", user),
            ("./a:b", form),
            ("ssh://git.example.org/machines.git", user),
            ("git+ssh://git@git.example.org/machines.git", form),
            ("ssh://git:password@git.example.org/machines.git", "a password does not belong into it"),
            ("git:password@git.example.org:machines.git", user),
            ("ssh://-oProxyCommand=x@git.example.org/m", "its user is not the name of one"),
            ("ssh://git@-oProxyCommand=x/m", "its host is not a host name"),
            ("git@-oProxyCommand=x:m", "its host is not a host name"),
            ("git@git.example.org:-m", parts),
            ("git@git.example.org:a'b", parts),
            ("git@git.example.org:$(id)", parts),
            ("git@git.example.org:", "it has no path"),
            ("ssh://git@git.example.org/m;id", parts),
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
            ("https://git.example.org:+80/m", "its port is not a number from 1 to 65535"),
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
