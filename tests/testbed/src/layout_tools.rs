//! The tools that Argo CD builds layouts with.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::control_plane::binaries::{build_once, cache, hash};

/// Kustomize; built with Go where the cache does not have it.
///
/// # Errors
///
/// It cannot be built.
pub fn kustomize() -> Result<PathBuf> {
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../kustomize");
    let parts = [
        include_str!("../../kustomize/go.mod"),
        include_str!("../../kustomize/go.sum"),
        include_str!("../../kustomize/main.go"),
    ];
    built("kustomize", module, parts)
}

/// Helm, likewise.
///
/// # Errors
///
/// It cannot be built.
pub fn helm() -> Result<PathBuf> {
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm");
    let parts = [
        include_str!("../../helm/go.mod"),
        include_str!("../../helm/go.sum"),
        include_str!("../../helm/main.go"),
    ];
    built("helm", module, parts)
}

/// The executable of a Go module, which pins its version.
fn built(name: &str, module: &str, parts: [&str; 3]) -> Result<PathBuf> {
    let executable = cache()?.join(name).join(hash(parts)).join(name);
    if !executable.is_file() {
        build_once(OsStr::new("go"), module, "-s -w", &executable)
            .with_context(|| format!("no `{name}`; hint: install Go 1.26 or later to build it"))?;
    }
    Ok(executable)
}
