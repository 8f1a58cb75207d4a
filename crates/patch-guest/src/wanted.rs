//! What is wanted, from the request and the site's files.

use std::fs;
use std::path::Path;

use cluster::Name;
use step::{Context, Failure, Kind, one_line};
use vm::day_two::{Operation, PatchMethod};
use vm::layout::snapshot_name;
use vm::name::{Label, RequestId};
use vm::request::Accepted;

use crate::{Args, REQUIRE_GUEST_AGENT, REQUIRE_IP, REQUIRE_TCP_PORT, VM};

/// The largest profile, in bytes: as much as a `ConfigMap` holds.
const LARGEST: u64 = 1024 * 1024;

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) vm: Name,
    pub(crate) request_id: RequestId,
    /// Of the whole request: another request of the same id is told by it.
    pub(crate) digest: String,
    pub(crate) profile: Label,
    pub(crate) script: Vec<u8>,
    /// The snapshot that the flow took before.
    pub(crate) snapshot: String,
}

impl Wanted {
    /// Read the request, and the profile that it names: what is wrong with either is found out before anything is done.
    pub(crate) fn read(args: &Args, context: &Context) -> Result<Self, Failure> {
        let request = request(&args.request_file)?;
        let target = request.target();
        let vm: Name = format!("{}/{}", target.namespace, target.name)
            .parse()
            .map_err(|why: String| Failure::new(Kind::Invalid, why))?;
        context.result(VM, vm.to_string());
        let checks = request.checks();
        let yes = |check: Option<bool>| check.unwrap_or_default().to_string();
        context.result(REQUIRE_GUEST_AGENT, yes(checks.map(|c| c.guest_agent)));
        context.result(REQUIRE_IP, yes(checks.map(|c| c.ip)));
        let port = checks.and_then(|c| c.tcp_port).map_or_else(String::new, |port| port.to_string());
        context.result(REQUIRE_TCP_PORT, port);
        let profile = profile(&request)?;
        let script = script(&args.profiles, &profile)?;
        Ok(Self {
            vm,
            request_id: request.request_id().clone(),
            digest: request.digest(),
            snapshot: snapshot_name(&request),
            profile,
            script,
        })
    }
}

fn request(path: &Path) -> Result<Accepted, Failure> {
    let cannot = |why: &str| {
        Failure::new(Kind::Usage, format!("cannot read request file `{}`: {why}", path.display()))
            .hint("give the file that `validate-request` wrote")
    };
    let text = fs::read_to_string(path).map_err(|e| cannot(&e.to_string()))?;
    Accepted::parse(&text).map_err(|problem| cannot(&one_line(&problem.to_string(), 300)))
}

/// The profile of a request that is to be done this way.
fn profile(request: &Accepted) -> Result<Label, Failure> {
    let other = |what: &str, hint: &str| Err(Failure::new(Kind::Invalid, what).hint(hint));
    match request.day_two().map(|r| &r.spec.operation) {
        Some(Operation::Patch(patch)) if patch.method == PatchMethod::InGuest => Ok(patch.profile.clone()),
        Some(Operation::Patch(_)) => other(
            "the request asks for method `offline`, and this patches the running machine",
            "start the Pipeline `patch-vm` with it, or ask for method `in-guest`",
        ),
        _ => other(
            &format!("the request asks to {}, and this patches", request.operation_word()),
            "start the Pipeline of its operation",
        ),
    }
}

/// `<profile>.sh`. A profile is a label: it cannot lead out of the folder.
fn script(folder: &Path, profile: &Label) -> Result<Vec<u8>, Failure> {
    let file = folder.join(format!("{profile}.sh"));
    if !file.is_file() {
        let known = known(folder);
        let hint = if known.is_empty() {
            format!("`{}` holds no file `<profile>.sh`", folder.display())
        } else {
            format!("the site has `{}`", known.join("`, `"))
        };
        let what = format!("there is no profile `{profile}` for guests");
        return Err(Failure::new(Kind::Invalid, what).hint(hint));
    }
    let usage =
        |why: &str| Failure::new(Kind::Usage, format!("cannot use profile `{}`: {why}", file.display()));
    let size = fs::metadata(&file).map_err(|e| usage(&e.to_string()))?.len();
    if size > LARGEST {
        return Err(usage(&format!("it has {size} bytes, and {LARGEST} are the most")));
    }
    let script = fs::read(&file).map_err(|e| usage(&e.to_string()))?;
    let text = String::from_utf8_lossy(&script);
    if text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#')) {
        return Err(usage("it holds no command"));
    }
    Ok(script)
}

fn known(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name());
    let mut names: Vec<String> =
        names.filter_map(|n| n.to_str()?.strip_suffix(".sh").map(str::to_owned)).collect();
    names.sort();
    names
}
