//! Keys and signatures of OpenSSH: its files `PROTOCOL.key` and `PROTOCOL.sshsig`.

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha512;
use secrecy::{ExposeSecret as _, SecretSlice};

use super::{DAMAGED, LOCKED, armor, ed25519, signed};

pub(super) const HEADER: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const ED25519: &[u8] = b"ssh-ed25519";
/// What a signature is for: one made for a file or a login is none for a commit (git's `gpg-interface.c`).
const NAMESPACE: &[u8] = b"git";

/// An Ed25519 key.
pub(super) struct Key {
    pair: PKey<Private>,
    /// As OpenSSH writes it: the algorithm, then 32 bytes.
    public: Vec<u8>,
}

/// The key and its comment, or what is wrong with it.
pub(super) fn read(bytes: &SecretSlice<u8>) -> Result<(Key, String), String> {
    let mut rest = bytes.expose_secret().strip_prefix(MAGIC).ok_or(DAMAGED)?;
    let mut part = || string(&mut rest).ok_or(DAMAGED);
    let (cipher, _derivation, _options) = (part()?, part()?, part()?);
    let count = rest.split_off(..4).ok_or(DAMAGED)?;
    let mut part = || string(&mut rest).ok_or(DAMAGED);
    let (mut public, mut private) = (part()?, part()?);
    let kind = string(&mut public).ok_or(DAMAGED)?;
    if kind != ED25519 {
        let kind = String::from_utf8_lossy(kind);
        return Err(format!("it is a key of the kind `{kind}`, and only `ssh-ed25519` is used"));
    }
    if cipher != b"none" {
        return Err(LOCKED.to_owned());
    }
    let public = string(&mut public).ok_or(DAMAGED)?;
    // two equal numbers tell that it was decrypted well
    let checks = private.split_off(..8).ok_or(DAMAGED)?;
    let mut part = || string(&mut private).ok_or(DAMAGED);
    let (again, same, secret, comment) = (part()?, part()?, part()?, part()?);
    let whole = count == 1_u32.to_be_bytes() && checks[..4] == checks[4..] && again == ED25519;
    let key = secret.split_at_checked(32).filter(|(_, end)| whole && same == public && *end == public);
    let pair = key.and_then(|(seed, _)| ed25519(seed, public)).ok_or(DAMAGED)?;
    let public = [prefixed(ED25519), prefixed(public)].concat();
    Ok((Key { pair, public }, String::from_utf8_lossy(comment).into_owned()))
}

impl Key {
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, ErrorStack> {
        let common = [prefixed(NAMESPACE), prefixed(b""), prefixed(b"sha512")].concat();
        let to_sign = [b"SSHSIG", &common[..], &prefixed(&sha512(bytes))].concat();
        let signature = [prefixed(ED25519), prefixed(&signed(&self.pair, &to_sign)?)].concat();
        let blob =
            [b"SSHSIG\0\0\0\x01", &prefixed(&self.public)[..], &common, &prefixed(&signature)].concat();
        Ok(armor::encode("SSH SIGNATURE", "", &blob, 70, ""))
    }
}

/// Bytes behind their length (RFC 4251, `string`).
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    // nothing here is longer than a key
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(rest.split_off(..4)?.try_into().ok()?);
    rest.split_off(..usize::try_from(length).ok()?)
}
