//! The stand-ins against the real controllers: the same requests and the same acts on both, and what the machine's objects go through
//! is recorded and compared, as [`testbed::conformance`] says.
//!
//! What was recorded on a cluster is kept as JSON, a file for each scenario, and [`Real::Recorded`] compares the stand-ins with that: so
//! one is corrected without a cluster.

mod cases;
mod sides;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use testbed::conformance::{Difference, MAY_BE_MISSED, Recording, compare};

use crate::Options;
use crate::setup::World;
use cases::{CASES, Case, Facts};
pub(crate) use sides::waits;
use sides::{Cluster, StandIns};

/// What the stand-ins are compared with.
#[derive(Debug)]
pub enum Real {
    /// The cluster of `KUBECONFIG`.
    Cluster(Box<Options>),
    /// What was recorded on one, in the files of this folder.
    Recorded(PathBuf),
}

/// One scenario on both sides.
struct Compared {
    name: &'static str,
    /// None if the cluster could not show it, or it could not be recorded: the words say why.
    real: Result<Recording, String>,
    stand_in: Result<Recording, String>,
    differences: Vec<Difference>,
}

/// Run every scenario that a real cluster can show, on both sides or on the stand-ins alone, and report; an error if they differ, or if one
/// was not shown. What is recorded is left in `folder`.
pub async fn conformance(real: Real, only: Option<&str>, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let chosen = |case: &&Case| only.is_none_or(|only| only.split(',').any(|part| case.name.contains(part)));
    let cases: Vec<&Case> = CASES.iter().filter(chosen).collect();
    ensure!(!cases.is_empty(), "no scenario is named so");
    let (facts, mut recorded) = match real {
        Real::Recorded(files) => {
            let on_file = |case: &&Case| {
                Recording::read(&files.join(format!("{}.cluster.json", case.name)))
                    .map_err(|error| format!("{error:#}"))
            };
            (Facts::read(&files)?, cases.iter().map(on_file).collect::<Vec<_>>())
        }
        Real::Cluster(options) => {
            let world = World::new(&options).await.context("cannot set the stage")?;
            let facts = Facts::of(&world)?;
            facts.write(folder)?;
            let cluster = Cluster::new(&world).await?;
            let recordings =
                cases.iter().map(|case| kept(case.on(&cluster, &facts), case, "cluster", folder));
            let recordings = recordings.collect::<Result<_>>()?;
            if options.keep {
                println!("e2e: kept: namespaces {} and {}", world.namespace, world.machines);
            } else {
                world.tear_down().context("cannot clean up")?;
            }
            (facts, recordings)
        }
    };
    let stand_ins = StandIns::start(&facts).await?;
    let mut all = Vec::new();
    for case in cases.into_iter().rev() {
        let real = recorded.pop().context("a scenario without a recording")?;
        let stand_in = kept(case.on(&stand_ins, &facts), case, "stand-ins", folder)?;
        let differences = match (&real, &stand_in) {
            (Ok(real), Ok(stand_in)) => compare(real, stand_in),
            _ => Vec::new(),
        };
        all.push(Compared { name: case.name, real, stand_in, differences });
    }
    all.reverse();
    let report = report(&all);
    println!("\n{report}");
    fs::write(folder.join("report.txt"), &report)?;
    println!("e2e: recordings and report.txt are in {}", folder.display());
    let not_shown = all.iter().filter(|one| one.real.is_err() || one.stand_in.is_err()).count();
    let differences: usize = all.iter().map(|one| one.differences.len()).sum();
    if differences + not_shown > 0 {
        bail!("{differences} differences, {not_shown} scenarios not shown");
    }
    Ok(())
}

/// What was recorded, written at once: the rest may be cut off.
fn kept(
    recording: Result<Recording, String>,
    case: &Case,
    side: &str,
    folder: &Path,
) -> Result<Result<Recording, String>> {
    if let Ok(recording) = &recording {
        recording.write(&folder.join(format!("{}.{side}.json", case.name)))?;
    }
    Ok(recording)
}

/// Scenarios, states compared, differences.
fn report(all: &[Compared]) -> String {
    let mut text = String::from("conformance of the stand-ins\n\n");
    // writing to a String cannot fail
    let _ = writeln!(text, "{:<28} {:>8} {:>10} {:>12}", "scenario", "cluster", "stand-ins", "differences");
    let states = |side: &Result<Recording, String>| {
        side.as_ref().map_or_else(|_| "NOT SHOWN".to_owned(), |recording| recording.states().to_string())
    };
    for one in all {
        let (real, stand_in) = (states(&one.real), states(&one.stand_in));
        let _ = writeln!(text, "{:<28} {real:>8} {stand_in:>10} {:>12}", one.name, one.differences.len());
    }
    for one in all {
        for (side, recording) in [("the cluster", &one.real), ("the stand-ins", &one.stand_in)] {
            if let Err(words) = recording {
                let _ = writeln!(text, "\n{}: NOT SHOWN on {side}: {words}", one.name);
            }
        }
        for difference in &one.differences {
            let _ = writeln!(text, "\n{}: {difference}", one.name);
        }
    }
    let _ = writeln!(text, "\nallowed to be absent on either side:");
    for one in MAY_BE_MISSED {
        let after = one.after.map_or_else(String::new, |after| format!(" after `{after}`"));
        let _ = writeln!(text, "  {} {} `{}`{after}: {}", one.object, one.facet, one.value, one.why);
    }
    text
}
