//! The other layouts, as the real Argo CD builds them: a machine is made, made larger, stopped and removed.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::ends::gone;
use super::power::{power, stopped};
use super::{day_two, expect, request, runs};
use crate::setup::World;

/// A base, and the overlay of an environment.
pub(super) fn kustomize(world: &World) -> Result<()> {
    let params = [("layout", "kustomize"), ("environment", "prod")];
    every_edit(world, "overlaid", &params, "overlays/prod/memory.yaml", "overlays/prod/power.yaml")
}

/// Values, and the chart beside them; Argo CD's repo-server needs `helm`, as it has it from its own image.
pub(super) fn helm_values(world: &World) -> Result<()> {
    every_edit(world, "charted", &[("layout", "helm-values")], "values.yaml", "values.yaml")
}

/// `memory` and `power` are the files that hold these.
fn every_edit(
    world: &World,
    name: &str,
    params: &[(&str, &str)],
    memory: &str,
    power_file: &str,
) -> Result<()> {
    let file = |file: &str| -> Result<String> {
        let path = format!("vms/in-cluster/{}/{name}/{file}", world.machines);
        String::from_utf8(world.git().read("main", &path)?).context(path)
    };
    world.start(name, &request(world, name, name), params)?;
    runs(world, &world.ended(name)?, name)?;
    ensure!(file(memory)?.contains("128Mi") && file(power_file)?.contains("Always"), "not in that layout");

    let larger = json!({"compute": {"memory": "160Mi"}, "allowRestart": true});
    let resize = format!("resize-{name}");
    expect(&world.flow("resize-vm", &resize, &day_two(world, &resize, "resize", name, larger))?, "ok")?;
    let found = world.kubectl.get(&["virtualmachineinstance", name, "-n", &world.machines])?;
    ensure!(found["spec"]["domain"]["memory"]["guest"] == "160Mi", "{}", found["spec"]["domain"]["memory"]);
    ensure!(file(memory)?.contains("160Mi"), "{}", file(memory)?);

    power(world, &format!("stop-{name}"), "stop", name)?;
    stopped(world, name)?;
    ensure!(file(power_file)?.contains("Halted"), "{}", file(power_file)?);

    let remove = format!("remove-{name}");
    expect(
        &world.flow("deprovision-vm", &remove, &day_two(world, &remove, "deprovision", name, json!({})))?,
        "ok",
    )?;
    gone(world, name)
}
