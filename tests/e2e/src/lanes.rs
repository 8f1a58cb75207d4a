//! Scenarios one after the other; lanes of them side by side. What a scenario tells is printed whole when it has ended.

use std::cell::RefCell;
use std::time::Instant;

use crate::scenarios::Scenario;
use crate::setup::World;

thread_local! {
    static TOLD: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Add a line to what the scenario of this thread has to tell.
pub(crate) fn add(line: &str) {
    TOLD.with_borrow_mut(|told| {
        told.push_str(line);
        told.push('\n');
    });
}

/// What is to be run.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'p> {
    /// Whether a scenario of that name is wanted.
    pub(crate) chosen: &'p (dyn Fn(&str) -> bool + Sync),
    /// When no further one is begun.
    pub(crate) until: Option<Instant>,
}

/// How a scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passed,
    Failed,
    /// There was no time left to begin it.
    NotRun,
}

/// Run the chosen scenarios; each with its end.
pub(crate) fn run<'s>(world: &World, scenarios: &[(&'s str, Scenario)], plan: Plan) -> Vec<(&'s str, End)> {
    let chosen = scenarios.iter().filter(|(name, _)| (plan.chosen)(name));
    chosen
        .map(|(name, scenario)| {
            if plan.until.is_some_and(|until| Instant::now() > until) {
                return (*name, End::NotRun);
            }
            (*name, told(world, name, *scenario))
        })
        .collect()
}

fn told(world: &World, name: &str, scenario: Scenario) -> End {
    let begun = Instant::now();
    let result = scenario(world);
    let took = begun.elapsed().as_secs();
    match &result {
        Ok(()) => add(&format!("ok {name} {took}s")),
        Err(error) => {
            add(&format!("FAILED {name} {took}s: {error:#}"));
            world.keep_evidence(name);
        }
    }
    println!("\n=== {name}\n{}", TOLD.take().trim_end());
    if result.is_ok() { End::Passed } else { End::Failed }
}
