//! `cargo xtask bench`.

mod pushes;
mod steps;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use bench::chart;
use bench::report::{Measure, Report};
use testbed::proxy::Over;

use crate::image;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Measure these alone
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Writers on one branch at the same time, each a process of `git-push`
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
    /// Write the numbers to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Size, start and memory of every step
    Steps,
    /// Ten thousand requests checked and rendered
    Renders,
    /// From an event to the end of `wait-synced`, and what it asks while nothing happens
    Waits,
    /// One push, by the size of the repository
    Pushes,
    /// Many writers on one branch
    Races,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn ways(&self) -> Vec<Over> {
        let wanted =
            |over: &Over| self.over.as_ref().is_none_or(|way| format!("{over:?}").eq_ignore_ascii_case(way));
        Over::ALL.into_iter().filter(wanted).collect()
    }
}

/// What was measured so far; each line is printed as it comes.
struct Told(Vec<Measure>);

impl Told {
    fn tell(&mut self, measure: Measure) {
        println!("{}", measure.line());
        self.0.push(measure);
    }
}

/// Build the steps as they are shipped and measure them; an error if anything did not do what it was measured for.
pub(crate) fn bench(root: &Path, options: &Options) -> Result<()> {
    let built = image::image(root, &image::Options::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut told = Told(Vec::new());
    if options.wants(Part::Steps) {
        steps::sizes(&built, &mut told)?;
        steps::starts(root, &built.binaries, &mut told)?;
    }
    if options.wants(Part::Renders) {
        steps::renders(root, &mut told)?;
    }
    if options.wants(Part::Waits) {
        runtime.block_on(steps::waits(&built.binaries, &mut told))?;
    }
    let git_push = built.binaries.join("git-push");
    for over in options.ways() {
        if options.wants(Part::Pushes) {
            pushes::sizes(&runtime, &git_push, over, options, &mut told)?;
        }
        if options.wants(Part::Races) {
            pushes::races(&runtime, &git_push, over, options, &mut told)?;
        }
    }
    let report = Report { commit: commit(root)?, machine: machine(), measures: told.0 };
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &options.svg {
        fs::write(path, chart::draw(&report)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn commit(root: &Path) -> Result<String> {
    let output = Command::new("git").current_dir(root).args(["rev-parse", "--short=10", "HEAD"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{processors} processors, Linux {}", kernel.trim())
}
