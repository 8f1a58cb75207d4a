//! Pushing: gitprotocol-pack(5), "Pushing Data To a Server".

use std::io::Read;

use git2::Oid;

use super::advert::Pushes;
use super::pktline::{Lines, Said, demultiplex, flush, line};
use super::{AGENT, Error};

/// The most bytes of a report, with all that hooks say besides.
const LIMIT: u64 = 16 * 1024 * 1024;
/// The most bytes of it without that: one line each for the pack and the branch, of servers that explain themselves.
const REPORT: usize = 256 * 1024;

/// What a server says of the branch after a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Updated,
    Rejected(String),
}

/// The order to move the branch; the pack follows it.
pub(crate) fn order(old: Option<Oid>, new: Oid, reference: &str, server: &Pushes) -> Vec<u8> {
    let old = old.unwrap_or(Oid::ZERO_SHA1);
    let mut text = format!("{old} {new} {reference}\0report-status");
    if server.side_band {
        text.push_str(" side-band-64k");
    }
    if server.object_format {
        text.push_str(" object-format=sha1");
    }
    text.extend([" agent=", AGENT]);
    let mut bytes = Vec::new();
    line(&mut bytes, &text);
    flush(&mut bytes);
    bytes
}

/// Read what became of it. A rejection counts as soon as it is read; that the branch was updated only once the report has come to
/// its end.
pub(crate) fn read_report(
    from: impl Read,
    side_band: bool,
    reference: &str,
    said: &mut Said,
) -> Result<Status, Error> {
    let mut lines = Lines::new(from, LIMIT);
    if !side_band {
        return status(&mut lines, reference);
    }
    let mut report = Report(Vec::new());
    let end = demultiplex(&mut lines, &mut report, said);
    match (status(&mut Lines::new(&report.0[..], LIMIT), reference), end) {
        (Ok(Status::Updated) | Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        (Ok(status), _) => Ok(status),
    }
}

/// The first band, as far as there is room for it.
struct Report(Vec<u8>);

impl std::io::Write for Report {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > REPORT {
            return Err(std::io::Error::other("the report is too long"));
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn status<R: Read>(lines: &mut Lines<R>, reference: &str) -> Result<Status, Error> {
    let (mut status, mut unpacked) = (None, None);
    loop {
        let text = match (lines.text(), &status) {
            (Ok(Some(text)), _) => String::from_utf8_lossy(text).into_owned(),
            (Ok(None), _) | (Err(_), Some(Status::Rejected(_))) => break,
            (Err(error), _) => return Err(error),
        };
        let mut words = text.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("unpack"), Some("ok"), None) => {}
            (Some("unpack"), Some(_), _) => unpacked = text.strip_prefix("unpack ").map(str::to_owned),
            (Some("ok"), Some(name), _) if name == reference => status = Some(Status::Updated),
            (Some("ng"), Some(name), why) if name == reference => {
                status = Some(Status::Rejected(why.unwrap_or("refused").to_owned()));
            }
            // of version 2 of the report, which nobody asked for
            _ => {}
        }
    }
    match (status, unpacked) {
        // it cannot have updated it with what it could not read
        (Some(Status::Updated) | None, Some(why)) => Ok(Status::Rejected(why)),
        (Some(status), _) => Ok(status),
        (None, None) => Err(Error::Broken("the server did not say what became of the branch")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Pushes, Said, Status, order, read_report};
    use crate::wire::pktline::{flush, line};

    const MAIN: &str = "refs/heads/main";

    fn report(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in lines {
            line(&mut bytes, text);
        }
        flush(&mut bytes);
        bytes
    }

    fn banded(report: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in report.chunks(7) {
            bytes.extend(format!("{:04x}\x01", part.len() + 5).bytes());
            bytes.extend(part);
        }
        line(&mut bytes, "\x02a word\n");
        flush(&mut bytes);
        bytes
    }

    #[test]
    fn an_order_names_what_the_server_has_offered() {
        let id = git2::Oid::from_str(&"1".repeat(40)).unwrap();
        let text = |server: &Pushes| String::from_utf8(order(None, id, MAIN, server)).unwrap();
        let (zero, one) = ("0".repeat(40), "1".repeat(40));
        let plain = text(&Pushes::default());
        assert!(plain.contains(&format!("{zero} {one} {MAIN}\0report-status agent=git/")), "{plain}");
        let all = Pushes { side_band: true, object_format: true, ..Pushes::default() };
        assert!(text(&all).contains("\0report-status side-band-64k object-format=sha1 agent="));
    }

    #[test]
    fn the_report_decides() {
        let rejected = |why: &str| Some(Status::Rejected(why.to_owned()));
        for (lines, wanted) in [
            (&["unpack ok\n", "ok refs/heads/main\n"][..], Some(Status::Updated)),
            (&["unpack ok\n", "ng refs/heads/main fetch first\n"], rejected("fetch first")),
            (&["unpack ok\n", "ng refs/heads/main\n"], rejected("refused")),
            (
                &["unpack index-pack failed\n", "ng refs/heads/main unpacker error\n"],
                rejected("unpacker error"),
            ),
            (&["unpack no room\n"], rejected("no room")),
            (&["unpack no room\n", "ok refs/heads/main\n"], rejected("no room")),
            (&["unpack ok\n"], None),
            (&["unpack ok\n", "ok refs/heads/other\n"], None),
        ] {
            let (report, mut said) = (report(lines), Said::default());
            assert_eq!(read_report(&report[..], false, MAIN, &mut said).ok(), wanted, "{lines:?}");
            assert_eq!(read_report(&banded(&report)[..], true, MAIN, &mut said).ok(), wanted, "{lines:?}");
            assert_eq!(said.words(), "a word");
        }
    }

    #[test]
    fn a_report_that_breaks_off_acknowledges_nothing() {
        let good = report(&["unpack ok\n", "ok refs/heads/main\n"]);
        let bad = report(&["unpack ok\n", "ng refs/heads/main no\n"]);
        for (bytes, side_band) in [(good.clone(), false), (banded(&good), true)] {
            for end in 0..bytes.len() {
                let read = read_report(&bytes[..end], side_band, MAIN, &mut Said::default());
                assert!(read.is_err(), "{end} of {}", bytes.len());
            }
        }
        let read = read_report(&bad[..bad.len() - 1], false, MAIN, &mut Said::default());
        assert_eq!(read.ok(), Some(Status::Rejected("no".to_owned())));
    }
}
