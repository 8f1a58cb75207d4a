//! What libgit2 and servers say when something fails, and what it means.

use git2::{Error, ErrorClass, ErrorCode};
use step::{Kind, one_line};

use crate::secret::Secrets;
use crate::wire;

/// The longest text of a server in a message, in bytes.
const WORDS: usize = 400;

/// A failed exchange: what it means for the next attempt, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) class: Class,
    pub(crate) words: String,
}

/// What a failed exchange means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Somebody else was faster; certainly nothing was changed.
    Contention,
    /// It may be gone the next time. The server may have done the work nevertheless.
    Passing,
    /// The server is busy or says so; it did not take the request.
    Busy,
    /// It will be the same the next time; the kind says who acts. Certainly nothing was changed.
    Lasting(Kind),
}

impl Trouble {
    pub(crate) fn new(class: Class, words: impl Into<String>) -> Self {
        Self { class, words: words.into() }
    }

    /// What an error of libgit2 means. Its classes are coarse and its codes few; the texts read here are libgit2's own
    /// (1.9, `transports/http.c`), never a server's.
    pub(crate) fn of(error: &Error, secrets: &Secrets) -> Self {
        let text = error.message();
        let words = one_line(&secrets.redact(text), WORDS);
        if let Some(status) = text.strip_prefix("unexpected http status code: ") {
            return Self::of_status(status.trim().parse().unwrap_or(0));
        }
        if text.contains("redirect") && !text.starts_with("too many redirects") {
            return Self::redirected();
        }
        let class = match (error.code(), error.class()) {
            (ErrorCode::NotFastForward, _) => Class::Contention,
            _ if broke_off(error) => Class::Passing,
            (ErrorCode::Auth, _) => Class::Lasting(Kind::Permission),
            (ErrorCode::Certificate, ErrorClass::Ssh) => {
                let why = "its host key is not the one that `known_hosts` has for it, or it has none";
                return Self::new(Class::Lasting(Kind::Permission), why);
            }
            (ErrorCode::Certificate, _) => {
                let why = format!("its certificate is not trusted: {words}");
                return Self::new(Class::Lasting(Kind::Permission), why);
            }
            (_, ErrorClass::Http) if text.starts_with("invalid content-type") => {
                let why = format!("what answers is not a Git server: {words}");
                return Self::new(Class::Lasting(Kind::Usage), why);
            }
            (ErrorCode::Invalid, ErrorClass::Net) if text.starts_with("server doesn't support") => {
                Class::Lasting(Kind::Usage)
            }
            // what the server's git says on its way out, in the words of its `setup.c`
            (_, ErrorClass::Ssh) if text.contains("does not appear to be a git repository") => {
                Class::Lasting(Kind::Usage)
            }
            _ => Class::Passing,
        };
        Self::new(class, words)
    }

    /// What an answer by HTTP means that is none. Whatever it was to be, the server may have done its work.
    pub(crate) fn of_answer(error: &wire::Error, secrets: &Secrets) -> Self {
        Self::new(Class::Passing, one_line(&secrets.redact(&error.to_string()), WORDS))
    }

    /// The server would have us go to another one.
    pub(crate) fn redirected() -> Self {
        Self::new(Class::Lasting(Kind::Usage), "the server redirects elsewhere, which is not followed")
    }

    /// What an HTTP status other than 200 means.
    pub(crate) fn of_status(status: u16) -> Self {
        let (class, meaning) = match status {
            401 | 403 | 407 => (Class::Lasting(Kind::Permission), "access denied"),
            404 | 410 => {
                (Class::Lasting(Kind::Usage), "no such repository, or the credential may not see it")
            }
            413 => (Class::Lasting(Kind::Refused), "too large"),
            408 | 425 | 429 => (Class::Busy, "too busy"),
            400..=499 => (Class::Lasting(Kind::Refused), "refused"),
            _ => (Class::Passing, "server error"),
        };
        Self::new(class, format!("http status {status}, {meaning}"))
    }

    /// What the status of a rejected ref means. Servers say the same event in their own words; these are the ones known
    /// for a held lock or a lost race. Whether it *was* one is for the caller to see: it reads the tip again.
    pub(crate) fn of_rejection(status: &str, said: &str, secrets: &Secrets) -> Self {
        const RACE: [&str; 8] = [
            "cannot lock ref",
            "failed to update ref",
            "failed to lock",
            "incorrect old value",
            "reference already exists",
            "fetch first",
            "non-fast-forward",
            "stale info",
        ];
        let lower = status.to_ascii_lowercase();
        let race = RACE.iter().any(|word| lower.contains(word));
        let class = if race { Class::Contention } else { Class::Lasting(Kind::Refused) };
        // git explains a held lock at length; its first sentence tells it all
        let said = if race { said.split_once(".\n").map_or(said, |(first, _)| first) } else { said };
        let words = if said.is_empty() { status.to_owned() } else { format!("{status}: {said}") };
        Self::new(class, one_line(&secrets.redact(&words), WORDS))
    }

    /// Certainly nothing was changed by the push that ended so.
    pub(crate) const fn is_clear(&self) -> bool {
        !matches!(self.class, Class::Passing)
    }
}

/// Whether a connection of SSH ended in the midst of the login: libssh2 has the same code for a key that is refused and for
/// an answer that never came (1.11, `userauth.c`), and libgit2 then cannot ask how else one may log in (1.9,
/// `transports/ssh_libssh2.c`). Where the key was refused it can, and asks us for another.
pub(crate) fn broke_off(error: &Error) -> bool {
    error.message().starts_with("remote rejected authentication")
}

#[cfg(test)]
mod tests {
    use git2::{Error, ErrorClass, ErrorCode};
    use step::Kind;

    use super::{Class, Trouble};
    use crate::secret::Secrets;

    #[test]
    fn every_error_measured_has_its_class() {
        let permission = Class::Lasting(Kind::Permission);
        let (usage, refused) = (Class::Lasting(Kind::Usage), Class::Lasting(Kind::Refused));
        for (code, class, text, wanted) in [
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 403", permission),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 404", usage),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 413", refused),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 429", Class::Busy),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected http status code: 503", Class::Passing),
            (ErrorCode::GenericError, ErrorClass::Net, "Connection reset by peer", Class::Passing),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected EOF", Class::Passing),
            (ErrorCode::Eof, ErrorClass::Net, "could not read report", Class::Passing),
            (ErrorCode::Timeout, ErrorClass::Net, "could not read from socket: timed out", Class::Passing),
            (ErrorCode::NotFastForward, ErrorClass::Reference, "cannot push", Class::Contention),
            (ErrorCode::GenericError, ErrorClass::Net, "cannot redirect from 'a' to 'b'", usage),
            (ErrorCode::GenericError, ErrorClass::Http, "unexpected redirect", usage),
            (ErrorCode::Auth, ErrorClass::Http, "unexpected authentication failure", permission),
            (ErrorCode::Auth, ErrorClass::Ssh, "remote rejected authentication: Failed", Class::Passing),
            (ErrorCode::Certificate, ErrorClass::Ssl, "the SSL certificate is invalid", permission),
            (ErrorCode::GenericError, ErrorClass::Http, "invalid content-type: 'text/html'", usage),
        ] {
            let trouble = Trouble::of(&Error::new(code, class, text), &Secrets::default());
            assert_eq!(trouble.class, wanted, "{text}");
        }
    }

    #[test]
    fn every_forges_word_for_a_lost_race_is_one() {
        for status in [
            "failed to update ref",
            "cannot lock ref 'refs/heads/main': is at 1 but expected 2",
            "incorrect old value provided",
            "Reference already exists",
            "failed to lock",
            "fetch first",
            "non-fast-forward",
        ] {
            let trouble = Trouble::of_rejection(status, "", &Secrets::default());
            assert_eq!(trouble, Trouble::new(Class::Contention, status), "{status}");
        }
        let said = "error: cannot lock ref 'refs/heads/main': File exists.\n\nAnother git process seems to be running";
        let trouble = Trouble::of_rejection("failed to update ref", said, &Secrets::default());
        let words = "failed to update ref: error: cannot lock ref 'refs/heads/main': File exists";
        assert_eq!(trouble, Trouble::new(Class::Contention, words));
        let trouble =
            Trouble::of_rejection("pre-receive hook declined", "not on\nFridays", &Secrets::default());
        let refused = Class::Lasting(Kind::Refused);
        assert_eq!(trouble, Trouble::new(refused, "pre-receive hook declined: not on Fridays"));
    }
}
