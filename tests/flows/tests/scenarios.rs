//! The provision flow in every scenario of the testbed: how it ends, and what it says last.
//!
//! What it has to say stands in `scenarios/*.txt`, whole; `SNAPSHOTS=overwrite` writes that anew. `--nocapture` prints the table, and
//! `SCENARIO=TEXT,…` runs those alone whose name holds one of the texts.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which prints a table")]

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use flows::{World, told, volume};
use serde_json::json;
use testbed::git::Entry;
use testbed::scenario::{Place, Scenario, all};
use testbed::stage::{ARGOCD, PARENT};
use tokio::runtime::Handle;

/// The machine of each scenario, in a namespace of its own.
const MACHINE: &str = "web";
/// Most of them wait most of the time.
const SIDE_BY_SIDE: usize = 8;

/// How a scenario ended.
struct Row {
    scenario: &'static Scenario,
    /// The exit code of the step that decided.
    code: i32,
    outcome: String,
    message: String,
    took: Duration,
}

impl Row {
    fn line(&self) -> String {
        format!("{} | {} {} | {}\n", self.scenario.name, self.code, self.outcome, self.message)
    }
}

/// Two clusters, for two cores: a stand-in looks after its machines one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_of_argo_cd_ends_with_its_cause() {
    end_with_their_cause(|name| name.starts_with("argocd-"), "argocd").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_of_machines_and_disks_ends_with_its_cause() {
    end_with_their_cause(|name| !name.starts_with("argocd-"), "machines").await;
}

async fn end_with_their_cause(wanted: fn(&str) -> bool, file: &str) {
    let only = std::env::var("SCENARIO").unwrap_or_default();
    let wanted = |name: &str| wanted(name) && only.split(',').any(|part| name.contains(part));
    let scenarios: Vec<&Scenario> = all().filter(|scenario| wanted(scenario.name)).collect();
    if scenarios.is_empty() {
        return println!("no scenario is named so");
    }
    let world = World::start_wide(SIDE_BY_SIDE).await.unwrap();
    set(&world, &scenarios).await;
    let mut queue = scenarios.clone();
    // what waits longest first: those that end by their deadline, then those that something has to bring on
    queue.sort_by_key(|scenario| !scenario.lasts());
    let (queue, rows) = (Mutex::new(VecDeque::from(queue)), Mutex::new(Vec::new()));
    let runtime = Handle::current();
    let begun = Instant::now();
    let lane = || {
        let _context = runtime.enter();
        loop {
            let Some(scenario) = queue.lock().unwrap().pop_front() else { return };
            let row = run(&world, scenario, &runtime);
            rows.lock().unwrap().push(row);
        }
    };
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let lanes = [(); SIDE_BY_SIDE].map(|()| scope.spawn(lane));
            for lane in lanes {
                lane.join().unwrap();
            }
        });
    });
    let rows = rows.into_inner().unwrap();
    let mut lines: Vec<_> = rows.iter().map(Row::line).collect();
    lines.sort();
    let table = lines.concat();
    for row in &rows {
        println!("{:>4}s {}", row.took.as_secs(), row.scenario.name);
    }
    println!(
        "\n{} scenarios in {}s, {SIDE_BY_SIDE} side by side\n\n{table}",
        rows.len(),
        begun.elapsed().as_secs()
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(file).with_extension("txt");
    let known = fs::read_to_string(&file).unwrap();
    let chosen = |line: &&str| line.split(" | ").next().is_some_and(wanted);
    if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
        let others = known.lines().filter(|line| !chosen(line)).chain(table.lines());
        let mut lines: Vec<_> = others.map(|line| format!("{line}\n")).collect();
        lines.sort();
        fs::write(&file, lines.concat()).unwrap();
        return;
    }
    let known: Vec<_> = known.lines().filter(chosen).collect();
    for (is, wanted) in table.lines().zip(&known) {
        assert_eq!(is, *wanted);
    }
    assert_eq!(table.lines().count(), known.len());
}

/// For each scenario a namespace, and an Application that makes those of its machines: what is wrong with one concerns no other.
async fn set(world: &World, scenarios: &[&Scenario]) {
    let readme =
        |name: &str| Entry::file(format!("applications/in-cluster/{name}/README.md"), "One scenario.\n");
    let entries: Vec<_> = scenarios.iter().map(|scenario| readme(scenario.name)).collect();
    world.server.git().commit(&entries, "a folder for each scenario").unwrap();
    world.delete(&application(PARENT)).await.unwrap();
    for Scenario { name, .. } in scenarios {
        world.stage.plane().ensure_namespace(name).await.unwrap();
        let parent = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": ARGOCD},
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": world.server.url(), "targetRevision": "main", "path": format!("applications/in-cluster/{name}"),
                    "directory": {"recurse": true},
                },
                "destination": {"name": "in-cluster", "namespace": ARGOCD},
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true, "allowEmpty": true}},
            },
        });
        world.put(&application(name), &parent).await.unwrap();
    }
}

/// The path of an Application.
fn application(name: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{ARGOCD}/applications/{name}")
}

fn run(world: &World, scenario: &'static Scenario, runtime: &Handle) -> Row {
    let begun = Instant::now();
    let request = scenario.request(scenario.name, MACHINE);
    let place = Place {
        stage: &world.stage,
        server: &world.server,
        namespace: scenario.name.to_owned(),
        name: MACHINE.to_owned(),
        parent: scenario.name.to_owned(),
        volume: request["spec"].get("disks").map(|_| volume(&request, "root").unwrap()),
    };
    runtime.block_on(scenario.begin(&place)).unwrap();
    let mut flow = world.flow("provision-vm", scenario.name, &request).unwrap();
    flow.params.insert("parent-application".to_owned(), format!("{ARGOCD}/{}", place.parent));
    flow.params.insert("timeout".to_owned(), scenario.timeout.to_owned());
    let ended = match scenario.turns_at() {
        Some(words) => world.play_until(&flow, words, async || scenario.turn(&place).await),
        None => world.play_until(&flow, "▶ await-vm / wait-synced", async || scenario.arrive(&place).await),
    };
    let ended = ended.unwrap();
    let steps = ["publish-vm", "await-vm"]
        .iter()
        .filter_map(|task| ended.tasks.get(*task))
        .flat_map(|task| &task.steps);
    let code = steps.map(|step| step.code).find(|code| *code != 0).unwrap_or(0);
    let (outcome, message) = told(&ended);
    assert_eq!(ended.succeeded, outcome == "ok", "{}: {message}", scenario.name);
    // what is over is not looked after any more
    let over = async || {
        world.delete(&application(&place.parent)).await?;
        scenario.end(&place);
        world.delete(&application(&place.application())).await
    };
    if let Err(error) = runtime.block_on(over()) {
        println!("{}: {error:#}", scenario.name);
    }
    Row { scenario, code, outcome, message: without_commits(&message), took: begun.elapsed() }
}

/// Without what differs from run to run: the ids of commits are `COMMIT`; and of a machine that is as declared the flow says the commit
/// only if Argo CD has, where the machine itself may be the witness.
fn without_commits(message: &str) -> String {
    let is_id =
        |word: &str| word.len() == 7 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut text = String::new();
    for part in message.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_id(word) {
            text.push_str("COMMIT");
            text.push_str(&part[word.len()..]);
        } else {
            text.push_str(part);
        }
    }
    text.replace("is ready at COMMIT", "is ready").replace("is stopped at COMMIT", "is stopped")
}

#[test]
fn a_commits_id_is_no_part_of_the_table() {
    let message = "is ready at 0123abc on node `node1`, is Synced at deadbee (want fffffff), abcdefab";
    assert_eq!(
        without_commits(message),
        "is ready on node `node1`, is Synced at COMMIT (want COMMIT), abcdefab"
    );
}
