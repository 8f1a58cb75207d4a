//! Keys and signatures of OpenPGP, version 4 (RFC 4880, RFC 9580), as GnuPG writes and Argo CD verifies them: algorithm 22.
//! Algorithm 27 of RFC 9580 is the same curve in a form that no GnuPG reads.
//!
//! What a key says of itself (what it is for, until when) is taken at its word: whoever can write the file has the key.

mod packet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::sha::{Sha512, sha1};
use secrecy::{ExposeSecret as _, SecretSlice};

use self::packet::{Certificate, Part, Secret};
use super::{DAMAGED, LOCKED, armor, ed25519, signed};

pub(super) const HEADER: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
/// `EdDSA`, which GnuPG calls so whatever the curve is.
const EDDSA: u8 = 22;
const SHA512: u8 = 10;
/// Key flag: "may be used to sign data".
const MAY_SIGN: u8 = 2;

/// A key or subkey that signs.
pub(super) struct Key {
    pair: PKey<Private>,
    fingerprint: [u8; 20],
    /// When it was made, or last said what it is for, in seconds since 1970: a signature from before is none.
    since: u32,
}

/// The key that GnuPG would sign with, the newest subkey for it before the primary key, and the first user id; or what is
/// wrong with it.
pub(super) fn read(bytes: &SecretSlice<u8>, now: i64) -> Result<(Key, String), String> {
    let certificate = packet::read(bytes.expose_secret())?;
    let key = choose(&certificate, now)?;
    Ok((key, certificate.user.unwrap_or_default()))
}

fn choose(certificate: &Certificate<'_>, now: i64) -> Result<Key, String> {
    let primary = &certificate.primary;
    let ended = |part: &Part<'_>| part.revoked || part.end().is_some_and(|end| i64::from(end) <= now);
    let why_ended = |part: &Part<'_>| {
        let how = if part.revoked { "is revoked" } else { "has expired" };
        format!("its key `{}` {how}", id(&fingerprint(part.public)))
    };
    if ended(primary) {
        return Err(why_ended(primary));
    }
    let mut parts: Vec<&Part<'_>> = certificate.subkeys.iter().rev().chain([primary]).collect();
    parts.retain(|part| part.flags() & MAY_SIGN != 0);
    let first = *parts.first().ok_or("none of its keys may sign")?;
    parts.retain(|part| !ended(part));
    if parts.is_empty() {
        return Err(why_ended(first));
    }
    let usable = |part: &&Part<'_>| part.algorithm == EDDSA && matches!(part.secret, Secret::Plain(_));
    let part = parts.iter().copied().find(usable).unwrap_or(parts[0]);
    let fingerprint = fingerprint(part.public);
    let seed = match &part.secret {
        Secret::Other => {
            let (id, kind) = (id(&fingerprint), kind(part.algorithm));
            return Err(format!(
                "its key `{id}` is of the kind {kind}, and only Ed25519 as GnuPG makes it is used"
            ));
        }
        Secret::Locked => return Err(LOCKED.to_owned()),
        Secret::Absent => {
            return Err(format!("the secret half of its key `{}` is not in it", id(&fingerprint)));
        }
        Secret::Plain(seed) => seed,
    };
    let pair = ed25519(seed.expose_secret(), part.point).ok_or(DAMAGED)?;
    Ok(Key { pair, fingerprint, since: part.created.max(part.said) })
}

/// RFC 9580 5.5.4.2.
fn fingerprint(public: &[u8]) -> [u8; 20] {
    let length = u16::try_from(public.len()).unwrap_or(u16::MAX).to_be_bytes();
    sha1(&[&[0x99], &length[..], public].concat())
}

/// As GnuPG and Argo CD print it.
fn id(fingerprint: &[u8; 20]) -> String {
    let id = fingerprint.last_chunk().map_or(0, |id| u64::from_be_bytes(*id));
    format!("{id:016X}")
}

/// RFC 9580 9.1.
const fn kind(algorithm: u8) -> &'static str {
    match algorithm {
        1..=3 => "RSA",
        17 => "DSA",
        19 => "ECDSA",
        22 => "EdDSA on another curve",
        27 => "Ed25519 of RFC 9580, which GnuPG does not verify",
        28 => "Ed448",
        _ => "unknown here",
    }
}

impl Key {
    /// A detached signature of bytes as they are (RFC 9580 5.2).
    pub(super) fn sign(&self, bytes: &[u8], time: i64) -> Result<String, ErrorStack> {
        // the commit's own time may be older than the key
        let time = u32::try_from(time.max(0)).unwrap_or(u32::MAX).max(self.since).to_be_bytes();
        let subpackets = [&[22, 33, 4][..], &self.fingerprint, &[5, 2], &time].concat();
        let hashed = [&[4, 0, EDDSA, SHA512, 0, 29][..], &subpackets].concat();
        let mut hash = Sha512::new();
        hash.update(bytes);
        hash.update(&hashed);
        hash.update(&[4, 0xff, 0, 0, 0, 35]);
        let hash = hash.finish();
        let signature = signed(&self.pair, &hash)?;
        let (r, s) = signature.split_at(32);
        let issuer = [&[0, 10, 9, 16][..], &self.fingerprint[12..]].concat();
        let body = [&hashed[..], &issuer, &hash[..2], &number(r), &number(s)].concat();
        let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
        let packet = [&[0x88, length], &body[..]].concat();
        let check = format!("={}\n", checksum(&packet));
        Ok(armor::encode("PGP SIGNATURE", "\n", &packet, 64, &check))
    }
}

/// A number without leading zeros behind the number of its bits (RFC 9580 3.2).
fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[start..];
    let bits = bytes.first().map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize);
    [&u16::try_from(bits).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}

/// The checksum of a block of text, CRC-24 in base64: readers from before RFC 9580 look for it (RFC 4880 6.1).
fn checksum(bytes: &[u8]) -> String {
    let shifted = |crc: u32, _| if crc & 0x80_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x186_4cfb };
    let crc = bytes.iter().fold(0xb7_04ce, |crc, byte| (0..8).fold(crc ^ (u32::from(*byte) << 16), shifted));
    STANDARD.encode(&crc.to_be_bytes()[1..])
}
