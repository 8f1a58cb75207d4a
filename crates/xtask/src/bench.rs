//! `cargo xtask bench`.

use std::path::Path;

use anyhow::{Context as _, Result};
use soak::race::{self, Finish};
use soak::size::{self, Cost};
use testbed::proxy::{Doors, Over};

use crate::process::{cargo, run};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Writers on one branch at the same time, each a process of `git-push`; 0 for none
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    writers: u32,
    /// Loops of `git pull --rebase` and `git push` to compare with, and as many writers of ours; 0 for none
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    loops: u32,
    /// Machines, of five files each, in the repositories that one push is measured into
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values_t = [1000, 20_000])]
    machines: Vec<usize>,
    /// Branches in each of them besides the one that is pushed to
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    branches: usize,
    /// How the repository is reached; in both ways unless given
    #[arg(long, value_name = "WAY", value_parser = ["http", "ssh"])]
    over: Option<String>,
}

/// How often a single push is measured; the median counts.
const PUSHES: u32 = 9;

/// Build `git-push` as it is shipped and let it race; an error if a commit is missing or too many.
pub(crate) fn bench(root: &Path, options: &Options) -> Result<()> {
    run(cargo(root).args(["build", "--release", "--package", "git-push", "--locked"]))?;
    let binary = root.join("target/release/git-push");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let wanted =
        |over: &Over| options.over.as_ref().is_none_or(|way| format!("{over:?}").eq_ignore_ascii_case(way));
    for over in Over::ALL.into_iter().filter(wanted) {
        let doors = || runtime.block_on(Doors::open());
        let mut first = None;
        for machines in &options.machines {
            let doors = doors()?;
            doors.server.git().fill(*machines, options.branches)?;
            let ours = size::ours(&binary, &doors, over, PUSHES)?;
            let theirs = size::theirs(&doors, over, PUSHES)?;
            costs(over, *machines, &ours, &theirs, first.get_or_insert(ours));
        }
        if options.writers > 0 {
            told("git-push", over, &race::ours(&binary, &doors()?, over, options.writers)?)?;
        }
        if options.loops > 0 {
            let ours = race::ours(&binary, &doors()?, over, options.loops)?;
            told("git-push", over, &ours)?;
            let theirs = race::loops(&doors()?, over, options.loops)?;
            told("git pull --rebase, git push", over, &theirs)?;
            println!("{over:?}: {:.1} times as fast", theirs.took.as_secs_f64() / ours.took.as_secs_f64());
        }
    }
    Ok(())
}

fn costs(over: Over, machines: usize, ours: &Cost, theirs: &Cost, first: &Cost) {
    let (took, git) = (ours.took.as_secs_f64(), theirs.took.as_secs_f64());
    let own = |cost: &Cost| cost.took.saturating_sub(cost.check).as_secs_f64();
    println!(
        "{over:?}: one push into {machines} machines: {:.0} ms, {} KiB of memory, {} bytes moved; the server takes {:.0} ms of it to check \
         that nothing is missing; {:.2} of the time into the first repository, {:.2} besides that check",
        took * 1e3,
        ours.peak / 1024,
        ours.moved,
        ours.check.as_secs_f64() * 1e3,
        took / first.took.as_secs_f64(),
        own(ours) / own(first),
    );
    println!(
        "{over:?}: a sparse clone of {machines} machines without blobs, and a push from it: {:.0} ms, {} bytes moved; ours takes {:.2} of it",
        git * 1e3,
        theirs.moved,
        took / git
    );
}

fn told(who: &str, over: Over, finish: &Finish) -> Result<()> {
    let attempts = Finish::quantiles(&finish.attempts).context("nobody has ended")?;
    let times = Finish::quantiles(&finish.times).context("nobody has ended")?;
    println!(
        "{over:?}: {} writers of `{who}`: all in {:.1} s; attempts p50 {}, p95 {}, max {}; seconds p50 {:.1}, p95 {:.1}, max {:.1}",
        finish.attempts.len(),
        finish.took.as_secs_f64(),
        attempts[0],
        attempts[1],
        attempts[2],
        times[0].as_secs_f64(),
        times[1].as_secs_f64(),
        times[2].as_secs_f64()
    );
    Ok(())
}
