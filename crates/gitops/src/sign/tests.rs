//! What is read of a key; that what is signed with one verifies is shown with gpg and ssh-keygen in the tests of git-push.

use openssl::pkey::{Id, PKey};

use super::{DAMAGED, LOCKED, PUBLIC, Signer, armor, owner_of};

const CREATED: u32 = 1_600_000_000;
const NOW: i64 = 1_700_000_000;
/// A number has no leading zeros, so the shorter one is written in 31 bytes.
const SEEDS: [[u8; 32]; 2] = [[7; 32], {
    let mut seed = [7; 32];
    seed[0] = 0;
    seed
}];

fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0xc0 | tag, 255], &length[..], body].concat()
}

/// The public half of a key of version 4, as algorithm 22 has it.
fn public(seed: &[u8; 32]) -> Vec<u8> {
    let point = PKey::private_key_from_raw_bytes(seed, Id::ED25519).unwrap().raw_public_key().unwrap();
    let curve = [9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1, 1, 7, 0x40];
    [&[4][..], &CREATED.to_be_bytes(), &[22], &curve, &point].concat()
}

/// The secret half without a passphrase.
fn plain(seed: &[u8; 32]) -> Vec<u8> {
    let start = seed.iter().position(|byte| *byte != 0).unwrap();
    let number = [&u16::try_from((32 - start) * 8 - 5).unwrap().to_be_bytes(), &seed[start..]].concat();
    let sum = number.iter().map(|byte| u16::from(*byte)).sum::<u16>();
    [&[0], &number[..], &sum.to_be_bytes()].concat()
}

fn key(tag: u8, seed: &[u8; 32]) -> Vec<u8> {
    packet(tag, &[public(seed), plain(seed)].concat())
}

/// A signature about a key: its kind, and for what and until when the key is.
fn says(kind: u8, created: u32, flags: u8, expires_after: u32) -> Vec<u8> {
    let (created, after) = (created.to_be_bytes(), expires_after.to_be_bytes());
    let hashed = [&[5, 2][..], &created, &[2, 27, flags, 5, 9], &after].concat();
    packet(2, &[&[4, kind, 22, 10, 0, 15][..], &hashed, &[0, 0]].concat())
}

fn armored(packets: &[Vec<u8>]) -> String {
    armor::encode("PGP PRIVATE KEY BLOCK", "Comment: a key\n\n", &packets.concat(), 64, "=AAAA\n")
}

fn why(packets: &[Vec<u8>]) -> String {
    Signer::of(&armored(packets), NOW).err().unwrap_or_default()
}

#[test]
fn a_key_of_openpgp_signs_the_same_each_time() {
    for seed in SEEDS {
        let text =
            armored(&[key(5, &seed), packet(13, b"VM flow <flow@example.org>"), says(0x13, CREATED, 3, 0)]);
        let signer = Signer::of(&text, NOW).unwrap();
        assert_eq!(signer.owner, Some(("VM flow".to_owned(), "flow@example.org".to_owned())));
        let once = signer.sign(b"commit", NOW).unwrap();
        assert_eq!(signer.sign(b"commit", NOW).unwrap(), once);
        assert_ne!(signer.sign(b"other", NOW).unwrap(), once);
        // a commit from before the key is signed as of the key's first second
        assert_eq!(signer.sign(b"commit", 0).unwrap(), signer.sign(b"commit", i64::from(CREATED)).unwrap());
        assert_ne!(signer.sign(b"commit", 0).unwrap(), once);
    }
}

#[test]
fn a_key_that_may_not_sign_says_why() {
    let [seed, other] = SEEDS;
    let mut foreign = public(&seed);
    foreign[5] = 27;
    let mut young = public(&seed);
    young[0] = 6;
    let with = |secret: &[u8]| packet(5, &[&public(&seed)[..], secret].concat());
    for (packets, wanted) in [
        (vec![key(5, &seed), says(0x13, CREATED, 1, 0)], "none of its keys may sign"),
        (vec![key(5, &seed), says(0x13, CREATED, 3, 1)], "its key `ID` has expired"),
        (
            vec![key(5, &seed), says(0x1f, CREATED, 3, 0), says(0x20, CREATED, 0, 0)],
            "its key `ID` is revoked",
        ),
        // the newest word counts, wherever it stands
        (vec![key(5, &seed), says(0x13, CREATED + 9, 3, 0), says(0x13, CREATED, 3, 1)], ""),
        (vec![key(5, &seed), says(0x13, CREATED, 1, 0), key(7, &other), says(0x18, CREATED, 2, 0)], ""),
        (
            vec![key(5, &seed), says(0x13, CREATED, 1, 0), key(7, &other), says(0x18, CREATED, 2, 1)],
            "its key `ID` has expired",
        ),
        (
            vec![
                key(5, &seed),
                says(0x13, CREATED, 1, 0),
                key(7, &other),
                says(0x18, CREATED, 2, 0),
                says(0x28, CREATED, 0, 0),
            ],
            "its key `ID` is revoked",
        ),
        // a subkey that expired stands in nobody's way
        (vec![key(5, &seed), says(0x13, CREATED, 3, 0), key(7, &other), says(0x18, CREATED, 2, 1)], ""),
        (vec![key(5, &seed), key(5, &other)], "it holds more than one key"),
        (vec![packet(6, &public(&seed))], PUBLIC),
        (vec![packet(13, b"nobody")], DAMAGED),
        (vec![packet(5, &young)], "it is a key of version 6, and GnuPG's version 4 is used"),
        (
            vec![packet(5, &foreign)],
            "its key `ID` is of the kind Ed25519 of RFC 9580, which GnuPG does not verify, and only Ed25519 as GnuPG makes it is used",
        ),
        (vec![with(&[254, 7, 3, 8, 1, 2, 3])], LOCKED),
        (vec![with(&[255, 0, 101, 0, b'G', b'N', b'U', 1])], "the secret half of its key `ID` is not in it"),
        (vec![with(&plain(&other))], DAMAGED),
        (vec![with(&[0, 0, 1, 1, 9, 9])], DAMAGED),
    ] {
        let said = why(&packets);
        let said = said.split('`').enumerate().map(|(n, part)| {
            let is_id = n == 1 && part.len() == 16 && part.bytes().all(|b| b.is_ascii_hexdigit());
            if is_id { "ID" } else { part }
        });
        assert_eq!(said.collect::<Vec<_>>().join("`"), wanted);
    }
}

/// What others certify of our key is no word of ours.
#[test]
fn another_issuer_counts_for_nothing() {
    let [seed, _] = SEEDS;
    let hashed = [&[5, 2][..], &CREATED.to_be_bytes(), &[5, 9, 0, 0, 0, 1]].concat();
    let theirs = [&[4, 0x10, 1, 10, 0, 12][..], &hashed, &[0, 10, 9, 16, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    assert_eq!(why(&[key(5, &seed), packet(2, &theirs)]), "");
    let ours = [&[4, 0x10, 1, 10, 0, 12][..], &hashed, &[0, 0]].concat();
    assert!(why(&[key(5, &seed), packet(2, &ours)]).ends_with("has expired"));
}

#[test]
fn nothing_in_a_file_makes_it_panic() {
    let [seed, other] = SEEDS;
    let whole = [
        key(5, &seed),
        packet(13, b"me"),
        says(0x13, CREATED, 1, 0),
        key(7, &other),
        says(0x18, CREATED, 2, 0),
    ];
    let whole = whole.concat();
    for at in 0..whole.len() {
        let cut = Signer::of(&armored(&[whole[..at].to_vec()]), NOW);
        assert!(cut.is_err() || at >= key(5, &seed).len(), "cut at {at}");
        for bit in [0, 7] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let _ = Signer::of(&armored(&[bytes]), NOW);
        }
    }
}

#[test]
fn a_name_and_a_mail_make_a_committer() {
    for (text, wanted) in [
        ("VM flow (prod) <flow@example.org>", Some(("VM flow (prod)", "flow@example.org"))),
        ("root@builder", None),
        ("<flow@example.org>", None),
        ("VM flow <flow>", None),
        ("VM flow <flow@example.org> ", None),
        ("VM\nflow <flow@example.org>", None),
        ("VM > flow <flow@example.org>", None),
        ("", None),
    ] {
        let wanted = wanted.map(|(name, mail): (&str, &str)| (name.to_owned(), mail.to_owned()));
        assert_eq!(owner_of(text), wanted, "{text}");
    }
}
