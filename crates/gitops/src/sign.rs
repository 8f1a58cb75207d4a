//! Signed commits: one Ed25519 key, of OpenPGP or of OpenSSH, read from a file.
//!
//! Ed25519 needs no random number (RFC 8032), and the signature says the commit's own time, so the same change on the same
//! parent with the same key is the same commit, bit for bit. Another file, also one in which the same key was given a later
//! end, makes another commit.
//!
//! Both formats are written here, on OpenSSL, and nothing of them but what one Ed25519 key and one signature need: of the
//! libraries for OpenPGP, rPGP brings `rsa` (RUSTSEC-2023-0071, without a fix) whatever its features, and Sequoia is LGPL.

mod armor;
mod openpgp;
mod openssh;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use git2::{Commit, Error, Oid, Repository, Signature, Tree};
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use secrecy::{ExposeSecret as _, SecretString};
use step::{Failure, Kind};

use crate::credential;
use crate::secret::Secrets;

/// A file is at most this many bytes; a key that many others have certified is long.
const LIMIT: u64 = 256 * 1024;
/// The name of the file in a mounted Secret.
const NAME: &str = "sign-key";

/// The flag that says what commits are signed with.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Git")]
pub struct SignArgs {
    /// Ed25519 key that commits are signed with, of OpenPGP or OpenSSH, without passphrase, or the folder that holds it as `sign-key`
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
}

impl SignArgs {
    /// Read the key, if one is named. What is secret in it is kept out of commits and messages from now on.
    pub(crate) fn read(&self, secrets: &Secrets) -> Result<Option<Signer>, Failure> {
        let Some(path) = &self.sign_key else { return Ok(None) };
        // what a Tekton workspace is; `--sign-key=FOLDER/sign-key` would be a path also where no workspace is bound
        let path = if path.is_dir() { path.join(NAME) } else { path.clone() };
        let refused = |why: &str| refused(&path, why);
        let text = text(&path).map_err(|why| refused(&why))?;
        let lines = text.expose_secret().lines().map(str::trim);
        for line in lines.filter(|l| !l.starts_with("-----") && !l.starts_with('=') && !l.contains(':')) {
            secrets.add(line);
        }
        Signer::of(text.expose_secret(), now()).map(Some).map_err(|why| refused(&why))
    }
}

fn refused(path: &Path, why: &str) -> Failure {
    let what = format!("cannot sign with `{}`: {why}", path.display());
    Failure::new(Kind::Usage, what).hint(
        "`--sign-key` takes an Ed25519 key without passphrase, as `gpg --export-secret-keys --armor` or \
         `ssh-keygen -t ed25519 -N ''` write it",
    )
}

fn text(path: &Path) -> Result<SecretString, String> {
    credential::mounted(path, LIMIT, "it is larger than 256 KiB").map(SecretString::from).map_err(|error| {
        if error.kind() == ErrorKind::InvalidData { UNKNOWN.to_owned() } else { error.to_string() }
    })
}

const UNKNOWN: &str = "it is no private key of OpenPGP or OpenSSH in text form";
const PUBLIC: &str = "it is a public key, and signing takes the private one";
const LOCKED: &str = "it is protected by a passphrase, and nobody is there to type it";
const DAMAGED: &str = "it is damaged, or of a form that is not known here";

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What commits are signed with.
pub(crate) struct Signer {
    form: Form,
    /// Name and mail that the key itself carries.
    owner: Option<(String, String)>,
}

enum Form {
    OpenPgp(openpgp::Key),
    OpenSsh(openssh::Key),
}

impl Signer {
    /// The key in a file's text, or what is wrong with it.
    fn of(text: &str, now: i64) -> Result<Self, String> {
        let header = text.trim_start().lines().next().unwrap_or_default().trim_end();
        let (form, owner) = match header {
            openpgp::HEADER => {
                let (key, owner) = openpgp::read(&armor::decode(text).ok_or(DAMAGED)?, now)?;
                (Form::OpenPgp(key), owner)
            }
            openssh::HEADER => {
                let (key, comment) = openssh::read(&armor::decode(text).ok_or(DAMAGED)?)?;
                (Form::OpenSsh(key), comment)
            }
            "-----BEGIN PGP PUBLIC KEY BLOCK-----" => return Err(PUBLIC.to_owned()),
            public if public.starts_with("ssh-") || public.starts_with("ecdsa-") => {
                return Err(PUBLIC.to_owned());
            }
            _ => return Err(UNKNOWN.to_owned()),
        };
        Ok(Self { form, owner: owner_of(&owner) })
    }

    /// Make a signed commit. The author is the one given; the committer is the key's owner, whose mail forges ask for, or
    /// the author where the key names none.
    pub(crate) fn commit(
        &self,
        repository: &Repository,
        author: &Signature<'_>,
        message: &str,
        tree: &Tree<'_>,
        parents: &[&Commit<'_>],
    ) -> Result<Oid, Error> {
        let committer = match &self.owner {
            Some((name, mail)) => Signature::new(name, mail, &author.when())?,
            None => author.to_owned(),
        };
        let content = repository.commit_create_buffer(author, &committer, message, tree, parents)?;
        let signature = self.sign(&content, author.when().seconds());
        let signature = signature.map_err(|error| Error::from_str(&error.to_string()))?;
        // the header's last line ends by itself
        repository.commit_signed(content.as_str()?, signature.trim_end(), None)
    }

    /// The detached signature, in text form, as of a time in seconds since 1970.
    fn sign(&self, bytes: &[u8], time: i64) -> Result<String, ErrorStack> {
        match &self.form {
            Form::OpenPgp(key) => key.sign(bytes, time),
            Form::OpenSsh(key) => key.sign(bytes),
        }
    }
}

/// `Name <mail>`, if it is of this form; a comment that `ssh-keygen` makes up, `user@host`, is not.
fn owner_of(text: &str) -> Option<(String, String)> {
    let (name, mail) = text.strip_suffix('>')?.split_once('<')?;
    let name = name.trim();
    let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || "<>".contains(c));
    (plain(name) && plain(mail) && mail.contains('@')).then(|| (name.to_owned(), mail.to_owned()))
}

/// An Ed25519 key of OpenSSL, if the two halves belong together.
fn ed25519(seed: &[u8], public: &[u8]) -> Option<PKey<Private>> {
    let key = PKey::private_key_from_raw_bytes(seed, Id::ED25519).ok()?;
    (key.raw_public_key().ok()? == public).then_some(key)
}

fn signed(key: &PKey<Private>, bytes: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    openssl::sign::Signer::new_without_digest(key)?.sign_oneshot_to_vec(bytes)
}

#[cfg(test)]
mod tests;
