//! One connection through the proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::plan::{After, Ending, Fault, Loss};
use super::{Shared, lock};

/// Between two bytes of what drips.
const DRIP: Duration = Duration::from_secs(1);

/// Lose the answer of this connection, and say so.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) loss: Loss,
    pub(super) done: oneshot::Sender<()>,
}

/// Why nothing is carried any more.
enum Stop {
    /// Both sides have ended it.
    Over,
    Broken(io::Error),
    /// As many bytes were carried as should be.
    Spent,
    Told(Order),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Carry what a client and the server say, and meet what is planned.
pub(super) async fn connection(
    shared: Arc<Shared>,
    mut client: TcpStream,
    server: SocketAddr,
) -> io::Result<()> {
    let fault = lock(&shared.plan).next_fault();
    if let Some(Fault::Late(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let mut server = TcpStream::connect(server).await?;
    // small packets both ways, each waited for
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let port = server.local_addr()?.port();
    let (orders, mut ordered) = mpsc::channel(1);
    lock(&shared.connections).insert(port, orders);
    let stop = tokio::select! {
        stop = carry(&shared, &mut client, &mut server, fault) => stop,
        Some(order) = ordered.recv() => Stop::Told(order),
    };
    // while its port is still ours
    lock(&shared.connections).remove(&port);
    match (stop, fault) {
        (Stop::Told(order), _) => lose(&shared, client, server, order).await,
        (Stop::Spent, Some(Fault::Cut(_, ending))) => end(client, ending).await,
        (Stop::Broken(error), _) => Err(error),
        (Stop::Over | Stop::Spent, _) => Ok(()),
    }
}

async fn carry(
    shared: &Shared,
    client: &mut TcpStream,
    server: &mut TcpStream,
    fault: Option<Fault>,
) -> Stop {
    let (up, down) = match fault {
        Some(Fault::Cut(After::Up(bytes), _)) => (bytes, u64::MAX),
        Some(Fault::Cut(After::Down(bytes), _)) => (u64::MAX, bytes),
        _ => (u64::MAX, u64::MAX),
    };
    let wait = (fault == Some(Fault::Drip)).then_some(DRIP);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    // each direction ends by itself
    let up = pump(shared, &mut from_client, &mut to_server, up, None);
    let down = pump(shared, &mut from_server, &mut to_client, down, wait);
    match tokio::try_join!(up, down) {
        Ok(_) => Stop::Over,
        Err(stop) => stop,
    }
}

/// Carry at most so many bytes, or all there are; with a wait one at a time.
async fn pump(
    shared: &Shared,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut left: u64,
    wait: Option<Duration>,
) -> Result<(), Stop> {
    let mut buffer = vec![0; if wait.is_some() { 1 } else { 16 * 1024 }];
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = from.read(&mut buffer[..room]).await?;
        if read == 0 {
            to.shutdown().await?;
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        left -= read as u64;
        shared.carried.fetch_add(read as u64, Ordering::Relaxed);
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
    }
    Err(Stop::Spent)
}

/// The server has accepted, and waits for our word.
async fn lose(shared: &Shared, mut client: TcpStream, mut server: TcpStream, order: Order) -> io::Result<()> {
    let Some((bytes, ending)) = order.loss.cut() else { return Ok(()) };
    if ending == Ending::Silence {
        // both sides stay open; who waits for our word may be gone
        let _ = order.done.send(());
        return silence(client).await;
    }
    if bytes == 0 {
        end(client, ending).await?;
        let _ = order.done.send(());
        return Ok(());
    }
    let _ = order.done.send(());
    match pump(shared, &mut server, &mut client, bytes, None).await {
        Err(Stop::Broken(error)) => Err(error),
        _ => end(client, ending).await,
    }
}

/// End it so for the client; the server's side is closed when this has returned.
async fn end(mut client: TcpStream, ending: Ending) -> io::Result<()> {
    match ending {
        Ending::Close => client.shutdown().await,
        // the close of a socket that does not linger is a reset
        Ending::Reset => Ok(rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?),
        Ending::Silence => silence(client).await,
    }
}

/// Until the client gives up.
async fn silence(mut client: TcpStream) -> io::Result<()> {
    tokio::io::copy(&mut client, &mut tokio::io::sink()).await.map(drop)
}
