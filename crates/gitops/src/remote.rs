//! A repository on a server, and as much of it as is here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use git2::{Error, Oid, Repository, RepositoryInitOptions};
use step::{Context, Failure, Kind};
use tempfile::TempDir;
use vm::conditions::Relation;

use crate::bring::Needs;
use crate::change::commit_id;
use crate::exchange::{Depth, Link, Look};
use crate::pace::Pace;
use crate::secret::Secrets;
use crate::sign::{SignArgs, Signer};
use crate::tree::Why;
use crate::trouble::{Class, Trouble};
use crate::{history, tree};

/// The most files of a folder that are read, and the most bytes in all of them. A machine has some ten files, and one or two
/// more, of some hundred bytes, for each operation since it was made.
pub(crate) const FOLDER: (usize, usize) = (5000, 8 * 1024 * 1024);
/// How much of the history is fetched, each where the one before did not tell. The last is everything.
pub(crate) const DEPTHS: [i32; 3] = [1, 64, 1024];

/// One branch of a repository on a server.
///
/// What is fetched is kept in a bare repository in a temporary folder (`TMPDIR`, else `/tmp`), so that a later fetch brings
/// only what is new; there is no working tree, so nothing in the repository can lead outside of it.
pub struct Remote {
    pub(crate) link: Link,
    pub(crate) repository: Repository,
    /// The index in [`DEPTHS`] of what the last fetch brought; its length for everything.
    depth: Cell<usize>,
    /// The tip that the last fetch brought, and when.
    seen: Cell<Option<Sight>>,
    /// Where a branch that does not exist yet begins, if it is one of its own.
    pub(crate) start: Option<Oid>,
    pub(crate) signer: Option<Signer>,
    /// Of who asked last: what is read of what was fetched may have to be fetched itself, by the same deadline.
    context: RefCell<Option<Context>>,
    _folder: TempDir,
}

/// A look at the branch: where it was, and when; no tip where it did not exist.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) tip: Option<Oid>,
    at: Instant,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("address", &self.link.address).finish_non_exhaustive()
    }
}

impl Remote {
    pub(crate) fn new(link: Link) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("git-").tempdir().map_err(|error| {
            Failure::new(Kind::Usage, format!("cannot make a temporary folder: {error}"))
                .hint("`TMPDIR` has to name a folder that this step may write to")
        })?;
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).no_reinit(true);
        let repository = Repository::init_opts(folder.path(), &options).map_err(|error| local(&error))?;
        Ok(Self {
            link,
            repository,
            depth: Cell::new(0),
            seen: Cell::new(None),
            start: None,
            signer: None,
            context: RefCell::new(None),
            _folder: folder,
        })
    }

    /// The same, with commits signed by the key that the flag names.
    ///
    /// # Errors
    ///
    /// `usage` for a file that holds no Ed25519 key that can sign without a passphrase.
    pub fn signing(mut self, sign: &SignArgs) -> Result<Self, Failure> {
        self.signer = sign.read(&self.link.secrets)?;
        Ok(self)
    }

    /// The branch.
    pub fn branch(&self) -> &str {
        &self.link.branch
    }

    /// What is neither committed nor printed.
    pub fn secrets(&self) -> Secrets {
        self.link.secrets.clone()
    }

    /// The server, as messages name it.
    pub fn host(&self) -> String {
        self.link.address.host()
    }

    /// Fetch the tip, as often as needed until the deadline: its commit id, or `None` if the branch does not exist yet.
    pub fn tip(&self, context: &Context) -> Result<Option<String>, Failure> {
        self.patient_tip(context).map(|tip| tip.map(|id| id.to_string()))
    }

    /// The tip (40 hex digits) as it was seen last, which may be later than what a change was refused on; `None` before anything
    /// was fetched, and where the branch does not exist yet. Nothing is asked of the server.
    pub fn last_tip(&self) -> Option<String> {
        self.seen.get().and_then(|look| look.tip).map(|tip| tip.to_string())
    }

    pub(crate) fn patient_tip(&self, context: &Context) -> Result<Option<Oid>, Failure> {
        self.patiently(context, || self.fetch(context.deadline()))
    }

    /// From now on what has to be fetched is fetched by this one's deadline.
    pub(crate) fn ask(&self, context: &Context) {
        self.context.replace(Some(context.clone()));
    }

    /// Read from the server, as often as needed until the deadline.
    fn patiently<T>(
        &self,
        context: &Context,
        mut read: impl FnMut() -> Result<T, Trouble>,
    ) -> Result<T, Failure> {
        self.ask(context);
        let mut pace = Pace::default();
        loop {
            let trouble = match read() {
                Ok(read) => return Ok(read),
                Err(trouble) => trouble,
            };
            let over = context.stopping() || context.left().is_zero();
            if over || matches!(trouble.class, Class::Lasting(_)) {
                return Err(self.cannot_read(&trouble));
            }
            tracing::info!("cannot read branch `{}` at `{}`: {}", self.branch(), self.host(), trouble.words);
            pace.trouble(trouble.again, context);
        }
    }

    /// Have this here of a commit that was fetched, by the deadline of whoever fetched it.
    fn have(&self, commit: &str, needs: &Needs<'_>) -> Result<(), Failure> {
        // what nobody has asked for is not here, and who reads it is told so
        let (Some(context), Some(commit)) = (self.context.borrow().clone(), commit_id(commit)) else {
            return Ok(());
        };
        self.patiently(&context, || self.bring(&[commit], needs, context.deadline()))
    }

    /// A file at a commit that was fetched; `None` if there is no plain file at that path. The server may have to be asked for it, by
    /// the deadline by which the commit was fetched.
    pub fn read(&self, commit: &str, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.have(commit, &Needs { files: &[path], ..Needs::default() })?;
        let read = || -> Result<Option<Vec<u8>>, Error> {
            let tree = tree::of(&self.repository, commit_id(commit))?;
            let tree::At::Blob(id) = tree::at(&self.repository, tree.as_ref(), path)? else {
                return Ok(None);
            };
            Ok(Some(self.repository.find_blob(id)?.content().to_owned()))
        };
        read().map_err(|error| local(&error))
    }

    /// Every file below the folder `path` (such as `vms/in-cluster/team-a/web`) at a commit that was fetched, by its path
    /// from the repository's root; none where there is no such folder.
    ///
    /// # Errors
    ///
    /// `refused` for what a push would refuse as well (symbolic links, submodules, executable files, names that no
    /// [`crate::FilePath`] has), and for more than 5000 files or 8 MiB.
    pub fn folder(&self, commit: &str, path: &str) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        self.have(commit, &Needs { below: &[path], ..Needs::default() })?;
        let read = || -> Result<_, Error> {
            let Some(tree) = tree::of(&self.repository, commit_id(commit))? else {
                return Ok(Ok(BTreeMap::new()));
            };
            tree::below(&self.repository, &tree, path, FOLDER)
        };
        read().map_err(|error| local(&error))?.map_err(|clash| {
            let Why::Odd(what) = clash.why else { return local(&Error::from_str("odd without a word")) };
            let what = format!(
                "cannot read `{path}` on branch `{}` at `{}`: `{}` is {what}",
                self.branch(),
                self.host(),
                clash.path
            );
            Failure::new(Kind::Refused, what).hint("only plain files in plain folders are read")
        })
    }

    /// How the commit `live` stands to the commit `ours` (both 40 hex digits), and whether what is at `path` (a folder or
    /// a file) is the same in both.
    ///
    /// One pass of fetches, deeper each time until the history tells: a failure is for the caller to try again. A commit
    /// that the branch does not lead to is [`Relation::Lacks`].
    pub fn relation(
        &self,
        ours: &str,
        live: &str,
        path: &str,
        context: &Context,
    ) -> Result<Relation, Failure> {
        let (Some(ours), Some(live)) = (commit_id(ours), commit_id(live)) else {
            let why = "cannot compare commits: an id is not 40 hex digits in lower case";
            return Err(Failure::new(Kind::Usage, why));
        };
        if ours == live {
            return Ok(Relation::Contains);
        }
        self.ask(context);
        let until = context.deadline();
        self.stands(ours, live, path, until).map_err(|trouble| self.cannot_read(&trouble))
    }

    fn stands(&self, ours: Oid, live: Oid, path: &str, until: Instant) -> Result<Relation, Trouble> {
        let after = self.deepen(until, DEPTHS.len(), None, |repository| {
            if !history::is_here(repository, live)? || !history::is_here(repository, ours)? {
                return Ok(None);
            }
            let after = history::holds(repository, live, ours, None)?;
            if after == Some(true) {
                return Ok(Some(true));
            }
            let before = history::holds(repository, ours, live, None)? == Some(true);
            Ok((before || after == Some(false)).then_some(false))
        })?;
        if after != Some(true) {
            return Ok(Relation::Lacks);
        }
        self.bring(&[ours, live], &Needs { paths: &[path], ..Needs::default() }, until)?;
        let entry = |commit| tree::entry(&self.repository.find_commit(commit)?.tree()?, path);
        let same = || Ok(entry(ours)? == entry(live)?);
        let same = same().map_err(|error: Error| Trouble::of(&error, &self.link.secrets))?;
        Ok(if same { Relation::Contains } else { Relation::Replaced })
    }

    /// One fetch of the tip.
    pub(crate) fn fetch(&self, until: Instant) -> Result<Option<Oid>, Trouble> {
        self.look(Look::Tip, until)
    }

    fn look(&self, look: Look, until: Instant) -> Result<Option<Oid>, Trouble> {
        let depth = DEPTHS.get(self.depth.get()).map_or(Depth::Everything, |n| Depth::Commits(*n));
        let tip = self.link.fetch(&self.repository, depth, look, until)?;
        self.seen.set(Some(Sight { tip, at: Instant::now() }));
        Ok(tip)
    }

    /// The last look at the branch.
    pub(crate) fn looked(&self) -> Option<Sight> {
        self.seen.get()
    }

    /// What became of the branch from one look to another: in which time, and how many commits it has more at the least; of those that
    /// are not here nothing is known but that the tip has one before it.
    pub(crate) fn course(&self, from: Sight, to: Sight) -> (Duration, usize) {
        let landed = match (from.tip, to.tip) {
            (from, to) if from == to => 0,
            (Some(from), Some(to)) => history::distance(&self.repository, from, to),
            _ => 1,
        };
        (to.at.saturating_duration_since(from.at), landed)
    }

    /// Ask the history; where it does not tell, fetch more of it and ask again, up to the depth of index `limit` in
    /// [`DEPTHS`]. `None` if it does not tell even then. A question about files, in the commits that lead to one, has what leads to
    /// these paths brought here first.
    pub(crate) fn deepen<T>(
        &self,
        until: Instant,
        limit: usize,
        files: Option<(Oid, &[&str])>,
        mut ask: impl FnMut(&Repository) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Trouble> {
        let mut asked = || {
            let trouble = |error: Error| Trouble::of(&error, &self.link.secrets);
            if let Some((from, paths)) = files {
                let commits = history::all(&self.repository, from).map_err(trouble)?;
                self.bring(&commits, &Needs { paths, ..Needs::default() }, until)?;
            }
            ask(&self.repository).map_err(trouble)
        };
        if let Some(answer) = asked()? {
            return Ok(Some(answer));
        }
        // the branch may have moved on since the last fetch, which is enough where all is here
        let first = self.depth.get().max(1);
        for depth in first..=limit.max(first) {
            self.depth.set(depth);
            self.look(Look::Back, until)?;
            if let Some(answer) = asked()? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// A failed fetch, as a failure of this step.
    pub(crate) fn cannot_read(&self, trouble: &Trouble) -> Failure {
        self.failure("read", trouble)
    }

    pub(crate) fn failure(&self, verb: &str, trouble: &Trouble) -> Failure {
        let to = if verb == "push" { "push to" } else { verb };
        let what = format!("cannot {to} branch `{}` at `{}`: {}", self.branch(), self.host(), trouble.words);
        let kind = match trouble.class {
            Class::Lasting(kind) => kind,
            Class::Contention | Class::Passing | Class::Busy => Kind::Transient,
        };
        let failure = Failure::new(kind, what);
        match kind {
            Kind::Permission => failure.hint(
                "the credential in the folder of `--basic-auth` must be for this host and may write; \
                 a certificate authority of your own goes into the folder of `--ssl-ca-directory`; for ssh, key and \
                 `known_hosts` into that of `--ssh-directory`",
            ),
            Kind::Usage => failure.hint("check `--url` and `--branch`"),
            Kind::Refused => failure.hint("who runs the repository can say what its rules allow"),
            _ => failure.hint("run it again"),
        }
    }
}

/// How long a last look at the branch may take once the time is up.
pub(crate) const LAST_LOOK: Duration = Duration::from_secs(3);

/// The local repository is ours alone: an error there is a full disk or a bug.
pub(crate) fn local(error: &Error) -> Failure {
    Failure::new(Kind::Internal, format!("the local copy of the repository fails: {}", error.message()))
        .hint("`TMPDIR` has to name a folder with room for the branch's files")
}
