//! Binary data as lines of text between two markers: RFC 9580 6.2, and OpenSSH's, which is the same without headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// The bytes of the first block. Its checksum is not asked for: RFC 9580 tells readers not to, and a key that does not fit
/// its own public half is found out.
pub(super) fn decode(text: &str) -> Option<SecretSlice<u8>> {
    let mut lines = text.trim_start().lines().map(str::trim).skip(1);
    let mut base64 = String::with_capacity(text.len());
    let end = lines.by_ref().find_map(|line| {
        if line.starts_with("-----END ") {
            return Some(());
        }
        if !line.contains(':') && !line.starts_with('=') {
            base64.push_str(line);
        }
        None
    });
    let base64 = SecretString::from(base64);
    end?;
    STANDARD.decode(base64.expose_secret()).ok().map(SecretSlice::from)
}

/// A block with lines of `width` characters, `before` them the headers with their empty line, `check` behind them the line of
/// a checksum, if there are any.
pub(super) fn encode(kind: &str, before: &str, bytes: &[u8], width: usize, check: &str) -> String {
    let base64 = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {kind}-----\n{before}");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(width.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(check);
    text.extend(["-----END ", kind, "-----\n"]);
    text
}
