//! The flags that say which repository, and as whom.

use std::fmt;
use std::path::PathBuf;

use git2::Reference;
use step::{Failure, Kind};

use crate::address::{Address, Way};
use crate::credential::{self, Found};
use crate::exchange::Link;
use crate::remote::Remote;
use crate::smart::Smart;
use crate::wire::stream;
use crate::{library, proxy, ssh};

/// The flags that say which repository, and as whom.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Git")]
pub struct RemoteArgs {
    /// Address of the repository: `https://host/path`, `ssh://user@host/path` or `user@host:path`
    #[arg(long, value_name = "URL")]
    url: Option<Given>,
    /// Branch of the repository
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    branch: String,
    /// Folder with `.git-credentials`, or with `username` and `password`
    #[arg(long, value_name = "DIR", default_value = credential::TEKTON)]
    basic_auth: PathBuf,
    /// Folder with a private key (`id_ed25519`, `id_ecdsa`, `id_rsa` or `ssh-privatekey`, without passphrase) and `known_hosts`
    #[arg(long, value_name = "DIR", default_value = ssh::TEKTON)]
    ssh_directory: PathBuf,
    /// Folder with a file of certificate authorities to trust besides the system's
    #[arg(long, value_name = "DIR")]
    ssl_ca_directory: Option<PathBuf>,
    /// Name of the file in the folder of `--ssl-ca-directory`
    #[arg(long, value_name = "FILE", default_value = "ca-bundle.crt")]
    ca_file_name: String,
    /// Proxy that leads to a server by https, `http://host:port`; that of `HTTPS_PROXY` unless given
    #[arg(long, value_name = "PROXY")]
    https_proxy: Option<Given>,
    /// Hosts, domains, addresses and ranges that are reached without a proxy, such as `.svc,10.0.0.0/8`; those of `NO_PROXY` unless given
    #[arg(long, value_name = "HOSTS")]
    no_proxy: Option<String>,
}

/// An address as it was given. It may hold a password until it is refused for that, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
struct Given(String);

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl From<String> for Given {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl RemoteArgs {
    /// Whether a repository was named at all.
    pub const fn is_given(&self) -> bool {
        self.url.is_some()
    }

    /// The branch.
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Check the flags, read the credentials and make an empty local repository; nothing is asked of the server yet.
    pub fn open(&self) -> Result<Remote, Failure> {
        let usage = |why: String| Failure::new(Kind::Usage, why);
        let Given(url) = self.url.as_ref().ok_or_else(|| {
            usage("no repository is given".to_owned()).hint("`--url https://host/path` names it")
        })?;
        let address: Address = url.parse().map_err(|why| {
            usage(format!("cannot use the address of `--url`: {why}"))
                .hint("`--url https://host/path`; user and password go into the folder of `--basic-auth`, a key into that of `--ssh-directory`")
        })?;
        let branch = &self.branch;
        // what is longer is no line of the protocol
        if branch.starts_with('-')
            || branch.len() > 1000
            || !branch.is_ascii()
            || !Reference::is_valid_name(&format!("refs/heads/{branch}"))
        {
            return Err(usage("the value of `--branch` is not the name of a branch".to_owned()));
        }
        let (mut found, mut login) = (Found::default(), None);
        match address.way() {
            Way::Ssh(_) => login = Some(ssh::read(&self.ssh_directory, &address, &mut found.secrets)?),
            Way::Https | Way::Http => found = credential::read(&self.basic_auth, &address)?,
        }
        let Found { credential, mut secrets } = found;
        let authorities = self.authorities()?;
        let untrusted = |why: &str| {
            usage(format!("cannot trust the certificates of `--ssl-ca-directory`: {why}"))
                .hint("the file has to hold certificates in PEM form")
        };
        library::prepare(authorities.as_deref()).map_err(|error| untrusted(error.message()))?;
        let tls = || stream::connector(authorities.as_deref()).map_err(|error| untrusted(&error.to_string()));
        let smart = match address.way() {
            Way::Https => Some(Smart::new(Some(tls()?))),
            Way::Http => Some(Smart::new(None)),
            Way::Ssh(_) => None,
        };
        let given = self.https_proxy.as_ref().map(|Given(proxy)| proxy.as_str());
        let proxy = proxy::find(&address, given, self.no_proxy.as_deref(), &mut secrets)?;
        Remote::new(Link { address, branch: branch.clone(), credential, login, secrets, proxy, smart })
    }

    /// The file of certificate authorities.
    fn authorities(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(folder) = &self.ssl_ca_directory else { return Ok(None) };
        let file = folder.join(&self.ca_file_name);
        if self.ca_file_name.contains('/') || !file.is_file() {
            let why = format!("cannot read certificate authorities: `{}` is not a file", file.display());
            return Err(Failure::new(Kind::Usage, why)
                .hint("`--ssl-ca-directory` names its folder and `--ca-file-name` its name there"));
        }
        Ok(Some(file))
    }
}
