//! What the steps behind this one need to know.

use step::{Context, Failure, Kind};
use vm::day_two::{DataDisks, Operation};
use vm::definition::{Definition, Disk, Life};
use vm::layout::ROOT;
use vm::operation::Phase;
use vm::request::{Accepted, Checks, Power};

use crate::Args;
use crate::day_two::growth;

/// The Argo CD Application, `<namespace>/<name>`.
pub const APPLICATION: &str = "application";
/// The machine, `<namespace>/<name>`.
pub const VM: &str = "vm";
/// The digest of the request, `sha256:<64 hexadecimal digits>`.
pub const DIGEST: &str = "digest";
/// What the flow waits for, as Git declares it after this phase: `ready`, `stopped` or `absent`.
pub const UNTIL: &str = "until";
/// Whether ready needs the guest agent: `true` or `false`.
pub const REQUIRE_GUEST_AGENT: &str = "require-guest-agent";
/// Whether ready needs an address: `true` or `false`.
pub const REQUIRE_IP: &str = "require-ip";
/// The TCP port that ready needs; empty for none.
pub const REQUIRE_TCP_PORT: &str = "require-tcp-port";
/// The claim that the machine boots from after this phase; empty for none.
pub const BOOT_CLAIM: &str = "boot-claim";
/// The claims that are to grow: `<claim>=<size>`, separated by commas; empty for none.
pub const GROW_DISKS: &str = "grow-disks";
/// Whether the machine may be restarted to take the change up: `true` or `false`.
pub const ALLOW_RESTART: &str = "allow-restart";
/// Claims of a machine that is removed that stay, separated by commas; empty for none.
pub const KEEP_CLAIMS: &str = "keep-claims";
/// Claims of a machine that is removed that go with it, separated by commas; empty for none.
pub const GONE_CLAIMS: &str = "gone-claims";
/// Whether a later phase of the same operation is in Git, so that all between it and this one was done: `true` or `false`.
pub const FINISHED: &str = "finished";
/// The site's file of commands that patches the boot disk, by its name; empty for none.
pub const PROFILE: &str = "profile";
/// What `stop-start-vm` has to do about it: `as-declared` or `restart`.
pub const POWER: &str = "power";
/// How long after a guest that is still up loses its power, such as `30s`; empty for the machine's own grace period.
pub const FORCE_AFTER: &str = "force-after";
/// How long the machine has to prove itself before what was replaced is removed, such as `600s`; empty where nothing was.
pub const PROVE_FOR: &str = "prove-for";

/// What the other results of the step (`outcome`, `changed`, `message`) need in any case, in bytes.
const OTHERS: usize = 200;
/// What Tekton adds to each result, as `step` reckons it.
const EACH: usize = 24;

/// The names of the last three results, with what Tekton adds to each.
const NAMES: usize = GONE_CLAIMS.len() + KEEP_CLAIMS.len() + GROW_DISKS.len() + 3 * EACH;

/// Set all results; `after` is what Git holds after this phase, which a new machine does not need.
pub(crate) fn set(
    args: &Args,
    request: &Accepted,
    after: Option<&Definition>,
    context: &Context,
) -> Result<(), Failure> {
    let target = request.target();
    let operation = request.day_two().map(|request| &request.spec.operation);
    let provisioned = after.and_then(|definition| definition.request.as_ref()).map(|r| r.spec.checks.clone());
    let checks: Checks = request.checks().cloned().or(provisioned).unwrap_or_default();
    context.result(APPLICATION, format!("{}/{}", args.application_namespace, target.application()));
    context.result(VM, format!("{}/{}", target.namespace, target.name));
    context.result(DIGEST, request.digest());
    context.result(UNTIL, until(request, after));
    context.result(REQUIRE_GUEST_AGENT, checks.guest_agent.to_string());
    context.result(REQUIRE_IP, checks.ip.to_string());
    context.result(REQUIRE_TCP_PORT, checks.tcp_port.map_or_else(String::new, |port| port.to_string()));
    context.result(BOOT_CLAIM, boot_claim(request, after));
    let growth = grow_disks(operation, after);
    context.result(
        ALLOW_RESTART,
        match operation {
            Some(Operation::Resize(spec)) => spec.allow_restart,
            // the machine boots from another disk only when it boots
            Some(Operation::Repave(_)) => true,
            _ => false,
        }
        .to_string(),
    );
    context.result(FINISHED, finished(args, request, after).to_string());
    let profile = match operation {
        Some(Operation::Patch(spec)) => spec.profile.to_string(),
        _ => String::new(),
    };
    context.result(PROFILE, profile);
    let restart = matches!(operation, Some(Operation::Restart(_)));
    context.result(POWER, if restart { "restart" } else { "as-declared" });
    let force_after = match operation {
        Some(Operation::Stop(spec) | Operation::Restart(spec)) => spec.force_after_seconds,
        _ => None,
    };
    // the flag that takes it has no zero
    context
        .result(FORCE_AFTER, force_after.map_or_else(String::new, |seconds| format!("{}s", seconds.max(1))));
    context.result(PROVE_FOR, prove_for(args, request, after));
    for (name, claims) in removed(args, request, after) {
        let claims = claims.join(",");
        if used(context) + NAMES + OTHERS + claims.len() > step::LIMIT && !claims.is_empty() {
            let what = "the names of the machine's disks are too long together: what becomes of each could not be looked at";
            return Err(Failure::new(Kind::Invalid, what)
                .hint("take disks out of the machine in Git first; those that stay keep their data"));
        }
        context.result(name, claims);
    }
    let used = used(context);
    if used + GROW_DISKS.len() + growth.len() + EACH + OTHERS > step::LIMIT && !growth.is_empty() {
        let what = "the names of the disks to grow are too long together for one request";
        return Err(Failure::new(Kind::Invalid, what).hint("send several requests"));
    }
    context.result(GROW_DISKS, growth);
    Ok(())
}

fn finished(args: &Args, request: &Accepted, after: Option<&Definition>) -> bool {
    let Some((definition, request)) = after.zip(request.day_two()) else { return false };
    let Ok(phase) = crate::day_two::phase(&request.spec.operation, args.phase) else { return false };
    let phases = Phase::of(request.spec.operation.word());
    let later = phases.iter().skip_while(|other| **other != phase).skip(1);
    later.into_iter().any(|other| definition.record(&request.metadata.request_id, *other).is_some())
}

/// Only where the new boot disk is there and the old one as well, and the machine runs: what is off proves nothing.
fn prove_for(args: &Args, request: &Accepted, after: Option<&Definition>) -> String {
    let operation = request.day_two().map(|request| &request.spec.operation);
    let (seconds, repaved) = match operation {
        Some(operation @ Operation::Repave(spec)) => {
            let phase = crate::day_two::phase(operation, args.phase);
            let open = phase.is_ok_and(|phase| phase == Phase::Repave) && !finished(args, request, after);
            (spec.rollback_for_seconds, open)
        }
        _ => (0, false),
    };
    if seconds > 0 && repaved && until(request, after) == "ready" {
        format!("{seconds}s")
    } else {
        String::new()
    }
}

fn until(request: &Accepted, after: Option<&Definition>) -> &'static str {
    let on = match (request, after) {
        (Accepted::Provision(request), _) => Some(request.spec.power == Power::On),
        (_, after) => after.and_then(|d| d.machine.as_ref()).map(vm::definition::Machine::is_on),
    };
    match on {
        Some(true) => "ready",
        Some(false) => "stopped",
        None => "absent",
    }
}

fn boot_claim(request: &Accepted, after: Option<&Definition>) -> String {
    match request {
        Accepted::Provision(request) if request.spec.image.has_root_disk() => request.volume(ROOT),
        Accepted::Provision(request) => match &request.spec.image {
            vm::request::Image::Pvc { claim } => claim.to_string(),
            _ => String::new(),
        },
        Accepted::DayTwo(_) => {
            let machine = after.and_then(|definition| definition.machine.as_ref());
            machine.and_then(|m| m.boot_disk()).map_or_else(String::new, |disk| disk.claim.clone())
        }
    }
}

fn used(context: &Context) -> usize {
    context.results().iter().map(|(name, value)| name.len() + value.len() + EACH).sum()
}

/// The claims of a machine that is removed, those that go and those that stay. Argo CD removes what a file of the machine's folder
/// makes, unless that file says otherwise, and the machine takes with it what it made itself. Where an earlier run of the request
/// has removed it, the tombstone knows.
fn removed(args: &Args, request: &Accepted, after: Option<&Definition>) -> [(&'static str, Vec<String>); 2] {
    let none = [(GONE_CLAIMS, Vec::new()), (KEEP_CLAIMS, Vec::new())];
    let Some((definition, request)) = after.zip(request.day_two()) else { return none };
    let Operation::Deprovision(spec) = &request.spec.operation else { return none };
    let delete = spec.disks == DataDisks::Delete;
    let goes = |disk: &Disk| disk.template || (disk.file.is_some() && (disk.boot || delete));
    let disks: Vec<(&str, bool)> = match &definition.machine {
        Some(machine) => machine.disks.iter().map(|disk| (disk.claim.as_str(), goes(disk))).collect(),
        None if crate::day_two::phase(&request.spec.operation, args.phase) == Ok(Phase::Stop) => {
            let ours = |life: &&Life| {
                let mut records = life.records.iter();
                records.any(|r| r.phase == Phase::Remove && *r.request_id() == request.metadata.request_id)
            };
            let tombstone = definition.archived.values().find(ours).and_then(|life| life.tombstone.as_ref());
            let buried = tombstone.map_or(&[][..], |tombstone| &tombstone.disks);
            buried.iter().map(|disk| (disk.claim.as_str(), !disk.kept)).collect()
        }
        None => return none,
    };
    let of = |goes: bool| {
        let named = disks.iter().filter(|(claim, gone)| !claim.is_empty() && *gone == goes);
        named.map(|(claim, _)| (*claim).to_owned()).collect()
    };
    [(GONE_CLAIMS, of(true)), (KEEP_CLAIMS, of(false))]
}

fn grow_disks(operation: Option<&Operation>, after: Option<&Definition>) -> String {
    let (Some(Operation::Resize(spec)), Some(definition)) = (operation, after) else { return String::new() };
    let growth = growth(definition, spec).into_iter().map(|(claim, size)| format!("{claim}={size}"));
    growth.collect::<Vec<_>>().join(",")
}
