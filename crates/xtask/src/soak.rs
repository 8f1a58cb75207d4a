//! `cargo xtask soak`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::proxy::Doors;

use crate::process::{cargo, run};

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long requests are sent; those under way are then brought to their end
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    minutes: u64,
    /// Clients at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    clients: u32,
    /// Draw the lots of an earlier run again; without it others each time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Of 50 clients one or two are held up by a silence at any time.
const SILENCE: f64 = 0.03;

/// Build `git-push` and soak it; an error if the history is not as everybody was told.
pub(crate) fn soak(root: &Path, options: &Options) -> Result<()> {
    run(cargo(root).args(["build", "--package", "git-push", "--locked"]))?;
    let binaries = std::env::current_exe()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let doors = runtime.block_on(Doors::open())?;
    let options = soak::Options {
        binary: binaries.parent().context("a program without a folder")?.join("git-push"),
        time: Duration::from_mins(options.minutes),
        clients: options.clients,
        silence: SILENCE,
        seed: options.seed.unwrap_or_else(rand::random),
    };
    soak::run(&options, doors).map(drop)
}
