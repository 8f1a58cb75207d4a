//! A TCP proxy in front of a real Git server, smart HTTP and OpenSSH alike, that loses and delays what it carries.
//!
//! What is before the server's work is lost by counting bytes ([`Fault`]). What is behind it cannot be counted: SSH is
//! encrypted, and an answer may come whole with what precedes it. So the repository tells: a `reference-transaction` hook
//! says to the proxy that a ref has moved, and by which connection, and the server's Git waits until the proxy has lost the
//! answer ([`Loss`]). At that moment the push is accepted and its report not yet written.

mod carry;
mod doors;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::git::Repository;
use carry::Order;
pub use doors::{Doors, Over};
use plan::Plan;
pub use plan::{After, Chances, Ending, Fault, Loss, Met};

/// Any free port of the loopback address.
const ANY: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Who asks is known by the port from which the proxy reached the server: `git http-backend` has it in `REMOTE_PORT`, as
/// web servers give it, and sshd in `SSH_CONNECTION`. Who came without the proxy is none of its business.
const HOOK: &str = r#"#!/bin/bash
[ "$1" = committed ] || exit 0
port=$REMOTE_PORT
[ -n "$port" ] || read -r _ port _ <<<"$SSH_CONNECTION"
[ -n "$port" ] || exit 0
exec 3<>/dev/tcp/127.0.0.1/CONTROL
echo "$port" >&3
read -r word <&3
[ "$word" != kill ] || kill -KILL $PPID
"#;

/// The proxy of one repository. It runs on a thread of its own until it is dropped, so tests may block.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    // taken when dropped
    runtime: Option<Runtime>,
}

/// What connections share with the handle.
#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    /// By the port from which the server was reached.
    connections: Mutex<BTreeMap<u16, mpsc::Sender<Order>>>,
    carried: AtomicU64,
}

impl Proxy {
    /// A proxy that hears of every ref that is moved in the repository, by a hook of its own there.
    pub fn start(repository: &Repository) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("proxy")
            .worker_threads(1)
            .enable_all()
            .build()?;
        let proxy = Self { shared: Arc::default(), runtime: Some(runtime) };
        let control = proxy.serve(hear)?;
        repository.hook("reference-transaction", &HOOK.replace("CONTROL", &control.port().to_string()))?;
        Ok(proxy)
    }

    /// One more way in: where it listens for those who want to reach `server`.
    pub fn before(&self, server: SocketAddr) -> Result<SocketAddr> {
        self.serve(move |shared, client| carry::connection(shared, client, server))
    }

    fn serve<F>(&self, each: impl Fn(Arc<Shared>, TcpStream) -> F + Send + 'static) -> Result<SocketAddr>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(ANY)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = self.runtime.as_ref().context("the proxy has ended")?;
        let inside = runtime.enter();
        let listener = TcpListener::from_std(listener)?;
        drop(inside);
        runtime.spawn(accept(listener, Arc::clone(&self.shared), each));
        Ok(address)
    }

    /// The next connection meets this fault, `None` is none; several wait in line.
    pub fn fault(&self, fault: Option<Fault>) {
        lock(&self.shared.plan).faults.push_back(fault);
    }

    /// The answer to the next accepted push is lost so; several wait in line.
    pub fn lose(&self, loss: Loss) {
        lock(&self.shared.plan).losses.push_back(loss);
    }

    /// Whatever does not wait in line is drawn by lot from now on.
    pub fn draw(&self, chances: Option<Chances>) {
        lock(&self.shared.plan).chances = chances;
    }

    /// How many faults and losses still wait in line.
    pub fn left(&self) -> usize {
        let plan = lock(&self.shared.plan);
        plan.faults.len() + plan.losses.len()
    }

    /// Nothing waits in line any more.
    pub fn forget(&self) {
        let mut plan = lock(&self.shared.plan);
        plan.faults.clear();
        plan.losses.clear();
    }

    /// How many bytes it has carried so far, both ways.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    /// What has happened so far.
    pub fn met(&self) -> Met {
        lock(&self.shared.plan).met
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept<F>(listener: TcpListener, shared: Arc<Shared>, each: impl Fn(Arc<Shared>, TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        // one connection that cannot be accepted is its client's trouble
        let Ok((stream, _)) = listener.accept().await else { continue };
        let work = each(Arc::clone(&shared), stream);
        tokio::spawn(async move {
            // who breaks off is part of the tests
            if let Err(error) = work.await {
                tracing::debug!(%error, "proxied connection");
            }
        });
    }
}

/// The hook has told of a ref: it may go on when the answer is lost.
async fn hear(shared: Arc<Shared>, stream: TcpStream) -> io::Result<()> {
    let (mut stream, mut line) = (BufStream::new(stream), String::new());
    stream.read_line(&mut line).await?;
    let killed = match line.trim().parse() {
        Ok(port) => shared.lose(port).await,
        Err(_) => false,
    };
    stream.write_all(if killed { b"kill\n" } else { b"go\n" }).await?;
    stream.flush().await
}

impl Shared {
    /// Lose the answer that comes on the connection from this port, if that is planned; whether the server's Git is to die.
    async fn lose(&self, port: u16) -> bool {
        let Some(orders) = lock(&self.connections).get(&port).cloned() else { return false };
        let Some(loss) = lock(&self.plan).next_loss() else { return false };
        let mut gone = loss == Loss::Killed;
        if !gone {
            let (done, acknowledged) = oneshot::channel();
            gone = orders.send(Order { loss, done }).await.is_ok() && acknowledged.await.is_ok();
        }
        let mut plan = lock(&self.plan);
        if gone {
            plan.met.losses += 1;
        } else {
            // the client was gone before
            plan.losses.push_front(loss);
        }
        gone && loss == Loss::Killed
    }
}

/// A list of plain values is whole whatever panicked while it was held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
