//! One repository with a proxy before both of its servers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::Proxy;
use crate::git::Server;
use crate::sshd::Sshd;

/// How the repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Smart HTTP, with user and password.
    Http,
    /// OpenSSH, with a key.
    Ssh,
}

impl Over {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http, Self::Ssh];
}

/// A repository, its two servers, and the proxy before them.
#[derive(Debug)]
pub struct Doors {
    /// What is behind.
    pub server: Server,
    /// What is between.
    pub proxy: Proxy,
    sshd: Sshd,
    http: SocketAddr,
    ssh: SocketAddr,
    credentials: tempfile::TempDir,
}

impl Doors {
    /// With one commit on `main`, plain HTTP.
    pub async fn open() -> Result<Self> {
        Self::before(Server::plain().await?)
    }

    /// The same, where HTTP goes by TLS.
    pub async fn secure() -> Result<Self> {
        Self::before(Server::tls(Ipv4Addr::LOCALHOST.into()).await?)
    }

    fn before(server: Server) -> Result<Self> {
        let sshd = Sshd::start()?;
        let proxy = Proxy::start(server.git())?;
        let http = proxy.before(server.address())?;
        let ssh = proxy.before((Ipv4Addr::LOCALHOST, sshd.port()).into())?;
        sshd.knows(&[&format!("[127.0.0.1]:{}", ssh.port())], "host")?;
        let doors = Self { server, proxy, sshd, http, ssh, credentials: tempfile::tempdir()? };
        let credentials = doors.credentials.path();
        fs::write(credentials.join(".git-credentials"), format!("{}\n", doors.url(Over::Http)?))?;
        fs::write(credentials.join(".gitconfig"), "[credential]\n\thelper = store\n")?;
        fs::write(credentials.join("ca-bundle.crt"), doors.server.ca_pem())?;
        Ok(doors)
    }

    /// The address through the proxy, with the password where there is one.
    pub fn url(&self, over: Over) -> Result<String> {
        Ok(match over {
            Over::Http => {
                self.server.url_with_credentials().replace(&self.server.host(), &self.http.to_string())
            }
            Over::Ssh => {
                format!("ssh://{}@{}{}", Sshd::user()?, self.ssh, self.server.repository().display())
            }
        })
    }

    /// The certificate authority of [`Doors::secure`] as a flag of this project's binaries.
    pub fn authorities(&self) -> String {
        format!("--ssl-ca-directory={}", self.credentials.path().display())
    }

    /// Host and port as messages name them.
    pub fn host(&self, over: Over) -> String {
        match over {
            Over::Http => self.http.to_string(),
            Over::Ssh => self.ssh.to_string(),
        }
    }

    /// From now on the key may read over SSH and not push: the server says these words (without quotes) and is gone, as forges do with a
    /// key that may only read, and with a repository that is archived.
    pub fn only_read(&self, words: &str) -> Result<()> {
        let (at, folder) = (|name: &str| self.sshd.folder().join(name), self.sshd.folder().display());
        let script = format!(
            "case $SSH_ORIGINAL_COMMAND in *receive-pack*) echo '{words}' >&2; exit 1;; esac\neval \"$SSH_ORIGINAL_COMMAND\"\n"
        );
        fs::write(at("only-read"), script)?;
        let key = fs::read_to_string(at("ssh/id_ed25519.pub"))?;
        Ok(fs::write(at("authorized_keys"), format!("command=\"sh {folder}/only-read\" {key}"))?)
    }

    /// From now on the key is none of those that may log in over SSH.
    pub fn refuse_key(&self) -> Result<()> {
        Ok(fs::write(self.sshd.folder().join("authorized_keys"), "")?)
    }

    /// What git calls to reach it over SSH.
    pub fn ssh_command(&self) -> String {
        let folder = self.sshd.folder().join("ssh");
        let folder = folder.display();
        format!("ssh -F /dev/null -i {folder}/id_ed25519 -o UserKnownHostsFile={folder}/known_hosts")
    }

    /// Address and credentials as flags of this project's binaries.
    pub fn flags(&self, over: Over) -> Result<[String; 2]> {
        Ok(match over {
            Over::Http => {
                let url = self.server.url().replace(&self.server.host(), &self.http.to_string());
                [format!("--url={url}"), format!("--basic-auth={}", self.credentials.path().display())]
            }
            Over::Ssh => {
                let folder = self.sshd.folder().join("ssh");
                [format!("--url={}", self.url(over)?), format!("--ssh-directory={}", folder.display())]
            }
        })
    }
}
