//! Who we are to a server over SSH, and which server it is: the folder of an `ssh-directory` workspace.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use step::{Failure, Kind};

use crate::address::Address;
use crate::credential;
use crate::secret::Secrets;

/// Where Tekton puts keys and known hosts of the Secrets of a ServiceAccount.
pub(crate) const TEKTON: &str = "/tekton/creds/.ssh";
/// Names of private keys, as git-clone's `ssh-directory` and Secrets of type `kubernetes.io/ssh-auth` have them.
const KEYS: [&str; 4] = ["id_ed25519", "id_ecdsa", "id_rsa", "ssh-privatekey"];
/// A file is at most this many bytes.
const LIMIT: u64 = 1024 * 1024;

/// A key for the one server, and the host keys that it may have.
pub(crate) struct Login {
    pub(crate) key: SecretString,
    /// Lines of `known_hosts` that libssh2 may understand.
    pub(crate) known: Vec<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Read the folder. The first of the keys that is there is used: a server that refuses one key has refused. Where none is, the
/// file `config` says which key is for this server, as it does in [`TEKTON`].
pub(crate) fn read(folder: &Path, address: &Address, secrets: &Secrets) -> Result<Login, Failure> {
    if folder == Path::new(TEKTON) && !folder.is_dir() {
        return Err(Failure::new(Kind::Usage, "an address of ssh needs a key")
            .hint("`--ssh-directory` names a folder with a private key and `known_hosts`"));
    }
    let config = folder.join("config");
    let key = match KEYS.iter().find(|name| folder.join(name).is_file()) {
        Some(name) => Some((*name).to_owned()),
        None if config.is_file() => key_of(&text(&config)?, address).map(str::to_owned),
        None => None,
    };
    let Some(name) = key else {
        let what = format!("no private key for `{}` in `{}`", address.host(), folder.display());
        let hint = format!("it is called `{}`, or `config` names it", KEYS.join("`, `"));
        return Err(Failure::new(Kind::Usage, what).hint(hint));
    };
    let key = SecretString::from(text(&folder.join(name))?);
    for line in key.expose_secret().lines().filter(|line| !line.starts_with("-----")) {
        secrets.add(line);
    }
    let known = usable(&text(&folder.join("known_hosts"))?).into_iter().map(str::to_owned).collect();
    Ok(Login { key, known })
}

/// The name of the first key that a `config` as Tekton writes it has for this repository, else for this server: blocks of `Host`,
/// `HostName`, `Port` and `IdentityFile`s. One repository's block has the name `<host>--<path with -- for each slash>` (Tekton
/// Pipelines v1.15 `pkg/credentials/gitcreds/ssh.go`).
fn key_of<'a>(config: &'a str, address: &Address) -> Option<&'a str> {
    let ours = format!("{}--{}", address.name(), address.path().replace('/', "--"));
    let (mut alias, mut name, mut port) = ("", "", 22);
    let (mut of_repository, mut of_server) = (None, None);
    for line in config.lines() {
        let Some((word, value)) = line.trim().split_once([' ', '\t']) else { continue };
        let value = value.trim();
        match word {
            "Host" => (alias, name, port) = (value, value, 22),
            "HostName" => name = value,
            "Port" => port = value.parse().unwrap_or(0),
            "IdentityFile" if name.eq_ignore_ascii_case(address.name()) && port == address.port() => {
                let key = value.rsplit('/').next();
                let place = if alias.eq_ignore_ascii_case(&ours) {
                    &mut of_repository
                } else if alias.eq_ignore_ascii_case(name) {
                    &mut of_server
                } else {
                    continue;
                };
                *place = place.or(key);
            }
            _ => {}
        }
    }
    of_repository.or(of_server)
}

/// The lines without a marker, which libssh2 does not understand. A key of a `@revoked` line is known
/// nowhere (sshd(8), "`SSH_KNOWN_HOSTS` FILE FORMAT"); authorities are not trusted.
fn usable(known: &str) -> Vec<&str> {
    let lines = || known.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let revoked: Vec<&str> = lines()
        .filter(|line| line.starts_with("@revoked"))
        .filter_map(|line| line.split_ascii_whitespace().nth(3))
        .collect();
    lines()
        .filter(|line| !line.starts_with('@'))
        .filter(|line| line.split_ascii_whitespace().nth(2).is_some_and(|key| !revoked.contains(&key)))
        .collect()
}

fn text(path: &Path) -> Result<String, Failure> {
    credential::mounted(path, LIMIT, "it is larger than 1 MiB").map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot read `{}`: {error}", path.display()))
            .hint("`--ssh-directory` names a folder with a private key and `known_hosts`")
    })
}

#[cfg(test)]
mod tests {
    use super::{key_of, usable};

    /// As Tekton writes it for three Secrets: two for a server, one of them for one repository there, and one for another port.
    const CONFIG: &str = "Host git.example.org\n    HostName git.example.org\n    Port 22\n    IdentityFile /tekton/creds/.ssh/id_all\n    \
                          IdentityFile /tekton/creds/.ssh/id_second\nHost git.example.org\n    HostName git.example.org\n    Port 7999\n    \
                          IdentityFile /tekton/creds/.ssh/id_port\nHost git.example.org--team--machines\n    HostName git.example.org\n    \
                          Port 22\n    IdentityFile /tekton/creds/.ssh/id_one\n";

    #[test]
    fn tektons_config_names_the_key() {
        for (url, wanted) in [
            ("git@git.example.org:team/machines.git", Some("id_one")),
            ("git@git.example.org:team/others.git", Some("id_all")),
            ("ssh://git@GIT.example.org:7999/team/machines", Some("id_port")),
            ("git@example.org:team/machines", None),
            ("ssh://git@git.example.org:2222/team/machines", None),
        ] {
            assert_eq!(key_of(CONFIG, &url.parse().unwrap()), wanted, "{url}");
        }
    }

    #[test]
    fn a_revoked_key_is_known_nowhere_and_no_authority_is() {
        let known = "# comment\n\na ssh-ed25519 AAAA one\n  b,c ssh-rsa BBBB\n@revoked * ssh-rsa BBBB\n\
                     @cert-authority *.example.org ssh-rsa CCCC\n|1|salt|hash ecdsa-sha2-nistp256 DDDD\nbroken\n";
        assert_eq!(usable(known), ["a ssh-ed25519 AAAA one", "|1|salt|hash ecdsa-sha2-nistp256 DDDD"]);
    }
}
