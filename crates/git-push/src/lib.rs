//! A directory becomes one commit on the branch.
//!
//! How it is pushed, and why nothing is lost or overwritten on the way, is in [`gitops`]. Here is what is particular to
//! this project: the source folder, the request in it that marks the change, and the words of the commit.

mod diff;
mod plan;
mod pull_request;
mod request;
mod rerender;
mod source;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgAction;
use gitops::{Change, FilePath, Message, Plan, Remote, RemoteArgs, SignArgs};
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use vm::request::Target;

use crate::pull_request::{About, Work};
pub use crate::pull_request::{Mode, PullRequestArgs};
use crate::request::Request;
pub use crate::rerender::OnConflict;
use crate::rerender::Rerender;

/// The commit that made the change, now or earlier: 40 hex digits.
pub const COMMIT: &str = "commit";
/// The branch that it is on.
pub const BRANCH: &str = "branch";
/// Digest of the request in the source, `sha256:` and 64 hex digits; empty without one.
pub const DIGEST: &str = "digest";
/// Where people see the pull request; empty without one.
pub const PULL_REQUEST: &str = "pull-request";

/// After the deadline an exchange under way may take this long to end by its own timeout.
const SLACK: Duration = Duration::from_secs(4);

/// Push a folder as one commit to a branch that others push to as well
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "git-push", version)]
pub struct Args {
    /// Folder with the files to commit; their paths in it are those in the repository
    #[arg(long, value_name = "DIR")]
    pub source: PathBuf,
    /// The repository
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// The key of its commit
    #[command(flatten)]
    pub sign: SignArgs,
    /// By whom it is merged
    #[command(flatten)]
    pub pull_request: PullRequestArgs,
    /// What `render-vm` says of the files besides them: base, removals, marker, message
    #[arg(long, value_name = "FILE", conflicts_with_all = ["base", "request", "message"])]
    pub plan: Option<PathBuf>,
    /// Commit that the files were rendered against, in full; without it every file has to be new
    #[arg(long, value_name = "COMMIT")]
    pub base: Option<String>,
    /// Path in the source of the request that marks the change; without it the one `request.yaml` there
    #[arg(long, value_name = "PATH")]
    pub request: Option<FilePath>,
    /// Folder or file that is added where absent and never changed
    #[arg(long, value_name = "PATH", value_delimiter = ',', default_values = [vm::layout::NAMESPACES, vm::layout::APPLICATIONS_FILE])]
    pub keep: Vec<FilePath>,
    /// First line of the commit message; without it made from the request, such as `provision vm team-a/web-1`
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// What follows a conflict: `fail` is its end, `rerender` writes what Git holds of the machine by then to `--rerender-to`
    #[arg(long, value_enum, default_value_t = OnConflict::Fail, value_name = "HOW")]
    pub on_conflict: OnConflict,
    /// Folder for that, as `fetch-vm` writes it; absent, empty, or from an earlier run
    #[arg(long, value_name = "DIR", required_if_eq("on_conflict", "rerender"))]
    pub rerender_to: Option<PathBuf>,
    /// Print the difference to the branch on standard output, push nothing
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub dry_run: bool,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[COMMIT, BRANCH, DIGEST, PULL_REQUEST];
    const TIMEOUT: Timeout = Timeout::seconds(600);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Make the files of the source one commit on the branch.
pub async fn git_push(args: Args, context: Context) -> Result<Done, Failure> {
    context.result(BRANCH, args.remote.branch());
    let wanted = Wanted::of(&args, &context)?;
    let opens = args.pull_request.mode == Mode::PullRequest && !args.dry_run;
    if opens && args.on_conflict == OnConflict::Rerender {
        let what = "what follows a conflict is chosen for a push, and a pull request is none";
        return Err(Failure::new(Kind::Usage, what).hint("leave `--on-conflict=rerender` or `--mode` out"));
    }
    let forge = &args.pull_request.forge;
    let about = if opens { Some(About::of(wanted.request.as_ref(), &wanted.subject)?) } else { None };
    let session = if opens || forge.has_app() { Some(forge.open(&args.remote)?) } else { None };
    let login = match &session {
        Some(session) => session.credential(opens, &context).await?,
        None => None,
    };
    // before another thread runs: it sets what is global to the process
    let remote = args.remote.open_as(login.clone())?.signing(&args.sign)?;
    match (session, about) {
        (Some(session), Some(about)) => {
            let work = Work { args: &args.pull_request, session: &session, about, context: &context };
            let witness = args.remote.open_as(login)?;
            tokio::select! {
                ended = work.run(remote, witness, wanted.change) => ended,
                never = session.keep(opens) => match never {},
            }
        }
        (Some(session), None) => tokio::select! {
            ended = by_push(&args, wanted, remote, &context) => ended,
            never = session.keep(opens) => match never {},
        },
        (None, _) => by_push(&args, wanted, remote, &context).await,
    }
}

async fn by_push(args: &Args, wanted: Wanted, remote: Remote, context: &Context) -> Result<Done, Failure> {
    let Wanted { change, request, .. } = wanted;
    let rerender = rerender(args, request.map(|request| request.target))?;
    let (place, dry_run) = (format!("branch `{}` at `{}`", remote.branch(), remote.host()), args.dry_run);
    let work = tokio::task::spawn_blocking({
        let context = context.clone();
        move || {
            let ended =
                if dry_run { show(&remote, &change, &context) } else { push(&remote, &change, &context) };
            ended.map_err(|failure| match &rerender {
                Some(rerender) => rerender.after(failure, &remote),
                None => failure,
            })
        }
    });
    tokio::select! {
        ended = work => ended.unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "the push ended without a word"))),
        () = tokio::time::sleep(context.left() + SLACK) => {
            let what = format!("cannot tell whether the push to {place} was accepted: it still sends its answer");
            Err(Failure::new(Kind::Unknown, what).hint("run it again: what is done already is found and kept"))
        }
    }
}

fn push(remote: &Remote, change: &Change, context: &Context) -> Result<Done, Failure> {
    let place = format!("branch `{}` at `{}`", remote.branch(), remote.host());
    let pushed = remote.push(change, context)?;
    context.result(COMMIT, &pushed.commit);
    if pushed.changed {
        context.result(step::CHANGED, "true");
    }
    let what = if pushed.changed { "pushed" } else { "nothing to do, made already by" };
    Ok(Done::new(format!("{what} commit `{}` on {place}", pushed.commit)))
}

fn show(remote: &Remote, change: &Change, context: &Context) -> Result<Done, Failure> {
    let place = format!("branch `{}` at `{}`", remote.branch(), remote.host());
    match remote.plan(change, context)? {
        Plan::Done(commit) => {
            context.result(COMMIT, &commit);
            Ok(Done::new(format!("nothing to do, made already by commit `{commit}` on {place}")))
        }
        Plan::Write(edits) => {
            diff::print(&edits).map_err(|error| {
                Failure::new(Kind::Usage, format!("cannot print the difference to standard output: {error}"))
            })?;
            let files = if edits.len() == 1 { "1 file".to_owned() } else { format!("{} files", edits.len()) };
            Ok(Done::new(format!("dry run: a push would write {files} on {place}")))
        }
    }
}

/// What is to be done about a conflict, if anything.
fn rerender(args: &Args, target: Option<Target>) -> Result<Option<Rerender>, Failure> {
    match (args.on_conflict, &args.rerender_to, target) {
        (OnConflict::Fail, ..) | (OnConflict::Rerender, None, _) => Ok(None),
        (OnConflict::Rerender, Some(folder), Some(target)) => {
            Ok(Some(Rerender { target, folder: folder.clone() }))
        }
        (OnConflict::Rerender, Some(_), None) => {
            let what =
                "cannot tell of which machine to write what Git holds: there is no request in the source";
            Err(Failure::new(Kind::Usage, what)
                .hint("`--on-conflict=rerender` is for what `render-vm` wrote"))
        }
    }
}

/// The source and the flags as one change, the request in it, and its first line.
struct Wanted {
    change: Change,
    request: Option<Request>,
    subject: String,
}

impl Wanted {
    fn of(args: &Args, context: &Context) -> Result<Self, Failure> {
        let files = source::read(&args.source)?;
        let plan = args.plan.as_deref().map(plan::read).transpose()?;
        let marker = match &plan {
            Some(plan) => Some(named(&files, &plan.marker, "--plan")?),
            None => marker(args, &files)?,
        };
        let request =
            marker.map(|file| Request::read(&file.bytes, Path::new(file.path.as_str()))).transpose()?;
        if let Some(request) = &request {
            context.result(DIGEST, &request.digest);
        }
        let given = plan.as_ref().map(|plan| &plan.subject).or(args.message.as_ref());
        let subject = match (given, &request) {
            (Some(message), _) => message.clone(),
            (None, Some(request)) => request.subject.clone(),
            (None, None) => format!(
                "update {}",
                args.source.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
            ),
        };
        let trailers = request.as_ref().map(Request::trailers).unwrap_or_default();
        let message = Message::new(&subject, &trailers)?;
        let time = request.as_ref().and_then(|r| r.time);
        let marker = request.as_ref().zip(marker).map(|(request, file)| gitops::Marker {
            path: file.path.clone(),
            request_id: request.id.clone(),
            read_id: request::id,
        });
        let (base, remove, unchanged) = match plan {
            Some(plan) => (plan.base, plan.remove, plan.unchanged),
            None => (args.base.clone(), Vec::new(), Vec::new()),
        };
        let keep = args.keep.clone();
        let change = Change { keep, remove, unchanged, base, message, time, marker, files };
        Ok(Self { change, request, subject })
    }
}

/// A file of the source that a flag names.
fn named<'a>(files: &'a [gitops::File], path: &FilePath, flag: &str) -> Result<&'a gitops::File, Failure> {
    files.iter().find(|file| file.path == *path).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("cannot find the request: `{path}` is not in the source"))
            .hint(format!("`{flag}` names a path in the folder of `--source`"))
    })
}

/// The file that marks the change.
fn marker<'a>(args: &Args, files: &'a [gitops::File]) -> Result<Option<&'a gitops::File>, Failure> {
    if let Some(path) = &args.request {
        return named(files, path, "--request").map(Some);
    }
    let is_request = |f: &&gitops::File| f.path.as_str().rsplit('/').next() == Some(vm::layout::REQUEST_FILE);
    let mut requests = files.iter().filter(is_request);
    match (requests.next(), requests.next()) {
        (Some(first), Some(second)) => {
            let what =
                format!("cannot tell which request marks the change: `{}` or `{}`", first.path, second.path);
            Err(Failure::new(Kind::Usage, what).hint("`--request` names it"))
        }
        (first, _) => Ok(first),
    }
}
