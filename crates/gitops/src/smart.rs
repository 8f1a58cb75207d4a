//! One fetch or one push by our own side of Git's protocol, over HTTP and SSH.
//!
//! A first fetch brings the tip's commit and nothing in it; the folders on the paths that matter and the files that are compared are
//! asked for by their ids. A later one brings what changed since. A server that leaves nothing out, or refuses to be asked so, is
//! asked for all of the tip, as is one that does not speak version 2 of the protocol.

mod http;
mod ssh;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::time::{Duration, Instant};

use git2::{Oid, Repository};
use openssl::ssl::SslConnector;
use step::Kind;

use crate::exchange::{Depth, Link, Look, Sent};
use crate::ssh::Login;
use crate::trouble::{Class, Trouble};
use crate::wire::advert::{self, Fetches};
use crate::wire::fetch::{self, Filter, Request};
use crate::wire::pktline::Said;
use crate::wire::push::{self, Status};
use crate::wire::stream::{Connection, Patience};
use crate::wire::{Error, old};
use crate::{history, pack};

/// The most bytes that any fetch brings.
const MOST: u64 = 512 * 1024 * 1024;
/// The most bytes of what changed since the last look. A merge of something older than that look brings all that led to it: then
/// the tip alone is fetched.
const SINCE: u64 = 4 * 1024 * 1024;
/// How many of the tips that were seen are named in the next fetch.
const TIPS: usize = 8;

/// A server that is silent for so long has lost us. A push may run the server's hooks meanwhile.
const FETCH_SILENCE: Duration = Duration::from_secs(30);
const PUSH_SILENCE: Duration = Duration::from_mins(1);

/// Why an exchange failed.
enum Failed {
    /// Before the request was sent, or by what the server did with it; `sent` says which.
    Trouble { trouble: Trouble, sent: bool },
    /// Its answer is none.
    Answer(Error),
}

/// One of the two services: its requests, answers and commands are named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Fetch,
    Push,
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "git-upload-pack",
            Self::Push => "git-receive-pack",
        }
    }

    const fn patience(self, until: Instant) -> Patience {
        let silence = match self {
            Self::Fetch => FETCH_SILENCE,
            Self::Push => PUSH_SILENCE,
        };
        Patience { silence, until }
    }
}

/// How a server is reached.
pub(crate) enum Transport {
    /// By TLS, if at all.
    Http(Option<SslConnector>),
    Ssh(Login),
}

/// What is known of a server, and the connection to it.
pub(crate) struct Smart {
    transport: Transport,
    ssh: RefCell<ssh::State>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    server: Option<Fetches>,
    /// The server would not leave out what was not wanted.
    whole: bool,
    /// Tips that were fetched, the last one last.
    tips: Vec<Oid>,
    /// Commits that are here without their parents.
    shallow: BTreeSet<Oid>,
}

impl fmt::Debug for Smart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smart")
    }
}

impl Smart {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, ssh: RefCell::default(), state: RefCell::default() }
    }

    /// Whether it is known to speak version 0 alone.
    fn is_old(&self) -> bool {
        matches!(self.server(), Some(Fetches::Old { .. }))
    }

    fn server(&self) -> Option<Fetches> {
        self.state.borrow().server
    }

    /// Whether the server may be asked to leave things out.
    fn leaves_out(&self) -> bool {
        self.server() == Some(Fetches::Two { filter: true }) && !self.state.borrow().whole
    }

    /// From now on everything is fetched with all that is in it; what is here of before is not all there is.
    fn take_whole(&self) {
        let mut state = self.state.borrow_mut();
        state.whole = true;
        state.tips.clear();
        state.shallow.clear();
    }
}

impl Link {
    pub(crate) fn fetch_smart(
        &self,
        repository: &Repository,
        depth: Depth,
        look: Look,
        until: Instant,
    ) -> Result<Option<Oid>, Trouble> {
        let tip = self.ask_tip(until).map_err(|failed| self.turned_away(failed))?;
        let Some(tip) = tip else { return Ok(None) };
        let brought = match look {
            Look::Tip => self.fetch_tip(repository, tip, until),
            Look::Back => self.fetch_back(repository, tip, depth, until),
        };
        match brought {
            Err(Failed::Answer(Error::Said(words))) if self.smart.leaves_out() => {
                tracing::debug!(
                    "`{}` leaves nothing out: {}",
                    self.address.host(),
                    self.secrets.redact(&words)
                );
                self.smart.take_whole();
                let whole = match look {
                    Look::Tip => self.fetch_tip(repository, tip, until),
                    Look::Back => self.fetch_back(repository, tip, depth, until),
                };
                whole.map_err(|failed| self.trouble(failed))?;
            }
            other => other.map_err(|failed| self.trouble(failed))?,
        }
        let mut state = self.smart.state.borrow_mut();
        state.tips.retain(|other| *other != tip);
        state.tips.push(tip);
        let many = state.tips.len().saturating_sub(TIPS);
        state.tips.drain(..many);
        Ok(Some(tip))
    }

    /// Ask where the branch is now.
    fn ask_tip(&self, until: Instant) -> Result<Option<Oid>, Failed> {
        let reference = self.reference();
        let known = match (&self.smart.transport, self.smart.server()) {
            (Transport::Http(_), Some(two @ Fetches::Two { .. })) => Some(two),
            // one that runs since the last look may know no more than it did then
            _ => None,
        };
        let server = match known {
            Some(server) => server,
            None => self.exchange(Service::Fetch, None, until, |body| advert::fetches(body, &reference))?,
        };
        self.smart.state.borrow_mut().server = Some(server);
        match server {
            Fetches::Old { tip } => Ok(tip),
            Fetches::Two { .. } => {
                let ask = fetch::ask_refs(&reference);
                self.exchange(Service::Fetch, Some(&ask), until, |body| fetch::read_refs(body, &reference))
            }
        }
    }

    fn exchange<T>(
        &self,
        service: Service,
        body: Option<&[u8]>,
        until: Instant,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Failed> {
        match &self.smart.transport {
            Transport::Http(tls) => self.request(tls.as_ref(), service, body, until, read),
            Transport::Ssh(login) => self.talk(login, service, body, until, read),
        }
    }

    fn fetch_tip(&self, repository: &Repository, tip: Oid, until: Instant) -> Result<(), Failed> {
        let (tips, shallow) = {
            let state = self.smart.state.borrow();
            (state.tips.clone(), state.shallow.iter().copied().collect::<Vec<_>>())
        };
        if tips.contains(&tip) {
            return Ok(());
        }
        if !tips.is_empty() {
            let filter = self.smart.leaves_out().then_some(Filter::Files);
            let request = Request { wants: &[tip], haves: &tips, shallow: &shallow, depth: None, filter };
            match self.fetch_pack(repository, &request, SINCE, until) {
                Err(Failed::Answer(Error::Long)) => {}
                other => return other,
            }
        }
        let filter = self.smart.leaves_out().then_some(Filter::Folders);
        let request = Request { wants: &[tip], depth: Some(1), filter, ..Request::default() };
        self.fetch_pack(repository, &request, MOST, until)
    }

    fn fetch_back(
        &self,
        repository: &Repository,
        tip: Oid,
        depth: Depth,
        until: Instant,
    ) -> Result<(), Failed> {
        let (tips, shallow) = {
            let state = self.smart.state.borrow();
            (state.tips.clone(), state.shallow.iter().copied().collect::<Vec<_>>())
        };
        let filter = self.smart.leaves_out().then_some(Filter::Folders);
        let depth = Some(depth.commits());
        let request = Request { wants: &[tip], haves: &tips, shallow: &shallow, depth, filter };
        self.fetch_pack(repository, &request, MOST, until)
    }

    pub(crate) fn objects_smart(
        &self,
        repository: &Repository,
        objects: &[Oid],
        commits: &[Oid],
        until: Instant,
    ) -> Result<(), Trouble> {
        if self.smart.is_old() {
            return Err(Trouble::new(Class::Passing, "the server has not sent all that it has"));
        }
        // folders that are named come without what is in them
        let request = Request { wants: objects, filter: Some(Filter::Folders), ..Request::default() };
        if self.smart.leaves_out() {
            match self.fetch_pack(repository, &request, MOST, until) {
                Err(Failed::Answer(Error::Said(words))) => {
                    tracing::debug!(
                        "`{}` is not asked by id: {}",
                        self.address.host(),
                        self.secrets.redact(&words)
                    );
                    self.smart.take_whole();
                }
                other => return other.map_err(|failed| self.trouble(failed)),
            }
        }
        let request = Request { wants: commits, depth: Some(1), ..Request::default() };
        self.fetch_pack(repository, &request, MOST, until).map_err(|failed| self.trouble(failed))
    }

    fn fetch_pack(
        &self,
        repository: &Repository,
        request: &Request<'_>,
        limit: u64,
        until: Instant,
    ) -> Result<(), Failed> {
        let odb = repository.odb().map_err(|error| self.failed(&error))?;
        let is_old = self.smart.is_old();
        let body = if is_old { old::ask(request) } else { request.bytes() };
        let boundary = self.exchange(Service::Fetch, Some(&body), until, |body| {
            let mut pack = pack::Sink::new(&odb);
            let boundary = if is_old {
                old::read_answer(body, request.depth.is_some(), limit, &mut pack)?
            } else {
                fetch::read_answer(body, limit, &mut pack)?
            };
            pack.keep()?;
            Ok(boundary)
        })?;
        let mut state = self.smart.state.borrow_mut();
        for commit in &boundary.unshallow {
            state.shallow.remove(commit);
        }
        state.shallow.extend(boundary.shallow);
        Ok(())
    }

    /// Offer `commit`, whose parent the server has, to a branch that is at `expected`, or is not there at all.
    pub(crate) fn push(
        &self,
        repository: &Repository,
        commit: Oid,
        expected: Option<Oid>,
        until: Instant,
    ) -> Sent {
        let not = |trouble, offered| Sent::Not { trouble, offered };
        let reference = self.reference();
        let server = self.exchange(Service::Push, None, until, |body| advert::pushes(body, &reference));
        let server = match server {
            Ok(server) => server,
            Err(failed) => return not(self.turned_away(failed), false),
        };
        // not only a fast-forward: exactly the tip that the files were compared with
        if server.stands.tip != expected {
            return not(Trouble::new(Class::Contention, "the branch has moved"), false);
        }
        // a branch of these files alone, beside those that somebody works on, is most likely a name misspelt
        let is_root = |commit| history::parents(repository, commit).is_ok_and(|parents| parents.is_empty());
        if expected.is_none() && server.stands.others && is_root(commit) {
            let why = "it does not exist, and the repository has other branches";
            return not(Trouble::new(Class::Lasting(Kind::Usage), why), false);
        }
        if !server.reports {
            let why = "the server does not say what becomes of a push";
            return not(Trouble::new(Class::Lasting(Kind::Usage), why), false);
        }
        let mut body = push::order(expected, commit, &reference, &server);
        match pack::of_commit(repository, commit) {
            Ok(pack) => body.extend(pack),
            Err(error) => return not(Trouble::of(&error, &self.secrets), false),
        }
        let mut said = Said::default();
        let status = self.exchange(Service::Push, Some(&body), until, |body| {
            push::read_report(body, server.side_band, &reference, &mut said)
        });
        match status {
            Ok(Status::Updated) => Sent::Acknowledged,
            Ok(Status::Rejected(why)) => not(Trouble::of_rejection(&why, &said.words(), &self.secrets), true),
            Err(Failed::Trouble { trouble, sent }) => not(trouble, sent),
            Err(failed @ Failed::Answer(_)) => not(self.trouble(failed), true),
        }
    }

    fn failed(&self, error: &git2::Error) -> Failed {
        Failed::Trouble { trouble: Trouble::of(error, &self.secrets), sent: false }
    }

    /// It failed at a server's first words.
    fn turned_away(&self, failed: Failed) -> Trouble {
        match failed {
            Failed::Answer(Error::Said(words)) => Trouble::of_refusal(&words, &self.secrets),
            failed => self.trouble(failed),
        }
    }

    fn trouble(&self, failed: Failed) -> Trouble {
        match failed {
            Failed::Trouble { trouble, .. } => trouble,
            Failed::Answer(error) => Trouble::of_answer(&error, &self.secrets),
        }
    }
}
