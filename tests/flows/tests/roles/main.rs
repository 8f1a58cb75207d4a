//! The flows as the shipped accounts, on a real API server: they pass with exactly the roles of `tekton/rbac`, and each rule is needed.
//!
//! For each rule there is a flow that needs it. That flow is run by a copy of the account whose roles lack that one rule, and has to be
//! seen to lack it: nearly always by the outcome `permission` with the resource in its words. A rule without an entry in
//! the table fails the test. What is taken away is a whole rule; which verbs it has is held by the test of roles in tests/contract.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, which tells what it took away")]

mod alone;
mod lack;
mod play;
mod table;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use flows::{FLOWS, MACHINES, World, request, told};
use serde_json::{Value, json};
use testbed::pipeline::Flow;
use testbed::sshd::Sshd;

use lack::{Rule, rules, shipped};
use play::{Scene, soon};
use table::{Seen, TABLE};

/// Flows at a time: most of their time they wait until a refusal is taken to be lasting.
const LANES: usize = 14;

#[tokio::test(flavor = "multi_thread")]
async fn every_flow_passes_with_the_shipped_roles() {
    let world = World::start().await.unwrap();
    let accounts = [shipped(&world, FLOWS).await, shipped(&world, MACHINES).await];
    let scene = Scene::new(&world, &accounts);
    let done = async |flow: Flow| {
        let id = flow.run.name.clone();
        let ended = world.play(&flow).unwrap();
        assert!(ended.succeeded && told(&ended).0 == "ok", "{id}: {:?}", told(&ended));
        let lease = world.lease("web").await.unwrap().unwrap();
        assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "", "{id}");
        ended.results
    };
    let flow = |pipeline: &str, operation: &str, id: &str, spec: Value| {
        scene.flow(pipeline, id, &request(id, operation, "web", &spec))
    };
    done(scene.flow("provision-vm", "make", &flows::machine("web"))).await;
    done(flow("power-vm", "stop", "stop", json!({"forceAfterSeconds": 60}))).await;
    done(flow("power-vm", "start", "start", Value::Null)).await;
    done(flow("power-vm", "restart", "restart", Value::Null)).await;
    done(flow("snapshot-vm", "snapshot", "first", Value::Null)).await;
    let snapshot = done(flow("snapshot-vm", "snapshot", "second", json!({"keepCount": 1}))).await;
    assert_eq!(world.count("snapshot.kubevirt.io/v1beta1", "virtualmachinesnapshots").await.unwrap(), 1);
    done(flow("restore-vm", "restore", "restore", json!({"snapshot": snapshot["snapshot-name"]}))).await;
    let image = json!({"image": {"source": "http", "url": "https://images.example.com/second.img"}});
    done(flow("repave-vm", "repave", "repave", image)).await;
    let larger = json!({"compute": {"memory": "2Gi"}, "disks": [{"name": "data", "size": "3Gi"}], "allowRestart": true});
    done(flow("resize-vm", "resize", "larger", larger)).await;
    done(scene.patch("patch", "web").await).await;
    let sshd = Sshd::start().unwrap();
    sshd.knows(&[&format!("{MACHINES}/web")], "host").unwrap();
    done(scene.guest("guest", "web", &sshd)).await;
    done(flow("deprovision-vm", "deprovision", "remove", Value::Null)).await;
    done(flow("undelete-vm", "undelete", "undelete", Value::Null)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flow_passes_without_a_rule() {
    let world = World::start().await.unwrap();
    let accounts = [shipped(&world, FLOWS).await, shipped(&world, MACHINES).await];
    let rules = rules(&accounts[0].objects);
    let known: BTreeSet<(&str, &str)> =
        TABLE.iter().flat_map(|row| row.3.iter().map(|resource| (row.0, *resource))).collect();
    let written: BTreeSet<(&str, &str)> = rules.iter().map(Rule::key).collect();
    assert_eq!(rules.len(), written.len(), "an account has two rules about one resource");
    assert_eq!(written, known, "left: the rules of tekton/rbac; right: those of the table");
    let scene = Scene::new(&world, &accounts);
    scene.furnish().await;
    let problems = Mutex::new(Vec::new());
    let work = Mutex::new(chains(&rules));
    let runtime = tokio::runtime::Handle::current();
    let lane = || {
        loop {
            let Some((number, chain)) = work.lock().unwrap().pop_front() else { return };
            for problem in runtime.block_on(scene.chain(number, chain)) {
                println!("PROBLEM {problem}");
                problems.lock().unwrap().push(problem);
            }
        }
    };
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| (0..LANES).for_each(|_| drop(scope.spawn(lane))));
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Rules whose absence is seen one after the other on one machine, by the same request.
type Chain<'a> = (play::Play, Vec<(Rule, &'a Seen)>);

/// The longest first.
fn chains(rules: &[Rule]) -> VecDeque<(usize, Chain<'static>)> {
    let mut all: Vec<Chain<'static>> = Vec::new();
    for (account, play, seen, resources) in TABLE {
        let wanted =
            rules.iter().filter(|r| r.account == *account && resources.contains(&r.resource.as_str()));
        let wanted: Vec<_> = wanted.map(|r| (r.clone(), seen)).collect();
        // a row is about one machine, if what is refused leaves it as it was
        let length = if *seen == Seen::Refused { 3 } else { 1 };
        all.extend(wanted.chunks(length).map(|chunk| (*play, chunk.to_vec())));
    }
    all.sort_by_key(|(play, chunk)| std::cmp::Reverse(play.weight() * chunk.len()));
    all.into_iter().enumerate().collect()
}

impl Scene<'_> {
    /// Run one chain on a machine of its own; what did not go as it should.
    async fn chain(&self, number: usize, (play, chain): Chain<'_>) -> Vec<String> {
        let name = format!("m{number}");
        let prepared = self.prepare(play, &name).await;
        let mut problems = Vec::new();
        for (n, (rule, seen)) in chain.iter().enumerate() {
            let began = Instant::now();
            let lacking = rule.lacking(self.world, play.namespace(), &format!("{number}-{n}")).await;
            let flow = self.staged(&prepared, &format!("{name}-{n}"), Some((&rule.account, &lacking))).await;
            let flow = if **seen == Seen::Refused { soon(flow) } else { flow };
            let (ended, lines) = self.world.hear(&flow).unwrap();
            let found = match seen {
                Seen::Refused => rule.refused(&ended, &lines),
                Seen::Untold(words) => {
                    let again = self.staged(&prepared, &format!("{name}-{n}-with"), None).await;
                    let (_, with) = self.world.hear(&again).unwrap();
                    match (lines.contains(words), with.contains(words)) {
                        (false, true) => Ok(()),
                        found => Err(format!("`{words}` is told without it and with it: {found:?}")),
                    }
                }
                Seen::Kept => {
                    let lease = self.world.lease(&name).await.unwrap().unwrap();
                    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
                    if ended.succeeded && !holder.is_empty() {
                        Ok(())
                    } else {
                        Err(format!("held by `{holder}`"))
                    }
                }
                Seen::Size { without, with } => {
                    let claim = self.world.claim(&name, "data").await.unwrap();
                    let size = async || {
                        let claim =
                            self.world.object("v1", "persistentvolumeclaims", &claim).await.unwrap().unwrap();
                        claim["spec"]["resources"]["requests"]["storage"].as_str().unwrap().to_owned()
                    };
                    let first = size().await;
                    let again = self.staged(&prepared, &format!("{name}-{n}-with"), None).await;
                    self.world.play(&again).unwrap();
                    let second = size().await;
                    if (first.as_str(), second.as_str()) == (*without, *with) {
                        Ok(())
                    } else {
                        Err(format!("{first}, then {second}"))
                    }
                }
            };
            println!("{rule}: {play:?}, {} s: {found:?}", began.elapsed().as_secs());
            if let Err(why) = found {
                problems.push(format!("{rule}: {play:?}: {why}; {:?}", told(&ended)));
            }
        }
        // nothing is left behind by what was refused: with all rules it goes on to its end
        if chain.iter().all(|(_, seen)| **seen == Seen::Refused) && play.goes_on() {
            let flow = self.staged(&prepared, &format!("{name}-again"), None).await;
            let ended = self.world.play(&flow).unwrap();
            if !ended.succeeded {
                problems.push(format!(
                    "{play:?} with all rules, after it was refused without: {:?}",
                    told(&ended)
                ));
            }
        }
        problems
    }
}
