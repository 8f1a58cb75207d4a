//! Pushes: one by the size of the repository, and many at once.

use std::path::Path;

use anyhow::{Context as _, Result};
use bench::report::{Budget, KIB, MIB, Measure, bytes_in, milliseconds};
use soak::race::{self, Finish};
use soak::size::{self, Cost};
use testbed::proxy::{Doors, Over};
use tokio::runtime::Runtime;

use super::{Options, Told};

/// How often a single push is measured; the median counts.
const PUSHES: u32 = 9;
/// The most that a push may take of what Git takes (issue 6, acceptance 5).
const OF_GIT: f64 = 0.5;
/// And of its own time into the smallest repository.
const OF_SMALLEST: f64 = 1.5;
/// The most that writers may take of what loops of Git take (issue 5, acceptance 1).
const OF_LOOPS: f64 = 0.1;

/// One push into repositories of several sizes.
pub(super) fn sizes(
    runtime: &Runtime,
    git_push: &Path,
    over: Over,
    options: &Options,
    told: &mut Told,
) -> Result<()> {
    let mut smallest: Option<(usize, Cost)> = None;
    for &machines in &options.machines {
        let doors = runtime.block_on(Doors::open())?;
        doors.server.git().fill(machines, options.branches)?;
        let ours = size::ours(git_push, &doors, over, PUSHES)?;
        let theirs = size::theirs(&doors, over, PUSHES)?;
        let what = format!("{over:?}: one push into {machines} machines");
        let took = Measure::new(what.clone(), milliseconds(ours.took), "ms")
            .beside("sparse clone without blobs, commit, push", milliseconds(theirs.took));
        // what a clone costs is its repository's size; in a small one both are mostly the server's
        told.tell(if smallest.is_some() { took.within(Budget::OfPeer(OF_GIT)) } else { took });
        told.tell(Measure::new(format!("{what}: memory"), bytes_in(MIB, ours.peak), "MiB"));
        told.tell(
            Measure::new(format!("{what}: bytes"), bytes_in(KIB, ours.moved), "KiB")
                .beside("that of the clone and its push", bytes_in(KIB, theirs.moved)),
        );
        let (first, least) = *smallest.get_or_insert((machines, ours));
        if first != machines {
            let into = format!("the same into {first}");
            let own = |cost: &Cost| milliseconds(cost.took.saturating_sub(cost.check));
            told.tell(
                Measure::new(format!("{what}, by size"), milliseconds(ours.took), "ms")
                    .beside(&into, milliseconds(least.took))
                    .within(Budget::OfPeer(OF_SMALLEST)),
            );
            told.tell(
                Measure::new(format!("{what}, without the server's own check"), own(&ours), "ms")
                    .beside(&into, own(&least)),
            );
        }
    }
    Ok(())
}

/// Many writers on one branch; an error if a commit is missing or too many.
pub(super) fn races(
    runtime: &Runtime,
    git_push: &Path,
    over: Over,
    options: &Options,
    told: &mut Told,
) -> Result<()> {
    let doors = || runtime.block_on(Doors::open());
    let ours = race::ours(git_push, &doors()?, over, options.writers)?;
    say("git-push", over, &ours)?;
    told.tell(seconds(over, options.writers, &ours));
    if options.loops > 0 {
        let ours = race::ours(git_push, &doors()?, over, options.loops)?;
        say("git-push", over, &ours)?;
        let theirs = race::loops(&doors()?, over, options.loops)?;
        say("git pull --rebase, git push", over, &theirs)?;
        told.tell(
            seconds(over, options.loops, &ours)
                .beside("loops of git pull --rebase, git push", theirs.took.as_secs_f64())
                .within(Budget::OfPeer(OF_LOOPS)),
        );
    }
    Ok(())
}

fn seconds(over: Over, writers: u32, finish: &Finish) -> Measure {
    Measure::new(format!("{over:?}: {writers} writers on one branch, all"), finish.took.as_secs_f64(), "s")
}

fn say(who: &str, over: Over, finish: &Finish) -> Result<()> {
    let attempts = Finish::quantiles(&finish.attempts).context("nobody has ended")?;
    let times = Finish::quantiles(&finish.times).context("nobody has ended")?;
    println!(
        "{over:?}: {} writers of `{who}`: attempts p50 {}, p95 {}, max {}; seconds p50 {:.1}, p95 {:.1}, max {:.1}",
        finish.attempts.len(),
        attempts[0],
        attempts[1],
        attempts[2],
        times[0].as_secs_f64(),
        times[1].as_secs_f64(),
        times[2].as_secs_f64()
    );
    Ok(())
}
