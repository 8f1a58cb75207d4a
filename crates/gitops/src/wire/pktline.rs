//! Lines that begin with their length: gitprotocol-common(5), "pkt-line Format".

use std::io::{ErrorKind, Read, Write};

use super::Error;

/// The most bytes of a line besides its length, by the same page.
const MOST: usize = 65_516;

/// One line, or a mark between lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Data(&'a [u8]),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of an answer to a stateless request.
    End,
}

/// The lines of an answer.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    line: Vec<u8>,
    left: u64,
    again: bool,
}

impl<R: Read> Lines<R> {
    /// At most `limit` bytes of them.
    pub(crate) const fn new(from: R, limit: u64) -> Self {
        Self { from, line: Vec::new(), left: limit, again: false }
    }

    /// The next line, without the end of line that text has. An answer that ends is broken off: each has a flush at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Said`] for a line `ERR` in place of any other.
    pub(crate) fn next(&mut self) -> Result<Line<'_>, Error> {
        if std::mem::take(&mut self.again) {
            return Ok(Line::Data(&self.line));
        }
        let mut head = [0; 4];
        self.from.read_exact(&mut head)?;
        let digit = |b: u8| char::from(b).to_digit(16).ok_or(Error::Broken("a line without its length"));
        let length = head.iter().try_fold(0_usize, |n, b| Ok::<_, Error>(n * 16 + digit(*b)? as usize))?;
        self.left = self.left.checked_sub(length.max(4) as u64).ok_or(Error::Long)?;
        let length = match length {
            0 => return Ok(Line::Flush),
            1 => return Ok(Line::Delimiter),
            2 => return Ok(Line::End),
            3 => return Err(Error::Broken("a line shorter than its length")),
            length => length - 4,
        };
        if length > MOST {
            return Err(Error::Broken("a line longer than any may be"));
        }
        self.line.resize(length, 0);
        self.from.read_exact(&mut self.line)?;
        if let Some(words) = self.line.strip_prefix(b"ERR ") {
            return Err(Error::Said(String::from_utf8_lossy(words).trim().to_owned()));
        }
        Ok(Line::Data(&self.line))
    }

    /// Give the line that was read last, which has to have data, once more.
    pub(crate) const fn again(&mut self) {
        self.again = true;
    }

    /// The next line if it is text; `None` at a mark.
    pub(crate) fn text(&mut self) -> Result<Option<&[u8]>, Error> {
        Ok(match self.next()? {
            Line::Data(line) => Some(line.strip_suffix(b"\n").unwrap_or(line)),
            Line::Flush | Line::Delimiter | Line::End => None,
        })
    }
}

/// Write one line. Callers hold what they write below the most that a line may have.
pub(crate) fn line(to: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() <= MOST, "a line of {} bytes", text.len());
    to.extend(format!("{:04x}", text.len() + 4).bytes());
    to.extend(text.bytes());
}

/// The end of a message.
pub(crate) fn flush(to: &mut Vec<u8>) {
    to.extend(b"0000");
}

/// The end of a section.
pub(crate) fn delimiter(to: &mut Vec<u8>) {
    to.extend(b"0001");
}

/// Take apart what `side-band-64k` puts together, up to the flush: data is written, progress is kept as far as there is room.
///
/// # Errors
///
/// [`Error::Said`] for the third band, on which a server says why it gives up.
pub(crate) fn demultiplex<R: Read>(
    lines: &mut Lines<R>,
    data: &mut dyn Write,
    said: &mut Said,
) -> Result<(), Error> {
    loop {
        match lines.next()? {
            Line::Flush => return Ok(()),
            Line::Delimiter | Line::End => return Err(Error::Broken("a mark in the midst of a band")),
            Line::Data([1, bytes @ ..]) => data.write_all(bytes)?,
            Line::Data([2, bytes @ ..]) => said.hear(bytes),
            Line::Data([3, bytes @ ..]) => {
                return Err(Error::Said(String::from_utf8_lossy(bytes).trim().to_owned()));
            }
            Line::Data(_) => return Err(Error::Broken("a line on no band")),
        }
    }
}

/// What a server's hooks say while it is at work, the first 4096 bytes.
#[derive(Debug, Default)]
pub(crate) struct Said(Vec<u8>);

impl Said {
    const MOST: usize = 4096;

    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        let room = Self::MOST.saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend(bytes.iter().take(room));
    }

    /// Without lines that were progress: those end in a carriage return.
    pub(crate) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines = text.split_inclusive(['\n', '\r']).filter(|line| !line.ends_with('\r'));
        lines.collect::<String>().trim().to_owned()
    }
}

/// An end of the input where there should be more, told as such.
pub(crate) fn cut_off() -> std::io::Error {
    std::io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed in the midst of an answer")
}

#[cfg(test)]
mod tests {
    use super::{Error, Line, Lines, Said, demultiplex, line};

    #[test]
    fn lines_and_marks_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        line(&mut bytes, "hello\n");
        bytes.extend(b"00010004000200050000");
        let mut lines = Lines::new(&bytes[..], 100);
        assert_eq!(lines.next().unwrap(), Line::Data(b"hello\n"));
        assert_eq!(lines.next().unwrap(), Line::Delimiter);
        assert_eq!(lines.next().unwrap(), Line::Data(b""));
        assert_eq!(lines.next().unwrap(), Line::End);
        assert_eq!(lines.next().unwrap(), Line::Data(b"0"));
        // `000` is left
        assert!(matches!(lines.next(), Err(Error::Io(_))));
    }

    #[test]
    fn whatever_a_server_sends_ends() {
        for bytes in [&b""[..], b"00", b"0003", b"000", b"xyz0", b"+004", b"0006a", b"ffff", b"fff1"] {
            assert!(Lines::new(bytes, 1 << 20).next().is_err(), "{bytes:?}");
        }
        let endless = std::io::repeat(b'0');
        let mut lines = Lines::new(endless, 4000);
        let marks = std::iter::from_fn(|| lines.next().is_ok().then_some(())).count();
        assert_eq!(marks, 1000);
        assert!(
            matches!(Lines::new(&b"0010ERR no entry"[..], 100).next(), Err(Error::Said(words)) if words == "no entry")
        );
    }

    #[test]
    fn bands_are_told_apart() {
        let (mut data, mut said) = (Vec::new(), Said::default());
        let bytes = b"0007\x01ab000e\x02counting\r000b\x02no\nway0006\x01c0000";
        demultiplex(&mut Lines::new(&bytes[..], 1000), &mut data, &mut said).unwrap();
        assert_eq!((data.as_slice(), said.words().as_str()), (&b"abc"[..], "no\nway"));
        let why = demultiplex(&mut Lines::new(&b"000c\x03too bad0000"[..], 1000), &mut data, &mut said);
        assert!(matches!(why, Err(Error::Said(words)) if words == "too bad"));
        for bytes in [&b"00040000"[..], b"0006\x04a0000", b"00010000", b"0006\x01a"] {
            assert!(demultiplex(&mut Lines::new(bytes, 1000), &mut data, &mut said).is_err(), "{bytes:?}");
        }
    }
}
