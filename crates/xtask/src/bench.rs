//! `cargo xtask bench`.

use std::path::Path;

use anyhow::{Context as _, Result};
use soak::race::{self, Finish};
use testbed::proxy::{Doors, Over};

use crate::process::{cargo, run};

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Writers on one branch at the same time, each a process of `git-push`
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    writers: u32,
    /// Loops of `git pull --rebase` and `git push` to compare with, and as many writers of ours; 0 for none
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    loops: u32,
    /// How the repository is reached; in both ways unless given
    #[arg(long, value_name = "WAY", value_parser = ["http", "ssh"])]
    over: Option<String>,
}

/// Build `git-push` as it is shipped and let it race; an error if a commit is missing or too many.
pub(crate) fn bench(root: &Path, options: &Options) -> Result<()> {
    run(cargo(root).args(["build", "--release", "--package", "git-push", "--locked"]))?;
    let binary = root.join("target/release/git-push");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let wanted =
        |over: &Over| options.over.as_ref().is_none_or(|way| format!("{over:?}").eq_ignore_ascii_case(way));
    for over in Over::ALL.into_iter().filter(wanted) {
        let doors = || runtime.block_on(Doors::open());
        told("git-push", over, &race::ours(&binary, &doors()?, over, options.writers)?)?;
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
