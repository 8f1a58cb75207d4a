//! The GitHub App that is installed on the repository.

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::sign::Verifier;
use serde_json::{Value, json};

use super::State;
use crate::git::{Server, lock};
use anyhow::Result;

/// An installed App: who signs for it, and the tokens that it was given.
#[derive(Debug)]
pub struct Installed {
    id: String,
    key: PKey<Public>,
    /// How long a token is good, in seconds.
    seconds: i64,
    tokens: Vec<String>,
}

impl State {
    /// Whether it is a token that was given.
    pub(in crate::git) fn has_token(&self, authorization: &str) -> bool {
        let app = lock(&self.app);
        let Some(app) = app.as_ref() else { return false };
        let token = authorization.strip_prefix("Bearer ").unwrap_or(authorization);
        // of two the newer one alone is good here, so that a renewal that is not used is seen
        app.tokens.last().is_some_and(|last| last == token)
    }

    /// `POST /app/installations/{id}/access_tokens`.
    pub(super) fn token(&self, body: &Value, authorization: &str) -> (u16, Value) {
        let mut app = lock(&self.app);
        let Some(app) = app.as_mut() else { return (404, json!({ "message": "Integration not found" })) };
        let now = jiff::Timestamp::now();
        if !app.is_signed(authorization.strip_prefix("Bearer ").unwrap_or_default(), now.as_second()) {
            let message = "A JSON web token could not be decoded";
            return (401, json!({ "message": message, "documentation_url": "https://docs.github.com/rest" }));
        }
        if body["repositories"] != json!(["machines"]) {
            return (
                422,
                json!({ "message": "There is at least one repository that does not exist or is not accessible to the parent installation." }),
            );
        }
        let token = format!("ghs_standin{:020}", app.tokens.len());
        app.tokens.push(token.clone());
        let ends = now + jiff::SignedDuration::from_secs(app.seconds);
        (201, json!({ "token": token, "expires_at": ends.to_string(), "permissions": body["permissions"] }))
    }
}

impl Installed {
    fn is_signed(&self, proof: &str, now: i64) -> bool {
        let Some((text, signature)) = proof.rsplit_once('.') else { return false };
        let decode = |text: &str| {
            let text = text.replace('-', "+").replace('_', "/");
            openssl::base64::decode_block(&format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4))).ok()
        };
        let Some(claims) = text.split('.').nth(1).and_then(decode) else { return false };
        let Ok(claims) = serde_json::from_slice::<Value>(&claims) else { return false };
        let at = |name: &str| claims[name].as_i64().unwrap_or_default();
        let timely = at("iat") <= now && at("exp") > now && at("exp") - now <= 600;
        let verified = decode(signature).is_some_and(|signature| {
            Verifier::new(MessageDigest::sha256(), &self.key)
                .and_then(|mut verifier| verifier.verify_oneshot(&signature, text.as_bytes()))
                .unwrap_or(false)
        });
        timely && verified && claims["iss"] == json!(self.id)
    }
}

impl Server {
    /// Install an App whose tokens are good for so many seconds; from now on the newest of them is a password too.
    pub fn install(&self, id: &str, key: PKey<Public>, seconds: i64) -> Result<()> {
        *lock(&self.state()?.app) = Some(Installed { id: id.to_owned(), key, seconds, tokens: Vec::new() });
        Ok(())
    }

    /// How many tokens the App was given.
    pub fn tokens(&self) -> Result<usize> {
        Ok(lock(&self.state()?.app).as_ref().map_or(0, |app| app.tokens.len()))
    }
}
