//! A normalised request becomes the files that Git holds, or the change of those that it holds.

mod access;
mod chart;
mod day_two;
mod disk;
mod edits;
mod files;
mod flags;
mod folder;
mod layout;
mod lock;
mod network;
mod output;
mod preview;
mod results;
mod site;
mod site_template;
mod template;
mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use step::{Context, Done, EdgeArgs, Failure, Kind, PolicyArgs, Step, Timeout, refuse};
use vm::definition::Definition;
use vm::name::{Label, Subdomain};
use vm::operation::Phase;
use vm::plan::Plan;
use vm::request::{Accepted, Request};

pub use day_two::{Rendered, phase, render as render_phase};
pub use disk::{ImageKind, ImageSource};
pub use edits::Change;
pub use files::{Files, Refused, Wanted, render, wanted};
pub use flags::LayoutName;
pub use layout::Layout;
pub use lock::{Broken, Expected, Lock};
pub use output::{NotWritten, Written, diff, write};
pub use results::{
    ALLOW_RESTART, APPLICATION, BOOT_CLAIM, DIGEST, FINISHED, FORCE_AFTER, GONE_CLAIMS, GROW_DISKS,
    KEEP_CLAIMS, POWER, PROFILE, PROVE_FOR, REQUIRE_GUEST_AGENT, REQUIRE_IP, REQUIRE_TCP_PORT, UNTIL, VM,
};
pub use site::Site;
pub use site_template::{Unfit, render_by};
pub use template::{OUTPUT, Template, Templates};
pub use vm::yaml::{document, scalar};
pub use yaml::parse;

/// Render the files that Git holds for one virtual machine
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "render-vm", version)]
pub struct Args {
    /// The normalised request, as `validate-request` writes it
    #[arg(long, value_name = "FILE")]
    pub request_file: PathBuf,
    /// What Git holds of the machine, as `fetch-vm` writes it; only a new machine needs none
    #[arg(long, value_name = "DIR")]
    pub definition: Option<PathBuf>,
    /// Which phase of the operation; its first unless given
    #[arg(long, value_name = "PHASE")]
    pub phase: Option<Phase>,
    /// Folder to write the files to, by their paths in the repository; absent, empty, or holding the same
    #[arg(long, value_name = "DIR", required_unless_present_any = ["diff", "preview"])]
    pub output: Option<PathBuf>,
    /// File for what `git-push` has to know besides the files: base, removals, marker, message
    #[arg(long, value_name = "FILE", requires = "definition", requires = "output")]
    pub plan: Option<PathBuf>,
    /// Print the difference to this folder, a checkout of the repository
    #[arg(long, value_name = "DIR")]
    pub diff: Option<PathBuf>,
    /// Print in words what would be created, changed, removed and kept, each with its risk; every phase unless one is given
    #[arg(long)]
    pub preview: bool,
    /// Folder with the site's own templates: `NAME.yaml.j2`, and `NAME.schema.json` for its parameters
    #[arg(long, value_name = "DIR")]
    pub template_directory: Option<PathBuf>,
    /// What the golden image was resolved to, cloned to the boot disk; absent, CDI resolves it when it makes the disk
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = flags::place, requires = "image_kind")]
    pub image_source: Option<(Label, Subdomain)>,
    /// What that is
    #[arg(long, value_enum, value_name = "KIND", requires = "image_source")]
    pub image_kind: Option<ImageKind>,
    /// Address of the repository, as Argo CD has it
    #[arg(long, value_name = "URL")]
    pub repo_url: String,
    /// Branch that Argo CD follows
    #[arg(long, value_name = "BRANCH", default_value = site::BRANCH, value_parser = flags::branch)]
    pub branch: String,
    /// How the files are laid out: `manifests`, `kustomize` with an environment, or `helm-values`
    #[arg(long, value_enum, value_name = "LAYOUT", default_value_t = LayoutName::Manifests)]
    pub layout: LayoutName,
    /// The environment whose overlay is written, and applied by Argo CD; for the layout `kustomize` alone, and without it the
    /// request's own
    #[arg(long, value_name = "NAME")]
    pub environment: Option<Label>,
    /// Namespace of the Argo CD Application
    #[arg(long, value_name = "NAMESPACE", default_value = site::APPLICATION_NAMESPACE)]
    pub application_namespace: Label,
    /// Argo CD project of the Application
    #[arg(long, value_name = "PROJECT", default_value = site::PROJECT)]
    pub project: Subdomain,
    /// API server of the machine's cluster; absent, Argo CD finds the cluster by its name
    #[arg(long, value_name = "URL", value_parser = flags::server)]
    pub destination_server: Option<String>,
    /// What the machine's environment allows
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

impl Step for Args {
    // the names of machine, namespace and cluster are validate-request's results already; with the longest names all of
    // these together just fit into `step::LIMIT`
    const RESULTS: &'static [&'static str] = &[
        APPLICATION,
        VM,
        DIGEST,
        UNTIL,
        REQUIRE_GUEST_AGENT,
        REQUIRE_IP,
        REQUIRE_TCP_PORT,
        BOOT_CLAIM,
        GROW_DISKS,
        ALLOW_RESTART,
        FORCE_AFTER,
        POWER,
        PROFILE,
        PROVE_FOR,
        KEEP_CLAIMS,
        GONE_CLAIMS,
        FINISHED,
    ];
    const TIMEOUT: Timeout = Timeout::seconds(60);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Render, then write, show the difference, or both.
///
/// # Errors
///
/// `usage` for files that cannot be read or written, `invalid` for what is not a normalised request, `internal` for a
/// template that broke the structure lock; for an operation on a machine what [`render_phase`] says.
// reading, rendering and writing a few files takes milliseconds: there is nothing to await
#[expect(clippy::unused_async, reason = "the shape of every step")]
pub async fn render_vm(args: &Args, context: &Context) -> Result<Done, Failure> {
    flags::check_repo_url(&args.repo_url)?;
    let request = read_request(&args.request_file)?;
    let site = Site::of(args, &request)?;
    let templates = Templates::new().map_err(|error| bug(&error))?;
    let held = args.definition.as_ref().map(|folder| folder::read(folder, request.target())).transpose()?;
    let outcome = match &request {
        Accepted::Provision(new) => provision(args, (&templates, &site), new, held.as_ref())?,
        Accepted::DayTwo(day_two) => {
            let Some((definition, base)) = &held else {
                let what =
                    format!("nothing to render: `{}` is about a machine in Git", request.operation_word());
                return Err(Failure::new(Kind::Usage, what)
                    .hint("`--definition` names the folder that `fetch-vm` wrote"));
            };
            if args.output.is_some() && args.plan.is_none() {
                let what = "an operation on a machine needs `--plan`: it is more than files to write";
                return Err(Failure::new(Kind::Usage, what));
            }
            operation(args, (&templates, &site), day_two, definition, base.as_deref())?
        }
    };
    if args.preview {
        let held = held.as_ref().map(|(definition, _)| definition);
        let text = match (&request, held) {
            (Accepted::DayTwo(day_two), Some(definition)) => {
                preview::operation(&templates, day_two, definition, args.phase, &site)?
            }
            (Accepted::Provision(new), held) => preview::provision(new, held, &outcome.files)?,
            // refused above
            (Accepted::DayTwo(_), None) => String::new(),
        };
        print(&text)?;
    }
    results::set(args, &request, outcome.after.as_ref(), context)?;
    let done = put(args, &outcome, context)?;
    Ok(Done::new(done))
}

/// What is to be written, and what comes of it.
struct Outcome {
    files: BTreeMap<String, Vec<u8>>,
    plan: Plan,
    /// What Git holds afterwards, where that is known.
    after: Option<Definition>,
    /// Such as `rendered`.
    said: String,
}

fn provision(
    args: &Args,
    (templates, site): (&Templates, &Site),
    request: &Request,
    held: Option<&(Definition, Option<String>)>,
) -> Result<Outcome, Failure> {
    if let Some((definition, _)) = held {
        let id = &request.metadata.request_id;
        if definition.archived.contains_key(id) {
            let what = format!("the machine that request `{id}` made was removed on purpose");
            return Err(Failure::new(Kind::Superseded, what)
                .hint("`undelete` brings it back; a new machine needs a request id of its own"));
        }
        refuse(&vm::rules::against(&Accepted::Provision(request.clone()), definition, &site.policy))?;
    }
    let files = match &request.spec.template {
        Some(template) => site_template::render(args, &template.name, request, site)?,
        None => render(templates, request, site).map_err(|error| not_rendered(args, &error))?,
    };
    let (target, files) = (&request.spec.target, files.into_iter());
    Ok(Outcome {
        files: files.map(|(path, text)| (path, text.into_bytes())).collect(),
        // no base: every file has to be new
        plan: Plan {
            marker: format!("{}/{}", target.path(), vm::layout::REQUEST_FILE),
            subject: format!("provision vm {}/{}", target.namespace, target.name),
            ..Plan::default()
        },
        after: None,
        said: "rendered".to_owned(),
    })
}

fn operation(
    args: &Args,
    (templates, site): (&Templates, &Site),
    request: &vm::day_two::Request,
    definition: &Definition,
    base: Option<&str>,
) -> Result<Outcome, Failure> {
    let (target, word) = (&request.spec.target, request.spec.operation.word());
    let phase = phase(&request.spec.operation, args.phase)?;
    let (change, already) = match render_phase(templates, definition, request, phase, site)? {
        Rendered::Change(change) => (change, false),
        Rendered::Already(change) => (change, true),
    };
    let mut subject = format!("{word} vm {}/{}", target.namespace, target.name);
    if Phase::of(word).len() > 1 {
        subject = format!("{subject}: {phase}");
    }
    let folders = [target.path(), target.archives_path()];
    Ok(Outcome {
        after: Some(change.applied(definition)?),
        plan: Plan {
            base: base.map(str::to_owned),
            remove: change.remove,
            unchanged: if already { Vec::new() } else { folders.to_vec() },
            marker: change.marker,
            subject,
        },
        files: change.files,
        said: if already { "done already, rendered".to_owned() } else { "rendered".to_owned() },
    })
}

/// Write the files and the plan, show the difference.
fn put(args: &Args, outcome: &Outcome, context: &Context) -> Result<String, Failure> {
    let Outcome { files, plan, said, .. } = outcome;
    let count = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
    let mut done = format!("{said} {count}");
    if !plan.remove.is_empty() {
        done = format!("{done}, {} to remove", plan.remove.len());
    }
    if let Some(folder) = &args.diff {
        let mut out = io::stdout().lock();
        let changed = diff(files, &plan.remove, folder, &mut out)
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
        // where an earlier run left its plan, what lies beside it is that run's too
        let earlier = args.plan.as_ref().is_some_and(|path| path.is_file());
        // the plan first: without the files it is nothing, but they would be pushed without it
        if let Some(path) = &args.plan {
            output::write_plan(plan, path).map_err(|error| not_written(&error))?;
        }
        let written = match write(files, folder) {
            Err(NotWritten::Other { .. }) if earlier => output::write_over(files, folder),
            written => written,
        };
        match written {
            Ok(Written::New) => context.result(step::CHANGED, "true"),
            Ok(Written::Already) => done.push_str(", already there"),
            Err(error) => return Err(not_written(&error)),
        }
        for path in files.keys() {
            tracing::info!("{path}");
        }
    }
    Ok(done)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Failure::new(Kind::Usage, format!("cannot write to standard output: {error}")))
}

fn read_request(path: &Path) -> Result<Accepted, Failure> {
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
    Accepted::parse(&text).map_err(|problem| {
        Failure::new(Kind::Invalid, format!("`{name}` is not a normalised request: {}", problem.message))
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

fn not_rendered(args: &Args, error: &Refused) -> Failure {
    match error {
        Refused::Request(why) => {
            Failure::new(Kind::Invalid, format!("cannot render `{}`: {why}", args.request_file.display()))
                .hint("`validate-request` finds this out with the place in the request")
        }
        error => bug(error),
    }
}

fn bug(error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Internal, error.to_string()).hint("this is a bug; report it with the request")
}
