//! A connection to the one server, through a proxy where one leads there.

use std::io;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gitops::Address;
use openssl::ssl::SslConnector;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// The longest answer of a proxy to `CONNECT`, in bytes.
const HEAD: usize = 16 * 1024;

/// Bytes to and from the server.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connect, and for `https` agree on keys with the server that the address names.
pub(crate) async fn connect(
    server: &Address,
    proxy: Option<&str>,
    trust: &SslConnector,
) -> Result<Box<dyn Duplex>, Problem> {
    let stream: Box<dyn Duplex> = match proxy {
        None => tcp(server.name(), server.port()).await?,
        Some(proxy) => tunnel(proxy, server, trust).await?,
    };
    if server.scheme() == "https" { tls(stream, server.name(), trust).await } else { Ok(stream) }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The network, or the server's end of it.
    Network(String),
    /// The certificate is not one that is trusted for this name.
    Untrusted(String),
    /// The proxy wants to know who asks, or refuses.
    Proxy(u16),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Network(error.to_string())
    }
}

async fn tcp(host: &str, port: u16) -> Result<Box<dyn Duplex>, Problem> {
    Ok(Box::new(TcpStream::connect((host, port)).await?))
}

async fn tls(stream: Box<dyn Duplex>, name: &str, trust: &SslConnector) -> Result<Box<dyn Duplex>, Problem> {
    let network = |error: &dyn std::fmt::Display| Problem::Network(error.to_string());
    let ssl = trust.configure().and_then(|c| c.into_ssl(name)).map_err(|e| network(&e))?;
    let mut stream = SslStream::new(ssl, stream).map_err(|e| network(&e))?;
    let shaken = Pin::new(&mut stream).connect().await;
    let verdict = stream.ssl().verify_result();
    match shaken {
        Ok(()) => Ok(Box::new(stream)),
        Err(_) if verdict != openssl::x509::X509VerifyResult::OK => {
            Err(Problem::Untrusted(verdict.error_string().to_owned()))
        }
        Err(error) => Err(network(&error)),
    }
}

/// `CONNECT` (RFC 9110, 9.3.6) through `http://[user:password@]host:port`.
async fn tunnel(proxy: &str, server: &Address, trust: &SslConnector) -> Result<Box<dyn Duplex>, Problem> {
    let (scheme, authority) = proxy.split_once("://").unwrap_or(("http", proxy));
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let at: Address =
        format!("https://{place}/any").parse().map_err(|why: &str| Problem::Network(why.to_owned()))?;
    // without a port it is that of the scheme
    let port = if scheme == "http" && at.port() == 443 && !place.ends_with(":443") { 80 } else { at.port() };
    let mut stream = tcp(at.name(), port).await?;
    if scheme == "https" {
        stream = tls(stream, at.name(), trust).await?;
    }
    let name =
        if server.name().contains(':') { format!("[{}]", server.name()) } else { server.name().to_owned() };
    let target = format!("{name}:{}", server.port());
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = login {
        let login = percent_decode_str(login).decode_utf8_lossy();
        head.extend(["Proxy-Authorization: Basic ", &STANDARD.encode(login.as_bytes()), "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        if said.len() == HEAD {
            return Err(Problem::Network("the proxy's answer has no end".to_owned()));
        }
        // byte by byte: what comes behind the head is the server's
        said.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&said);
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    if (200..300).contains(&status) { Ok(stream) } else { Err(Problem::Proxy(status)) }
}
