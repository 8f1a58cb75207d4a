//! A machine that is provisioned while something goes wrong, or another way.

use anyhow::{Context as _, Result, anyhow};
use clap::builder::PossibleValuesParser;
use testbed::scenario::{self, Place, Scenario};
use testbed::stage::PARENT;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::day_two::NAMESPACE;
use super::scene::{Scene, play_with};

/// The machine.
const MACHINE: &str = "web";

/// What can be asked for.
pub(super) fn names() -> PossibleValuesParser {
    scenario::all().map(|scenario| scenario.name).into()
}

/// Run `provision-vm` in the scenario of this name, and show how it ended.
pub(super) async fn show(scene: &Scene<'_>, name: &str) -> Result<()> {
    let scenario = Scenario::named(name).with_context(|| format!("no scenario `{name}`"))?;
    println!("\n=== {name}: {}\n  source: {}", scenario.about, scenario.source);
    let request = scenario.request(NAMESPACE, MACHINE);
    println!("{}", serde_json::to_string_pretty(&request["spec"])?);
    let accepted =
        vm::request::Accepted::parse(&request.to_string()).map_err(|problem| anyhow!("{problem}"))?;
    let place = Place {
        stage: scene.stage,
        server: scene.server,
        namespace: NAMESPACE.to_owned(),
        name: MACHINE.to_owned(),
        parent: PARENT.to_owned(),
        volume: request["spec"].get("disks").map(|_| accepted.volume("root")),
    };
    scenario.begin(&place).await?;
    let mut flow = scene.flow("provision-vm", name, &request)?;
    flow.params.insert("timeout".to_owned(), scenario.timeout.to_owned());
    let (mut words, mut turned) = (scenario.turns_at(), Ok(()));
    let ended = block_in_place(|| {
        play_with(&flow, &mut |line| {
            if words.take_if(|words| line.contains(*words)).is_some() {
                turned = Handle::current().block_on(scenario.turn(&place));
            }
        })
    })?;
    turned?;
    let result = |name: &str| ended.results.get(name).cloned().unwrap_or_default();
    println!("\n=== what the requester is told\n{}: {}", result("outcome"), result("message"));
    Ok(())
}
