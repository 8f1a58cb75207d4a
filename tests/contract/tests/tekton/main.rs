//! The Tekton YAML against the binaries that it starts.
//!
//! YAML is written by hand and applied as it lies. What it repeats of a binary, its flags with their defaults and help, its
//! results, its name, must be the same on both sides; a failure prints the lines to paste.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod binaries;
mod images;
mod lease;
mod metadata;
mod pipelines;
mod roles;
mod samples;
mod steps;
mod tasks;
mod uses;
mod world;

use world::World;

/// Run a check and show all that it found at once.
fn check(what: &str, check: impl FnOnce(&World, &mut Vec<String>)) {
    let mut problems = Vec::new();
    check(&World::read(), &mut problems);
    assert!(problems.is_empty(), "{what}: {} problems\n\n{}\n", problems.len(), problems.join("\n\n"));
}
