//! The token of a GitHub App's installation: `docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app`.
//!
//! The App signs that it is itself, which GitHub takes for ten minutes at most; for that it gets a token for one repository, which
//! ends after an hour.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gitops::{Credential, Secrets};
use http::Method;
use jiff::Timestamp;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use secrecy::SecretString;
use serde_json::{Value, json};
use step::{Failure, Kind};

use crate::client::Call;

/// A file is at most this many bytes.
const LIMIT: u64 = 64 * 1024;
/// GitHub refuses a signature of the future: the clock here may be ahead by so much.
const BACK: i64 = 60;
/// And one that holds for more than ten minutes.
const FORWARD: i64 = 540;
/// A token that ends sooner than this is renewed first: longer than one push or one request takes.
pub(crate) const EARLY: Duration = Duration::from_mins(10);
/// The user of a token where Git asks for one.
const USER: &str = "x-access-token";

/// A GitHub App, installed where the repository is.
pub struct App {
    id: String,
    installation: u64,
    key: PKey<Private>,
    pub(crate) credential: Credential,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

impl App {
    /// Read `app-id` (or the client id), `installation-id` and `private-key` (RSA, PEM) from a folder.
    pub(crate) fn read(folder: &Path, secrets: &Secrets) -> Result<Self, Failure> {
        let wrong = |name: &str, why: &str| {
            let what = format!("cannot use the GitHub App of `{}`: {why}", folder.join(name).display());
            Failure::new(Kind::Usage, what)
                .hint("`--github-app-key` names a folder with `app-id`, `installation-id` and `private-key`")
        };
        let text = |name: &str| -> Result<String, Failure> {
            let path = folder.join(name);
            let length = fs::metadata(&path).map_err(|error| wrong(name, &error.to_string()))?.len();
            if length > LIMIT {
                return Err(wrong(name, "it is larger than 64 KiB"));
            }
            fs::read_to_string(&path).map_err(|error| wrong(name, &error.to_string()))
        };
        let id = text("app-id")?.trim().to_owned();
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
            return Err(wrong("app-id", "it is no id of an App"));
        }
        let installation = text("installation-id")?.trim().parse();
        let installation = installation.map_err(|_| wrong("installation-id", "it is not a number"))?;
        let pem = text("private-key")?;
        for line in pem.lines().filter(|line| !line.starts_with("-----")) {
            secrets.add(line);
        }
        let key = PKey::private_key_from_pem(pem.as_bytes()).ok().filter(|key| key.id() == Id::RSA);
        let key =
            key.ok_or_else(|| wrong("private-key", "it is no RSA key without passphrase in PEM form"))?;
        Ok(Self {
            id,
            installation,
            key,
            credential: Credential::new(USER, SecretString::from(String::new())),
        })
    }

    /// What proves that it is this App, at this time: a JSON Web Token (RFC 7519) signed with RS256 (RFC 7518, 3.3).
    pub(crate) fn proof(&self, now: Timestamp) -> Result<String, Failure> {
        let second = now.as_second();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(&json!({ "alg": "RS256", "typ": "JWT" }));
        let claims = part(&json!({ "iat": second - BACK, "exp": second + FORWARD, "iss": self.id }));
        let text = format!("{head}.{claims}");
        let signed = Signer::new(MessageDigest::sha256(), &self.key)
            .and_then(|mut signer| signer.sign_oneshot_to_vec(text.as_bytes()));
        let signature = signed.map_err(|error| {
            Failure::new(Kind::Internal, format!("cannot sign as the GitHub App: {error}"))
        })?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Ask for a token for this repository and nothing else, which may do what this run has to.
    pub(crate) fn exchange(&self, project: &str, opens: bool) -> Call {
        let name = project.rsplit('/').next().unwrap_or_default();
        let permissions = if opens {
            json!({ "contents": "write", "pull_requests": "write" })
        } else {
            json!({ "contents": "write" })
        };
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        Call::send(Method::POST, path, json!({ "repositories": [name], "permissions": permissions }))
    }

    /// The token and when it ends.
    pub(crate) fn read_token(body: &Value) -> Option<(SecretString, Timestamp)> {
        let token = body.get("token")?.as_str().filter(|token| !token.is_empty())?;
        let ends = body.get("expires_at")?.as_str()?.parse().ok()?;
        Some((SecretString::from(token), ends))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use gitops::Secrets;
    use jiff::Timestamp;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::sign::Verifier;
    use serde_json::{Value, json};

    use super::App;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn a_proof_verifies_with_the_public_key_and_says_who_and_when() {
        let key = Rsa::generate(2048).unwrap();
        let pem = String::from_utf8(key.private_key_to_pem().unwrap()).unwrap();
        let folder = folder(&[("app-id", "12345\n"), ("installation-id", "678\n"), ("private-key", &pem)]);
        let secrets = Secrets::default();
        let app = App::read(folder.path(), &secrets).unwrap();
        assert_eq!(secrets.redact(pem.lines().nth(1).unwrap()), "***");
        let proof = app.proof(Timestamp::from_second(1_000_000).unwrap()).unwrap();
        let (text, signature) = proof.rsplit_once('.').unwrap();
        let public = PKey::from_rsa(key).unwrap();
        let mut verifier = Verifier::new(MessageDigest::sha256(), &public).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(verifier.verify_oneshot(&signature, text.as_bytes()).unwrap());
        let parts: Vec<Value> = text
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        let claims = json!({"iat": 999_940, "exp": 1_000_540, "iss": "12345"});
        assert_eq!(parts, [json!({"alg": "RS256", "typ": "JWT"}), claims]);
    }

    #[test]
    fn a_folder_that_is_none_is_refused() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (files, why) in [
            (vec![], "app-id`: No such file or directory (os error 2)"),
            (vec![("app-id", "x y")], "app-id`: it is no id of an App"),
            (vec![("app-id", "1"), ("installation-id", "x")], "installation-id`: it is not a number"),
            (
                vec![("app-id", "1"), ("installation-id", "2"), ("private-key", key)],
                "private-key`: it is no RSA key without passphrase in PEM form",
            ),
        ] {
            let folder = folder(&files);
            let failure = App::read(folder.path(), &Secrets::default()).unwrap_err();
            let line = format!("cannot use the GitHub App of `{}/{why}", folder.path().display());
            assert_eq!(failure.message(), line);
        }
    }
}
