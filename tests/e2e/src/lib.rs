//! The shipped pipelines on a real cluster.
//!
//! [`run`] takes the cluster of `KUBECONFIG` with real Tekton, Argo CD and KubeVirt, gives it a Git server of its own,
//! applies `tekton/` and `pipelines/` as they lie, and drives them by PipelineRuns alone. Nothing here stands in for
//! anything: what it prints is what the cluster did.
#![expect(clippy::print_stdout, reason = "its product is a report for people")]

mod kubectl;
mod report;
mod runs;
mod samples;
mod scenarios;
mod setup;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use kubectl::Kubectl;

/// What a run needs to know.
#[derive(Debug)]
pub struct Options {
    /// The repository's root, where `tekton/`, `pipelines/` and `examples/` are.
    pub root: PathBuf,
    /// The image as an OCI archive.
    pub image: PathBuf,
    /// The folder with the binaries that are in the image.
    pub binaries: PathBuf,
    /// The command that loads the archive into the cluster's nodes; the archive is its last argument.
    pub load_command: Vec<String>,
    /// The address of this machine that pods and Argo CD reach.
    pub address: IpAddr,
    /// Only the scenarios whose name holds this.
    pub only: Option<String>,
    /// Leave everything in the cluster for looking at.
    pub keep: bool,
}

/// Run every scenario and report; an error if one failed.
pub async fn run(options: Options) -> Result<()> {
    let started = Instant::now();
    let world = setup::World::new(&options).await.context("cannot set the stage")?;
    println!("e2e: stage set in {}s: namespace {}", started.elapsed().as_secs(), world.namespace);
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, scenario) in scenarios::ALL {
        if options.only.as_deref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        println!("\n=== {name}");
        let begun = Instant::now();
        match scenario(&world) {
            Ok(()) => {
                passed += 1;
                println!("ok {name} {}s", begun.elapsed().as_secs());
            }
            Err(error) => {
                println!("FAILED {name} {}s: {error:#}", begun.elapsed().as_secs());
                world.keep_evidence(name);
                failed.push(name);
            }
        }
    }
    if options.keep {
        println!("\ne2e: kept: namespaces {} and {}", world.namespace, world.machines);
    } else {
        world.tear_down().context("cannot clean up")?;
    }
    println!("\ne2e: {passed} passed, {} failed in {}s", failed.len(), started.elapsed().as_secs());
    if passed == 0 || !failed.is_empty() {
        bail!("failed: {}; evidence is in {}", failed.join(", "), world.evidence().display());
    }
    Ok(())
}

/// Ask `check` until it answers, at most `limit` long; the error says what was last seen.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<Result<T, String>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        match check()? {
            Ok(found) => return Ok(found),
            Err(seen) if begun.elapsed() > limit => {
                bail!("waited {}s for {what}; last seen: {seen}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
