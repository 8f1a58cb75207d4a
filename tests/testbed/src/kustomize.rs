//! Kustomize, as Argo CD runs it.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::control_plane::binaries::{build_once, cache, hash};

/// The Go module that pins its version.
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kustomize");
const PARTS: [&str; 3] = [
    include_str!("../../kustomize/go.mod"),
    include_str!("../../kustomize/go.sum"),
    include_str!("../../kustomize/main.go"),
];

/// The executable; built with Go where the cache does not have it.
///
/// # Errors
///
/// It cannot be built.
pub fn kustomize() -> Result<PathBuf> {
    let executable = cache()?.join("kustomize").join(hash(PARTS)).join("kustomize");
    if !executable.is_file() {
        build_once(OsStr::new("go"), MODULE, "-s -w", &executable)
            .context("no `kustomize`; hint: install Go 1.26 or later to build it")?;
    }
    Ok(executable)
}
