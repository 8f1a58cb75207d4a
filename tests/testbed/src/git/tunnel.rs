//! A proxy as companies have them: `CONNECT host:port`, with or without a password, then bytes both ways.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use anyhow::Result;

use super::lock;

/// Listens on a free port of 127.0.0.1 for as long as this process lives.
#[derive(Debug)]
pub struct Tunnel {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    /// One that lets everybody through, or only who says this `user:password`.
    pub fn start(login: Option<&str>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let login = login.map(|login| openssl::base64::encode_block(login.as_bytes()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, login) = (Arc::clone(&seen), login.clone());
                // a client that goes away ends its connection and nothing else
                std::thread::spawn(move || pass(&stream, &seen, login.as_deref()).ok());
            }
        });
        Ok(Self { port, asked })
    }

    /// Host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What was let through: host and port each time.
    pub fn through(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

fn pass(stream: &TcpStream, seen: &Mutex<Vec<String>>, login: Option<&str>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let wanted = login.map(|login| format!("proxy-authorization: basic {login}").to_ascii_lowercase());
        let known = wanted.is_none_or(|wanted| head.iter().any(|line| line.to_ascii_lowercase() == wanted));
        let place = head.first().and_then(|line| line.strip_prefix("CONNECT ")?.split(' ').next());
        let mut answer = stream;
        let Some(place) = place.filter(|_| known) else {
            let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\n\
                           Content-Length: 0\r\n\r\n";
            answer.write_all(refused.as_bytes())?;
            continue;
        };
        lock(seen).push(place.to_owned());
        let server = TcpStream::connect(place)?;
        answer.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let (mut back, mut there) = (server.try_clone()?, stream.try_clone()?);
        let down = std::thread::spawn(move || {
            let copied = std::io::copy(&mut back, &mut there);
            // the other side may be closed already
            let _ = there.shutdown(Shutdown::Both);
            copied
        });
        std::io::copy(&mut reader, &mut &server)?;
        server.shutdown(Shutdown::Write)?;
        // whoever went first, both ends are closed now
        let _ = down.join();
        return Ok(());
    }
}
