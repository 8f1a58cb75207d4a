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
    /// With one commit on `main`.
    pub async fn open() -> Result<Self> {
        let (server, sshd) = (Server::plain().await?, Sshd::start()?);
        let proxy = Proxy::start(server.git())?;
        let http = proxy.before(server.address())?;
        let ssh = proxy.before((Ipv4Addr::LOCALHOST, sshd.port()).into())?;
        sshd.knows(&[&format!("[127.0.0.1]:{}", ssh.port())], "host")?;
        let doors = Self { server, proxy, sshd, http, ssh, credentials: tempfile::tempdir()? };
        let credentials = doors.credentials.path();
        fs::write(credentials.join(".git-credentials"), format!("{}\n", doors.url(Over::Http)?))?;
        fs::write(credentials.join(".gitconfig"), "[credential]\n\thelper = store\n")?;
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
