//! Which proxy leads to the server: flags, else `HTTPS_PROXY` and `NO_PROXY`, as curl reads them.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use step::{Failure, Kind};

use crate::address::{Address, Way};
use crate::secret::Secrets;

/// The proxy for this address. Plain HTTP is for the loopback address and never goes through one; nor does SSH. One that is given
/// has no password in it, as arguments can be read by others; one of the environment may have.
pub(crate) fn find(
    address: &Address,
    given: Option<&str>,
    except: Option<&str>,
    secrets: &Secrets,
) -> Result<Option<String>, Failure> {
    let read = |names: [&str; 2]| names.iter().find_map(|n| std::env::var(n).ok()).filter(|v| !v.is_empty());
    let except = except.map(str::to_owned).or_else(|| read(["no_proxy", "NO_PROXY"]));
    let (name, proxy) = match given {
        Some(proxy) => ("--https-proxy", Some(proxy.to_owned())),
        None => ("HTTPS_PROXY", read(["https_proxy", "HTTPS_PROXY"])),
    };
    let Some(proxy) = choose(address, proxy, except.as_deref()) else { return Ok(None) };
    check(&proxy, given.is_none(), secrets).map(Some).map_err(|why| {
        Failure::new(Kind::Usage, format!("cannot use the proxy of `{name}`: {why}"))
            .hint("`http://host:port`; user and password of a proxy are read from `HTTPS_PROXY` alone")
    })
}

fn choose(address: &Address, proxy: Option<String>, except: Option<&str>) -> Option<String> {
    let excepted =
        except.is_some_and(|list| list.split([',', ' ']).any(|entry| covers(entry.trim(), address)));
    proxy.filter(|_| *address.way() == Way::Https && !excepted)
}

/// The address of a proxy: without a scheme it is `http`, as for curl.
fn check(proxy: &str, may_login: bool, secrets: &Secrets) -> Result<String, &'static str> {
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    if !matches!(scheme, "http" | "https") {
        return Err("expected `http://` or `https://`");
    }
    let authority = rest.trim_end_matches('/');
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    // what an address may be is known there
    format!("https://{server}/any").parse::<Address>()?;
    if let Some((login, _)) = authority.rsplit_once('@') {
        if !may_login {
            return Err("user and password do not belong into it");
        }
        let password = login.split_once(':').map_or(login, |(_, password)| password);
        secrets.add(&percent_decode_str(password).decode_utf8_lossy());
    }
    Ok(format!("{scheme}://{authority}"))
}

/// `*`, a host with its subdomains, an IP address or a range of them; each may end in a port.
fn covers(entry: &str, address: &Address) -> bool {
    if entry.is_empty() || entry == "*" {
        return entry == "*";
    }
    let host = address.name();
    if let Ok(ip) = host.parse::<IpAddr>() {
        return entry.trim_matches(['[', ']']).parse() == Ok(ip) || in_range(entry, ip);
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) => (name, port.parse::<u16>().ok()),
        None => (entry, Some(address.port())),
    };
    let name = name.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    let same = host == name || host.strip_suffix(&name).is_some_and(|front| front.ends_with('.'));
    !name.is_empty() && same && port == Some(address.port())
}

fn in_range(entry: &str, ip: IpAddr) -> bool {
    let Some((network, length)) = entry.split_once('/') else { return false };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let bits = |ip: IpAddr| -> (u128, u32) {
        match ip {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
            IpAddr::V6(ip) => (ip.to_bits(), 128),
        }
    };
    let ((network, size), (ip, other)) = (bits(network), bits(ip));
    let Some(rest) = size.checked_sub(length).filter(|_| size == other) else { return false };
    network.checked_shr(rest).unwrap_or(0) == ip.checked_shr(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{check, choose};
    use crate::secret::Secrets;

    #[test]
    fn a_proxy_is_host_and_port_and_only_the_environment_has_a_password() {
        for (text, may_login, wanted) in [
            ("proxy:3128", false, Ok("http://proxy:3128")),
            ("http://proxy.example.org:3128/", false, Ok("http://proxy.example.org:3128")),
            ("https://[fd00::1]:3128", false, Ok("https://[fd00::1]:3128")),
            ("http://user:pass%2Fword@proxy:3128", true, Ok("http://user:pass%2Fword@proxy:3128")),
            ("http://user:password@proxy:3128", false, Err("user and password do not belong into it")),
            ("socks5://proxy:1080", false, Err("expected `http://` or `https://`")),
            ("http://proxy:port", false, Err("its port is not a number from 1 to 65535")),
            ("http://", false, Err("its host is not a host name")),
            ("-x", false, Err("its host is not a host name")),
        ] {
            let secrets = Secrets::default();
            assert_eq!(check(text, may_login, &secrets).as_deref(), wanted.as_ref().copied(), "{text}");
            let hidden = secrets.redact("pass/word") == "***";
            assert_eq!(hidden, text.contains("pass%2F"), "{text}");
        }
    }

    #[test]
    fn no_proxy_is_understood_as_curl_does() {
        for (url, except, through) in [
            ("https://git.example.org/m", "", true),
            ("https://git.example.org/m", "*", false),
            ("https://git.example.org/m", "example.org", false),
            ("https://git.example.org/m", ".example.org", false),
            ("https://git.example.org/m", "*.example.org", false),
            ("https://git.example.org/m", "localhost, git.example.org", false),
            ("https://git.example.org/m", "git.example.org:443", false),
            ("https://git.example.org/m", "git.example.org:8443", true),
            ("https://git.example.org/m", "it.example.org", true),
            ("https://git.example.org/m", "example.com", true),
            ("https://10.1.2.3/m", "10.0.0.0/8", false),
            ("https://10.1.2.3/m", "10.1.2.3", false),
            ("https://10.1.2.3/m", "192.168.0.0/16", true),
            ("https://10.1.2.3/m", "0.0.0.0/0", false),
            ("https://10.1.2.3/m", "::/0", true),
            ("https://[fd00::1]/m", "fd00::/8", false),
            ("https://[fd00::1]/m", "[fd00::1]", false),
            ("http://127.0.0.1/m", "", false),
        ] {
            let chosen = choose(&url.parse().unwrap(), Some("http://proxy:3128".to_owned()), Some(except));
            assert_eq!(chosen.is_some(), through, "{url} except {except:?}");
        }
    }
}
