//! Whether a service of the guest answers: no more than its first words are read.

use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection within one network is made in far less; a packet that is dropped is sent again after 1 and 3 s.
const ANSWER: Duration = Duration::from_secs(5);
/// What a server says before its greeting (RFC 4253 4.2) and a status line fit into this.
const FIRST_WORDS: usize = 1024;

/// A path and a port: `/healthz:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    path: String,
    port: u16,
}

impl FromStr for Http {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "expected a path and a port such as `/healthz:8080`, without white space".to_owned();
        let (path, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(refuse)?;
        if path.starts_with('/') && path.len() <= 500 && path.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self { path: path.to_owned(), port })
        } else {
            Err(refuse())
        }
    }
}

impl std::fmt::Display for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.port)
    }
}

/// A TCP connection is accepted.
pub(crate) async fn tcp(ip: &str, port: u16) -> Result<(), String> {
    within(async { TcpStream::connect((ip, port)).await.map(drop).map_err(|e| e.to_string()) }).await
}

/// An SSH server greets.
pub(crate) async fn ssh(ip: &str, port: u16) -> Result<(), String> {
    let words = within(first_words(ip, port, "", |w| lines(w).any(|l| l.starts_with("SSH-")))).await?;
    if lines(&words).any(|l| l.starts_with("SSH-")) {
        Ok(())
    } else {
        Err(format!("does not greet as an SSH server does: `{}`", first_line(&words)))
    }
}

/// A web server answers with a status below 400.
pub(crate) async fn http(ip: &str, wanted: &Http) -> Result<(), String> {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let ask = format!(
        "GET {} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: verify-vm\r\nConnection: close\r\n\r\n",
        wanted.path, wanted.port
    );
    let words = within(first_words(ip, wanted.port, &ask, |w| w.contains('\n'))).await?;
    let line = first_line(&words);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse::<u16>().ok());
    match status {
        Some(status) if status < 400 => Ok(()),
        Some(status) => Err(format!("answers with status {status}")),
        None => Err(format!("does not answer as a web server does: `{line}`")),
    }
}

async fn within<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(ANSWER, work).await.unwrap_or_else(|_| Err(format!("no answer within {}", step::human(ANSWER))))
}

/// What it says first, until `enough`, the end, or [`FIRST_WORDS`].
async fn first_words(
    ip: &str,
    port: u16,
    ask: &str,
    enough: impl Fn(&str) -> bool,
) -> Result<String, String> {
    let why = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect((ip, port)).await.map_err(why)?;
    stream.write_all(ask.as_bytes()).await.map_err(why)?;
    let mut words = Vec::new();
    let mut chunk = [0; FIRST_WORDS];
    loop {
        let read = stream.read(&mut chunk).await.map_err(why)?;
        words.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&words);
        // the last line may be cut: a greeting counts when its line has ended
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        if read == 0 || words.len() >= FIRST_WORDS || enough(&format!("{whole}\n")) && !whole.is_empty() {
            return if words.is_empty() { Err("says nothing".to_owned()) } else { Ok(text.into_owned()) };
        }
    }
}

fn lines(words: &str) -> impl Iterator<Item = &str> {
    words.lines()
}

fn first_line(words: &str) -> String {
    step::one_line(words.lines().next().unwrap_or_default(), 80)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{Http, http, ssh, tcp};

    /// A server that says these parts, each in a packet of its own, to each who comes, after it was asked if it shall be.
    async fn says(parts: &'static [&'static str], asked: bool) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                if asked {
                    let mut ask = [0; 512];
                    let read = stream.read(&mut ask).await.unwrap();
                    let ask = String::from_utf8_lossy(&ask[..read]).into_owned();
                    assert!(ask.starts_with("GET /ok HTTP/1.1\r\nHost: 127.0.0.1:"), "{ask}");
                }
                for part in parts {
                    stream.write_all(part.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        port
    }

    #[tokio::test]
    async fn an_ssh_server_greets() {
        for (parts, answer) in [
            (&["SSH-2.0-OpenSSH_9.9\r\n"][..], Ok(())),
            (&["Welcome\r\nSS", "H-2.0-x\r\n"], Ok(())),
            (
                &["220 mail ESMTP\r\n"],
                Err("does not greet as an SSH server does: `220 mail ESMTP`".to_owned()),
            ),
            (&[], Err("says nothing".to_owned())),
        ] {
            let port = says(parts, false).await;
            assert_eq!(ssh("127.0.0.1", port).await, answer, "{parts:?}");
            assert_eq!(tcp("127.0.0.1", port).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_web_server_answers() {
        for (parts, answer) in [
            (&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"][..], Ok(())),
            (&["HTTP/1.0 30", "2 Found\r\n"], Ok(())),
            (&["HTTP/1.1 503 Service Unavailable\r\n"], Err("answers with status 503".to_owned())),
            (&["SSH-2.0-x\r\n"], Err("does not answer as a web server does: `SSH-2.0-x`".to_owned())),
        ] {
            let port = says(parts, true).await;
            let wanted: Http = format!("/ok:{port}").parse().unwrap();
            assert_eq!(http("127.0.0.1", &wanted).await, answer, "{parts:?}");
        }
    }

    #[test]
    fn a_path_and_a_port() {
        assert_eq!("/a:b:80".parse::<Http>().unwrap().to_string(), "/a:b:80");
        for text in ["", "80", "/x", "x:80", "/x:0", "/x:70000", "/x y:80", "/x\r\ny:80"] {
            assert!(text.parse::<Http>().is_err(), "{text:?}");
        }
    }
}
