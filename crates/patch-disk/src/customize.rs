//! virt-customize on the disk, once.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use step::{CHANGED, Context, Done, Failure, Kind, human};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use crate::commands::{self, Hidden};
use crate::output::{Tail, pass_on};
use crate::permit::{Permit, State};
use crate::{Args, REASON, VOLUME_MODE};

/// After SIGTERM it may take this long to end its appliance; then it is killed. Shorter than what the edge grants.
const GRACE: Duration = Duration::from_secs(5);
/// What is left in the pipes when it has ended is read within this.
const DRAIN: Duration = Duration::from_secs(2);

pub(crate) async fn customize(args: &Args, disk: &Path, context: &Context) -> Result<Done, Failure> {
    let usage = |what: String| Failure::new(Kind::Usage, what);
    let path = args.permit.as_deref().ok_or_else(|| usage("no `--permit` is given".to_owned()))?;
    let Some(mut permit) = Permit::read(path)? else {
        return Err(Failure::new(
            Kind::Refused,
            format!("no permit to patch: `{}` is not there", path.display()),
        )
        .hint("`--check before` writes it, in an earlier step of this pod"));
    };
    context.result(VOLUME_MODE, &permit.volume_mode);
    match permit.state {
        State::Already | State::Patched => {
            return Ok(Done::new(format!("disk of claim `{}` was patched already", permit.claim)));
        }
        State::Begun => {
            return Err(half_patched(context, &permit.claim, "an earlier run on it began and did not end"));
        }
        State::Granted => {}
    }
    fits(disk, &permit).map_err(usage)?;
    let (commands, text) = read_commands(args)?;
    permit.state = State::Begun;
    permit.write(path)?;
    let child = start(args, disk, &commands).inspect_err(|_| {
        // nothing was run, so nothing is half done
        permit.state = State::Granted;
        let _ = permit.write(path);
    })?;
    context.result(CHANGED, "true");
    let began = Instant::now();
    let tail = Tail::default();
    match watch(child, context, Hidden::of(&text), &tail).await {
        Ended::By(status) if status.success() => {}
        Ended::By(status) => {
            let why = format!("virt-customize {}: {}", how(status), tail.reason());
            return Err(half_patched(context, &permit.claim, &why));
        }
        Ended::Stopped => {
            return Err(half_patched(context, &permit.claim, "virt-customize was ended by a signal"));
        }
        Ended::TooLong => {
            let why =
                format!("virt-customize was not done after {} and was ended", human(args.edge.timeout.get()));
            return Err(half_patched(context, &permit.claim, &why));
        }
        Ended::Lost(why) => {
            return Err(half_patched(context, &permit.claim, &format!("virt-customize was lost: {why}")));
        }
    }
    permit.state = State::Patched;
    permit.write(path)?;
    Ok(Done::new(format!("patched the disk of claim `{}` in {}", permit.claim, human(began.elapsed()))))
}

/// A disk that nobody can vouch for.
pub(crate) fn half_patched(context: &Context, claim: &str, why: &str) -> Failure {
    context.result(REASON, "HalfPatched");
    Failure::new(Kind::Failed, format!("disk of claim `{claim}` may be half patched: {why}"))
        .hint("restore the snapshot from before, and do not start the machine until then")
}

/// The disk is what was checked: a file on a file system, or a device; never a link to something else.
fn fits(disk: &Path, permit: &Permit) -> Result<(), String> {
    let shown = disk.display();
    let kind = fs::symlink_metadata(disk)
        .map_err(|error| format!("cannot use disk `{shown}`: {error}"))?
        .file_type();
    let (fits, wanted) = if permit.is_block() {
        (kind.is_block_device(), "a block device")
    } else {
        (kind.is_file(), "a file")
    };
    if fits {
        Ok(())
    } else {
        Err(format!("cannot use disk `{shown}`: it is not {wanted}, as the claim `{}` says", permit.claim))
    }
}

/// The file of commands, and what it holds: something.
pub(crate) fn read_commands(args: &Args) -> Result<(PathBuf, String), Failure> {
    let file = commands_file(args)?;
    let text = fs::read_to_string(&file).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot read commands `{}`: {error}", file.display()))
    })?;
    if commands::any(&text) {
        return Ok((file, text));
    }
    Err(Failure::new(Kind::Usage, format!("commands `{}` hold none", file.display())))
}

fn commands_file(args: &Args) -> Result<PathBuf, Failure> {
    match (&args.commands_file, &args.profile, &args.profiles) {
        (Some(file), ..) => Ok(file.clone()),
        // a label: it cannot lead out of the folder
        (None, Some(profile), Some(folder)) => {
            let file = folder.join(format!("{profile}.commands"));
            if file.is_file() {
                return Ok(file);
            }
            let known = profiles(folder);
            let hint = if known.is_empty() {
                format!("`{}` holds no file `<name>.commands`", folder.display())
            } else {
                format!("the site has `{}`", known.join("`, `"))
            };
            Err(Failure::new(Kind::Invalid, format!("there is no profile `{profile}`")).hint(hint))
        }
        _ => Err(Failure::new(Kind::Usage, "neither `--commands-file` nor `--profile` is given")),
    }
}

fn profiles(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.file_name());
    let mut names: Vec<String> =
        names.filter_map(|n| n.to_str()?.strip_suffix(".commands").map(str::to_owned)).collect();
    names.sort();
    names
}

fn start(args: &Args, disk: &Path, commands: &Path) -> Result<Child, Failure> {
    let mut command = Command::new(&args.virt_customize);
    // KubeVirt's disks are raw. Were that guessed, a guest could write a qcow2 header that names another file.
    command.arg("--format").arg("raw").arg("--add").arg(disk).arg("--commands-from-file").arg(commands);
    // its log inside the guest would keep what commands printed
    command.arg("--no-logfile");
    if args.selinux_relabel {
        command.arg("--selinux-relabel");
    }
    if !args.network {
        command.arg("--no-network");
    }
    if std::env::var_os("LIBGUESTFS_BACKEND").is_none() {
        // the other one asks for a libvirt daemon, which no container has
        command.env("LIBGUESTFS_BACKEND", "direct");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // a group of its own: its appliance ends with it
    command.process_group(0).kill_on_drop(true).spawn().map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot run `{}`: {error}", args.virt_customize.display()))
            .hint("run this step in an image of libguestfs")
    })
}

enum Ended {
    By(ExitStatus),
    Stopped,
    TooLong,
    Lost(String),
}

/// To its end, or to ours.
async fn watch(mut child: Child, context: &Context, hidden: Hidden, tail: &Tail) -> Ended {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let hidden = Arc::new(hidden);
    let out = child.stdout.take().map(|s| tokio::spawn(pass_on(s, Arc::clone(&hidden), tail.clone())));
    let err = child.stderr.take().map(|s| tokio::spawn(pass_on(s, Arc::clone(&hidden), tail.clone())));
    let ended = tokio::select! {
        status = child.wait() => status.map_or_else(|e| Ended::Lost(e.to_string()), Ended::By),
        () = context.stopped() => Ended::Stopped,
        () = sleep_until(Instant::from_std(context.deadline())) => Ended::TooLong,
    };
    if !matches!(ended, Ended::By(_)) {
        let signal = |signal| group.map(|group| kill_process_group(group, signal));
        let _ = signal(Signal::TERM);
        if timeout(GRACE, child.wait()).await.is_err() {
            let _ = signal(Signal::KILL);
            let _ = child.wait().await;
        }
    }
    for reader in [out, err].into_iter().flatten() {
        let _ = timeout(DRAIN, reader).await;
    }
    ended
}

/// libguestfs' tools end with 1; what calls them with -1, -2 or -3 arrives as 255, 254 or 253.
fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
