//! A machine's files as they are on the branch, for `render-vm` to change.
//!
//! One commit is read, the tip, and named beside the files: what is made of them is pushed only where they are still the
//! same (`git-push --plan`). Nothing is written but plain files below one folder, by paths that no [`gitops::FilePath`]
//! would refuse, so nothing in the repository can lead outside of it.

mod definition;
mod output;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gitops::RemoteArgs;
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use vm::request::{Accepted, MAX_BYTES};

pub use definition::Definition;
pub use output::COMMIT_FILE;

/// The commit that was read, 40 hex digits; empty where the branch does not exist yet.
pub const COMMIT: &str = "commit";
/// Whether the machine has files on the branch: `true` or `false`.
pub const EXISTS: &str = "exists";

/// After the deadline an exchange under way may take this long to end by its own timeout.
const SLACK: Duration = Duration::from_secs(4);

/// Fetch the files of one machine from the branch
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "fetch-vm", version)]
pub struct Args {
    /// The normalised request, as `validate-request` writes it; it names the machine
    #[arg(long, value_name = "FILE")]
    pub request_file: PathBuf,
    /// Folder to write the files to, by their paths in the repository; absent, empty, or from an earlier run
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// The repository
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &[COMMIT, EXISTS];
    const TIMEOUT: Timeout = Timeout::seconds(300);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Write the machine's folder, its Application, what is archived of machines of its name, and the commit that they are of.
///
/// # Errors
///
/// `usage` for files that cannot be read or written, `invalid` for what is no normalised request, `refused` for what is no
/// plain file in Git; `permission` and `transient` as every exchange with the server.
pub async fn fetch_vm(args: Args, context: Context) -> Result<Done, Failure> {
    let request = read_request(&args.request_file)?;
    // before another thread runs: it sets what is global to the process
    let remote = args.remote.open()?;
    let place = format!("branch `{}` at `{}`", remote.branch(), remote.host());
    let target = request.target().clone();
    let work = tokio::task::spawn_blocking({
        let context = context.clone();
        move || {
            let tip = remote.tip(&context)?;
            Definition::read(&remote, tip, &target)
        }
    });
    let definition = tokio::select! {
        ended = work => {
            ended.unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "the fetch ended without a word")))?
        }
        () = tokio::time::sleep(context.left() + SLACK) => {
            let what = format!("cannot read {place}: it still sends its answer");
            return Err(Failure::new(Kind::Transient, what).hint("run it again"));
        }
    };
    definition.write(&args.output, "--output")?;
    let (commit, files, exists) =
        (definition.commit(), definition.files(), definition.holds(&request.target().path()));
    for path in files.keys() {
        tracing::info!("{path}");
    }
    context.result(COMMIT, commit);
    context.result(EXISTS, exists.to_string());
    let files = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
    let vm = format!("machine `{}/{}`", request.target().namespace, request.target().name);
    Ok(Done::new(match (commit.is_empty(), exists) {
        (true, _) => format!("nothing to fetch, there is no {place} yet"),
        (false, true) => format!("fetched {files} of {vm} at commit `{commit}` of {place}"),
        (false, false) => {
            format!("fetched {files}, there is no {vm} at commit `{commit}` of {place}")
        }
    }))
}

fn read_request(path: &Path) -> Result<Accepted, Failure> {
    let name = path.display();
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("cannot read `{name}`: {why}"))
            .hint("`--request-file` is the file that `validate-request` wrote")
    };
    // with every default written out a request is longer than it came, but not twice as long
    let limit = 2 * MAX_BYTES as u64;
    let length = fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if length > limit {
        return Err(unreadable(&format!("it is {length} bytes long, at most {limit} are read")));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    Accepted::parse(&text).map_err(|problem| {
        Failure::new(Kind::Invalid, format!("`{name}` is not a normalised request: {}", problem.message))
            .hint("give the JSON file that `validate-request` wrote, not the request as it came")
    })
}
