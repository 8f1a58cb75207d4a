//! Who we are to the server: the folder of a `basic-auth` workspace.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use step::{Failure, Kind};

use crate::address::Address;
use crate::secret::Secrets;

/// A file of credentials is at most this many bytes.
const LIMIT: u64 = 64 * 1024;
/// As the task git-clone has it: one address with user and password a line.
const STORE: &str = ".git-credentials";

/// User and password for the one server.
pub(crate) struct Credential {
    pub(crate) user: String,
    pub(crate) password: SecretString,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// What a folder held: the credential for our server, and every password to keep out of commits and messages.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) credential: Option<Credential>,
    pub(crate) secrets: Secrets,
}

/// Read `.git-credentials` as git's own store does, or the files `username` and `password` of a Secret of type
/// `kubernetes.io/basic-auth`.
pub(crate) fn read(folder: &Path, address: &Address) -> Result<Found, Failure> {
    if !folder.is_dir() {
        return Err(usage(folder, "it is not a folder"));
    }
    let mut found = Found::default();
    if let Some(store) = text(&folder.join(STORE))? {
        for line in store.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let Some((scheme, user, password, server)) = split(line) else { continue };
            found.secrets.add(&password);
            let same = format!("{scheme}://{server}/any").parse::<Address>();
            if found.credential.is_none() && same.is_ok_and(|a| a.same_server(address)) {
                found.credential = Some(Credential { user, password: password.into() });
            }
        }
        return Ok(found);
    }
    let (Some(user), Some(password)) = (text(&folder.join("username"))?, text(&folder.join("password"))?)
    else {
        return Err(usage(folder, "it holds neither `.git-credentials` nor `username` and `password`"));
    };
    // an editor's last newline is no part of a password
    let (user, password) = (user.trim_end_matches(['\r', '\n']), password.trim_end_matches(['\r', '\n']));
    found.secrets.add(password);
    found.credential = Some(Credential { user: user.to_owned(), password: password.into() });
    Ok(found)
}

/// `scheme://user:password@host[:port][/path]`, user and password percent-decoded.
fn split(line: &str) -> Option<(&str, String, String, &str)> {
    let (scheme, rest) = line.split_once("://")?;
    let (login, server) = rest.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
    Some((scheme, decode(user)?, decode(password)?, server.split('/').next().unwrap_or_default()))
}

fn text(path: &Path) -> Result<Option<String>, Failure> {
    // mounted Secrets are symbolic links into a folder of theirs, so links are followed
    let size = match fs::metadata(path) {
        Ok(data) => data.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(usage(path, &error.to_string())),
    };
    if size > LIMIT {
        return Err(usage(path, "it is larger than 64 KiB"));
    }
    fs::read_to_string(path).map(Some).map_err(|error| usage(path, &error.to_string()))
}

fn usage(path: &Path, why: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read credentials from `{}`: {why}", path.display()))
        .hint("`--basic-auth` names a folder with `.git-credentials`, or with `username` and `password`")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::{Found, read};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    fn login(found: &Found) -> Option<(&str, &str)> {
        found.credential.as_ref().map(|c| (c.user.as_str(), c.password.expose_secret()))
    }

    #[test]
    fn the_line_of_the_same_server_is_used() {
        let folder = folder(&[(
            ".git-credentials",
            "https://a:one@other.example.org\n\nhttp://b:two@git.example.org\nhttps://c:three@git.example.org:8443\n\
             https://d%40x:p%3Aq%2F@git.example.org/path\nhttps://e:five@git.example.org\n",
        )]);
        for (url, wanted) in [
            ("https://git.example.org/m", Some(("d@x", "p:q/"))),
            ("https://git.example.org:8443/m", Some(("c", "three"))),
            ("https://other.example.org:443/m", Some(("a", "one"))),
            ("https://third.example.org/m", None),
        ] {
            let found = read(folder.path(), &url.parse().unwrap()).unwrap();
            assert_eq!(login(&found), wanted, "{url}");
        }
    }

    #[test]
    fn a_basic_auth_secret_is_for_the_server_of_the_address() {
        let folder = folder(&[("username", "user"), ("password", "pass word\n")]);
        let found = read(folder.path(), &"https://git.example.org/m".parse().unwrap()).unwrap();
        assert_eq!(login(&found), Some(("user", "pass word")));
    }

    #[test]
    fn a_folder_without_credentials_is_named() {
        let folder = folder(&[("token", "x")]);
        let failure = read(folder.path(), &"https://git.example.org/m".parse().unwrap()).unwrap_err();
        assert_eq!(
            failure.message(),
            format!(
                "cannot read credentials from `{}`: it holds neither `.git-credentials` nor `username` and `password`",
                folder.path().display()
            )
        );
    }
}
