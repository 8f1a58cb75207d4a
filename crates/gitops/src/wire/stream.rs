//! A connection to a server: directly or through a proxy, in the clear or by TLS, with a limit on every wait.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::ssl::{HandshakeError, SslConnector};
use openssl::x509::X509VerifyResult;
use percent_encoding::percent_decode_str;
use step::Kind;

use super::{http, reason};
use crate::trouble::{Class, Trouble};

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How long may be waited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For each answer to a read or write of the system.
    pub(crate) silence: Duration,
    /// For all of them.
    pub(crate) until: Instant,
}

impl Patience {
    /// The same, and over after this time at the latest.
    pub(crate) fn at_most(self, time: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + time), ..self }
    }

    /// What is left of it, never zero.
    pub(crate) fn left(&self) -> io::Result<Duration> {
        let left = self.silence.min(self.until.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(timed_out("read from")) } else { Ok(left) }
    }
}

fn timed_out(verb: &str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, format!("could not {verb} socket: timed out"))
}

/// A socket that asks for the patience left before every wait; who holds the other end of it renews it.
struct Timed {
    socket: TcpStream,
    patience: Arc<Mutex<Patience>>,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner).left()
    }
}

/// The system says "would block" where a socket's time is up, which OpenSSL would take for a reason to ask again; libssh2 says it in words of its own.
pub(crate) fn in_time(error: io::Error, verb: &str) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => timed_out(verb),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(bytes).map_err(|error| in_time(error, "read from"))
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes).map_err(|error| in_time(error, "write to"))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A connection on which requests are made one after the other.
pub(crate) struct Connection {
    stream: BufReader<Box<dyn Duplex>>,
    patience: Arc<Mutex<Patience>>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// Where a connection leads, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'a> {
    /// A name or an IP address, without brackets.
    pub(crate) name: &'a str,
    /// Host and port as HTTP has them.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// `scheme://[user:password@]host[:port]`.
    pub(crate) proxy: Option<&'a str>,
    /// By TLS, if at all.
    pub(crate) tls: Option<&'a SslConnector>,
}

impl Connection {
    pub(crate) fn open(route: &Route<'_>, patience: Patience) -> Result<Self, Trouble> {
        let shared = Arc::new(Mutex::new(patience));
        let timed = |socket| Box::new(Timed { socket, patience: Arc::clone(&shared) }) as Box<dyn Duplex>;
        let mut stream;
        if let Some(proxy) = route.proxy {
            let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
            let (login, server) = rest.rsplit_once('@').map_or((None, rest), |(l, s)| (Some(l), s));
            let (name, port) = name_and_port(server, if scheme == "https" { 443 } else { 80 });
            stream = timed(dial(name, port, patience)?);
            if let (Some(tls), "https") = (route.tls, scheme) {
                stream = secure(tls, name, stream)?;
            }
            let to = if route.host.ends_with(&format!(":{}", route.port)) {
                route.host.to_owned()
            } else {
                format!("{}:{}", route.host, route.port)
            };
            stream = tunnel(stream, &to, login)?;
        } else {
            stream = timed(dial(route.name, route.port, patience)?);
        }
        if let Some(tls) = route.tls {
            stream = secure(tls, route.name, stream)?;
        }
        Ok(Self { stream: BufReader::with_capacity(16 * 1024, stream), patience: shared })
    }

    /// From now on this is how long it may take.
    pub(crate) fn allow(&self, patience: Patience) {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = patience;
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }
}

impl Read for Connection {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

impl BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.stream.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.stream.consume(amount);
    }
}

/// Host without brackets, and port.
fn name_and_port(server: &str, usual: u16) -> (&str, u16) {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(usual)),
        _ => (server, usual),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// A socket to this name or IP address.
pub(crate) fn dial(name: &str, port: u16, patience: Patience) -> Result<TcpStream, Trouble> {
    let failed = |error: &io::Error| {
        Trouble::new(Class::Passing, format!("failed to connect to {name}: {}", reason(error)))
    };
    let mut last = io::Error::new(ErrorKind::NotFound, "it has no address");
    for address in (name, port).to_socket_addrs().map_err(|error| failed(&error))? {
        let left = patience.left().map_err(|error| failed(&error))?.min(CONNECT);
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => {
                // requests are written in one piece each, and waiting for more would only be waiting
                socket.set_nodelay(true).map_err(|error| failed(&error))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(&last))
}

fn secure(tls: &SslConnector, name: &str, stream: Box<dyn Duplex>) -> Result<Box<dyn Duplex>, Trouble> {
    let passing = |words: String| Trouble::new(Class::Passing, words);
    match tls.connect(name, stream) {
        Ok(stream) => Ok(Box::new(stream)),
        Err(HandshakeError::SetupFailure(error)) => Err(passing(format!("cannot speak TLS: {error}"))),
        Err(HandshakeError::WouldBlock(_)) => Err(passing(timed_out("read from").to_string())),
        Err(HandshakeError::Failure(failed)) => {
            let verdict = failed.ssl().verify_result();
            if verdict != X509VerifyResult::OK {
                let why = format!("its certificate is not trusted: {}", distrust(verdict));
                return Err(Trouble::new(Class::Lasting(Kind::Permission), why));
            }
            let error = failed.error();
            let words = error.io_error().map_or_else(|| error.to_string(), reason);
            Err(passing(format!("TLS handshake: {words}")))
        }
    }
}

/// Why a certificate is not trusted: a name that it is not for is told from all else.
fn distrust(verdict: X509VerifyResult) -> &'static str {
    // X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h
    if matches!(verdict.as_raw(), 62 | 64) {
        return "hostname does not match certificate";
    }
    verdict.error_string()
}

/// Have a proxy connect us to `to`, host and port.
fn tunnel(mut stream: Box<dyn Duplex>, to: &str, login: Option<&str>) -> Result<Box<dyn Duplex>, Trouble> {
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if let Some(login) = login {
        let login: Vec<u8> = percent_decode_str(login).collect();
        request.extend(["Proxy-Authorization: Basic ", &STANDARD.encode(login), "\r\n"]);
    }
    request.push_str("\r\n");
    let failed = |error: &io::Error| Trouble::new(Class::Passing, format!("the proxy: {}", reason(error)));
    stream.write_all(request.as_bytes()).map_err(|error| failed(&error))?;
    // byte by byte: what follows the head is no longer the proxy's
    let head =
        http::Head::read(&mut BufReader::with_capacity(1, &mut stream)).map_err(|error| failed(&error))?;
    match head.status {
        200..=299 => Ok(stream),
        status => {
            let trouble = Trouble::of_status(status);
            Err(Trouble::new(trouble.class, format!("the proxy: {}", trouble.words)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::name_and_port;

    #[test]
    fn a_proxy_has_a_port_by_its_scheme_unless_it_says_another() {
        for (server, wanted) in [
            ("proxy", ("proxy", 80)),
            ("proxy:3128", ("proxy", 3128)),
            ("[fd00::1]:3128", ("fd00::1", 3128)),
            ("[fd00::1]", ("fd00::1", 80)),
        ] {
            assert_eq!(name_and_port(server, 80), wanted, "{server}");
        }
    }
}
