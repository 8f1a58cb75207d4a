//! A normalised request becomes the files that Git holds.

mod files;
mod lock;
mod output;
mod template;
mod yaml;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use vm::name::{Label, Subdomain};
use vm::request::{Power, Request};

pub use files::{Files, Refused, Site, Wanted, render, wanted};
pub use lock::{Broken, Expected, Lock};
pub use output::{NotWritten, Written, diff, write};
pub use template::{OUTPUT, Template, Templates};
pub use yaml::{document, parse, scalar};

/// The Argo CD Application, `<namespace>/<name>`.
pub const APPLICATION: &str = "application";
/// The machine, `<namespace>/<name>`.
pub const VM: &str = "vm";
/// The digest of the request, `sha256:<64 hexadecimal digits>`.
pub const DIGEST: &str = "digest";
/// What the flow waits for: `ready` or `stopped`.
pub const UNTIL: &str = "until";
/// Whether ready needs the guest agent: `true` or `false`.
pub const REQUIRE_GUEST_AGENT: &str = "require-guest-agent";
/// Whether ready needs an address: `true` or `false`.
pub const REQUIRE_IP: &str = "require-ip";
/// The TCP port that ready needs; empty for none.
pub const REQUIRE_TCP_PORT: &str = "require-tcp-port";

/// Render the files that Git holds for one virtual machine
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "render-vm", version)]
pub struct Args {
    /// The normalised request, as `validate-request` writes it
    #[arg(long, value_name = "FILE")]
    pub request_file: PathBuf,
    /// Folder to write the files to, by their paths in the repository; absent, empty, or holding the same
    #[arg(long, value_name = "DIR", required_unless_present = "diff")]
    pub output: Option<PathBuf>,
    /// Print the difference to this folder, a checkout of the repository
    #[arg(long, value_name = "DIR")]
    pub diff: Option<PathBuf>,
    /// Address of the repository, as Argo CD has it
    #[arg(long, value_name = "URL")]
    pub repo_url: String,
    /// Branch that Argo CD follows
    #[arg(long, value_name = "BRANCH", default_value = "main", value_parser = branch)]
    pub branch: String,
    /// How the files are laid out
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = Layout::Manifests)]
    pub layout: Layout,
    /// Namespace of the Argo CD Application
    #[arg(long, value_name = "NAMESPACE", default_value = "argocd")]
    pub application_namespace: Label,
    /// Argo CD project of the Application
    #[arg(long, value_name = "PROJECT", default_value = "default")]
    pub project: Subdomain,
    /// API server of the machine's cluster; absent, Argo CD finds the cluster by its name
    #[arg(long, value_name = "URL", value_parser = server)]
    pub destination_server: Option<String>,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// How the files are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// Plain manifests, listed in a `kustomization.yaml`
    Manifests,
}

impl Step for Args {
    // the names of machine, namespace and cluster are validate-request's results already; with the longest names all of
    // these together just fit into `step::LIMIT`
    const RESULTS: &'static [&'static str] =
        &[APPLICATION, VM, DIGEST, UNTIL, REQUIRE_GUEST_AGENT, REQUIRE_IP, REQUIRE_TCP_PORT];
    const TIMEOUT: Timeout = Timeout::seconds(60);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

impl Args {
    /// What the files need to know besides the request.
    pub fn site(&self) -> Site {
        Site {
            repo_url: self.repo_url.clone(),
            branch: self.branch.clone(),
            application_namespace: self.application_namespace.to_string(),
            project: self.project.to_string(),
            destination_server: self.destination_server.clone(),
        }
    }
}

/// Render, then write, show the difference, or both.
///
/// # Errors
///
/// `usage` for files that cannot be read or written, `invalid` for what is not a normalised request, `internal` for a
/// template that broke the structure lock.
// reading, rendering and writing a few files takes milliseconds: there is nothing to await
#[expect(clippy::unused_async, reason = "the shape of every step")]
pub async fn render_vm(args: &Args, context: &Context) -> Result<Done, Failure> {
    check_repo_url(&args.repo_url)?;
    let request = read_request(&args.request_file)?;
    let Layout::Manifests = args.layout;
    let bug = |error: &dyn std::error::Error| {
        Failure::new(Kind::Internal, error.to_string()).hint("this is a bug; report it with the request")
    };
    let templates = Templates::new().map_err(|error| bug(&error))?;
    let files = render(&templates, &request, &args.site()).map_err(|error| match error {
        Refused::Request(why) => {
            Failure::new(Kind::Invalid, format!("cannot render `{}`: {why}", args.request_file.display()))
                .hint("`validate-request` finds this out with the place in the request")
        }
        error => bug(&error),
    })?;
    let mut done = format!("rendered {} files", files.len());
    if let Some(folder) = &args.diff {
        let mut out = io::stdout().lock();
        let changed = diff(&files, folder, &mut out)
            .and_then(|changed| out.flush().map(|()| changed))
            .map_err(|error| {
                Failure::new(
                    Kind::Usage,
                    format!("cannot show the difference to `{}`: {error}", folder.display()),
                )
            })?;
        done = format!("{done}, {changed} of them differ");
    }
    if let Some(folder) = &args.output {
        match write(&files, folder) {
            Ok(Written::New) => context.result(step::CHANGED, "true"),
            Ok(Written::Already) => done.push_str(", already there"),
            Err(error) => return Err(not_written(&error)),
        }
        for path in files.keys() {
            tracing::info!("{path}");
        }
    }
    set_results(args, &request, context);
    Ok(Done::new(done))
}

fn set_results(args: &Args, request: &Request, context: &Context) {
    let (target, checks) = (&request.spec.target, &request.spec.checks);
    context.result(APPLICATION, format!("{}/{}", args.application_namespace, target.application()));
    context.result(VM, format!("{}/{}", target.namespace, target.name));
    context.result(DIGEST, request.digest());
    context.result(UNTIL, if request.spec.power == Power::On { "ready" } else { "stopped" });
    context.result(REQUIRE_GUEST_AGENT, checks.guest_agent.to_string());
    context.result(REQUIRE_IP, checks.ip.to_string());
    context.result(REQUIRE_TCP_PORT, checks.tcp_port.map_or_else(String::new, |port| port.to_string()));
}

fn read_request(path: &Path) -> Result<Request, Failure> {
    let name = path.display();
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("cannot read `{name}`: {why}"))
            .hint("`--request-file` is the file that `validate-request` wrote")
    };
    // with every default written out a request is longer than it came, but not twice as long
    let limit = 2 * vm::request::MAX_BYTES as u64;
    let length = fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if length > limit {
        return Err(unreadable(&format!("it is {length} bytes long, at most {limit} are read")));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(Kind::Invalid, format!("`{name}` is not a normalised request: {error}"))
            .hint("give the JSON file that `validate-request` wrote, not the request as it came")
    })
}

fn not_written(error: &NotWritten) -> Failure {
    let hint = match error {
        NotWritten::Other { .. } => "`--output` has to be absent, empty, or hold the same files",
        NotWritten::Io(..) => {
            "`--output` needs a folder beside which this step may write, so not a mount itself"
        }
    };
    Failure::new(Kind::Usage, error.to_string()).hint(hint)
}

/// An address of a Git repository without a password in it: it is committed. Checked here and not by clap, which would
/// print the value.
fn check_repo_url(text: &str) -> Result<(), Failure> {
    let bad = |why: &str| {
        Err(Failure::new(Kind::Usage, format!("`--repo-url` {why}"))
            .hint("give an address such as `https://git.example/vms.git`"))
    };
    if text.len() > 2000 || !text.chars().all(|c| c.is_ascii_graphic()) {
        return bad("holds white space, control or non-ASCII characters, or more than 2000 of them");
    }
    let Some((_, rest)) = text.split_once("://") else {
        // git@host:path, the short form of ssh
        return if text.contains(':') { Ok(()) } else { bad("has no scheme") };
    };
    let user = rest.split('/').next().and_then(|host| host.rsplit_once('@')).map(|(user, _)| user);
    if user.is_some_and(|user| user.contains(':')) {
        return bad("holds a password, which would be committed");
    }
    Ok(())
}

/// A branch by Git's own rules (git-check-ref-format) as far as they matter here.
fn branch(text: &str) -> Result<String, String> {
    let part_fits = |part: &str| {
        let locked = part.as_bytes().ends_with(b".lock");
        !part.is_empty() && !part.starts_with(['.', '-']) && !locked
    };
    let fits = text.len() <= 200
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && text.split('/').all(part_fits);
    if fits { Ok(text.to_owned()) } else { Err("expected a branch such as `main`".to_owned()) }
}

/// An API server's address.
fn server(text: &str) -> Result<String, String> {
    let fits = text.strip_prefix("https://").is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && text.len() <= 500
        && text.chars().all(|c| c.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected an address such as `https://kubernetes.default.svc`".to_owned())
    }
}
