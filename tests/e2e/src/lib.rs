//! The shipped pipelines on a real cluster.
//!
//! [`run`] takes the cluster of `KUBECONFIG` with real Tekton, Argo CD and KubeVirt, gives it a Git server of its own,
//! applies `tekton/` and `pipelines/` as they lie, and drives them by PipelineRuns alone. Nothing here stands in for
//! anything, but [one program](LIBGUESTFS): what it prints is what the cluster did.
#![expect(clippy::print_stdout, reason = "its product is a report for people")]

/// Add a line to what the scenario of this thread has to tell.
macro_rules! say {
    ($($words:tt)*) => { $crate::lanes::add(&format!($($words)*)) };
}

mod conformance;
mod kubectl;
mod lanes;
mod marks;
mod report;
mod runs;
mod samples;
mod scenarios;
mod setup;
mod tear_down;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use conformance::{Real, conformance};
pub use kubectl::Kubectl;
use lanes::End;

/// The image that patch-vm patches disks with. Its virt-customize is a stand-in (`tests/virt-customize`): an image of libguestfs
/// would have to be pulled, and the disks here hold no system to patch.
pub const LIBGUESTFS: &str = "registry.local/stand-in-for-libguestfs:1";

/// What a run needs to know.
#[derive(Debug)]
pub struct Options {
    /// The repository's root, where `tekton/`, `pipelines/` and `examples/` are.
    pub root: PathBuf,
    /// The image, and that of [`LIBGUESTFS`], as OCI archives.
    pub images: Vec<PathBuf>,
    /// The folder with the binaries that are in the image.
    pub binaries: PathBuf,
    /// The command that loads the archive into the cluster's nodes; the archive is its last argument.
    pub load_command: Vec<String>,
    /// The address of this machine that pods and Argo CD reach.
    pub address: IpAddr,
    /// Only the scenarios whose name holds one of these, separated by commas.
    pub only: Option<String>,
    /// When no further scenario is begun; none takes longer than about five minutes.
    pub begin_until: Option<Instant>,
    /// Leave everything in the cluster for looking at.
    pub keep: bool,
}

/// Run every scenario and report; an error if one failed.
pub async fn run(options: Options) -> Result<()> {
    let started = Instant::now();
    let world = setup::World::new(&options).await.context("cannot set the stage")?;
    println!("e2e: stage set in {}s: namespace {}", started.elapsed().as_secs(), world.namespace);
    let chosen = |name: &str| {
        options.only.as_deref().is_none_or(|only| only.split(',').any(|part| name.contains(part)))
    };
    let plan = lanes::Plan { chosen: &chosen, until: options.begin_until };
    let mut ended = lanes::run(&world, &scenarios::FIRST, plan);
    // machines of their own: what one lane waits for does not hold up another
    ended.extend(std::thread::scope(|scope| {
        let lanes = scenarios::LANES.map(|lane| scope.spawn(|| lanes::run(&world, lane, plan)));
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap_or_else(|_| vec![("a lane that panicked", End::Failed)]))
            .collect::<Vec<_>>()
    }));
    let names = |wanted: End| -> Vec<&str> {
        ended.iter().filter(|(_, end)| *end == wanted).map(|(name, _)| *name).collect()
    };
    let (passed, failed, not_run) = (names(End::Passed).len(), names(End::Failed), names(End::NotRun));
    if options.keep {
        println!("\ne2e: kept: namespaces {} and {}", world.namespace, world.machines);
    } else {
        world.tear_down().context("cannot clean up")?;
    }
    println!("\ne2e: {passed} passed, {} failed in {}s", failed.len(), started.elapsed().as_secs());
    if !not_run.is_empty() {
        println!("e2e: NOT RUN, for want of time: {}", not_run.join(", "));
    }
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
