//! Stop, start, restart; one operation at a time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::git::Entry;

use super::{day_two, ensure_holds, expect, request};
use crate::report::Ended;
use crate::setup::World;
use crate::until;

/// The grace period in seconds of a machine that is slow to stop: the blank disk ignores ACPI, so all of it passes. A busy cluster takes
/// the best part of a minute for a flow that does not wait for it.
const SLOW: u64 = 120;

/// The file that holds a machine.
pub(super) fn file(world: &World, name: &str) -> String {
    format!("vms/in-cluster/{}/{name}/virtual-machine.yaml", world.machines)
}

pub(super) fn instance_uid(world: &World, name: &str) -> Result<Option<String>> {
    let found = world.kubectl.find(&["virtualmachineinstance", name, "-n", &world.machines])?;
    Ok(found.and_then(|vmi| vmi["metadata"]["uid"].as_str().map(str::to_owned)))
}

/// Nothing of it runs, and it says so itself.
pub(super) fn stopped(world: &World, name: &str) -> Result<()> {
    ensure!(instance_uid(world, name)?.is_none(), "there is a VirtualMachineInstance");
    let machine = world.machine(name)?.with_context(|| format!("no VirtualMachine {name}"))?;
    ensure!(machine["spec"]["runStrategy"] == "Halted", "{}", machine["spec"]["runStrategy"]);
    ensure!(machine["status"]["printableStatus"] == "Stopped", "{}", machine["status"]);
    Ok(())
}

/// It runs, and is ready.
pub(super) fn running(world: &World, name: &str) -> Result<()> {
    let machine = world.machine(name)?.with_context(|| format!("no VirtualMachine {name}"))?;
    ensure!(machine["status"]["printableStatus"] == "Running", "{}", machine["status"]);
    ensure!(machine["status"]["ready"] == true, "{}", machine["status"]);
    Ok(())
}

/// Ask for `start`, `stop` or `restart`, and be told `ok`.
pub(super) fn power(world: &World, run: &str, operation: &str, name: &str) -> Result<Ended> {
    let ended = world.flow("power-vm", run, &day_two(world, run, operation, name, json!({})))?;
    expect(&ended, "ok")?;
    Ok(ended)
}

/// Off and on again, with an edit by hand that has to survive byte by byte.
pub(super) fn stop_and_start(world: &World) -> Result<()> {
    let file = file(world, "plain");
    let mut text = b"# edited by hand   \n".to_vec();
    text.extend(world.git().read("main", &file)?);
    world.git().commit(&[Entry::file(&file, text.clone())], "edited by hand")?;
    power(world, "stop-plain", "stop", "plain")?;
    stopped(world, "plain")?;
    let off = String::from_utf8(world.git().read("main", &file)?)?;
    let on = String::from_utf8(text)?;
    ensure!(off == on.replace("\"Always\"", "\"Halted\""), "more than one value changed:\n{off}");

    power(world, "stop-plain-again", "stop", "plain").map(drop)?;
    ensure!(
        world.git().read("main", &file)? == off.as_bytes(),
        "stopping a stopped machine changed its file"
    );
    let record = format!("{}-stop-plain-again/power.yaml", world.run);
    ensure!(
        world.git().files("main")?.iter().any(|f| f.ends_with(&record)),
        "no record of the second request"
    );

    power(world, "start-plain", "start", "plain")?;
    running(world, "plain")?;
    ensure!(world.git().read("main", &file)? == on.as_bytes(), "on is not as before");
    Ok(())
}

/// One restart for one request, however often it is sent.
pub(super) fn restart_once(world: &World) -> Result<()> {
    let before = instance_uid(world, "plain")?.context("it does not run")?;
    power(world, "restart-plain", "restart", "plain")?;
    running(world, "plain")?;
    let after = instance_uid(world, "plain")?.context("it does not run")?;
    ensure!(before != after, "it is the same instance");

    let again = day_two(world, "restart-plain", "restart", "plain", json!({}));
    let ended = world.flow("power-vm", "restart-plain-again", &again)?;
    expect(&ended, "ok")?;
    ensure!(instance_uid(world, "plain")?.as_ref() == Some(&after), "it was restarted a second time");
    Ok(())
}

/// A guest that does not listen is switched off when the request says so, and not before.
pub(super) fn force_after(world: &World) -> Result<()> {
    let mut slow = request(world, "slow", "slow");
    slow["spec"]["lifecycle"]["gracePeriodSeconds"] = SLOW.into();
    expect(&world.provision("slow", &slow)?, "ok")?;
    let begun = Instant::now();
    let stop = day_two(world, "stop-slow", "stop", "slow", json!({"forceAfterSeconds": 5}));
    expect(&world.flow("power-vm", "stop-slow", &stop)?, "ok")?;
    stopped(world, "slow")?;
    let took = begun.elapsed().as_secs();
    ensure!(took < SLOW, "it took {took}s: the grace period of {SLOW}s was waited for");
    power(world, "start-slow", "start", "slow")?;

    let begun = Instant::now();
    power(world, "stop-slow-gently", "stop", "slow")?;
    stopped(world, "slow")?;
    let took = begun.elapsed().as_secs();
    ensure!(took >= SLOW, "it took {took}s: the guest was not given its {SLOW}s");
    Ok(())
}

/// Two requests for one machine at once: one waits for the other, and both are done in the end.
pub(super) fn one_at_a_time(world: &World) -> Result<()> {
    power(world, "start-slow-2", "start", "slow")?;
    let stop = day_two(world, "both-stop", "stop", "slow", json!({"forceAfterSeconds": 10}));
    let start = day_two(world, "both-start", "start", "slow", json!({}));
    world.start_flow("power-vm", "both-stop", &stop, &[])?;
    let lease = format!("in-cluster.{}.slow", world.machines);
    until("the first to hold the machine", Duration::from_mins(1), || {
        let lease = world.kubectl.find(&["lease", &lease, "-n", &world.namespace])?.unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        Ok(if holder.ends_with("both-stop") { Ok(()) } else { Err(format!("held by `{holder}`")) })
    })?;
    world.start_flow("power-vm", "both-start", &start, &[])?;
    let (first, second) = (world.ended("both-stop")?, world.ended("both-start")?);
    expect(&first, "ok")?;
    expect(&second, "ok")?;
    running(world, "slow")?;
    let log = world.git().git(&["log", "--format=%b", "main"])?;
    let at =
        |id: &str| log.find(&format!("{}-{id}", world.run)).with_context(|| format!("no commit of {id}"));
    ensure!(at("both-start")? < at("both-stop")?, "the second was committed before the first");
    let lease = world.kubectl.get(&["lease", &lease, "-n", &world.namespace])?;
    let holder = &lease["spec"]["holderIdentity"];
    ensure!(holder.as_str().unwrap_or_default().is_empty(), "the machine is still held by {holder}");
    Ok(())
}

/// A machine whose power Git does not own is driven by KubeVirt's own verbs, which leave no drift behind.
pub(super) fn by_api(world: &World) -> Result<()> {
    let file = file(world, "slow");
    let text = String::from_utf8(world.git().read("main", &file)?)?;
    let manual = text.replace("runStrategy: \"Always\"", "runStrategy: RerunOnFailure");
    ensure!(manual != text, "the machine is not declared Always");
    world.git().commit(&[Entry::file(&file, manual.into_bytes())], "power by its owner's hand")?;
    let application = format!("in-cluster.{}.slow", world.machines);
    let refresh = "argocd.argoproj.io/refresh=normal";
    world.kubectl.run(&["annotate", "application", &application, "-n", "argocd", refresh, "--overwrite"])?;
    until("the strategy to be live", Duration::from_mins(5), || {
        let machine = world.machine("slow")?.unwrap_or_default();
        let strategy = machine["spec"]["runStrategy"].as_str().unwrap_or_default().to_owned();
        Ok(if strategy == "RerunOnFailure" { Ok(()) } else { Err(strategy) })
    })?;
    let commits = world.git().log_of(&file)?;
    let task = |name: &str, power: &str, more: &[(&str, &str)]| -> Result<Value> {
        let vm = format!("{}/slow", world.machines);
        let mut params = vec![("vm", vm.as_str()), ("power", power), ("via", "api")];
        params.extend(more);
        world.task("stop-start-vm", "power-vm", name, &params)
    };
    let ended = task("api-off", "off", &[("force-after", "5s")])?;
    ensure!(ended["status"]["conditions"][0]["status"] == "True", "{}", ended["status"]["conditions"][0]);
    ensure!(instance_uid(world, "slow")?.is_none(), "there is a VirtualMachineInstance");
    let ended = task("api-on", "on", &[])?;
    ensure!(ended["status"]["conditions"][0]["status"] == "True", "{}", ended["status"]["conditions"][0]);
    running(world, "slow")?;
    ensure!(world.git().log_of(&file)? == commits, "its file changed");
    let machine = world.machine("slow")?.context("no VirtualMachine slow")?;
    ensure!(machine["spec"]["runStrategy"] == "RerunOnFailure", "the spec was changed");
    Ok(())
}

/// For a machine whose power Git owns the same is refused: Argo CD would undo it.
pub(super) fn by_api_refused(world: &World) -> Result<()> {
    let vm = format!("{}/plain", world.machines);
    let params = [("vm", vm.as_str()), ("power", "off"), ("via", "api")];
    let ended = world.task("stop-start-vm", "power-vm", "api-refused", &params)?;
    ensure!(ended["status"]["conditions"][0]["status"] == "False", "it was done");
    let results = ended["status"]["results"].as_array().cloned().unwrap_or_default();
    let message = results.iter().find(|r| r["name"] == "message").and_then(|r| r["value"].as_str());
    let message = message.unwrap_or_default();
    say!("  told: {message}");
    ensure_holds(message, &["Always"])?;
    running(world, "plain")
}
