//! The log of a real run, held against the automaton.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::branch::{Commit, Mark};
use crate::client::{At, Client, Event, Outcome, Plan, Trouble, Verdict};

/// The request of a commit that none of the table's made.
const SOMEBODY: u8 = u8::MAX;

/// The real commits of a server, as those of the model.
#[derive(Debug)]
pub struct History {
    commits: BTreeMap<String, Commit>,
    tip: Commit,
}

impl History {
    /// The branch's commits as they are when all is over, the oldest first: the id in hex digits, and the request by its
    /// place in the table; `None` for a commit of somebody else.
    pub fn new(log: impl IntoIterator<Item = (String, Option<u8>)>) -> Self {
        let mut commits = BTreeMap::from([("none".to_owned(), Commit::default())]);
        let mut tip = Commit::default();
        for (hex, request) in log {
            tip = tip.with(Mark { request: request.unwrap_or(SOMEBODY), id: 0 });
            commits.insert(hex, tip.clone());
        }
        Self { commits, tip }
    }

    fn commit(&self, hex: &str) -> Result<Commit> {
        self.commits.get(hex).cloned().with_context(|| format!("nobody made commit {hex}"))
    }

    /// What goes to the server: the same commit by another id, or another one by the same id, was not made from the request
    /// and the tip alone.
    fn offered(&mut self, hex: &str, commit: &Commit) -> Result<()> {
        let same = |(h, c): (&String, &Commit)| (h == hex) == (c == commit);
        ensure!(self.commits.iter().all(same), "commit {hex} is not the one that {commit:?} has to be");
        self.commits.insert(hex.to_owned(), commit.clone());
        Ok(())
    }
}

/// How a process ended, by its results.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// The word, such as `ok`.
    pub outcome: &'a str,
    /// The commit; empty without one.
    pub commit: &'a str,
    /// Whether it was made by this run.
    pub changed: bool,
}

/// A client that is taken along a log.
#[derive(Debug)]
pub struct Replay<'a> {
    plan: &'a Plan,
    history: &'a mut History,
    client: Client,
    tip: Commit,
    words: Vec<String>,
}

impl<'a> Replay<'a> {
    /// A run of the request with this place in the table.
    pub fn new(plan: &'a Plan, history: &'a mut History, request: u8) -> Self {
        let client = Client::new(Mark { request, id: 0 });
        Self { plan, history, client, tip: Commit::default(), words: Vec::new() }
    }

    /// Take every record of the push in a log of JSON lines; other lines are passed over.
    ///
    /// # Errors
    ///
    /// The first record that is no step of the algorithm from where the run is, or that differs from what the branch held.
    pub fn follow(&mut self, log: &str) -> Result<()> {
        for line in log.lines().filter(|line| line.starts_with('{')) {
            let record: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            if let Some(event) = self.event(&record).with_context(|| line.to_owned())? {
                self.step(&event).with_context(|| line.to_owned())?;
            }
        }
        Ok(())
    }

    /// The process is over, and this is what it told.
    ///
    /// # Errors
    ///
    /// It had not come to this end.
    pub fn end(&mut self, ending: Ending<'_>) -> Result<()> {
        let outcome = match (ending.outcome, &self.client.at) {
            ("ok", _) => Outcome::Ok { commit: self.history.commit(ending.commit)?, changed: ending.changed },
            ("conflict", _) => Outcome::Conflict,
            // the commit is in the message alone
            ("superseded", At::Ending(outcome @ Outcome::Superseded(_))) => outcome.clone(),
            ("refused" | "permission" | "usage", _) => Outcome::Refused,
            ("transient", _) => Outcome::Transient,
            ("unknown", _) => Outcome::Unknown,
            (other, at) => bail!("the model has no end `{other}` at {at:?}"),
        };
        self.step(&Event::Ended(outcome))
    }

    /// The steps so far, in a word each.
    pub fn words(&self) -> String {
        self.words.join(", ")
    }

    fn step(&mut self, event: &Event) -> Result<()> {
        let next = self.client.next(self.plan, event);
        self.client = next.with_context(|| format!("no step of {:?}: {event:?}", self.client))?;
        Ok(())
    }

    fn event(&mut self, record: &Value) -> Result<Option<Event>> {
        let text = |name: &str| record.get(name).and_then(Value::as_str);
        let (Some(what), Some(verdict)) = (text("message"), text("verdict")) else { return Ok(None) };
        let named = |name: &str| text(name).with_context(|| format!("without `{name}`"));
        let trouble = match verdict {
            "contention" | "busy" => Err(Trouble::Clear),
            "passing" => Err(Trouble::Unclear),
            "lasting" => Err(Trouble::Lasting),
            other => Ok(other),
        };
        let event = match (what, trouble) {
            ("fetched", Ok("read")) => Event::Fetched(Ok(self.fetched(named("tip")?)?)),
            ("fetched", Err(trouble)) => Event::Fetched(Err(trouble)),
            ("settled", Ok(landed @ ("landed" | "absent"))) => Event::Settled(Ok(landed == "landed")),
            ("settled", Err(trouble)) => Event::Settled(Err(trouble)),
            ("judged", Ok(word)) => Event::Judged(Ok(self.judged(word, text("commit"))?)),
            ("judged", Err(trouble)) => Event::Judged(Err(trouble)),
            ("offers", Ok("sent")) => {
                let parent = self.history.commit(named("parent")?)?;
                let commit = parent.with(Mark { request: self.client.request(), id: 0 });
                self.history.offered(named("commit")?, &commit)?;
                Event::Offers(commit)
            }
            ("answered", Ok("acknowledged")) => {
                if let At::Waiting(commit) = &self.client.at {
                    ensure!(self.history.tip.holds(commit), "acknowledged, and not on the branch");
                }
                Event::Acknowledged
            }
            ("answered", Err(trouble)) => {
                let offered = record.get("offered").and_then(Value::as_bool).context("without `offered`")?;
                Event::NotAcknowledged(trouble, offered)
            }
            ("gives up", Ok("late")) => Event::GivesUp,
            _ => bail!("no step of a push"),
        };
        self.words.push(format!("{what} {verdict}"));
        Ok(Some(event))
    }

    /// A tip that was read: the branch was there once, and not before what was read earlier.
    fn fetched(&mut self, hex: &str) -> Result<Commit> {
        let tip = self.history.commit(hex)?;
        ensure!(self.history.tip.holds(&tip), "the branch was never at {hex}");
        ensure!(tip.holds(&self.tip), "the branch went back to {hex}");
        self.tip = tip.clone();
        Ok(tip)
    }

    fn judged(&self, word: &str, commit: Option<&str>) -> Result<Verdict> {
        Ok(match (word, self.client.says(self.plan)) {
            ("done", _) => Verdict::Done(self.history.commit(commit.context("without `commit`")?)?),
            ("write", _) => Verdict::Write,
            ("conflict", _) => Verdict::Conflict,
            // the commit is in the message alone
            ("superseded", Some(Event::Judged(Ok(verdict @ Verdict::Superseded(_))))) => verdict,
            _ => bail!("the model does not say `{word}` here"),
        })
    }
}
