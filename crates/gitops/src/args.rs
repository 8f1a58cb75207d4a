//! The flags that say which repository, and as whom.

use std::fmt;
use std::path::PathBuf;

use git2::Reference;
use step::{Failure, Kind};

use crate::address::{Address, Way};
use crate::credential::{self, Credential, Found};
use crate::exchange::Link;
use crate::remote::{Remote, local};
use crate::secret::Secrets;
use crate::smart::{Smart, Transport};
use crate::trust::trust;
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

    /// The address of the repository.
    pub fn address(&self) -> Result<Address, Failure> {
        let Given(url) = self
            .url
            .as_ref()
            .ok_or_else(|| usage("no repository is given").hint("`--url https://host/path` names it"))?;
        url.parse().map_err(|why| {
            usage(format!("cannot use the address of `--url`: {why}"))
                .hint("`--url https://host/path`; user and password go into the folder of `--basic-auth`, a key into that of `--ssh-directory`")
        })
    }

    /// What the same flags say of an HTTP API at `api`: how it is reached, whom it is trusted by, and the credential of
    /// `login` (an `https` or `http` address), which is the same server or one that belongs to it.
    pub fn access(&self, api: &Address, login: &Address) -> Result<Access, Failure> {
        let Found { credential, secrets } = credential::read(&self.basic_auth, login)?;
        let authorities = self.authorities()?;
        let proxy = self.proxy(api, &secrets)?;
        Ok(Access { credential, secrets, authorities, proxy })
    }

    /// Check the flags, read the credentials and make an empty local repository; nothing is asked of the server yet.
    pub fn open(&self) -> Result<Remote, Failure> {
        self.open_as(None)
    }

    /// The same, with this credential in place of those in files. It is of no use over SSH.
    pub fn open_as(&self, given: Option<(Credential, Secrets)>) -> Result<Remote, Failure> {
        let address = self.address()?;
        let branch = &self.branch;
        if !is_branch(branch) {
            return Err(usage("the value of `--branch` is not the name of a branch"));
        }
        let mut found = Found::default();
        if !matches!(address.way(), Way::Ssh(_)) {
            found = match given {
                Some((credential, secrets)) => Found { credential: Some(credential), secrets },
                None => credential::read(&self.basic_auth, &address)?,
            };
        }
        let Found { credential, secrets } = found;
        let authorities = self.authorities()?;
        library::prepare().map_err(|error| local(&error))?;
        let transport = match address.way() {
            Way::Https => Transport::Http(Some(trust(authorities.as_deref())?)),
            Way::Http => Transport::Http(None),
            Way::Ssh(_) => Transport::Ssh(ssh::read(&self.ssh_directory, &address, &secrets)?),
        };
        let proxy = self.proxy(&address, &secrets)?;
        let smart = Smart::new(transport);
        Remote::new(Link { address, branch: branch.clone(), credential, secrets, proxy, smart })
    }

    fn proxy(&self, address: &Address, secrets: &Secrets) -> Result<Option<String>, Failure> {
        let given = self.https_proxy.as_ref().map(|Given(proxy)| proxy.as_str());
        proxy::find(address, given, self.no_proxy.as_deref(), secrets)
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

/// How an HTTP API is reached, and as whom.
#[derive(Debug)]
pub struct Access {
    /// User and password, or a token in its place.
    pub credential: Option<Credential>,
    /// What is neither sent in a text nor printed.
    pub secrets: Secrets,
    /// A file of certificate authorities (PEM) to trust besides the system's.
    pub authorities: Option<PathBuf>,
    /// The proxy, `http://host:port`; the part before `@`, if any, is user and password.
    pub proxy: Option<String>,
}

/// Whether a branch may have this name. One that begins with `-` is an option to some Git client.
pub(crate) fn is_branch(name: &str) -> bool {
    !name.starts_with('-')
        && name.len() <= 1000
        && name.is_ascii()
        && Reference::is_valid_name(&format!("refs/heads/{name}"))
}

fn usage(why: impl Into<String>) -> Failure {
    Failure::new(Kind::Usage, why)
}
