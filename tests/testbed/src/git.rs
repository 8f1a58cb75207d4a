//! A real Git server over smart HTTP: `git http-backend` behind a small web server, with faults on demand.
//!
//! Everything a push meets on a forge is here: basic authentication, TLS under a certificate authority of its own, hooks,
//! a repository on disk. What a forge does not offer is the fault layer: [`Server::fault`] says what happens to the next
//! request of a kind, such as an accepted push whose answer is lost.

mod backend;
mod fault;
pub mod forge;
mod gate;
pub mod history;
mod machines;
mod repository;
mod serve;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use fault::{Ending, Fault, On};
use gate::Gate;
pub use repository::{Entry, Repository};
pub use tunnel::Tunnel;

/// The folder of the repository in the server, and the last part of its address.
const NAME: &str = "machines.git";
/// The one account.
const USER: &str = "flow";

/// One request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it was for.
    pub on: On,
    /// Whether it carried credentials, right or wrong.
    pub authorization: bool,
}

/// A Git server with one bare repository, branch `main`. It runs on a thread of its own until it is dropped, so tests may
/// block.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca: Option<String>,
    repository: Repository,
    // the repository lives in it
    _folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections share with the handle.
#[derive(Debug)]
struct Shared {
    root: PathBuf,
    password: String,
    faults: Mutex<Vec<(On, Fault)>>,
    seen: Mutex<Vec<Seen>>,
    sent: AtomicU64,
    received: AtomicU64,
    old: AtomicBool,
    gate: Gate,
    forge: Option<forge::State>,
}

impl Server {
    /// Plain HTTP on the loopback address, with one commit on `main`.
    pub async fn plain() -> Result<Self> {
        let server = Self::empty().await?;
        server.first_commit()?;
        Ok(server)
    }

    /// Plain HTTP on the loopback address, with no commit at all.
    pub async fn empty() -> Result<Self> {
        Self::begin(IpAddr::V4(Ipv4Addr::LOCALHOST), None, None).await
    }

    /// TLS on a free port of `address`, with one commit on `main`. The certificate names `address`, the loopback address
    /// and `localhost`.
    pub async fn tls(address: IpAddr) -> Result<Self> {
        let server = Self::begin(address, Some(tls::Identity::new(address)?), None).await?;
        server.first_commit()?;
        Ok(server)
    }

    async fn begin(
        address: IpAddr,
        identity: Option<tls::Identity>,
        forge: Option<forge::State>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let repository = Repository::create(folder.path().join(NAME))?;
        let mut random = [0; 16];
        openssl::rand::rand_bytes(&mut random)?;
        let password = format!("{:032x}", u128::from_ne_bytes(random));
        let root = folder.path().to_owned();
        let shared = Arc::new(Shared {
            root,
            password,
            faults: Mutex::default(),
            seen: Mutex::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            old: AtomicBool::new(false),
            gate: Gate::default(),
            forge,
        });
        let ca = identity.as_ref().map(|i| i.ca_pem.clone());
        let (ready, bound) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("git-server".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || serve::run(&shared, address, identity, ready, stopped)
        })?;
        let bound = bound.await.context("the Git server's thread ended")?;
        let address = bound.with_context(|| format!("cannot serve Git on {address}"))?;
        Ok(Self { shared, address, ca, repository, _folder: folder, stop: Some(stop), thread: Some(thread) })
    }

    fn first_commit(&self) -> Result<()> {
        self.repository.commit(&[Entry::file("README.md", "Machines.\n")], "first commit").map(drop)
    }

    /// The address of the repository.
    pub fn url(&self) -> String {
        format!("{}://{}/{NAME}", self.scheme(), self.address)
    }

    /// The address of the repository by the name `localhost`.
    pub fn url_by_name(&self) -> String {
        format!("{}://localhost:{}/{NAME}", self.scheme(), self.address.port())
    }

    /// The address with user and password, as a line of `.git-credentials` has it.
    pub fn url_with_credentials(&self) -> String {
        format!("{}://{USER}:{}@{}/{NAME}", self.scheme(), self.shared.password, self.address)
    }

    const fn scheme(&self) -> &'static str {
        if self.ca.is_some() { "https" } else { "http" }
    }

    /// Host and port as messages name them.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and password; without the password every request is answered 401, and any user name does, as it does for a forge's
    /// tokens.
    pub fn credentials(&self) -> (&str, &str) {
        (USER, &self.shared.password)
    }

    /// The certificate authority as PEM; empty where the server speaks plain HTTP.
    pub fn ca_pem(&self) -> &str {
        self.ca.as_deref().unwrap_or_default()
    }

    /// The folder of the bare repository.
    pub fn repository(&self) -> &Path {
        self.repository.path()
    }

    /// The repository as it lies on disk, to read it and to commit as somebody else.
    pub const fn git(&self) -> &Repository {
        &self.repository
    }

    /// The next request of this kind meets this fault; several wait in line.
    pub fn fault(&self, on: On, fault: Fault) {
        lock(&self.shared.faults).push((on, fault));
    }

    /// How many faults still wait for their request.
    pub fn faults_left(&self) -> usize {
        lock(&self.shared.faults).len()
    }

    /// From now on every request that carries the password waits until [`Server::let_in`] names its user.
    pub fn hold(&self) {
        self.shared.gate.close();
    }

    /// Who waits, by the user name of the request, and with what.
    pub fn held(&self) -> Vec<(String, On)> {
        self.shared.gate.waiting()
    }

    /// The request of this user goes on, and whoever comes later waits again.
    pub fn let_in(&self, user: &str) {
        self.shared.gate.let_in(user);
    }

    /// Every request so far, in the order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many bytes Git's answers had so far, without headers.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How many bytes the bodies of requests had so far that said how long they are.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// From now on it does not know of version 2 of the protocol, as servers before Git 2.18.
    pub fn grow_old(&self) {
        self.shared.old.store(true, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // the thread may be gone already
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A list of plain values is whole whatever panicked while it was held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
