//! A stand-in for a forge: its API for pull requests, beside the real Git server whose repository they are about.
//!
//! It plays the requests that `git-push` makes, with status codes, shapes and words as each forge documents them or as its source has
//! them, and nothing else of a forge: no rules for branches, no approvals, no rights but one credential. A merge is a real one,
//! made by git in the repository. What it shows is never reported as what a forge showed.

mod app;
mod ask;
mod azure_devops;
mod bitbucket;
mod gitea;
mod github;
mod gitlab;
mod handle;

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{Repository, lock};
pub use app::Installed;
use ask::{Ask, Forge, No};

/// Which forge is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// GitHub Enterprise Server, whose API is below `/api/v3`.
    GitHub,
    /// GitLab.
    GitLab,
    /// Gitea, Forgejo.
    Gitea,
    /// Bitbucket Cloud, whose API is elsewhere in reality: `/2.0`.
    Bitbucket,
    /// Azure DevOps Services.
    AzureDevOps,
}

impl Dialect {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::GitHub, Self::GitLab, Self::Gitea, Self::Bitbucket, Self::AzureDevOps];

    /// The path of the repository for Git.
    pub(super) const fn repository(self) -> &'static str {
        match self {
            Self::AzureDevOps => "/team/project/_git/machines",
            _ => "/team/machines.git",
        }
    }

    fn forge(self) -> &'static dyn Forge {
        match self {
            Self::GitHub => &github::GitHub,
            Self::GitLab => &gitlab::GitLab,
            Self::Gitea => &gitea::Gitea,
            Self::Bitbucket => &bitbucket::Bitbucket,
            Self::AzureDevOps => &azure_devops::AzureDevOps,
        }
    }
}

/// What a request to an API is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// The list of pull requests.
    List,
    /// A new one.
    Open,
    /// One of them.
    Read,
    /// Its title and text.
    Update,
    /// Its labels.
    Label,
    /// Its reviewers.
    Review,
    /// A person, a commit, who has reviewed.
    Look,
    /// The token of a GitHub App.
    Token,
}

/// What happens to one request.
#[derive(Debug, Clone)]
pub enum ApiFault {
    /// It is answered so, and nothing is done.
    Answer(u16, Vec<(&'static str, String)>, Value),
    /// It is done, and its answer is lost.
    Lost,
    /// The connection ends before it is done.
    Reset,
    /// Somebody else asks for the very same first.
    Twice,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// From 1 on.
    pub number: u64,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// The branch with the change.
    pub head: String,
    /// The branch that it is for.
    pub base: String,
    /// Names of labels.
    pub labels: Vec<String>,
    /// Who is asked to look at it.
    pub reviewers: Vec<String>,
    /// Who has.
    pub reviewed: Vec<String>,
    /// The commit that merged it.
    pub merged: Option<String>,
    /// Whether it is over.
    pub closed: bool,
    /// Whether its branch is one of another repository.
    pub fork: bool,
}

/// Who can be asked to review.
const PEOPLE: [&str; 6] = ["jane", "joe", "team/owners", "11", "{jane-uuid}", "jane-guid"];

/// What it remembers.
#[derive(Debug)]
pub(super) struct State {
    pub(super) dialect: Dialect,
    pulls: Mutex<Vec<Pull>>,
    faults: Mutex<Vec<(Api, ApiFault)>>,
    calls: Mutex<Vec<String>>,
    authorizations: Mutex<usize>,
    pub(super) app: Mutex<Option<Installed>>,
}

/// What is sent back, or that nothing is.
pub(super) type Reply = Option<(StatusCode, HeaderMap, Value)>;

impl State {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            pulls: Mutex::default(),
            faults: Mutex::default(),
            calls: Mutex::default(),
            authorizations: Mutex::default(),
            app: Mutex::default(),
        }
    }

    /// Answer one request.
    pub(super) fn answer(
        &self,
        parts: &Parts,
        body: &Value,
        repository: &Repository,
        password: &str,
    ) -> Result<Reply> {
        let (path, query) = (parts.uri.path(), query(parts.uri.query().unwrap_or_default()));
        lock(&self.calls).push(format!("{} {}", parts.method, parts.uri));
        *lock(&self.authorizations) += usize::from(parts.headers.contains_key(AUTHORIZATION));
        let forge = self.dialect.forge();
        let text =
            |name: HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let reply =
            |(status, body): (u16, Value)| Ok(Some((StatusCode::from_u16(status)?, HeaderMap::new(), body)));
        if text(USER_AGENT).is_empty() {
            return reply((403, json!({ "message": "Request forbidden by administrative rules." })));
        }
        let Some(ask) = forge.read(&parts.method, path, &query, body) else {
            return reply(forge.no(No::Unknown, ""));
        };
        let api = ask.api();
        let right = match &ask {
            Ask::Token(_) => true,
            _ => forge.lets_in(text(AUTHORIZATION), password) || self.has_token(text(AUTHORIZATION)),
        };
        if !right {
            return reply(forge.no(No::Unauthorized, ""));
        }
        let fault = {
            let mut faults = lock(&self.faults);
            faults.iter().position(|(at, _)| *at == api).map(|n| faults.remove(n).1)
        };
        let host = text(http::header::HOST);
        match fault {
            None => reply(self.work(ask, host, repository, text(AUTHORIZATION))?),
            Some(ApiFault::Answer(status, headers, body)) => {
                let header = |(name, value): (&'static str, String)| -> Result<_> {
                    Ok((HeaderName::from_static(name), HeaderValue::from_str(&value)?))
                };
                let headers = headers.into_iter().map(header).collect::<Result<_>>()?;
                Ok(Some((StatusCode::from_u16(status)?, headers, body)))
            }
            Some(ApiFault::Lost) => self.work(ask, host, repository, "").map(|_| None),
            Some(ApiFault::Reset) => Ok(None),
            Some(ApiFault::Twice) => {
                let again = forge.read(&parts.method, path, &query, body).context("read before")?;
                self.work(again, host, repository, "")?;
                reply(self.work(ask, host, repository, "")?)
            }
        }
    }

    fn work(
        &self,
        ask: Ask,
        host: &str,
        repository: &Repository,
        authorization: &str,
    ) -> Result<(u16, Value)> {
        let forge = self.dialect.forge();
        let api = ask.api();
        let mut pulls = lock(&self.pulls);
        let known = |people: &[String]| people.iter().all(|name| PEOPLE.contains(&name.as_str()));
        let done = |pull: &Pull| Ok((forge.status(api), forge.show(pull, host)));
        let number = match &ask {
            Ask::Read(number)
            | Ask::Update { number, .. }
            | Ask::Label(number, _)
            | Ask::Review { number, .. }
            | Ask::Reviewed(number) => *number,
            _ => 0,
        };
        let at = pulls.iter().position(|pull| pull.number == number);
        match (ask, at.map(|at| &mut pulls[at])) {
            (Ask::List { head, base, page, size }, _) => {
                let wanted = |pull: &&Pull| {
                    head.as_ref().is_none_or(|head| *head == pull.head)
                        && base.as_ref().is_none_or(|base| *base == pull.base)
                };
                let all: Vec<&Pull> = pulls.iter().rev().filter(wanted).collect();
                let shown = all.iter().skip((page - 1) * size).take(size);
                let more = all.len() > page * size;
                Ok((200, forge.list(shown.map(|pull| forge.show(pull, host)).collect(), more)))
            }
            (Ask::Open { head, base, title, body, labels, reviewers }, _) => {
                let at = |branch: &str| {
                    repository.git(&["rev-parse", "--verify", &format!("refs/heads/{branch}")])
                };
                let (Ok(tip), Ok(target)) = (at(&head), at(&base)) else {
                    return Ok(forge.no(No::Branch, &head));
                };
                if let Some(pull) = pulls.iter_mut().find(|p| !p.closed && p.head == head && p.base == base) {
                    if !forge.again() {
                        return Ok(forge.no(No::There(pull.number), &head));
                    }
                    (pull.title, pull.body) = (title, body);
                    return done(pull);
                }
                if repository.git(&["rev-list", "--count", &format!("{target}..{tip}")])? == "0" {
                    return Ok(forge.no(No::Commits, &head));
                }
                if !known(&reviewers) {
                    return Ok(forge.no(No::Nobody, &head));
                }
                let number = pulls.len() as u64 + 1;
                let (reviewed, merged, closed, fork) = (Vec::new(), None, false, false);
                pulls.push(Pull {
                    number,
                    title,
                    body,
                    head,
                    base,
                    labels,
                    reviewers,
                    reviewed,
                    merged,
                    closed,
                    fork,
                });
                pulls.last().map_or_else(|| Ok(forge.no(No::Unknown, "")), done)
            }
            (Ask::Read(_), Some(pull)) => done(pull),
            (Ask::Update { title, body, .. }, Some(pull)) => {
                pull.title = title.unwrap_or_else(|| pull.title.clone());
                pull.body = body.unwrap_or_else(|| pull.body.clone());
                done(pull)
            }
            (Ask::Label(_, labels), Some(pull)) => {
                pull.labels.extend(labels);
                done(pull)
            }
            (Ask::Review { people, .. }, _) if !known(&people) => Ok(forge.no(No::Nobody, "")),
            (Ask::Review { people, all, .. }, Some(pull)) => {
                if all {
                    pull.reviewers.clear();
                }
                pull.reviewers.extend(people);
                done(pull)
            }
            (Ask::Reviewed(_), Some(pull)) => Ok((200, forge.people(&pull.reviewed))),
            (Ask::Person(name), _) => {
                let found = ["", "jane"].iter().position(|known| *known == name);
                Ok((200, found.map_or_else(|| json!([]), |_| json!([{ "id": 11, "username": name }]))))
            }
            (Ask::Commit(id), _) => {
                Ok((200, json!({ "hash": repository.git(&["rev-parse", "--verify", &id])? })))
            }
            (Ask::Token(body), _) => Ok(self.token(&body, authorization)),
            (_, None) => Ok(forge.no(No::Unknown, "")),
        }
    }
}

/// The fields of a query, decoded.
fn query(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The text of a field.
fn text(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// The texts of a list.
fn texts(body: &Value, list: &str) -> Vec<String> {
    let all = body.pointer(list).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn field<T: std::str::FromStr>(query: &BTreeMap<String, String>, name: &str, default: T) -> T {
    query.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Whether it is `Basic` with this password.
fn is_basic(authorization: &str, password: &str) -> bool {
    let login =
        authorization.strip_prefix("Basic ").and_then(|text| openssl::base64::decode_block(text).ok());
    login
        .and_then(|login| String::from_utf8(login).ok())
        .is_some_and(|login| login.ends_with(&format!(":{password}")))
}
