//! What is said where the branch holds something else than a change was made for: what it was planned on, what is there, and
//! who put it there.

use std::time::Instant;

use git2::{Commit, Error, Oid};
use step::{Failure, Kind, one_line};

use crate::change::{Change, FilePath, commit_id};
use crate::history;
use crate::push::SOME;
use crate::remote::Remote;
use crate::tree::{self, Clash, Why};

/// The longest name of somebody in a message, in bytes.
const NAME: usize = 60;

impl Remote {
    fn place(&self) -> String {
        format!("branch `{}` at `{}`", self.branch(), self.host())
    }

    pub(crate) fn no_base(&self, base: &str) -> Failure {
        Failure::new(
            Kind::Conflict,
            format!("cannot compare with commit `{base}`: {} does not lead to it", self.place()),
        )
        .hint("the base is the commit that the files were rendered against")
    }

    /// A branch that was at `before` is not there any more. Begun anew it would hold this change and nothing else, and whoever follows
    /// it would take all else for removed.
    pub(crate) fn gone(&self, before: Oid) -> Failure {
        let what =
            format!("cannot change {}: it is gone, and was at commit `{before}` a moment ago", self.place());
        Failure::new(Kind::Conflict, what)
            .hint("whoever removed it can say why; a run now would begin it anew")
    }

    pub(crate) fn other_content(&self, change: &Change) -> Failure {
        let id = change.marker.as_ref().map_or("", |m| m.request_id.as_str());
        let what = format!("request `{id}` is on {} already, with other content", self.place());
        Failure::new(Kind::Conflict, what).hint("a changed request needs a request id of its own")
    }

    pub(crate) fn superseded(&self, commit: Oid) -> Failure {
        let what =
            format!("commit `{commit}` made this change on {}, and a later one replaced it", self.place());
        Failure::new(Kind::Superseded, what).hint("a new request needs a request id of its own")
    }

    /// The line names the first file and who changed it, as far back as 1024 commits; the lines before it say of every file what was
    /// seen of it, what is there and what would be put there.
    pub(crate) fn conflict(
        &self,
        change: &Change,
        clashes: &[Clash],
        tip: Option<Oid>,
        until: Instant,
    ) -> Failure {
        let odd = clashes.iter().find(|clash| matches!(clash.why, Why::Odd(_)));
        let Some(first) = odd.or_else(|| clashes.first()) else { return self.other_content(change) };
        let who = match (&first.why, tip) {
            (Why::Odd(_), _) | (_, None) => None,
            (Why::Other | Why::Changed, Some(tip)) => self.who_changed(tip, &first.path, until),
        };
        let by = |before: &str| who.as_ref().map_or_else(String::new, |who| format!("{before}{who}"));
        let line = match &first.why {
            Why::Odd(what) => format!("`{}` is {what} there", first.path),
            Why::Changed => format!("`{}` was changed since{}", first.path, by(", by ")),
            Why::Other => change.base.as_ref().map_or_else(
                || format!("`{}` is there already, with other content{}", first.path, by(", from ")),
                |base| format!("`{}` is not as it was at commit `{base}`{}", first.path, by(", changed by ")),
            ),
        };
        let more =
            if clashes.len() > 1 { format!(" (and {} more)", clashes.len() - 1) } else { String::new() };
        let what = format!("cannot change {}: {line}{more}", self.place());
        let details = clashes.iter().map(|clash| self.three_ways(change, clash, tip));
        // these objects are here, as they were compared just now; without them there is less to say and nothing to do
        let details = details.collect::<Result<_, Error>>().unwrap_or_default();
        let failure = Failure::new(if odd.is_some() { Kind::Refused } else { Kind::Conflict }, what);
        failure.details(details).hint(if odd.is_some() {
            "only plain files in plain folders are written"
        } else {
            "somebody else has been here: look at the branch, then send a new request"
        })
    }

    /// Such as `commit `1a2b…` of request `r-2`` or `commit `1a2b…` of `Jane Doe``; `None` where the history that was looked at does
    /// not tell.
    fn who_changed(&self, tip: Oid, path: &str, until: Instant) -> Option<String> {
        let entry = |commit: Oid| tree::entry(&self.repository.find_commit(commit)?.tree()?, path);
        let there = entry(tip).ok()?;
        let same = |commit: Oid| Ok(entry(commit)? == there);
        let files = Some((tip, &[path][..]));
        let commit = self.deepen(until, SOME, files, |r| history::since(r, tip, same)).ok()??;
        let commit = self.repository.find_commit(commit).ok()?;
        Some(format!("commit `{}` of {}", commit.id(), author(&commit)))
    }

    /// One file: what was seen of it, what is there, what would be put there.
    fn three_ways(&self, change: &Change, clash: &Clash, tip: Option<Oid>) -> Result<String, Error> {
        let path = clash.path.as_str();
        let at = |commit: Option<Oid>| -> Result<String, Error> {
            let tree = tree::of(&self.repository, commit)?;
            let entry = tree.map_or(Ok(None), |tree| tree::entry(&tree, path))?;
            Ok(entry.map_or_else(|| "nothing".to_owned(), |id| format!("`{}`", short(id))))
        };
        let base = change.base.as_deref().and_then(commit_id);
        let is = |one: &FilePath| one.as_str() == path;
        let ours = match change.files.iter().find(|file| is(&file.path)) {
            Some(file) => format!("`{}`", short(tree::blob_id(&file.bytes)?)),
            None if change.remove.iter().any(is) => "nothing".to_owned(),
            None => "what was seen".to_owned(),
        };
        Ok(format!("`{path}`: seen was {}, there is {}, wanted is {ours}", at(base)?, at(tip)?))
    }
}

/// Whose commit it is: the request's, else its author's. Both are text of somebody else.
fn author(commit: &Commit<'_>) -> String {
    let message = String::from_utf8_lossy(commit.message_bytes());
    let request = message.lines().rev().find_map(|line| line.strip_prefix("Request-Id: "));
    match request {
        Some(id) => format!("request `{}`", one_line(id, NAME)),
        None => format!("`{}`", one_line(&String::from_utf8_lossy(commit.author().name_bytes()), NAME)),
    }
}

/// As many digits as `git log` shows of an id in a large repository.
fn short(id: Oid) -> String {
    id.to_string().chars().take(12).collect()
}
