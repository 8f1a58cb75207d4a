//! `cargo xtask check`.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process::{cargo, run};

/// What CI refuses a change for, besides tests.
pub(crate) fn check(root: &Path) -> Result<()> {
    run(cargo(root).args(["fmt", "--all", "--check"]))?;
    run(cargo(root).args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    run(cargo(root)
        .args(["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    // cargo deny looks at the crates of every platform, and a build has brought those of this one only
    run(cargo(root).args(["fetch", "--locked"]))?;
    // the advisory database has to be fetched; without a network the other three still count
    run(cargo(root).args(["deny", "--offline", "--locked", "check", "bans", "licenses", "sources"]))
        .context("needs cargo-deny: `cargo install --locked cargo-deny`")?;
    let advisories = cargo(root).args(["deny", "--locked", "check", "advisories"]).output()?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    if advisories.status.success() {
        println!("advisories ok");
    } else if said.contains("failed to fetch advisory database") {
        eprintln!("NOT CHECKED: advisories; the database cannot be fetched from here");
    } else {
        anyhow::bail!("cargo deny check advisories:\n{said}");
    }
    Ok(())
}
