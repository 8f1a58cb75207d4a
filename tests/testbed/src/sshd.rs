//! A guest that is reached over SSH: OpenSSH's server, one process for each connection as inetd starts it, and this machine as the
//! guest. Shells, processes and files are real; what is on its `PATH` is ours first.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};

use crate::pipeline::Flow;

/// As its package installs it; it wants to be called by its whole path.
const SSHD: [&str; 2] = ["/usr/sbin/sshd", "/usr/bin/sshd"];

type Connections = Arc<Mutex<Served>>;

/// What has been served, and is.
#[derive(Debug, Default)]
struct Served {
    all: usize,
    /// Each with the process that serves it.
    open: Vec<(TcpStream, Child)>,
}

/// The server and a folder of its own.
#[derive(Debug)]
pub struct Sshd {
    folder: tempfile::TempDir,
    address: SocketAddr,
    connections: Connections,
}

impl Sshd {
    /// Listen on a free port of 127.0.0.1.
    pub fn start() -> Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST.into())
    }

    /// Listen on a free port of this address. Its folder gets `host.pub`, `other.pub` (the key of somebody else), `authorized_keys`, an
    /// empty `bin`, and `ssh`: what who connects has, `id_ed25519` and an empty `known_hosts`.
    pub fn start_on(address: IpAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        for name in ["bin", "ssh"] {
            fs::create_dir(at(name))?;
        }
        for file in ["host", "other", "ssh/id_ed25519"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(at(file))
                .status();
            ensure!(made.context("OpenSSH's client is not installed")?.success(), "ssh-keygen has failed");
        }
        fs::copy(at("ssh/id_ed25519.pub"), at("authorized_keys"))?;
        fs::write(at("ssh/known_hosts"), "")?;
        let root = folder.path().display();
        // bash reads `.bashrc` for who comes over SSH, and what whoever runs this has there may take longer than Git
        let config = format!(
            "HostKey {root}/host\nAuthorizedKeysFile {root}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             AcceptEnv GIT_PROTOCOL\nSetEnv PATH={root}/bin:/usr/bin:/bin HOME={root}\n"
        );
        fs::write(at("sshd_config"), config)?;
        let connections = Connections::default();
        let address = serve(address, at("sshd_config"), Arc::clone(&connections))?;
        Ok(Self { folder, address, connections })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`Sshd::address`].
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Who connects knows this key (`host` or `other`) under these names, and nothing else.
    pub fn knows(&self, names: &[&str], key: &str) -> Result<()> {
        let key = fs::read_to_string(self.folder.path().join(format!("{key}.pub")))?;
        let lines: Vec<String> = names.iter().map(|name| format!("{name} {key}")).collect();
        Ok(fs::write(self.folder.path().join("ssh/known_hosts"), lines.concat())?)
    }

    /// The name of the user who may log in: whoever runs this.
    pub fn user() -> Result<String> {
        let said = Command::new("id").arg("-un").output()?.stdout;
        Ok(String::from_utf8(said)?.trim().to_owned())
    }

    /// `patch-guest-vm` speaks to this guest; what it did is kept in its folder `state`.
    pub fn is_guest_of(&self, flow: &mut Flow) -> Result<()> {
        flow.workspaces.insert("ssh-directory".to_owned(), self.folder().join("ssh"));
        for (name, value) in [
            ("user", Self::user()?),
            ("port", self.port().to_string()),
            ("become", "none".to_owned()),
            ("state-directory", self.folder().join("state").display().to_string()),
        ] {
            flow.params.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Every connection is lost.
    pub fn cut(&self) {
        for (stream, _) in &self.connections.lock().unwrap_or_else(PoisonError::into_inner).open {
            // one that has ended already is none
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut();
        for (_, child) in &mut self.connections.lock().unwrap_or_else(PoisonError::into_inner).open {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Take connections for as long as this process lives.
fn serve(address: IpAddr, config: PathBuf, connections: Connections) -> Result<SocketAddr> {
    let Some(sshd) = SSHD.into_iter().find(|path| Path::new(path).exists()) else {
        bail!("OpenSSH's server is not installed: none of {SSHD:?}");
    };
    // what its service makes at the start of the system; only root needs it, and only root can make it
    let _ = fs::create_dir("/run/sshd");
    let listener = TcpListener::bind((address, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let [Ok(kept), Ok(other)] = [stream.try_clone(), stream.try_clone()] else { return };
            let mut command = Command::new(sshd);
            command.args(["-i", "-e", "-f"]).arg(&config).stderr(Stdio::null());
            command.stdin(OwnedFd::from(stream)).stdout(OwnedFd::from(other));
            let Ok(child) = command.spawn() else { return };
            let mut served = connections.lock().unwrap_or_else(PoisonError::into_inner);
            served.all += 1;
            // ended ones would fill the table of processes, and our sockets keep them half open
            served.open.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
            served.open.push((kept, child));
        }
    });
    Ok(address)
}
