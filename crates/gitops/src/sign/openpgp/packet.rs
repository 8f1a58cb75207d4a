//! What a file of a private key holds: RFC 9580 4 and 5.

use secrecy::SecretSlice;

use super::{DAMAGED, EDDSA, fingerprint};
use crate::sign::PUBLIC;

/// Ed25519 as the curve of an `EdDSA` key: 1.3.6.1.4.1.11591.15.1.
const CURVE: &[u8] = &[9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1];
/// Behind the head: the curve, the length of the point in bits, and that it is a point in its own form.
const BEFORE_POINT: usize = 10 + 2 + 1;

/// A primary key, its subkeys in the order of the file (GnuPG adds new ones at the end), and the first user id.
pub(super) struct Certificate<'a> {
    pub(super) primary: Part<'a>,
    pub(super) subkeys: Vec<Part<'a>>,
    pub(super) user: Option<String>,
}

/// A key or subkey.
pub(super) struct Part<'a> {
    /// When it was made, in seconds since 1970.
    pub(super) created: u32,
    pub(super) algorithm: u8,
    /// The public half as its fingerprint has it.
    pub(super) public: &'a [u8],
    /// The 32 bytes of an Ed25519 key; else empty.
    pub(super) point: &'a [u8],
    pub(super) secret: Secret,
    pub(super) revoked: bool,
    /// When it last said what it is for; 0 if it never did.
    pub(super) said: u32,
    expires_after: Option<u32>,
    flags: Option<u8>,
}

/// The secret half.
pub(super) enum Secret {
    /// As it is, 32 bytes.
    Plain(SecretSlice<u8>),
    /// Behind a passphrase.
    Locked,
    /// GnuPG's word for one that is kept elsewhere.
    Absent,
    /// Of another kind than Ed25519.
    Other,
}

impl Part<'_> {
    /// What it may be used for; it may sign where it does not say.
    pub(super) fn flags(&self) -> u8 {
        self.flags.unwrap_or(super::MAY_SIGN)
    }

    /// When it expires, in seconds since 1970.
    pub(super) fn end(&self) -> Option<u32> {
        self.expires_after.filter(|after| *after > 0).map(|after| self.created.saturating_add(after))
    }

    /// A signature of the key's own about it; the newest counts.
    fn take(&mut self, says: &Says) {
        if says.created >= self.said {
            (self.said, self.flags, self.expires_after) = (says.created, says.flags, says.expires_after);
        }
    }
}

/// The one key in these bytes, or what is wrong with them.
pub(super) fn read(mut rest: &[u8]) -> Result<Certificate<'_>, String> {
    let (mut primary, mut subkeys, mut user) = (None, Vec::new(), None);
    while !rest.is_empty() {
        let (tag, body) = packet(&mut rest).ok_or(DAMAGED)?;
        match tag {
            5 if primary.is_some() => return Err("it holds more than one key".to_owned()),
            5 => primary = Some(part(body)?),
            7 => subkeys.push(part(body)?),
            6 | 14 => return Err(PUBLIC.to_owned()),
            13 if user.is_none() => user = Some(String::from_utf8_lossy(body).into_owned()),
            2 => {
                let (Some(primary), Some(says)) = (&mut primary, says(body)) else { continue };
                apply(primary, subkeys.last_mut(), &says);
            }
            _ => {}
        }
    }
    let primary = primary.ok_or(DAMAGED)?;
    Ok(Certificate { primary, subkeys, user })
}

fn apply(primary: &mut Part<'_>, subkey: Option<&mut Part<'_>>, says: &Says) {
    // what others say of it counts for nothing
    if says.issuer.is_some_and(|issuer| issuer != fingerprint(primary.public)[12..]) {
        return;
    }
    match (says.kind, subkey) {
        (0x10..=0x13 | 0x1f, None) => primary.take(says),
        (0x20, _) => primary.revoked = true,
        (0x18, Some(subkey)) => subkey.take(says),
        (0x28, Some(subkey)) => subkey.revoked = true,
        _ => {}
    }
}

/// The next packet: its kind and its body.
fn packet<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let first = *rest.split_off_first()?;
    let (tag, length) = match first {
        0xc0.. if *rest.first()? < 224 || *rest.first()? == 255 => (first & 0x3f, length(rest)?),
        0x80..0xc0 => {
            let bytes = rest.split_off(..[1, 2, 4].get(usize::from(first & 3)).copied()?)?;
            ((first >> 2) & 0xf, bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
        }
        // in parts, which keys never are
        _ => return None,
    };
    Some((tag, rest.split_off(..length)?))
}

/// The length of a subpacket, and of a packet but for 224 to 254.
fn length(rest: &mut &[u8]) -> Option<usize> {
    match usize::from(*rest.split_off_first()?) {
        255 => usize::try_from(number(rest)?).ok(),
        first @ 192.. => Some(((first - 192) << 8) + usize::from(*rest.split_off_first()?) + 192),
        first => Some(first),
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(rest.split_off(..4)?.try_into().ok()?))
}

fn part(body: &[u8]) -> Result<Part<'_>, String> {
    let version = body.first().ok_or(DAMAGED)?;
    if *version != 4 {
        return Err(format!("it is a key of version {version}, and GnuPG's version 4 is used"));
    }
    let (head, rest) = body.split_at_checked(6).ok_or(DAMAGED)?;
    let created = number(&mut &head[1..]).ok_or(DAMAGED)?;
    let end = 6 + public_length(head[5], rest).ok_or(DAMAGED)?;
    let (public, secret) = body.split_at_checked(end).ok_or(DAMAGED)?;
    let mut part = Part {
        created,
        algorithm: head[5],
        public,
        point: &[],
        secret: Secret::Other,
        revoked: false,
        said: 0,
        expires_after: None,
        flags: None,
    };
    if part.algorithm == EDDSA && rest.starts_with(CURVE) && end == 6 + BEFORE_POINT + 32 {
        part.point = &public[6 + BEFORE_POINT..];
        part.secret = self::secret(secret).ok_or(DAMAGED)?;
    }
    Ok(part)
}

/// How long the public half is behind its head (RFC 9580 5.5.5); all there is for kinds that are not known here.
fn public_length(algorithm: u8, mut rest: &[u8]) -> Option<usize> {
    let all = rest.len();
    let numbers = match algorithm {
        1..=3 => 2,
        16 => 3,
        17 => 4,
        18 | 19 | EDDSA => prefixed(&mut rest).map(|_| 1)?,
        25 | 27 => rest.split_off(..32).map(|_| 0)?,
        _ => return Some(all),
    };
    for _ in 0..numbers {
        let bits = u16::from_be_bytes(rest.split_off(..2)?.try_into().ok()?);
        rest.split_off(..usize::from(bits.div_ceil(8)))?;
    }
    if algorithm == 18 {
        prefixed(&mut rest)?;
    }
    Some(all - rest.len())
}

/// Bytes behind their number.
fn prefixed<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(*rest.split_off_first()?);
    rest.split_off(..length)
}

/// RFC 9580 5.5.3, and GnuPG's own derivation 101.
fn secret(mut rest: &[u8]) -> Option<Secret> {
    match *rest.split_off_first()? {
        0 => {}
        254 | 255 if rest.get(1) == Some(&101) => return Some(Secret::Absent),
        _ => return Some(Secret::Locked),
    }
    let (number, check) = rest.split_at_checked(rest.len().checked_sub(2)?)?;
    let sum = number.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    // a number has no leading zeros, the seed has 32 bytes
    let seed = number.get(2..).filter(|seed| seed.len() <= 32 && sum.to_be_bytes() == check)?;
    Some(Secret::Plain(SecretSlice::from([&[0; 32][seed.len()..], seed].concat())))
}

/// A signature about a key.
#[derive(Default)]
struct Says {
    kind: u8,
    issuer: Option<[u8; 8]>,
    created: u32,
    flags: Option<u8>,
    expires_after: Option<u32>,
}

/// RFC 9580 5.2.3; other versions than 4 are passed over.
fn says(mut body: &[u8]) -> Option<Says> {
    let head = body.split_off(..4).filter(|head| head[0] == 4)?;
    let mut says = Says { kind: head[1], ..Says::default() };
    for hashed in [true, false] {
        let whole = u16::from_be_bytes(body.split_off(..2)?.try_into().ok()?);
        let mut area = body.split_off(..usize::from(whole))?;
        while !area.is_empty() {
            let size = length(&mut area)?;
            let (kind, mut value) = area.split_off(..size)?.split_first()?;
            match kind & 0x7f {
                2 if hashed => says.created = number(&mut value)?,
                9 if hashed => says.expires_after = Some(number(&mut value)?),
                27 if hashed => says.flags = value.first().copied(),
                // a key's id is the end of its fingerprint
                16 | 33 => says.issuer = value.last_chunk().copied(),
                _ => {}
            }
        }
    }
    Some(says)
}
