//! Whether a TCP port of the machine accepts connections.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection within one network is made in far less; a packet that is dropped is sent again after 1 and 3 s.
const CONNECT: Duration = Duration::from_secs(5);

/// Connect once; the error says why not.
pub(crate) async fn connect(ip: &str, port: u16) -> Result<(), String> {
    match timeout(CONNECT, TcpStream::connect((ip, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {}", step::human(CONNECT))),
    }
}
