//! Asking the forge, whatever becomes of an answer.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gitops::{Credential, Secrets};
use http::HeaderValue;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use step::{Context, Failure, Kind, human, one_line};

use crate::answer::{Answer, Class, Trouble, reason};
use crate::api::Api;
use crate::app::{App, EARLY};
use crate::client::{Call, Client};
use crate::place::Place;
use crate::pull_request::{PullRequest, State, Wanted, choose};

/// How many pages of a list are read.
const PAGES: usize = 10;
/// The first wait between two attempts is at most this long, each next at most twice as long as the one before.
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(20);

/// Who we are to the forge.
#[derive(Debug)]
pub(crate) enum Login {
    Nobody,
    Given(Credential),
    App(App),
}

/// One repository on a forge.
#[derive(Debug)]
pub struct Session {
    client: Client,
    place: Place,
    login: Login,
    /// When the App's token ends.
    ends: Mutex<Option<Timestamp>>,
}

impl Session {
    pub(crate) fn new(client: Client, place: Place, login: Login) -> Self {
        Self { client, place, login, ends: Mutex::default() }
    }

    /// The API's server, as messages name it.
    pub fn host(&self) -> String {
        self.client.host()
    }

    /// The longest text of a pull request, in characters.
    pub fn longest(&self) -> usize {
        self.api().longest()
    }

    /// The text without what is secret.
    pub fn redact(&self, text: &str) -> String {
        self.client.secrets().redact(text)
    }

    pub(crate) fn api(&self) -> &'static dyn Api {
        self.place.kind.api()
    }

    pub(crate) fn project(&self) -> &str {
        &self.place.project
    }

    /// What is wrong with the wishes before anything is asked.
    pub fn check(&self, wanted: &Wanted) -> Result<(), Failure> {
        if !wanted.labels.is_empty() && self.api().label(self.project(), 0, &wanted.labels).is_none() {
            return Err(Failure::new(Kind::Usage, "there are no labels on pull requests of Bitbucket Cloud")
                .hint("leave `--labels` out"));
        }
        Ok(())
    }

    /// The token of the App as a credential for Git; none without an App. While [`Session::keep`] runs it does not end.
    pub async fn credential(
        &self,
        opens: bool,
        context: &Context,
    ) -> Result<Option<(Credential, Secrets)>, Failure> {
        let Login::App(app) = &self.login else { return Ok(None) };
        self.patiently("get a token for the GitHub App from", context, async || {
            self.renew(app, opens, context.deadline()).await
        })
        .await?;
        Ok(Some((app.credential.clone(), self.client.secrets().clone())))
    }

    /// Renew the App's token whenever it is about to end, and never return.
    pub async fn keep(&self, opens: bool) -> Infallible {
        let Login::App(app) = &self.login else { return std::future::pending().await };
        loop {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let until = Instant::now() + Duration::from_mins(1);
            // tried again until it is renewed: whoever needs it finds out otherwise
            if let Err(trouble) = self.renew(app, opens, until).await {
                tracing::debug!("cannot renew the token: {}", trouble.words);
            }
        }
    }

    async fn renew(&self, app: &App, opens: bool, until: Instant) -> Result<(), Trouble> {
        let now = Timestamp::now();
        let ends = *self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |ends: Timestamp| Duration::try_from(ends.duration_since(now)).unwrap_or_default();
        if ends.is_some_and(|ends| left(ends) > EARLY) {
            return Ok(());
        }
        let lasting = |failure: Failure| Trouble::new(Class::Lasting(failure.kind()), failure.message());
        let proof = header(&format!("Bearer {}", app.proof(now).map_err(lasting)?))?;
        let answer = self.client.send(&app.exchange(self.project(), opens), Some(proof), until).await?;
        if !answer.is_done() {
            return Err(answer.trouble(self.client.secrets()));
        }
        let (token, ends) = App::read_token(&answer.body).ok_or_else(unreadable)?;
        self.client.secrets().add(token.expose_secret());
        app.credential.renew(token);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
        Ok(())
    }

    /// One request, once.
    pub(crate) async fn once(&self, call: &Call, until: Instant) -> Result<Answer, Trouble> {
        let authorization = match &self.login {
            Login::Nobody => None,
            Login::Given(credential) => Some(self.authorization(credential)?),
            Login::App(app) => {
                self.renew(app, true, until).await?;
                Some(self.authorization(&app.credential)?)
            }
        };
        self.client.send(call, authorization, until).await
    }

    fn authorization(&self, credential: &Credential) -> Result<HeaderValue, Trouble> {
        header(&self.api().authorization(credential.user(), credential.password().expose_secret()))
    }

    /// The body of an answer that did what it was asked.
    async fn asked(&self, call: &Call, until: Instant) -> Result<Value, Trouble> {
        let answer = self.once(call, until).await?;
        if answer.is_done() { Ok(answer.body) } else { Err(answer.trouble(self.client.secrets())) }
    }

    /// Do it until it is done, can never be, or the time is up.
    async fn patiently<T>(
        &self,
        what: &str,
        context: &Context,
        work: impl AsyncFn() -> Result<T, Trouble>,
    ) -> Result<T, Failure> {
        let mut attempt = 0;
        loop {
            let trouble = match work().await {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            self.bear(what, &trouble, attempt, context).await?;
            attempt += 1;
        }
    }

    /// Wait after trouble that may pass; what will not, or not in time, is a failure.
    async fn bear(
        &self,
        what: &str,
        trouble: &Trouble,
        attempt: u32,
        context: &Context,
    ) -> Result<(), Failure> {
        let wait = match trouble.class {
            Class::Lasting(_) => return Err(self.failure(what, trouble)),
            Class::Busy(Some(wait)) if wait > context.left() => {
                let words = format!("{}; it asks to wait {}", trouble.words, human(wait));
                return Err(self.failure(what, &Trouble::new(trouble.class, words)));
            }
            Class::Busy(Some(wait)) => wait,
            Class::Busy(None) | Class::Passing => pace(attempt, FIRST, LONGEST),
        };
        if context.stopping() || context.left().is_zero() {
            return Err(self.failure(what, trouble));
        }
        tracing::info!("cannot {what} `{}`: {}", self.host(), trouble.words);
        rest(wait, context).await;
        Ok(())
    }

    pub(crate) fn failure(&self, what: &str, trouble: &Trouble) -> Failure {
        let kind = if let Class::Lasting(kind) = trouble.class { kind } else { Kind::Transient };
        let failure = Failure::new(kind, format!("cannot {what} `{}`: {}", self.host(), trouble.words));
        failure.hint(match kind {
            Kind::Permission => {
                "the credential in the folder of `--basic-auth` must be for this host and may open pull requests; a \
                 certificate authority of your own goes into the folder of `--ssl-ca-directory`"
            }
            Kind::Usage => "check `--url`, `--branch`, `--forge`, `--forge-api` and `--reviewers`",
            Kind::Refused | Kind::Conflict => "who runs the repository can say what its rules allow",
            _ => "run it again: what is done already is found and kept",
        })
    }

    /// The pull request from `head` into `base` that counts, with its merge commit in full; none where there is none.
    pub async fn find(
        &self,
        head: &str,
        base: &str,
        context: &Context,
    ) -> Result<Option<PullRequest>, Failure> {
        self.patiently("read pull requests at", context, async || {
            self.found(head, base, context.deadline()).await
        })
        .await
    }

    async fn found(&self, head: &str, base: &str, until: Instant) -> Result<Option<PullRequest>, Trouble> {
        let mut found = Vec::new();
        for number in 1..=PAGES {
            let body = self.asked(&self.api().list(self.project(), head, base, number), until).await?;
            let page = self.api().read_list(self.project(), &body).ok_or_else(unreadable)?;
            found.extend(page.found);
            if !page.more {
                break;
            }
        }
        match choose(found, head, base) {
            Some(one) => self.whole(one, until).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn read(&self, number: u64, until: Instant) -> Result<PullRequest, Trouble> {
        let body = self.asked(&self.api().get(self.project(), number), until).await?;
        let one = self.api().read(self.project(), &body).ok_or_else(unreadable)?;
        self.whole(one, until).await
    }

    /// The same, with what may be shown and a whole id.
    async fn whole(&self, mut one: PullRequest, until: Instant) -> Result<PullRequest, Trouble> {
        one.url = one_line(&one.url, 300);
        if let State::Merged(commit) = &one.state {
            let whole = |id: &str| id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit());
            if !whole(commit)
                && let Some(call) = self.api().commit(self.project(), commit)
            {
                let body = self.asked(&call, until).await?;
                one.state = State::Merged(self.api().read_commit(&body).ok_or_else(unreadable)?);
            }
            if let State::Merged(commit) = &one.state
                && !whole(commit)
            {
                return Err(unreadable());
            }
        }
        Ok(one)
    }

    /// Open it, or give the open one what is wanted. `there` is what was found before; true if anything was changed.
    pub async fn open(
        &self,
        wanted: &Wanted,
        there: Option<PullRequest>,
        context: &Context,
    ) -> Result<(PullRequest, bool), Failure> {
        let what = "open a pull request at";
        let ids = self
            .patiently(what, context, async || self.people(&wanted.reviewers, context.deadline()).await)
            .await?;
        let named = Wanted { reviewers: ids, ..wanted.clone() };
        let mut there = there.filter(|one| matches!(one.state, State::Open(_)));
        let mut opened = false;
        let mut attempt = 0;
        loop {
            if there.is_none() {
                match self.once(&self.api().open(self.project(), &named), context.deadline()).await {
                    Ok(answer) if answer.is_done() => {
                        there = self.api().read(self.project(), &answer.body);
                        opened = true;
                    }
                    Ok(answer) if self.api().is_there(answer.status.as_u16(), &reason(&answer.body)) => {}
                    // what became of it is read, never guessed
                    Ok(answer) => {
                        let trouble = answer.trouble(self.client.secrets());
                        self.bear(what, &trouble, attempt, context).await?;
                    }
                    Err(trouble) => self.bear(what, &trouble, attempt, context).await?,
                }
            }
            if there.is_none() {
                there = self
                    .find(&wanted.head, &wanted.base, context)
                    .await?
                    .filter(|one| matches!(one.state, State::Open(_)));
            }
            let Some(one) = there.take() else {
                let trouble = Trouble::passing("it is not there after it was opened");
                self.bear(what, &trouble, attempt, context).await?;
                attempt += 1;
                continue;
            };
            let changed = self.complete(&one, &named, context).await?;
            return Ok((one, opened || changed));
        }
    }

    /// Title, text, labels and reviewers, as far as they are not as wanted.
    async fn complete(&self, one: &PullRequest, wanted: &Wanted, context: &Context) -> Result<bool, Failure> {
        let (api, project, until) = (self.api(), self.project(), context.deadline());
        let mut calls = Vec::new();
        if one.title != wanted.title || one.body.trim_end() != wanted.body.trim_end() {
            calls.push(api.update(project, one.number, wanted));
        }
        let missing = |wanted: &[String], there: &[String]| -> Vec<String> {
            let there: BTreeSet<String> = there.iter().map(|name| name.to_lowercase()).collect();
            wanted.iter().filter(|name| !there.contains(&name.to_lowercase())).cloned().collect()
        };
        let labels = missing(&wanted.labels, &one.labels);
        if !labels.is_empty() {
            calls.extend(api.label(project, one.number, &labels).unwrap_or_default());
        }
        let mut people = missing(&wanted.reviewers, &one.reviewers);
        if !people.is_empty()
            && let Some(call) = api.reviewed(project, one.number)
        {
            let body = self
                .patiently("read a pull request at", context, async || self.asked(&call, until).await)
                .await?;
            people = missing(&people, &api.read_reviewed(&body));
        }
        if !people.is_empty() {
            calls.extend(api.review(project, one.number, &people, &one.reviewers));
        }
        for call in &calls {
            self.patiently("change a pull request at", context, async || self.asked(call, until).await)
                .await?;
        }
        Ok(!calls.is_empty())
    }

    /// People as the forge's own requests name them.
    async fn people(&self, names: &[String], until: Instant) -> Result<Vec<String>, Trouble> {
        let mut people = Vec::new();
        for name in names {
            people.push(match self.api().person(self.project(), name) {
                None => name.clone(),
                Some(call) => {
                    let body = self.asked(&call, until).await?;
                    self.api().read_person(&body).ok_or_else(|| {
                        let words = format!("there is nobody `{}`", one_line(name, 60));
                        Trouble::new(Class::Lasting(Kind::Usage), words)
                    })?
                }
            });
        }
        Ok(people)
    }
}

fn header(text: &str) -> Result<HeaderValue, Trouble> {
    let words = "the credential has characters that no header takes";
    HeaderValue::from_str(text).map_err(|_| Trouble::new(Class::Lasting(Kind::Usage), words))
}

fn unreadable() -> Trouble {
    Trouble::new(Class::Lasting(Kind::Usage), "what answers is not the API of this forge")
}

/// A random part of a bound that doubles ("full jitter").
pub(crate) fn pace(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let bound = first.saturating_mul(2_u32.saturating_pow(attempt)).min(longest);
    bound.mul_f64(rand::random_range(0.0..=1.0))
}

/// Wait; less where the time is up before, or somebody asks to stop.
pub(crate) async fn rest(wait: Duration, context: &Context) {
    tokio::select! {
        () = tokio::time::sleep(wait.min(context.left())) => {}
        () = context.stopped() => {}
    }
}
