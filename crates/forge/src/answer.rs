//! What an answer means: done, not now, or never.

use std::time::Duration;

use gitops::Secrets;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use step::{Kind, one_line};

/// The longest text of a server in a message, in bytes.
const WORDS: usize = 400;

/// One whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long the server asks to be left alone.
    pub(crate) wait: Option<Duration>,
    /// Null where it is no JSON.
    pub(crate) body: Value,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) class: Class,
    pub(crate) words: String,
}

/// What that means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It may be gone the next time. The server may have done the work nevertheless.
    Passing,
    /// The server did not take the request; it may be asked again after so long, if it said so.
    Busy(Option<Duration>),
    /// It will be the same the next time; the kind says who acts.
    Lasting(Kind),
}

impl Trouble {
    pub(crate) fn new(class: Class, words: impl Into<String>) -> Self {
        Self { class, words: words.into() }
    }

    pub(crate) fn passing(words: impl Into<String>) -> Self {
        Self::new(Class::Passing, words)
    }
}

impl Answer {
    /// Whether it did what it was asked. Azure DevOps answers 203 with a page to log in on where it does not know who asks.
    pub(crate) fn is_done(&self) -> bool {
        self.status.is_success() && self.status != StatusCode::NON_AUTHORITATIVE_INFORMATION
    }

    /// Why it did not.
    pub(crate) fn trouble(&self, secrets: &Secrets) -> Trouble {
        let reason = reason(&self.body);
        let limited = self.status == StatusCode::FORBIDDEN
            && (self.wait.is_some() || reason.to_ascii_lowercase().contains("rate limit"));
        let (class, meaning) = match self.status.as_u16() {
            300..=399 => {
                let words = "the server redirects elsewhere, which is not followed";
                return Trouble::new(Class::Lasting(Kind::Usage), words);
            }
            403 if limited => (Class::Busy(self.wait), "too many requests"),
            203 | 401 | 403 | 407 => (Class::Lasting(Kind::Permission), "access denied"),
            404 | 410 => (
                Class::Lasting(Kind::Usage),
                "no such repository, branch or person, or the credential may not see it",
            ),
            409 => (Class::Lasting(Kind::Conflict), "something else is there"),
            408 | 425 | 429 => (Class::Busy(self.wait), "too many requests"),
            503 if self.wait.is_some() => (Class::Busy(self.wait), "too busy"),
            400..=499 => (Class::Lasting(Kind::Refused), "refused"),
            _ => (Class::Passing, "server error"),
        };
        let words = if reason.is_empty() { meaning.to_owned() } else { reason };
        let words =
            format!("http status {}, {}", self.status.as_u16(), one_line(&secrets.redact(&words), WORDS));
        Trouble::new(class, words)
    }
}

/// The forge's own words, in any of the forms that they have: a text, a list or a table of texts, below `message`, `error`,
/// `error_description` or `errors`.
pub(crate) fn reason(body: &Value) -> String {
    let mut parts = Vec::new();
    for field in ["message", "error", "error_description", "errors"] {
        gather(body.get(field), &mut parts);
    }
    parts.join(": ")
}

fn gather(value: Option<&Value>, parts: &mut Vec<String>) {
    match value {
        Some(Value::String(text)) if !text.is_empty() && !parts.contains(text) => parts.push(text.clone()),
        Some(Value::Array(all)) => all.iter().for_each(|one| gather(Some(one), parts)),
        Some(Value::Object(fields)) => {
            // GitHub: `{"resource", "field", "code"}`, with a message only where the code is `custom`
            if let (Some(Value::String(field)), Some(Value::String(code))) =
                (fields.get("field"), fields.get("code"))
                && !fields.contains_key("message")
            {
                parts.push(format!("{field} {code}"));
                return;
            }
            // Bitbucket: `{"message", "detail", "fields"}`; GitLab: a list of words for each field
            let known = ["message", "detail"];
            if known.iter().any(|name| fields.contains_key(*name)) {
                for name in known {
                    gather(fields.get(name), parts);
                }
                return;
            }
            for (name, one) in fields {
                let mut words = Vec::new();
                gather(Some(one), &mut words);
                parts.extend((!words.is_empty()).then(|| format!("{name} {}", words.join(", "))));
            }
        }
        _ => {}
    }
}

/// How long the server asks to be left alone: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or a limit of requests
/// that is used up until a time in seconds since 1970 (GitHub and Azure DevOps `x-ratelimit-*`, GitLab `ratelimit-*`).
pub(crate) fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let until = |second: i64| u64::try_from(second - now.as_second()).unwrap_or(0);
    if let Some(after) = text("retry-after") {
        let date = || jiff::fmt::rfc2822::parse(after).ok().map(|at| until(at.timestamp().as_second()));
        return after.parse().ok().or_else(date).map(Duration::from_secs);
    }
    ["x-ratelimit", "ratelimit"].iter().find_map(|name| {
        let used = text(&format!("{name}-remaining"))? == "0";
        let reset = text(&format!("{name}-reset"))?.parse().ok()?;
        // the clocks of two machines are never the same
        used.then(|| Duration::from_secs(until(reset) + 1))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gitops::Secrets;
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use step::Kind;

    use super::{Answer, Class, reason, wait};

    #[test]
    fn every_forge_gives_its_reason_in_a_form_of_its_own() {
        for (body, words) in [
            (
                json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "code": "custom", "message": "No commits between main and x"}]}),
                "Validation Failed: No commits between main and x",
            ),
            (
                json!({"message": "Validation Failed", "errors": [{"resource": "PullRequest", "field": "head", "code": "invalid"}]}),
                "Validation Failed: head invalid",
            ),
            (json!({"message": ["Another open merge request"]}), "Another open merge request"),
            (json!({"message": {"title": ["can't be blank", "is long"]}}), "title can't be blank, is long"),
            (
                json!({"error": "insufficient_scope", "error_description": "needs more"}),
                "insufficient_scope: needs more",
            ),
            (json!({"type": "error", "error": {"message": "Bad", "detail": "no"}}), "Bad: no"),
            (
                json!({"message": "TF401179: An active pull request", "typeKey": "X"}),
                "TF401179: An active pull request",
            ),
            (json!({"message": "same", "errors": ["same"]}), "same"),
            (json!([1]), ""),
            (Value::Null, ""),
        ] {
            assert_eq!(reason(&body), words, "{body}");
        }
    }

    fn answer(status: u16, seconds: Option<u64>, message: &str) -> Answer {
        let body = json!({ "message": message });
        Answer { status: StatusCode::from_u16(status).unwrap(), wait: seconds.map(Duration::from_secs), body }
    }

    #[test]
    fn every_status_has_its_class() {
        let lasting = Class::Lasting;
        let some = Some(Duration::from_secs(7));
        for (status, seconds, message, class, words) in [
            (302, None, "", lasting(Kind::Usage), "the server redirects elsewhere, which is not followed"),
            (203, None, "", lasting(Kind::Permission), "http status 203, access denied"),
            (401, None, "Bad credentials", lasting(Kind::Permission), "http status 401, Bad credentials"),
            (403, None, "Forbidden", lasting(Kind::Permission), "http status 403, Forbidden"),
            (403, Some(7), "You have", Class::Busy(some), "http status 403, You have"),
            (
                403,
                None,
                "API rate limit exceeded",
                Class::Busy(None),
                "http status 403, API rate limit exceeded",
            ),
            (404, None, "Not Found", lasting(Kind::Usage), "http status 404, Not Found"),
            (409, None, "", lasting(Kind::Conflict), "http status 409, something else is there"),
            (422, None, "Validation Failed", lasting(Kind::Refused), "http status 422, Validation Failed"),
            (413, None, "", lasting(Kind::Refused), "http status 413, refused"),
            (429, Some(7), "", Class::Busy(some), "http status 429, too many requests"),
            (503, Some(7), "", Class::Busy(some), "http status 503, too busy"),
            (500, None, "", Class::Passing, "http status 500, server error"),
            (502, None, "token s3cr3t-token", Class::Passing, "http status 502, token ***"),
        ] {
            let secrets = Secrets::default();
            secrets.add("s3cr3t-token");
            let trouble = answer(status, seconds, message).trouble(&secrets);
            assert_eq!((trouble.class, trouble.words.as_str()), (class, words), "{status}");
        }
    }

    #[test]
    fn a_wait_is_said_in_three_ways() {
        let now = Timestamp::from_second(784_111_700).unwrap();
        for (headers, seconds) in [
            (vec![("retry-after", "30")], Some(30)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(77)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0)),
            (vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111760")], Some(61)),
            (vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "784111701")], Some(2)),
            (vec![("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "784111760")], None),
            (vec![("retry-after", "soon")], None),
            (vec![], None),
        ] {
            let header = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let map: HeaderMap = headers.iter().map(header).collect();
            assert_eq!(wait(&map, now), seconds.map(Duration::from_secs), "{headers:?}");
        }
    }
}
