//! Which proxy leads to the server: `HTTPS_PROXY` and `NO_PROXY`, as curl reads them.

use std::net::IpAddr;

use crate::address::Address;

/// The proxy for this address by the environment. Plain HTTP is for the loopback address and never goes through one.
pub(crate) fn from_environment(address: &Address) -> Option<String> {
    let read = |names: [&str; 2]| names.iter().find_map(|n| std::env::var(n).ok()).filter(|v| !v.is_empty());
    choose(address, read(["https_proxy", "HTTPS_PROXY"]), read(["no_proxy", "NO_PROXY"]).as_deref())
}

fn choose(address: &Address, proxy: Option<String>, except: Option<&str>) -> Option<String> {
    let excepted =
        except.is_some_and(|list| list.split([',', ' ']).any(|entry| covers(entry.trim(), address)));
    proxy.filter(|_| address.is_https() && !excepted)
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
    use super::choose;

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
