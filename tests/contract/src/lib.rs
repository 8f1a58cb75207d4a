//! Whatever must agree in two places, read from both. There is nothing here but tests: `tests/tekton` holds the YAML of
//! `tekton/`, `pipelines/` and `examples/` against the binaries' own clap commands, the Containerfile and the crates.
