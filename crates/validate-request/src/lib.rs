//! A request is accepted, or every reason why not.
//!
//! One pass finds everything: the bytes are read strictly ([`vm::document`]), the schema says what it can, the rules and
//! the site's policy say the rest ([`vm::rules`]). Only a request without problems is written, with every default
//! explicit.

mod check;
mod definition;
mod explain;
mod files;
mod report;
mod schema;
mod template;

use std::path::PathBuf;

use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use vm::document::Form;
use vm::name::{Label, RequestId};
use vm::policy::Policy;
use vm::problem::{Class, Problem};
use vm::request::Accepted;

pub use check::{Checker, Verdict};

/// The machine's name, as far as the request gives one that is right.
pub const VM_NAME: &str = "vm-name";
/// Its namespace, likewise.
pub const NAMESPACE: &str = "namespace";
/// Its cluster, by the request or the policy.
pub const CLUSTER: &str = "cluster";
/// `sha256:` and 64 hexadecimal digits over the accepted request.
pub const DIGEST: &str = "digest";
/// What is to be done, `provision`, `stop`, …, as far as the request gives one that is right.
pub const OPERATION: &str = "operation";
/// The request's id, likewise.
pub const REQUEST_ID: &str = "request-id";
/// How many problems there are.
pub const PROBLEMS: &str = "problems";

/// At most this many problems are printed; the report has all.
const LINES: usize = 100;
/// This many are also in the last line and so in the result `message`, where `tkn` shows them.
const FIRST: usize = 3;

/// Check a request against schema, rules and policy; list every problem, or write it with all defaults explicit
#[derive(Debug, clap::Parser)]
#[command(version)]
pub struct Args {
    /// The request as one JSON string
    #[arg(long, value_name = "JSON")]
    pub request: Option<String>,
    /// File with the request in YAML or JSON; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub request_file: Option<PathBuf>,
    /// File with the site's policy, or the folder that holds it as `policy.yaml`; without it, safe defaults hold
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Folder with the site's own templates: `NAME.yaml.j2`, and `NAME.schema.json` for its parameters
    #[arg(long, value_name = "DIR")]
    pub template_directory: Option<PathBuf>,
    /// Folder with what Git holds for the machine, by paths in the repository, as `fetch-vm` writes it; the request is then
    /// also checked against it
    #[arg(long, value_name = "DIR")]
    pub definition: Option<PathBuf>,
    /// File for the accepted request with every default explicit; standard output unless given
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// File for a report in JSON with every problem; `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Print the JSON Schema of requests and do nothing else
    #[arg(long)]
    pub schema: bool,
    /// Look for what is odd about the policy itself, instead of checking a request: rules that never hold, that say the same
    /// twice, that exclude each other, or that leave open what they seem to close
    #[arg(long, requires = "policy", conflicts_with_all = ["request", "request_file"])]
    pub policy_check: bool,
    /// Print what a code of a problem means, with an example and the way out, and do nothing else
    #[arg(long, value_name = "CODE")]
    pub explain: Option<String>,
    #[command(flatten)]
    edge: EdgeArgs,
}

impl Step for Args {
    const RESULTS: &'static [&'static str] =
        &[VM_NAME, NAMESPACE, CLUSTER, OPERATION, REQUEST_ID, DIGEST, PROBLEMS];
    const TIMEOUT: Timeout = Timeout::seconds(60);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// The step.
pub async fn validate_request(args: Args, context: Context) -> Result<Done, Failure> {
    if args.schema {
        files::write_out(vm::schema::REQUEST)?;
        return Ok(Done::new("schema printed"));
    }
    if let Some(word) = &args.explain {
        let topic = explain::topic(word)?;
        files::write_out(&topic.text())?;
        return Ok(Done::new(format!("`{}` explained", topic.word())));
    }
    if args.output.is_none() && args.report.as_deref().is_some_and(files::is_stdio) {
        return Err(Failure::new(Kind::Usage, "both the report and the request would go to standard output")
            .hint("give `--output` a file"));
    }
    let checker = Checker::new()?;
    if let (true, Some(path)) = (args.policy_check, &args.policy) {
        return policy_check(&checker, path.clone()).await;
    }
    let policy = match &args.policy {
        Some(path) => site_policy(&checker, path.clone()).await?,
        None => Policy::default(),
    };
    let (bytes, form) = match (args.request, args.request_file) {
        (Some(json), None) => (json.into_bytes(), Form::Json),
        (None, Some(path)) => (files::read(path).await?, Form::Any),
        (given, _) => {
            let what = if given.is_some() { "two requests" } else { "no request" };
            return Err(Failure::new(Kind::Usage, what)
                .hint("give either `--request` or `--request-file`, and not empty"));
        }
    };
    let mut verdict = checker.check(&bytes, form, &policy)?;
    template::check(args.template_directory.as_deref(), &mut verdict)?;
    if let (Some(folder), Some(request)) = (&args.definition, &verdict.request) {
        verdict.problems = definition::problems(folder, request, &policy)?;
        if !verdict.problems.is_empty() {
            verdict.request = None;
        }
    }
    publish(&verdict, &policy, &context);
    if let Some(path) = &args.report {
        files::write(path, &report::json(&verdict))?;
    }
    let Some(request) = &verdict.request else {
        return Err(refused(&verdict.problems, "request", kind(&verdict.problems)));
    };
    match &args.output {
        Some(path) => files::write(path, &request.canonical())?,
        None => files::write_out(&request.canonical())?,
    }
    let (id, target, verb) = (request.request_id(), request.target(), request.operation_word());
    Ok(Done::new(format!(
        "request `{id}` accepted: {verb} `{}/{}` on `{}`",
        target.namespace, target.name, target.cluster
    )))
}

async fn site_policy(checker: &Checker, path: PathBuf) -> Result<Policy, Failure> {
    let (what, bytes) = read_policy(path).await?;
    checker.policy(&bytes).map_err(|problems| refused(&problems, &what, Kind::Usage))
}

/// A policy is the input itself here, so what is wrong with it is `invalid`.
async fn policy_check(checker: &Checker, path: PathBuf) -> Result<Done, Failure> {
    let (what, bytes) = read_policy(path).await?;
    let findings =
        checker.policy_check(&bytes).map_err(|problems| refused(&problems, &what, Kind::Invalid))?;
    if findings.is_empty() {
        return Ok(Done::new(format!("nothing is odd about {what}")));
    }
    let lines = findings.iter().map(ToString::to_string).collect();
    let number = match findings.len() {
        1 => "1 finding".to_owned(),
        number => format!("{number} findings"),
    };
    Err(listed(&format!("{what}, {number}"), lines, Kind::Invalid).hint("`--explain` says what a code means"))
}

/// What the policy is called, and its bytes.
async fn read_policy(path: PathBuf) -> Result<(String, Vec<u8>), Failure> {
    let path = step::policy_file(path);
    let what = format!("policy `{}`", path.display());
    files::read(path).await.map(|bytes| (what, bytes))
}

/// What is known of the machine is a result also where the request is refused.
fn publish(verdict: &Verdict, policy: &Policy, context: &Context) {
    let label =
        |pointer: &str| -> Option<Label> { verdict.document.pointer(pointer)?.as_str()?.parse().ok() };
    let word = |pointer: &str| verdict.document.pointer(pointer).and_then(serde_json::Value::as_str);
    let operation = word("/spec/operation").filter(|word| {
        *word == vm::request::Operation::Provision.word() || vm::day_two::Operation::WORDS.contains(word)
    });
    let id = word("/metadata/requestId").filter(|text| text.parse::<RequestId>().is_ok());
    context.result(OPERATION, operation.unwrap_or_default());
    context.result(REQUEST_ID, id.unwrap_or_default());
    let given = verdict.document.pointer("/spec/target").is_some();
    let cluster = match verdict.document.pointer("/spec/target/cluster") {
        None if given => Some(policy.defaults.cluster.clone()),
        _ => label("/spec/target/cluster"),
    };
    for (result, value) in [
        (VM_NAME, label("/spec/target/name")),
        (NAMESPACE, label("/spec/target/namespace")),
        (CLUSTER, cluster),
    ] {
        context.result(result, value.map(String::from).unwrap_or_default());
    }
    context.result(PROBLEMS, verdict.problems.len().to_string());
    context.result(DIGEST, verdict.request.as_ref().map(Accepted::digest).unwrap_or_default());
}

fn kind(problems: &[Problem]) -> Kind {
    Class::of(problems).into()
}

fn refused(problems: &[Problem], what: &str, kind: Kind) -> Failure {
    let number = match problems.len() {
        1 => "1 problem".to_owned(),
        number => format!("{number} problems"),
    };
    let lines = problems.iter().map(ToString::to_string).collect();
    listed(&format!("{what} refused, {number}"), lines, kind)
}

/// A failure with every line, and the first few in its message.
fn listed(what: &str, mut lines: Vec<String>, kind: Kind) -> Failure {
    let first = lines.iter().take(FIRST).cloned().collect::<Vec<_>>().join(" | ");
    let message = match lines.len() {
        1 => format!("{what}: {first}"),
        _ => format!("{what}, first: {first}"),
    };
    if let Some(more) = lines.len().checked_sub(LINES).filter(|more| *more > 0) {
        lines.truncate(LINES);
        lines.push(format!("and {more} more"));
    }
    Failure::new(kind, message).details(lines)
}
