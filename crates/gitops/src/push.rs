//! The push: compare, commit, offer, and whatever happens find out what became of it.

use std::time::Instant;

use git2::{Error, Oid, Signature, Time, Tree};
use step::{Context, Failure, Kind};

use crate::bring::Needs;
use crate::change::{Change, commit_id};
use crate::exchange::Sent;
use crate::history::Search;
use crate::pace::Pace;
use crate::remote::{LAST_LOOK, Remote, Sight, local};
use crate::tree::{Edit, Plan, Verdict, Write};
use crate::trouble::{Class, Trouble};
use crate::{history, protocol, tree};

/// The author of every commit, and the committer where the key it is signed with names none; who asked for it is in a trailer.
const AUTHOR: (&str, &str) = ("vm-lifecycle-tasks", "noreply@vmlifecycle.dev");
/// Everything may be fetched to find the commit that made a change; to say `superseded` rather than `conflict`, 1024
/// commits have to do.
const EVERYTHING: usize = 3;
pub(crate) const SOME: usize = 2;

/// A change that is on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The commit that made it.
    pub commit: String,
    /// Whether it was made now; otherwise it was there already.
    pub changed: bool,
}

/// A commit that was offered to the server, which did not acknowledge it.
struct Offer {
    commit: Oid,
    parent: Option<Oid>,
    trouble: Trouble,
    /// The server may take it, or have taken it, without our knowing: said of every time that it was offered.
    open: bool,
}

/// What one attempt came to.
enum Attempt {
    Done(Pushed),
    Again(Trouble),
}

impl Remote {
    /// Make the change on the branch, whatever else is pushed meanwhile, until the context's deadline.
    ///
    /// # Errors
    ///
    /// `conflict` and `superseded` for other content in our place, `refused` for the server's rules, odd entries in the
    /// repository and secrets in the files, `permission`, `usage`; `transient` if the time is up and nothing was changed,
    /// `unknown` if the time is up and the branch could not be read again.
    pub fn push(&self, change: &Change, context: &Context) -> Result<Pushed, Failure> {
        self.check(change)?;
        self.ask(context);
        let (mut offer, mut last, mut before) = (None, None, None);
        let mut pace = Pace::default();
        for attempt in 1_u32.. {
            if context.stopping() || context.left().is_zero() {
                break;
            }
            let begun = Instant::now();
            let trouble = match self.attempt(change, context, &mut offer)? {
                Attempt::Done(pushed) => return Ok(pushed),
                Attempt::Again(trouble) => trouble,
            };
            tracing::info!("attempt {attempt} to push: {}", trouble.words);
            let (look, took) = (self.looked(), begun.elapsed());
            // of a race that nobody wins, somebody holds the lock of the branch and does nothing
            let stuck = before.zip(look).is_some_and(|(before, look): (Sight, Sight)| before.tip == look.tip);
            let (race, again) = (trouble.class == Class::Contention, trouble.again);
            // what the deadline cut short says less than what happened before
            if last.is_none() || !context.left().is_zero() {
                last = Some(trouble);
            }
            if race && !stuck {
                pace.lost(took, before.zip(look).map(|(before, look)| self.course(before, look)), context);
            } else {
                pace.trouble(again, context);
            }
            before = if race { look } else { before };
        }
        self.give_up(change, offer.as_ref(), last.as_ref())
    }

    /// What [`Remote::push`] would do to the tip as it is now.
    pub fn plan(&self, change: &Change, context: &Context) -> Result<Plan, Failure> {
        self.check(change)?;
        let tip = self.patient_tip(context)?;
        let writes = match self.judge(change, tip, context.deadline()) {
            Ok(Judged::Done(commit)) => return Ok(Plan::Done(commit.to_string())),
            Ok(Judged::Write(writes)) => writes,
            Ok(Judged::Failure(failure)) => return Err(failure),
            Err(trouble) => return Err(self.cannot_read(&trouble)),
        };
        if let Some(tip) = tip {
            let needs = Needs { files: &change.paths(), ..Needs::default() };
            let brought = self.bring(&[tip], &needs, context.deadline());
            brought.map_err(|trouble| self.cannot_read(&trouble))?;
        }
        let bytes = |id: Oid| self.repository.find_blob(id).map(|blob| blob.content().to_owned());
        let edit = |write: Write| -> Result<Edit, Error> {
            Ok(Edit { path: write.path, before: write.before.map(bytes).transpose()?, after: write.bytes })
        };
        writes.into_iter().map(edit).collect::<Result<_, _>>().map(Plan::Write).map_err(|error| local(&error))
    }

    /// What can be refused before anything is asked of the server.
    fn check(&self, change: &Change) -> Result<(), Failure> {
        for file in &change.files {
            if let Some(what) = self.link.secrets.found_in(&file.bytes) {
                let why = format!("`{}` is not committed: it holds {what}", file.path);
                return Err(Failure::new(Kind::Refused, why).hint("a request refers to secrets by name"));
            }
        }
        let usage = |why: &str| Err(Failure::new(Kind::Usage, why));
        if change.files.is_empty() && change.remove.is_empty() {
            return usage("there is no file to commit");
        }
        if change.files.iter().any(|file| change.remove.contains(&file.path)) {
            return usage("a file is both to write and to remove");
        }
        if change.base.as_deref().is_some_and(|base| commit_id(base).is_none()) {
            return usage("the base commit is not 40 hex digits in lower case");
        }
        if change.marker.as_ref().is_some_and(|m| change.files.iter().all(|f| f.path != m.path)) {
            return usage("the marker is none of the files to commit");
        }
        Ok(())
    }

    fn attempt(
        &self,
        change: &Change,
        context: &Context,
        offer: &mut Option<Offer>,
    ) -> Result<Attempt, Failure> {
        let again_or = |trouble: Trouble, offer: &Option<Offer>| match trouble.class {
            Class::Lasting(_) if offer.as_ref().is_none_or(|o| !o.open) => Err(self.cannot_read(&trouble)),
            _ => Ok(Attempt::Again(trouble)),
        };
        let before = self.looked().and_then(|look| look.tip);
        let tip = match protocol::fetched(self.fetch(context.deadline())) {
            Ok(tip) => tip,
            Err(trouble) => return again_or(trouble, offer),
        };
        if let (None, Some(before), None) = (tip, before, self.start) {
            return Err(self.gone(before));
        }
        match protocol::settled(self.settle(offer.as_ref(), tip, context.deadline())) {
            Ok(Some(pushed)) => return Ok(Attempt::Done(pushed)),
            Ok(None) => {}
            Err(trouble) => return again_or(trouble, offer),
        }
        if let Some(made) = offer {
            if tip != made.parent {
                // the server would take it only on top of its parent
                *offer = None;
            } else if let Class::Lasting(_) = made.trouble.class
                && !made.open
            {
                // of a commit that is under way a refusal is no last word: it may land nevertheless
                return Err(self.failure("push", &made.trouble));
            }
        }
        let parent = self.parent(tip);
        let writes = match protocol::judged(self.judge(change, parent, context.deadline())) {
            Ok(Judged::Done(commit)) => return Ok(Attempt::Done(pushed(commit, false))),
            Ok(Judged::Write(_)) if let Some(failure) = self.strange(tip) => return Err(failure),
            Ok(Judged::Write(writes)) => writes,
            Ok(Judged::Failure(failure)) => return Err(failure),
            Err(trouble) => return again_or(trouble, offer),
        };
        let commit = self.commit(change, parent, &writes).map_err(|error| local(&error))?;
        protocol::offers(commit, tip);
        match protocol::answered(self.link.push(&self.repository, commit, tip, context.deadline())) {
            Sent::Acknowledged => Ok(Attempt::Done(pushed(commit, true))),
            Sent::Not { trouble, offered: true } => {
                let open =
                    !trouble.is_clear() || offer.as_ref().is_some_and(|o| o.open && o.commit == commit);
                *offer = Some(Offer { commit, parent: tip, trouble: trouble.clone(), open });
                Ok(Attempt::Again(trouble))
            }
            // an earlier offer of the same commit may still be under way
            Sent::Not { trouble, offered: false } => match trouble.class {
                Class::Lasting(_) if offer.as_ref().is_none_or(|o| !o.open) => {
                    Err(self.failure("push", &trouble))
                }
                _ => Ok(Attempt::Again(trouble)),
            },
        }
    }

    /// Whether the commit that was offered is on the branch.
    fn settle(
        &self,
        offer: Option<&Offer>,
        tip: Option<Oid>,
        until: Instant,
    ) -> Result<Option<Pushed>, Trouble> {
        let (Some(offer), Some(tip)) = (offer, tip) else { return Ok(None) };
        if tip == offer.commit {
            return Ok(Some(pushed(offer.commit, true)));
        }
        if Some(tip) == offer.parent || !offer.open {
            return Ok(None);
        }
        let landed =
            self.deepen(until, EVERYTHING, None, |r| history::holds(r, tip, offer.commit, offer.parent))?;
        Ok((landed == Some(true)).then(|| pushed(offer.commit, true)))
    }

    /// The time is up or we are asked to stop: a last look if anything is open.
    fn give_up(
        &self,
        change: &Change,
        offer: Option<&Offer>,
        last: Option<&Trouble>,
    ) -> Result<Pushed, Failure> {
        protocol::gives_up();
        let open = offer.filter(|o| o.open);
        let words = last.map_or("no time was left to begin", |t| t.words.as_str());
        if open.is_none() {
            return Err(self.failure("push", &Trouble::new(Class::Passing, words)));
        }
        let until = Instant::now() + LAST_LOOK;
        if let Ok(tip) = protocol::fetched(self.fetch(until)) {
            if let Ok(Some(pushed)) = protocol::settled(self.settle(open, tip, until)) {
                return Ok(pushed);
            }
            if let Ok(Judged::Done(commit)) = protocol::judged(self.judge(change, tip, until)) {
                return Ok(pushed(commit, false));
            }
        }
        let what = format!(
            "cannot tell whether the push to branch `{}` at `{}` was accepted: {words}",
            self.branch(),
            self.host()
        );
        Err(Failure::new(Kind::Unknown, what).hint("run it again: what is done already is found and kept"))
    }

    /// Hold the change against the tip.
    fn judge(&self, change: &Change, tip: Option<Oid>, until: Instant) -> Result<Judged, Trouble> {
        let trouble = |error: &Error| Trouble::of(error, &self.link.secrets);
        let base = match &change.base {
            None => None,
            Some(base) => match self.base(commit_id(base), until)? {
                Some(base) => Some(base),
                None => return Ok(Judged::Failure(self.no_base(base))),
            },
        };
        let (paths, files) = (change.paths(), change.marker.as_ref().map(|m| m.path.as_str()));
        let both: Vec<_> = tip.into_iter().chain(base).collect();
        self.bring(&both, &Needs { paths: &paths, files: files.as_slice(), below: &[] }, until)?;
        let tree = tree::of(&self.repository, tip).map_err(|e| trouble(&e))?;
        let base = tree::of(&self.repository, base).map_err(|e| trouble(&e))?;
        let verdict =
            tree::compare(&self.repository, change, tree.as_ref(), base.as_ref()).map_err(|e| trouble(&e))?;
        let done_in = |commit: Oid| {
            let tree = self.repository.find_commit(commit)?.tree()?;
            tree::is_done(&self.repository, &tree, change)
        };
        match (verdict, tip) {
            (Verdict::Write(writes), _) => Ok(Judged::Write(writes)),
            (Verdict::Done, Some(tip)) => {
                match self.deepen(until, EVERYTHING, Some((tip, &paths)), |r| history::since(r, tip, done_in))
                {
                    Ok(since) => Ok(Judged::Done(since.unwrap_or(tip))),
                    // the tip holds it in any case
                    Err(Trouble { class: Class::Lasting(_), .. }) => Ok(Judged::Done(tip)),
                    Err(trouble) => Err(trouble),
                }
            }
            (Verdict::OtherContent, _) => Ok(Judged::Failure(self.other_content(change))),
            (Verdict::Clashes(clashes), Some(tip)) if change.marker.is_some() => {
                // it may have been made and replaced since; without an answer it is a conflict all the same
                let files = Some((tip, &paths[..]));
                let earlier = self.deepen(until, SOME, files, |r| history::find(r, tip, None, done_in));
                Ok(Judged::Failure(match earlier {
                    Ok(Some(Search::Found(commit))) => self.superseded(commit),
                    _ => self.conflict(change, &clashes, Some(tip), until),
                }))
            }
            (Verdict::Clashes(clashes), _) => {
                Ok(Judged::Failure(self.conflict(change, &clashes, tip, until)))
            }
            // without a tip nothing is done
            (Verdict::Done, None) => Ok(Judged::Write(Vec::new())),
        }
    }

    /// The base commit, if the branch leads to it.
    fn base(&self, base: Option<Oid>, until: Instant) -> Result<Option<Oid>, Trouble> {
        let Some(base) = base else { return Ok(None) };
        let here = self.deepen(until, EVERYTHING, None, |r| Ok(history::is_here(r, base)?.then_some(())))?;
        Ok(here.map(|()| base))
    }

    /// The same change on the same parent with the same key is the same commit, bit for bit.
    fn commit(&self, change: &Change, tip: Option<Oid>, writes: &[Write]) -> Result<Oid, Error> {
        let parent = tip.map(|tip| self.repository.find_commit(tip)).transpose()?;
        let tree: Option<Tree<'_>> = parent.as_ref().map(git2::Commit::tree).transpose()?;
        let tree = self.repository.find_tree(tree::write(&self.repository, tree.as_ref(), writes)?)?;
        let time =
            change.time.or_else(|| parent.as_ref().map(|p| p.committer().when().seconds())).unwrap_or(0);
        let author = Signature::new(AUTHOR.0, AUTHOR.1, &Time::new(time, 0))?;
        let parents: Vec<_> = parent.iter().collect();
        let message = change.message.as_str();
        match &self.signer {
            Some(signer) => signer.commit(&self.repository, &author, message, &tree, &parents),
            None => self.repository.commit(None, &author, &author, message, &tree, &parents),
        }
    }
}

/// What the tip says to a change.
pub(crate) enum Judged {
    Done(Oid),
    Write(Vec<Write>),
    Failure(Failure),
}

fn pushed(commit: Oid, changed: bool) -> Pushed {
    Pushed { commit: commit.to_string(), changed }
}
