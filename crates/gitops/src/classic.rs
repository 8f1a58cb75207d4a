//! One fetch or one push by libgit2's transports: over SSH, and a fetch by HTTP from servers that do not speak version 2 of the
//! protocol.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

use git2::{
    AutotagOption, Cred, CredentialType, Error, ErrorClass, ErrorCode, FetchOptions, FetchPrune, Oid,
    ProxyOptions, PushOptions, RemoteCallbacks, RemoteRedirect, Repository,
};
use secrecy::ExposeSecret as _;
use step::Kind;

use crate::address::{Address, Way};
use crate::exchange::{Depth, Link, Sent};
use crate::library;
use crate::ssh::Login;
use crate::trouble::{Class, Trouble, broke_off};
use crate::wire::pktline::Said;
use crate::wire::push::Status;

/// Where the fetched tip is kept, so that the next fetch says what is here already.
const TRACKED: &str = "refs/remotes/origin/tip";
/// Where the commit is while it is pushed.
const OUTGOING: &str = "refs/heads/outgoing";
/// A server that is silent for so long has lost us. A push may run the server's hooks meanwhile.
const FETCH_SILENCE: Duration = Duration::from_secs(30);
const PUSH_SILENCE: Duration = Duration::from_mins(1);
/// What the callbacks of one exchange saw.
#[derive(Default)]
struct Seen {
    /// How often credentials were asked for.
    asked: Cell<u32>,
    /// Another server than ours asked for them.
    elsewhere: Cell<bool>,
    said: RefCell<Said>,
    /// The update was let through to the server.
    offered: Cell<bool>,
    /// The branch was not where the commit builds on.
    moved: Cell<bool>,
    /// The server's word on the branch, if it gave one.
    status: RefCell<Option<Status>>,
}

impl Link {
    /// Bring the branch's tip here, with all that is in it and so much of its history; `None` if the branch does not exist.
    pub(crate) fn fetch_classic(
        &self,
        repository: &Repository,
        depth: Depth,
        until: Instant,
    ) -> Result<Option<Oid>, Trouble> {
        let seen = Seen::default();
        let fetched = self.try_fetch(repository, depth, until, &seen);
        fetched.map_err(|error| self.explain(&error, &seen))
    }

    fn try_fetch(
        &self,
        repository: &Repository,
        depth: Depth,
        until: Instant,
        seen: &Seen,
    ) -> Result<Option<Oid>, Error> {
        let mut callbacks = self.callbacks(seen);
        // a server that sends drop by drop is never silent
        callbacks.transfer_progress(|_| Instant::now() < until);
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks)
            .proxy_options(self.proxy_options())
            .follow_redirects(RemoteRedirect::None)
            .download_tags(AutotagOption::None)
            .prune(FetchPrune::Off)
            .update_fetchhead(false)
            .depth(depth.commits());
        let reference = self.reference();
        let mut remote = repository.remote_anonymous(self.address.as_str())?;
        let _turn =
            library::turn(FETCH_SILENCE, until.saturating_duration_since(Instant::now()), self.home())?;
        remote.fetch(&[format!("+{reference}:{TRACKED}")], Some(&mut options), None)?;
        let tip = remote.list()?.iter().find(|head| head.name() == reference).map(git2::RemoteHead::oid);
        Ok(tip)
    }

    /// Offer `commit` to a branch that is at `expected`, or is not there at all.
    pub(crate) fn push_classic(
        &self,
        repository: &Repository,
        commit: Oid,
        expected: Option<Oid>,
        until: Instant,
    ) -> Sent {
        let seen = Seen::default();
        let pushed = self.try_push(repository, commit, expected, until, &seen);
        let trouble = match (pushed, seen.status.take()) {
            (Ok(()), Some(Status::Updated)) => return Sent::Acknowledged,
            // libgit2 says `Ok` for a rejected push as well
            (_, Some(Status::Rejected(status))) => {
                Trouble::of_rejection(&status, &seen.said.borrow().words(), &self.secrets)
            }
            (Ok(()), None) => {
                Trouble::new(Class::Passing, "the server did not say what became of the branch")
            }
            (Err(_), _) if seen.moved.get() => Trouble::new(Class::Contention, "the branch has moved"),
            // an acknowledgement in an answer that broke off is no clean one
            (Err(error), _) => self.explain(&error, &seen),
        };
        Sent::Not { trouble, offered: seen.offered.get() }
    }

    fn try_push(
        &self,
        repository: &Repository,
        commit: Oid,
        expected: Option<Oid>,
        until: Instant,
        seen: &Seen,
    ) -> Result<(), Error> {
        let reference = self.reference();
        let mut callbacks = self.callbacks(seen);
        callbacks
            .push_negotiation(|updates| {
                let [update] = updates else { return Err(Error::from_str("expected one update")) };
                // not only a fast-forward: exactly the tip that the files were compared with
                if update.src() != expected.unwrap_or(Oid::ZERO_SHA1) {
                    seen.moved.set(true);
                    return Err(Error::from_str("the branch has moved"));
                }
                seen.offered.set(true);
                Ok(())
            })
            .push_update_reference(|name, status| {
                if name == self.reference() {
                    let word = status.map_or(Status::Updated, |why| Status::Rejected(why.to_owned()));
                    seen.status.replace(Some(word));
                }
                Ok(())
            });
        let mut options = PushOptions::new();
        options
            .remote_callbacks(callbacks)
            .proxy_options(self.proxy_options())
            .follow_redirects(RemoteRedirect::None);
        repository.reference(OUTGOING, commit, true, "to be pushed")?;
        let mut remote = repository.remote_anonymous(self.address.as_str())?;
        let _turn =
            library::turn(PUSH_SILENCE, until.saturating_duration_since(Instant::now()), self.home())?;
        remote.push(&[format!("{OUTGOING}:{reference}")], Some(&mut options))
    }

    fn callbacks<'a>(&'a self, seen: &'a Seen) -> RemoteCallbacks<'a> {
        let mut callbacks = RemoteCallbacks::new();
        callbacks
            .credentials(move |url, _, allowed| {
                // libgit2 follows a redirect to another port of the host whatever it is told
                if !url.parse::<Address>().is_ok_and(|url| url.same_server(&self.address)) {
                    seen.elsewhere.set(true);
                    return Err(Error::new(
                        ErrorCode::Auth,
                        ErrorClass::Callback,
                        "asked for by another server",
                    ));
                }
                seen.asked.set(seen.asked.get() + 1);
                let refuse = |why| Err(Error::new(ErrorCode::Auth, ErrorClass::Callback, why));
                if let (Way::Ssh(user), Some(login)) = (self.address.way(), &self.login) {
                    if seen.asked.get() > 1 || !allowed.contains(CredentialType::SSH_MEMORY) {
                        return refuse("key refused");
                    }
                    return Cred::ssh_key_from_memory(user, None, login.key.expose_secret(), None);
                }
                let Some(credential) = &self.credential else { return refuse("no credential") };
                // asked again means refused; libgit2 would go on asking
                if seen.asked.get() > 1 || !allowed.contains(CredentialType::USER_PASS_PLAINTEXT) {
                    return refuse("credential refused");
                }
                Cred::userpass_plaintext(credential.user(), credential.password().expose_secret())
            })
            .sideband_progress(move |text| {
                seen.said.borrow_mut().hear(text);
                true
            });
        callbacks
    }

    fn home(&self) -> Option<&Path> {
        self.login.as_ref().map(Login::home)
    }

    fn proxy_options(&self) -> ProxyOptions<'_> {
        let mut options = ProxyOptions::new();
        if let Some(proxy) = &self.proxy {
            options.url(proxy);
        }
        options
    }

    fn explain(&self, error: &Error, seen: &Seen) -> Trouble {
        // a server that is spoken to in plain HTTP has no certificate
        let foreign = *self.address.way() == Way::Http && error.code() == ErrorCode::Certificate;
        if seen.elsewhere.get() || foreign {
            return Trouble::redirected();
        }
        if broke_off(error) {
            return Trouble::of(error, &self.secrets);
        }
        let permission = |words: &str| Trouble::new(Class::Lasting(Kind::Permission), words);
        match (seen.asked.get(), &self.credential, error.code()) {
            (1.., _, ErrorCode::Auth) if self.login.is_some() => permission("it refuses the key"),
            (1.., None, ErrorCode::Auth) => permission("it asks for a credential and none for it was given"),
            (1.., Some(_), ErrorCode::Auth) => permission("it refuses the credential"),
            _ => Trouble::of(error, &self.secrets),
        }
    }
}
