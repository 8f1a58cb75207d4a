//! HTTP/1.1 (RFC 9112) as Git's servers speak it: one request after the other, each with its whole body in one piece.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use super::pktline::cut_off;
use super::stream::{Connection, Patience};

/// The most bytes of an answer's head, and of what follows the last chunk of its body.
const HEAD: usize = 64 * 1024;
const HEADERS: usize = 128;
/// An answer that nobody reads is read to its end if that is near: another connection costs more.
const REST: u64 = 64 * 1024;
/// So much of what a server says to people is read, in bytes.
const WORDS: u64 = 1024;
/// What is not needed is waited for no longer.
const SOON: Duration = Duration::from_secs(1);

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// When to ask again: `Retry-After` in seconds (RFC 9110, 10.2.3); the other form, a date, is passed over.
    pub(crate) retry_after: Option<Duration>,
    length: Length,
    /// The connection is good for another request.
    kept: bool,
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// After so many bytes.
    Bytes(u64),
    /// With its last chunk; so many bytes are left of this one.
    Chunk(u64),
    /// Before its first chunk.
    Chunks,
    /// With the connection.
    Close,
}

impl Head {
    /// Read a head, and those of interim answers before it.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        // an interim answer announces the next one; nothing that we ask is worth more of them
        for _ in 0..8 {
            let head = Self::parse(&lines(from, true)?)?;
            if !(100..200).contains(&head.status) {
                return Ok(head);
            }
        }
        Err(malformed("interim answers without end"))
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            _ => return Err(malformed("what answers does not speak HTTP")),
        }
        let status = response.code.unwrap_or_default();
        let mut head = Self {
            status,
            content_type: String::new(),
            retry_after: None,
            length: Length::Close,
            kept: response.version == Some(1),
        };
        let (mut length, mut chunked) = (None, false);
        for header in response.headers.iter() {
            let value = String::from_utf8_lossy(header.value).trim().to_ascii_lowercase();
            match header.name.to_ascii_lowercase().as_str() {
                "content-type" => head.content_type = value,
                "retry-after" => head.retry_after = value.parse().ok().map(Duration::from_secs),
                "content-length" => {
                    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                    let this = value.parse().ok().filter(|_| digits);
                    if this.is_none() || length.is_some_and(|other| Some(other) != this) {
                        return Err(malformed("an answer with a length that is none"));
                    }
                    length = this;
                }
                "transfer-encoding" if value == "chunked" => chunked = true,
                "transfer-encoding" | "content-encoding" if value != "identity" => {
                    return Err(malformed("an answer in a coding that nobody asked for"));
                }
                "connection" if value.split(',').any(|word| word.trim() == "close") => head.kept = false,
                _ => {}
            }
        }
        head.length = match (chunked, length) {
            // RFC 9112, 6.3: chunks go before a length
            (true, _) => Length::Chunks,
            _ if matches!(status, 100..=199 | 204 | 304) => Length::Bytes(0),
            (false, Some(length)) => Length::Bytes(length),
            (false, None) => Length::Close,
        };
        head.kept &= head.length != Length::Close;
        Ok(head)
    }
}

/// Lines up to an empty one, at most [`HEAD`] bytes. Where nothing at all comes, an end is [`io::ErrorKind::UnexpectedEof`].
fn lines(from: &mut impl BufRead, keep: bool) -> io::Result<Vec<u8>> {
    let (mut bytes, mut begin, mut left) = (Vec::new(), 0, HEAD as u64);
    loop {
        let read = from.by_ref().take(left).read_until(b'\n', &mut bytes)?;
        left -= read as u64;
        if read == 0 || !bytes.ends_with(b"\n") {
            return Err(if left == 0 { malformed("a head that is too long") } else { cut_off() });
        }
        if matches!(&bytes[begin..], b"\n" | b"\r\n") {
            return Ok(bytes);
        }
        if !keep {
            bytes.clear();
        }
        begin = bytes.len();
    }
}

/// The body of an answer. Its end is the end that was announced; another one is an error.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    connection: &'a mut Connection,
    length: Length,
    kept: bool,
}

impl<'a> Body<'a> {
    pub(crate) const fn new(connection: &'a mut Connection, head: &Head) -> Self {
        Self { connection, length: head.length, kept: head.kept }
    }

    /// The first of what is said in it, for people; nothing where that does not come at once.
    pub(crate) fn words(&mut self, patience: Patience) -> String {
        self.connection.allow(patience.at_most(SOON));
        let mut said = Vec::new();
        // as far as it came
        let _ = self.take(WORDS).read_to_end(&mut said);
        String::from_utf8_lossy(&said).trim().to_owned()
    }

    /// Whether the connection is good for another request, after what is left has been read, if it comes at once.
    pub(crate) fn end(mut self, patience: Patience) -> bool {
        self.connection.allow(patience.at_most(SOON));
        let read = self.kept && io::copy(&mut self.by_ref().take(REST), &mut io::sink()).is_ok();
        read && matches!(self.length, Length::Bytes(0))
    }
}

impl Read for Body<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let left = loop {
            match self.length {
                Length::Bytes(0) => return Ok(0),
                Length::Bytes(left) | Length::Chunk(left @ 1..) => break left,
                Length::Close => return self.connection.read(bytes),
                Length::Chunk(0) => {
                    next_line(self.connection)?
                        .is_empty()
                        .then_some(())
                        .ok_or(malformed("a chunk without an end"))?;
                    self.length = Length::Chunks;
                }
                Length::Chunks => {
                    self.length = match chunk(&next_line(self.connection)?)? {
                        0 => {
                            lines(self.connection, false)?;
                            Length::Bytes(0)
                        }
                        size => Length::Chunk(size),
                    };
                }
            }
        };
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let read = self.connection.read(&mut bytes[..most])?;
        if read == 0 {
            return Err(cut_off());
        }
        let left = left - read as u64;
        self.length = match self.length {
            Length::Chunk(_) => Length::Chunk(left),
            _ => Length::Bytes(left),
        };
        Ok(read)
    }
}

/// One line, without its end.
fn next_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.by_ref().take(1024).read_until(b'\n', &mut bytes)?;
    let line = bytes.strip_suffix(b"\n").ok_or_else(cut_off)?;
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_owned())
}

/// The size of a chunk, which extensions may follow.
fn chunk(line: &[u8]) -> io::Result<u64> {
    let size = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let size = std::str::from_utf8(size).ok().filter(|size| size.bytes().all(|b| b.is_ascii_hexdigit()));
    size.and_then(|size| u64::from_str_radix(size, 16).ok()).ok_or(malformed("a chunk without its size"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{Head, Length, chunk};

    fn head(text: &str) -> Option<Head> {
        Head::read(&mut text.as_bytes()).ok()
    }

    #[test]
    fn a_head_says_how_the_body_ends() {
        for (text, length, kept) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", Length::Bytes(7), true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n",
                Length::Chunks,
                true,
            ),
            ("HTTP/1.1 200 OK\nConnection: keep-alive, Close\n\n", Length::Close, false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n", Length::Bytes(7), false),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
                Length::Bytes(7),
                true,
            ),
        ] {
            let found = head(text).unwrap();
            assert_eq!((found.status, found.length, found.kept), (200, length, kept), "{text}");
        }
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").unwrap().length, Length::Bytes(0));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            &"HTTP/1.1 100 Continue\r\n\r\n".repeat(10),
        ] {
            assert_eq!(head(text), None, "{text:?}");
        }
        // neither takes more than a bounded part of what never ends
        let endless = std::io::repeat(b'a');
        assert!(Head::read(&mut std::io::BufReader::new(endless)).is_err());
        let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(1_000_000));
        assert!(
            Head::read(&mut std::io::BufReader::new(many.as_bytes().chain(std::io::repeat(b'a')))).is_err()
        );
    }

    #[test]
    fn the_size_of_a_chunk_is_hexadecimal() {
        for (line, size) in
            [("0", Some(0)), ("1a", Some(26)), ("1A;x=y", Some(26)), ("ffffffffffffffff", Some(u64::MAX))]
        {
            assert_eq!(chunk(line.as_bytes()).ok(), size, "{line}");
        }
        for line in ["", "-1", "+1", "0x1", "10000000000000000", "g"] {
            assert!(chunk(line.as_bytes()).is_err(), "{line}");
        }
    }
}
