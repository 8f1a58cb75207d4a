//! What must neither be committed nor printed.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};

/// A shorter text is too common to be looked for: it would refuse innocent files.
const SHORTEST: usize = 6;
/// What the header of a private key in any PEM dialect has in it.
const KEY: &str = "PRIVATE KEY-----";
/// The header of an `OpenPGP` key has the word elsewhere.
const OTHER_KEYS: [&str; 2] = ["-----BEGIN PGP PRIVATE KEY BLOCK", "PuTTY-User-Key-File-"];

/// Secrets in every spelling that they are looked for in. Clones share them: a token that is renewed is hidden everywhere.
#[derive(Default, Clone)]
pub struct Secrets {
    spellings: Arc<RwLock<Vec<SecretString>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Look for this text as well: as it is, percent-encoded, and inside base64 at any offset.
    pub fn add(&self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let spellings = [secret.to_owned(), utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()];
        let spellings = spellings.into_iter().chain(in_base64(secret)).map(SecretString::from);
        // a list of texts is whole whatever panicked while it was held
        self.spellings.write().unwrap_or_else(PoisonError::into_inner).extend(spellings);
    }

    /// What is found in these bytes, in words that do not repeat it.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        let holds = |text: &str| contains(bytes, text.as_bytes());
        if self
            .spellings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|s| holds(s.expose_secret()))
        {
            return Some("a credential of this step");
        }
        let key =
            holds(KEY) || OTHER_KEYS.iter().any(|k| holds(k)) || in_base64(KEY).iter().any(|k| holds(k));
        key.then_some("a private key")
    }

    /// The text with every secret, and every user and password in an address, replaced.
    pub fn redact(&self, text: &str) -> String {
        let mut text = without_logins(text);
        for spelling in self.spellings.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if text.contains(spelling.expose_secret()) {
                text = text.replace(spelling.expose_secret(), "***");
            }
        }
        text
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

/// The characters of base64, in both alphabets, that depend on the secret alone, for each of the three offsets that it can
/// have in a longer text.
fn in_base64(secret: &str) -> Vec<String> {
    (0..3)
        .map(|offset| {
            let shifted = [&[0; 2][..offset], secret.as_bytes()].concat();
            let encoded = STANDARD_NO_PAD.encode(&shifted);
            // characters that hold bits of a neighbour: 0, 2 or 3 in front, the last one where bits are left over
            let front = [0, 2, 3][offset];
            let whole = shifted.len() * 8 / 6;
            encoded[front..whole].to_owned()
        })
        .flat_map(|text| [text.replace('+', "-").replace('/', "_"), text])
        .filter(|text| text.len() >= SHORTEST)
        .collect()
}

/// `scheme://user:password@host` becomes `scheme://host`.
fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| c == '/' || c.is_whitespace() || matches!(c, '\'' | '"' | '`'))
            .unwrap_or(part.len());
        let start = part[..end].rfind('@').map_or(0, |at| at + 1);
        clean.push_str("://");
        clean.push_str(&part[start..]);
    }
    clean
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::Secrets;

    fn secrets() -> Secrets {
        let secrets = Secrets::default();
        secrets.add("s3cr3t/pa55");
        secrets
    }

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let base64 = |text: &str| STANDARD.encode(text);
        for text in [
            "password: s3cr3t/pa55".to_owned(),
            "https://user:s3cr3t%2Fpa55@host".to_owned(),
            base64("s3cr3t/pa55"),
            base64("user:s3cr3t/pa55"),
            base64("me:s3cr3t/pa55 and more"),
            base64("you:s3cr3t/pa55\n"),
            URL_SAFE.encode("user:s3cr3t/pa55"),
        ] {
            assert_eq!(secrets().found_in(text.as_bytes()), Some("a credential of this step"), "{text}");
        }
        for key in ["RSA ", "OPENSSH ", "EC ", "ENCRYPTED ", ""] {
            let pem = format!("-----BEGIN {key}PRIVATE KEY-----\nMIIE");
            assert_eq!(secrets().found_in(pem.as_bytes()), Some("a private key"), "{pem}");
            assert_eq!(secrets().found_in(base64(&pem).as_bytes()), Some("a private key"), "{pem} in base64");
        }
        assert_eq!(secrets().found_in(b"-----BEGIN PGP PRIVATE KEY BLOCK-----"), Some("a private key"));
    }

    #[test]
    fn innocent_text_is_not() {
        let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPublicKey user@host\n-----BEGIN CERTIFICATE-----\n";
        assert_eq!(secrets().found_in(text.as_bytes()), None);
        let short = Secrets::default();
        short.add("abc");
        assert_eq!(short.found_in(b"abc"), None);
    }

    #[test]
    fn nothing_secret_is_printed() {
        for (text, clean) in [
            ("cannot reach https://user:pa@ss@host/path", "cannot reach https://host/path"),
            ("from 'https://user:x@a/b' to 'http://c@d'", "from 'https://a/b' to 'http://d'"),
            ("remote: bad token s3cr3t/pa55!", "remote: bad token ***!"),
            ("mail me@example.org", "mail me@example.org"),
        ] {
            assert_eq!(secrets().redact(text), clean);
        }
    }
}
