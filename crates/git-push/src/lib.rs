//! A directory becomes one commit on the branch.
//!
//! How it is pushed, and why nothing is lost or overwritten on the way, is in [`gitops`]. Here is what is particular to
//! this project: the source folder, the request in it that marks the change, and the words of the commit.

mod diff;
mod request;
mod source;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgAction;
use gitops::{Change, FilePath, Message, Plan, Remote, RemoteArgs};
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};

use crate::request::Request;

/// The commit that made the change, now or earlier: 40 hex digits.
pub const COMMIT: &str = "commit";
/// The branch that it is on.
pub const BRANCH: &str = "branch";
/// Digest of the request in the source, `sha256:` and 64 hex digits; empty without one.
pub const DIGEST: &str = "digest";

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
    /// Commit that the files were rendered against, in full; without it every file has to be new
    #[arg(long, value_name = "COMMIT")]
    pub base: Option<String>,
    /// Path in the source of the request that marks the change; without it the one `request.yaml` there
    #[arg(long, value_name = "PATH")]
    pub request: Option<FilePath>,
    /// Folder whose files are added where absent and never changed
    #[arg(long, value_name = "PATH", default_value = vm::layout::NAMESPACES)]
    pub keep: Vec<FilePath>,
    /// First line of the commit message; without it made from the request, such as `provision vm team-a/web-1`
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Print the difference to the branch on standard output, push nothing
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub dry_run: bool,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[COMMIT, BRANCH, DIGEST];
    const TIMEOUT: Timeout = Timeout::seconds(600);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Make the files of the source one commit on the branch.
pub async fn git_push(args: Args, context: Context) -> Result<Done, Failure> {
    context.result(BRANCH, args.remote.branch());
    let change = change(&args, &context)?;
    // before another thread runs: it sets what is global to the process
    let remote = args.remote.open()?;
    let (place, dry_run) = (format!("branch `{}` at `{}`", remote.branch(), remote.host()), args.dry_run);
    let work = tokio::task::spawn_blocking({
        let context = context.clone();
        move || if dry_run { show(&remote, &change, &context) } else { push(&remote, &change, &context) }
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

/// The source and the flags as one change.
fn change(args: &Args, context: &Context) -> Result<Change, Failure> {
    let files = source::read(&args.source)?;
    let marker = marker(args, &files)?;
    let request = marker.map(|file| Request::read(&file.bytes, Path::new(file.path.as_str()))).transpose()?;
    if let Some(request) = &request {
        context.result(DIGEST, &request.digest);
    }
    let subject = match (&args.message, &request) {
        (Some(message), _) => message.clone(),
        (None, Some(request)) => request.subject.clone(),
        (None, None) => format!(
            "update {}",
            args.source.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
        ),
    };
    let trailers = request.as_ref().map(Request::trailers).unwrap_or_default();
    Ok(Change {
        keep: args.keep.clone(),
        base: args.base.clone(),
        message: Message::new(&subject, &trailers)?,
        time: request.as_ref().and_then(|r| r.time),
        marker: request.zip(marker).map(|(request, file)| gitops::Marker {
            path: file.path.clone(),
            request_id: request.id,
            read_id: request::id,
        }),
        files,
    })
}

/// The file that marks the change.
fn marker<'a>(args: &Args, files: &'a [gitops::File]) -> Result<Option<&'a gitops::File>, Failure> {
    if let Some(path) = &args.request {
        let file = files.iter().find(|file| file.path == *path);
        return file.map(Some).ok_or_else(|| {
            Failure::new(Kind::Usage, format!("cannot find the request: `{path}` is not in the source"))
                .hint("`--request` is a path in the folder of `--source`")
        });
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
