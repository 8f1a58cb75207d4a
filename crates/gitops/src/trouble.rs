//! What servers say when something fails, and what it means.

use std::time::Duration;

use git2::Error;
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
    /// The server wants to be left alone for so long.
    pub(crate) again: Option<Duration>,
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
        Self { class, words: words.into(), again: None }
    }

    /// The same, with what the server says to people.
    pub(crate) fn saying(mut self, said: &str, secrets: &Secrets) -> Self {
        if !said.is_empty() {
            self.words = one_line(&secrets.redact(&format!("{}: {said}", self.words)), WORDS);
        }
        self
    }

    pub(crate) fn asked_again_after(self, again: Option<Duration>) -> Self {
        Self { again, ..self }
    }

    /// An error of libgit2, which has the repository here.
    pub(crate) fn of(error: &Error, secrets: &Secrets) -> Self {
        Self::new(Class::Passing, one_line(&secrets.redact(error.message()), WORDS))
    }

    /// What a server says in place of its first words, before anything was asked of it. The words are those of git (`setup.c`), GitHub,
    /// GitLab, Gitea and Gerrit for a repository that is not there, and for one that the key may not read or not push to; all they
    /// decide is whether it is asked again, for nothing was sent.
    pub(crate) fn of_refusal(words: &str, secrets: &Secrets) -> Self {
        const ABSENT: [&str; 4] = [
            "does not appear to be a git repository",
            "repository not found",
            "repository does not exist",
            "could not be found",
        ];
        const DENIED: [&str; 5] = ["permission", "access denied", "not allowed", "denied to", "read-only"];
        let lower = words.to_ascii_lowercase();
        let has = |known: &[&str]| known.iter().any(|words| lower.contains(words));
        let class = if has(&ABSENT) {
            Class::Lasting(Kind::Usage)
        } else if has(&DENIED) {
            Class::Lasting(Kind::Permission)
        } else {
            Class::Passing
        };
        Self::new(class, one_line(&secrets.redact(&format!("the server says: {words}")), WORDS))
    }

    /// What an answer means that is none. Whatever it was to be, the server may have done its work.
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
        // Git's words (`refs.c`) for a branch `a` where ours is `a/b`, or the other way round: no time mends that
        const IN_THE_WAY: &str = " exists; cannot create ";
        let lower = status.to_ascii_lowercase();
        let race = RACE.iter().any(|word| lower.contains(word))
            && ![status, said].iter().any(|words| words.contains(IN_THE_WAY));
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

#[cfg(test)]
mod tests {
    use step::Kind;

    use super::{Class, Trouble};
    use crate::secret::Secrets;

    #[test]
    fn every_status_and_refusal_measured_has_its_class() {
        let permission = Class::Lasting(Kind::Permission);
        let (usage, refused) = (Class::Lasting(Kind::Usage), Class::Lasting(Kind::Refused));
        for (status, wanted) in
            [(403, permission), (404, usage), (413, refused), (429, Class::Busy), (503, Class::Passing)]
        {
            assert_eq!(Trouble::of_status(status).class, wanted, "{status}");
        }
        for (words, wanted) in [
            ("fatal: '/srv/m.git' does not appear to be a git repository", usage),
            ("ERROR: Repository not found.", usage),
            (
                "remote: The project you were looking for could not be found or you do not have permission",
                usage,
            ),
            ("ERROR: Permission to team/machines.git denied to deploy key", permission),
            ("ERROR: This repository was archived so it is read-only.", permission),
            ("fatal: too many connections", Class::Passing),
        ] {
            assert_eq!(Trouble::of_refusal(words, &Secrets::default()).class, wanted, "{words}");
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
        let said =
            "error: cannot lock ref 'refs/heads/a/b': 'refs/heads/a' exists; cannot create 'refs/heads/a/b'";
        let trouble = Trouble::of_rejection("failed to update ref", said, &Secrets::default());
        assert_eq!(trouble, Trouble::new(refused, format!("failed to update ref: {said}")));
    }
}
