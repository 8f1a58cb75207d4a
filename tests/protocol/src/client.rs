//! One run of the push, as `Remote::push` in `crates/gitops/src/push.rs` goes on, step by step.

use crate::branch::{Commit, Mark, Request};

/// What is known before anything begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Every request.
    pub table: Vec<Request>,
    /// How the algorithm is wrong; `None` for the one that is shipped.
    pub flaw: Option<Flaw>,
}

/// An algorithm that is wrong in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A push without an answer counts as one that changed nothing: the branch is not read for it again.
    SkipReadBack,
    /// A file is written whatever the tip holds.
    SkipFileCompare,
    /// The branch is set whatever it is at: a forced push.
    ForcePush,
    /// An answer that came whole counts as an acknowledgement, whatever the server said of the branch.
    BelieveOk,
    /// Each run makes up a request id of its own.
    RandomId,
    /// A refusal of a commit counts as one of its earlier offers as well, which may be under way still.
    BelieveRefusal,
}

/// Why an exchange came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Certainly nothing was changed, and the next time it may be otherwise: a lost race, a busy server.
    Clear,
    /// The server may have done the work nevertheless.
    Unclear,
    /// Certainly nothing was changed, and it will be the same the next time.
    Lasting,
}

/// What the tip says to a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is there, by this commit.
    Done(Commit),
    /// It may be written.
    Write,
    /// Somebody else's content is in its place.
    Conflict,
    /// It was there, by this commit, and a later one took its place.
    Superseded(Commit),
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is on the branch, by this commit, which was made now or was there already.
    Ok {
        /// The commit.
        commit: Commit,
        /// Whether this run made it.
        changed: bool,
    },
    /// As [`Verdict::Conflict`].
    Conflict,
    /// As [`Verdict::Superseded`].
    Superseded(Commit),
    /// The server refuses it, or refuses us.
    Refused,
    /// The time was up and nothing was changed.
    Transient,
    /// The time was up, and nobody knows.
    Unknown,
}

/// A commit that was offered to the server, which did not acknowledge it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The commit; its parent is the tip that it was offered to.
    pub commit: Commit,
    /// The server may take it, or have taken it, without our knowing.
    pub open: bool,
    /// The last answer to it was a refusal.
    pub refused: bool,
}

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum At {
    /// Before an attempt.
    Ready,
    /// It has read the branch and looks for its offer.
    Settling(Commit),
    /// It holds the request against the tip.
    Judging(Commit),
    /// It may write on top of the tip.
    Writing(Commit),
    /// It has sent this commit and waits for the answer.
    Waiting(Commit),
    /// Its time is up and an offer is open: it is about to read the branch once more.
    LastLook,
    /// As [`At::Settling`], for the last time.
    LastSettling(Commit),
    /// As [`At::Judging`], for the last time.
    LastJudging(Commit),
    /// All that is left is to say so.
    Ending(Outcome),
    /// It has said so.
    Ended(Outcome),
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The branch was read: its tip.
    Fetched(Result<Commit, Trouble>),
    /// Whether the offer is on the branch.
    Settled(Result<bool, Trouble>),
    /// What the tip says to the request.
    Judged(Result<Verdict, Trouble>),
    /// A commit goes to the server.
    Offers(Commit),
    /// The server acknowledged it.
    Acknowledged,
    /// It did not; whether the commit had been offered to it at all.
    NotAcknowledged(Trouble, bool),
    /// The time is up.
    GivesUp,
    /// It told how it ended.
    Ended(Outcome),
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client {
    mark: Mark,
    /// Where it is.
    pub at: At,
    /// What it offered last, as long as that can be on the branch.
    pub offer: Option<Offer>,
}

impl Client {
    /// A run that begins, with nothing but its request.
    pub const fn new(mark: Mark) -> Self {
        Self { mark, at: At::Ready, offer: None }
    }

    /// Its request, by its place in the table.
    pub const fn request(&self) -> u8 {
        self.mark.request
    }

    /// Whether it has told how it ended.
    pub const fn has_ended(&self) -> bool {
        matches!(self.at, At::Ended(_))
    }

    /// What it says by itself, without asking the server for more than is here.
    pub fn says(&self, plan: &Plan) -> Option<Event> {
        Some(match &self.at {
            At::Settling(tip) | At::LastSettling(tip) => {
                // an offer that the server refused for certain is looked for in the tip alone
                let landed = |o: &Offer| {
                    *tip == o.commit || (o.open && *tip != o.commit.parent() && tip.holds(&o.commit))
                };
                Event::Settled(Ok(self.offer.as_ref().is_some_and(landed)))
            }
            At::Judging(tip) | At::LastJudging(tip) => Event::Judged(Ok(self.judge(plan, tip))),
            At::Writing(tip) => Event::Offers(tip.with(self.mark)),
            At::Ending(outcome) => Event::Ended(outcome.clone()),
            At::Ready | At::Waiting(_) | At::LastLook | At::Ended(_) => return None,
        })
    }

    /// Where the event takes it; `None` where the algorithm does no such thing.
    #[must_use]
    pub fn next(&self, plan: &Plan, event: &Event) -> Option<Self> {
        match (&self.at, event) {
            (At::Ended(_), _) => None,
            // the step's last resort: an exchange that outlasts the deadline is left alone
            (_, Event::Ended(Outcome::Unknown)) => Some(self.to(At::Ended(Outcome::Unknown))),
            (At::Ready, Event::GivesUp) => Some(match &self.offer {
                Some(offer) if offer.open => self.to(At::LastLook),
                _ => self.to(At::Ending(Outcome::Transient)),
            }),
            (At::Ready, Event::Fetched(Ok(tip))) => Some(self.to(At::Settling(tip.clone()))),
            (At::Ready, Event::Fetched(Err(trouble)))
            | (At::Settling(_), Event::Settled(Err(trouble)))
            | (At::Judging(_), Event::Judged(Err(trouble))) => Some(self.again(*trouble)),
            (At::LastLook, Event::Fetched(Ok(tip))) => Some(self.to(At::LastSettling(tip.clone()))),
            (At::LastLook, Event::Fetched(Err(_))) | (At::LastJudging(_), Event::Judged(Err(_))) => {
                Some(self.to(At::Ending(Outcome::Unknown)))
            }
            (At::LastSettling(tip), Event::Settled(Err(_))) => Some(self.to(At::LastJudging(tip.clone()))),
            (At::Waiting(commit), Event::Acknowledged) => Some(self.has(commit, true)),
            (At::Waiting(commit), Event::NotAcknowledged(trouble, offered)) => {
                Some(self.answered(plan, commit, *trouble, *offered))
            }
            // whatever it says by itself has to be what the model says as well
            (_, event) if self.says(plan).as_ref() == Some(event) => Some(self.said(plan, event)),
            _ => None,
        }
    }

    /// After one of its own steps, which is the right one.
    fn said(&self, plan: &Plan, event: &Event) -> Self {
        let offered = || self.offer.as_ref().map(|offer| offer.commit.clone()).unwrap_or_default();
        match (&self.at, event) {
            (_, Event::Settled(Ok(true))) => self.has(&offered(), true),
            (At::Settling(tip), Event::Settled(_)) => match &self.offer {
                // the server would take it only on top of its parent
                Some(offer) if offer.commit.parent() != *tip => {
                    Self { offer: None, ..self.to(At::Judging(tip.clone())) }
                }
                Some(offer) if offer.refused && (!offer.open || plan.flaw == Some(Flaw::BelieveRefusal)) => {
                    self.to(At::Ending(Outcome::Refused))
                }
                _ => self.to(At::Judging(tip.clone())),
            },
            (At::LastSettling(tip), _) => self.to(At::LastJudging(tip.clone())),
            (_, Event::Judged(Ok(Verdict::Done(commit)))) => self.has(commit, false),
            (At::LastJudging(_), _) => self.to(At::Ending(Outcome::Unknown)),
            (At::Judging(tip), Event::Judged(Ok(Verdict::Write))) => self.to(At::Writing(tip.clone())),
            (_, Event::Judged(Ok(Verdict::Conflict))) => self.to(At::Ending(Outcome::Conflict)),
            (_, Event::Judged(Ok(Verdict::Superseded(by)))) => {
                self.to(At::Ending(Outcome::Superseded(by.clone())))
            }
            (_, Event::Offers(commit)) => self.to(At::Waiting(commit.clone())),
            (_, Event::Ended(outcome)) => self.to(At::Ended(outcome.clone())),
            _ => self.clone(),
        }
    }

    fn answered(&self, plan: &Plan, commit: &Commit, trouble: Trouble, offered: bool) -> Self {
        if offered && plan.flaw == Some(Flaw::BelieveOk) && trouble != Trouble::Unclear {
            return self.has(commit, true);
        }
        if !offered {
            // an earlier offer of the same commit may still be under way
            return match trouble {
                Trouble::Lasting if !self.offer.as_ref().is_some_and(|offer| offer.open) => {
                    self.to(At::Ending(Outcome::Refused))
                }
                _ => self.to(At::Ready),
            };
        }
        let before = self.offer.as_ref().is_some_and(|offer| offer.open && offer.commit == *commit);
        let unclear = trouble == Trouble::Unclear && plan.flaw != Some(Flaw::SkipReadBack);
        let offer =
            Offer { commit: commit.clone(), open: unclear || before, refused: trouble == Trouble::Lasting };
        Self { offer: Some(offer), ..self.to(At::Ready) }
    }

    /// After a look at the branch that came to nothing.
    fn again(&self, trouble: Trouble) -> Self {
        let open = self.offer.as_ref().is_some_and(|offer| offer.open);
        self.to(if trouble == Trouble::Lasting && !open { At::Ending(Outcome::Refused) } else { At::Ready })
    }

    fn judge(&self, plan: &Plan, tip: &Commit) -> Verdict {
        let Some(request) = plan.table.get(usize::from(self.mark.request)) else { return Verdict::Conflict };
        let there = tip.writer(request.file, &plan.table);
        match (there == Some(self.mark), tip.of(self.mark)) {
            (true, Some(commit)) => Verdict::Done(commit),
            _ if there.map(|mark| mark.request) == request.base => Verdict::Write,
            _ if plan.flaw == Some(Flaw::SkipFileCompare) => Verdict::Write,
            (_, Some(commit)) => Verdict::Superseded(commit),
            (_, None) => Verdict::Conflict,
        }
    }

    fn has(&self, commit: &Commit, changed: bool) -> Self {
        self.to(At::Ending(Outcome::Ok { commit: commit.clone(), changed }))
    }

    fn to(&self, at: At) -> Self {
        Self { at, ..self.clone() }
    }
}
