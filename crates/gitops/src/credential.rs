//! Who we are to the server: the folder of a `basic-auth` workspace.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use step::{Failure, Kind};

use crate::address::Address;
use crate::secret::Secrets;

/// A file of credentials is at most this many bytes.
const LIMIT: u64 = 64 * 1024;
/// As the task git-clone has it: one address with user and password a line.
const STORE: &str = ".git-credentials";

/// Where Tekton puts what the Secrets of a ServiceAccount hold for Git, in every step (Tekton Pipelines v1.15 `docs/auth.md`).
pub(crate) const TEKTON: &str = "/tekton/creds";

/// User and password for the one server. Clones share the password: where a token is renewed, whoever holds one has the new one.
#[derive(Clone)]
pub struct Credential {
    user: String,
    password: Arc<RwLock<SecretString>>,
}

impl Credential {
    /// This user with this password, or with a token in its place.
    pub fn new(user: impl Into<String>, password: SecretString) -> Self {
        Self { user: user.into(), password: Arc::new(RwLock::new(password)) }
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password as it is now.
    pub fn password(&self) -> SecretString {
        self.password.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this is the password, for every clone.
    pub fn renew(&self, password: SecretString) {
        *self.password.write().unwrap_or_else(PoisonError::into_inner) = password;
    }
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
/// `kubernetes.io/basic-auth`. Nothing has to be in [`TEKTON`].
pub(crate) fn read(folder: &Path, address: &Address) -> Result<Found, Failure> {
    let tekton = folder == Path::new(TEKTON);
    if !folder.is_dir() {
        return if tekton { Ok(Found::default()) } else { Err(usage(folder, "it is not a folder")) };
    }
    if let Some(store) = text(&folder.join(STORE))? {
        return Ok(from_store(&store, address));
    }
    if tekton {
        return Ok(Found::default());
    }
    let mut found = Found::default();
    let (Some(user), Some(password)) = (text(&folder.join("username"))?, text(&folder.join("password"))?)
    else {
        return Err(usage(folder, "it holds neither `.git-credentials` nor `username` and `password`"));
    };
    // an editor's last newline is no part of a password
    let (user, password) = (user.trim_end_matches(['\r', '\n']), password.trim_end_matches(['\r', '\n']));
    found.secrets.add(password);
    found.credential = Some(Credential::new(user, password.into()));
    Ok(found)
}

/// Of the lines of our server the first that names our repository, else the first that names none, else the first: Tekton writes
/// a line for a repository where a Secret is annotated with one (Tekton Pipelines v1.15 `pkg/credentials/gitcreds/basic.go`).
fn from_store(store: &str, address: &Address) -> Found {
    let mut found = Found::default();
    let mut fit = 0;
    for line in store.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let Some((scheme, user, password, server)) = split(line) else { continue };
        found.secrets.add(&password);
        let (host, path) = server.split_once('/').unwrap_or((server, ""));
        let path = path.trim_matches('/');
        // an address has a path
        let Ok(other) =
            format!("{scheme}://{host}/{}", if path.is_empty() { "any" } else { path }).parse::<Address>()
        else {
            continue;
        };
        if !other.same_server(address) {
            continue;
        }
        let this = match path {
            "" => 2,
            _ if other.path() == address.path() => 3,
            _ => 1,
        };
        if this > fit {
            fit = this;
            found.credential = Some(Credential::new(user, password.into()));
        }
    }
    found
}

/// `scheme://user:password@host[:port][/path]`, user and password percent-decoded.
fn split(line: &str) -> Option<(&str, String, String, &str)> {
    let (scheme, rest) = line.split_once("://")?;
    let (login, server) = rest.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
    Some((scheme, decode(user)?, decode(password)?, server))
}

fn text(path: &Path) -> Result<Option<String>, Failure> {
    match mounted(path, LIMIT, "it is larger than 64 KiB") {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(usage(path, &error.to_string())),
    }
}

/// A file of a mounted Secret, of at most `limit` bytes, or the words for one that is larger. Such files are symbolic links into a
/// folder of theirs, so links are followed.
pub(crate) fn mounted(path: &Path, limit: u64, larger: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(ErrorKind::FileTooLarge, larger));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
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

    fn login(found: &Found) -> Option<(String, String)> {
        let credential = found.credential.as_ref();
        credential.map(|c| (c.user().to_owned(), c.password().expose_secret().to_owned()))
    }

    fn named((user, password): (&str, &str)) -> (String, String) {
        (user.to_owned(), password.to_owned())
    }

    #[test]
    fn the_line_of_the_same_server_is_used() {
        let folder = folder(&[(
            ".git-credentials",
            "https://a:one@other.example.org\n\nhttp://b:two@git.example.org\nhttps://c:three@git.example.org:8443\n\
             https://d%40x:p%3Aq%2F@git.example.org/\nhttps://e:five@git.example.org\n",
        )]);
        for (url, wanted) in [
            ("https://git.example.org/m", Some(("d@x", "p:q/"))),
            ("https://git.example.org:8443/m", Some(("c", "three"))),
            ("https://other.example.org:443/m", Some(("a", "one"))),
            ("https://third.example.org/m", None),
        ] {
            let found = read(folder.path(), &url.parse().unwrap()).unwrap();
            assert_eq!(login(&found), wanted.map(named), "{url}");
        }
    }

    #[test]
    fn the_line_of_the_repository_goes_before_that_of_the_server() {
        let lines = [
            "https://a:other@git.example.org/team/other",
            "https://b:server@git.example.org",
            "https://c:ours@git.example.org/team/machines",
            "https://d:later@git.example.org/team/machines.git",
        ];
        for (kept, wanted) in [(4, "ours"), (2, "server"), (1, "other")] {
            let folder = folder(&[(".git-credentials", &lines[..kept].join("\n"))]);
            let address = "https://git.example.org/team/machines.git".parse().unwrap();
            assert_eq!(login(&read(folder.path(), &address).unwrap()).unwrap().1, wanted);
        }
    }

    #[test]
    fn a_basic_auth_secret_is_for_the_server_of_the_address() {
        let folder = folder(&[("username", "user"), ("password", "pass word\n")]);
        let found = read(folder.path(), &"https://git.example.org/m".parse().unwrap()).unwrap();
        assert_eq!(login(&found), Some(named(("user", "pass word"))));
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
